//! FEC on a host.
