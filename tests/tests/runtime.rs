//! The runtime's promises: the arena, repeatability, refusals, and what an output says.

#[path = "runtime/arena.rs"]
mod arena;
#[path = "runtime/network.rs"]
mod network;
#[path = "runtime/refusals.rs"]
mod refusals;
#[path = "runtime/results.rs"]
mod results;
#[path = "runtime/similarity.rs"]
mod similarity;
