//! Shared parts of the tests.

pub mod command;
pub mod container;
pub mod engine;
pub mod fixtures;
pub mod golden;
pub mod parity;
pub mod tolerance;
