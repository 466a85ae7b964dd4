//! Trains FEC.

pub mod augment;
pub mod data;
pub mod random;
pub mod recipe;
pub mod schedule;
