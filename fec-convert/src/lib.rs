//! Checkpoints to .fec files.

pub mod error;
pub mod fold;
pub mod pack;
pub mod read;
pub mod recognise;
pub mod verify;

pub use error::Error;
