//! Shared parts of the tests.

pub mod engine;
pub mod golden;
pub mod parity;
pub mod tolerance;
