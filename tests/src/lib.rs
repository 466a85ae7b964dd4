//! Shared parts of the tests.

pub mod golden;
pub mod parity;
pub mod tolerance;
