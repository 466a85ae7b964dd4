//! The program from end to end, on images drawn here.

#[path = "cli/chain.rs"]
mod chain;
#[path = "cli/common.rs"]
mod common;
#[path = "cli/refusals.rs"]
mod refusals;
#[path = "cli/stops.rs"]
mod stops;
