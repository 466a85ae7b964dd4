//! Trains FEC.

extern crate alloc;

pub mod augment;
pub mod data;
pub mod interrupt;
pub mod model;
pub mod optim;
pub mod plots;
pub mod progress;
pub mod random;
pub mod recipe;
pub mod report;
pub mod run;
pub mod schedule;
