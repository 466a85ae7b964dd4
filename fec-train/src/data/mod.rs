//! From a folder of images to batches: the split, decoding with a cache, worker threads.

mod check;
mod dataset;
mod error;
mod loader;
mod split;
mod split_file;

pub use check::{ClassCount, Report, check};
pub use dataset::{Budget, Dataset, Unreadable};
pub use error::Error;
pub use loader::{Batch, Batches, Loader};
pub use split::{Sample, Split};
