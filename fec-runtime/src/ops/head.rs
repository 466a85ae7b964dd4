//! SPEC 6: norm, mean over positions, linear layer; and what each position contributes to a class.
//!
//! All three are linear given the image's statistics: logit = (W' mean(x) - mu s) rstd + b', and the same row by row divided by N is
//! each position's exact contribution.

use super::NormLinear;
use crate::format::LANES;
use crate::kernels::activation::exp;
use crate::kernels::{Kernels, Matmul, Norm, Panels, Values, lane_sum};

/// Writes the logits of the map `x` ([N, C]); `mean` holds C floats of scratch.
pub(crate) fn run(
    kernels: &Kernels,
    head: &NormLinear<'_>,
    norm: Norm,
    x: Values<'_>,
    mean: &mut [f32],
    logits: &mut [f32],
) {
    let channels = head.weights.inputs;
    let mean = &mut mean[..channels];
    mean.fill(0.0);
    for row in 0..x.len() / channels {
        kernels.accumulate(x.slice(row * channels..(row + 1) * channels), mean);
    }
    let factor = channels as f32 / x.len() as f32;
    mean.iter_mut().for_each(|mean| *mean *= factor);
    kernels.matmul(
        &Matmul::dense(mean, 1, head.weights, head.epilogue(norm)),
        logits,
    );
}

/// Writes each position's contribution to the logit of `class`; they add up to the logit.
pub(crate) fn evidence(
    head: &NormLinear<'_>,
    norm: Norm,
    x: Values<'_>,
    class: usize,
    out: &mut [f32],
) {
    let channels = head.weights.inputs;
    let positions = (x.len() / channels) as f32;
    let at = |k: usize| (class / LANES * channels + k) * LANES + class % LANES;
    for (n, out) in out.iter_mut().enumerate().take(x.len() / channels) {
        // One column of the packed weights: strided, but this is for pictures.
        let mut sum = 0.0;
        for k in 0..channels {
            sum += x.get(n * channels + k)
                * match head.weights.panels {
                    Panels::F32(values) => values[at(k)],
                    Panels::F16(values) => half::f16::from_bits(values[at(k)]).to_f32(),
                    Panels::I8(panels) => panels.row(channels, class / LANES, k)[class % LANES],
                };
        }
        if let Panels::I8(panels) = head.weights.panels {
            sum *= panels.scales[class];
        }
        *out = ((sum - norm.mean * head.sums[class]) * norm.rstd + head.bias[class]) / positions;
    }
}

/// Softmax of one logit among all: exp(logit - max) / sum.
pub(crate) fn probability(logits: &[f32], class: usize) -> f32 {
    let larger = |max, &logit| if logit > max { logit } else { max };
    let max = logits.iter().fold(f32::NEG_INFINITY, larger);
    exp(logits[class] - max) / lane_sum(logits, logits, |logit, _| exp(logit - max))
}
