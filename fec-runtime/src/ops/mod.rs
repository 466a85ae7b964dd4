//! The steps of a run: slices in, slices out. Ops know neither files nor instruction sets, and allocate nothing.

pub(crate) mod head;
mod linear;
pub(crate) mod mixer;
pub(crate) mod mlp;
pub(crate) mod norm;
pub(crate) mod patch_embed;
pub(crate) mod pool;
mod regions;

pub(crate) use linear::{Linear, NormLinear};
pub(crate) use regions::{Region, Regions};

use crate::format::LANES;
use crate::kernels::Kernels;

/// Rows that pass through an op at a time. A multiple of the kernels' tiles; results do not depend on it.
pub(crate) const TILE: usize = 28;

/// What every op needs besides its data.
pub(crate) struct Context<'p, P> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) probe: &'p mut P,
}

/// Length of a buffer of `n` floats, rounded up so that the next one starts at a multiple of 64 bytes.
pub(crate) const fn room(n: usize) -> usize {
    n.next_multiple_of(LANES)
}
