//! Trains FEC.

extern crate alloc;

pub mod augment;
pub mod data;
pub mod model;
pub mod optim;
pub mod random;
pub mod recipe;
pub mod schedule;
