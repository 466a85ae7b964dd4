//! Trains FEC.

extern crate alloc;

pub mod model;
pub mod optim;
