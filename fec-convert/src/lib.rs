//! Checkpoints to .fec files.

pub mod calibrate;
pub mod compare;
pub mod error;
pub mod fold;
pub mod gelu;
pub mod integers;
pub mod keep;
pub mod layers;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod pack;
pub mod quantise;
pub mod read;
pub mod recognise;
pub mod report;
pub mod verify;

pub use error::Error;
