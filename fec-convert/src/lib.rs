//! Checkpoints to .fec files.
