//! The steps of a run: slices in, slices out. Ops know neither files nor instruction sets, and allocate nothing.

pub(crate) mod head;
mod linear;
pub(crate) mod mixer;
pub(crate) mod mlp;
pub(crate) mod norm;
pub(crate) mod patch_embed;
pub(crate) mod pool;
mod regions;
pub(crate) mod tiles;

pub(crate) use linear::{Linear, NormLinear};
pub(crate) use regions::{Region, Regions};

use crate::format::LANES;
use crate::kernels::Kernels;
use crate::probe::Probe;

/// Rows that pass through an op at a time. A multiple of the kernels' tiles; results do not depend on it.
pub(crate) const TILE: usize = 28;

/// What every op needs besides its data.
pub(crate) struct Context<'p> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) probe: &'p mut dyn Probe,
    /// Parts that work is cut into.
    pub(crate) threads: usize,
}

/// Length of a buffer of `n` floats, rounded up so that the next one starts at a multiple of 64 bytes.
pub(crate) const fn room(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// Length of a buffer of `n` bytes, in floats, rounded up likewise.
pub(crate) const fn room_bytes(n: usize) -> usize {
    room(n.div_ceil(4))
}

/// Length of a map's buffer, in floats: maps of integer networks are f16.
pub(crate) const fn map_len(values: usize, integer: bool) -> usize {
    if integer {
        room_bytes(2 * values)
    } else {
        room(values)
    }
}
