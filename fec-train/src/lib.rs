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

pub mod device;
pub mod error;
pub mod export;
pub mod memory;
pub mod validate;

pub use error::Error;
pub mod doctor;
pub mod finish;
pub mod train;
