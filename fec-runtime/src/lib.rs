//! Runs FEC.
#![no_std]
