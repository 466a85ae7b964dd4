//! Trains FEC.

pub mod interrupt;
pub mod plots;
pub mod progress;
pub mod report;
pub mod run;
