//! Trains FEC.

extern crate alloc;

pub mod model;
