//! GroupNorm with one group as a map of its own (SPEC 5, 6), where it cannot be folded into a linear layer.

use crate::kernels::Norm;

/// x becomes (x - mean) * rstd * gain + bias, row by row, [N, C].
pub(crate) fn apply(x: &mut [f32], norm: Norm, gain: &[f32], bias: &[f32], channels: usize) {
    for x in x.chunks_exact_mut(channels) {
        for (x, (gain, bias)) in x.iter_mut().zip(gain.iter().zip(bias)) {
            *x = (*x - norm.mean) * norm.rstd * gain + bias;
        }
    }
}
