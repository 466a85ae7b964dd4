//! What the benches share: one core to run on, what it can do at best, rounds in which candidates take turns, records.

pub mod cases;
pub mod engine;
pub mod machine;
pub mod networks;
pub mod peak;
pub mod record;
pub mod rounds;

/// What may go wrong in a bench: one line for people.
pub type Result<T> = core::result::Result<T, Box<dyn core::error::Error>>;
