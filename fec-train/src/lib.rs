//! Trains FEC.
