//! GroupNorm with one group as a map of its own (SPEC 5, 6), where it cannot be folded into a linear layer.

use super::TILE;
use crate::kernels::{Kernels, Norm, Values, ValuesMut};

/// x becomes (x - mean) * rstd * gain + bias, row by row, [N, C].
pub(crate) fn apply(x: &mut [f32], norm: Norm, gain: &[f32], bias: &[f32], channels: usize) {
    for x in x.chunks_exact_mut(channels) {
        for (x, (gain, bias)) in x.iter_mut().zip(gain.iter().zip(bias)) {
            *x = (*x - norm.mean) * norm.rstd * gain + bias;
        }
    }
}

/// The same on a map of either type; `wide` holds TILE rows of scratch.
pub(crate) fn apply_map(
    kernels: &Kernels,
    x: ValuesMut<'_>,
    norm: Norm,
    gain: &[f32],
    bias: &[f32],
    channels: usize,
    wide: &mut [f32],
) {
    match x {
        ValuesMut::F32(x) => apply(x, norm, gain, bias, channels),
        ValuesMut::F16(x) => {
            for x in x.chunks_mut(TILE * channels) {
                let wide = &mut wide[..x.len()];
                kernels.widen(Values::F16(x), wide);
                apply(wide, norm, gain, bias, channels);
                kernels.narrow(wide, x);
            }
        }
    }
}
