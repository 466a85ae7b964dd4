//! GroupNorm with one group as a map of its own (SPEC 5, 6), where it cannot be folded into a linear layer.

use crate::kernels::Norm;

/// out = (x - mean) * rstd * gain + bias, row by row, [N, C].
pub(crate) fn apply(
    x: &[f32],
    norm: Norm,
    gain: &[f32],
    bias: &[f32],
    channels: usize,
    out: &mut [f32],
) {
    for (x, out) in x.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
        for ((x, out), (gain, bias)) in x.iter().zip(out).zip(gain.iter().zip(bias)) {
            *out = (x - norm.mean) * norm.rstd * gain + bias;
        }
    }
}

/// The same in place.
pub(crate) fn apply_in_place(
    x: &mut [f32],
    norm: Norm,
    gain: &[f32],
    bias: &[f32],
    channels: usize,
) {
    for x in x.chunks_exact_mut(channels) {
        for (x, (gain, bias)) in x.iter_mut().zip(gain.iter().zip(bias)) {
            *x = (*x - norm.mean) * norm.rstd * gain + bias;
        }
    }
}
