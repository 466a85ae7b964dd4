//! Checkpoints to .fec files.

pub mod error;
pub mod read;

pub use error::Error;
