//! The .fec file (docs/FORMAT.md): little-endian, checked once, used where it lies.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "nothing that a file holds may make the reader panic"
    )
)]

mod contents;
pub(crate) mod crc;
mod layout;
mod quantised;
pub(crate) mod read;
mod tensors;
#[cfg(feature = "write")]
mod write;

pub use contents::{Interpolation, Labels, Preprocessing, SelfTest};
pub use layout::{ALIGN, VERSION};
pub use quantised::GeluTable;
pub(crate) use quantised::{gelu_table, split_panels};
pub use tensors::{DType, LANES, PackedTensor, Role, TensorId, TensorKind, packed_tensors};
pub(crate) use tensors::{GROUP, PATCH_INPUTS, pool_key_dim};
#[cfg(feature = "write")]
pub use write::{FileContents, TensorValues, WriteError, write_file};
