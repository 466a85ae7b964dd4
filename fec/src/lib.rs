//! FEC on a host: photos and folders of them in, classes and cluster maps out.
//!
//! The network itself is `fec-runtime`, which knows pixels but no files; this crate adds what a program on a host needs around it, and the
//! `fec` command is a thin shell over it.

pub mod classifier;
pub mod confusion;
pub mod dataset;
pub mod error;
mod filter;
pub mod html;
pub mod image;
pub mod isa;
mod jpeg;
pub mod kmeans;
pub mod labels;
mod mapped;
pub mod maps;
pub mod model_file;
pub mod output;
pub mod page;
pub mod palette;
pub mod preprocess;
pub mod render;
pub mod resize;
mod stream;

pub use dataset::ClassFolder;
pub use error::Error;
pub use image::{Orientation, Photo};
pub use kmeans::{KMeans, kmeans};
pub use labels::LabelMap;
pub use preprocess::{Interpolation, Preprocessing};
