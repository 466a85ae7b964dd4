//! Checkpoints to .fec files.

pub mod error;
pub mod fold;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod pack;
pub mod read;
pub mod recognise;
pub mod verify;

pub use error::Error;
