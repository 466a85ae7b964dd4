//! GroupNorm with one group (SPEC 5), forward and backward: two passes over the map each.

use super::math::{add, each, each_pair, simd};
use super::matrix::Matrix;

/// Added to the variance (SPEC 5).
const EPSILON: f64 = 1e-5;
/// Values that are summed in f32 before the sum goes on in f64.
const RUN: usize = 1024;
/// Partial sums of a run.
const LANES: usize = 16;

/// An image's mean and 1 / sqrt(variance + epsilon).
#[derive(Clone, Copy, Debug)]
pub(super) struct Statistics {
    mean: f32,
    scale: f32,
}

/// A norm's weight and bias, [C] each.
#[derive(Clone, Copy)]
pub(super) struct Affine<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// The statistics of every one of the `images` in `x` and the normalised maps.
pub(super) fn forward(x: &[f32], images: usize, affine: Affine) -> (Matrix, Vec<Statistics>) {
    let channels = affine.weight.len();
    let values = x.len() / images;
    let mut y = vec![0.0; x.len()];
    let mut all = Vec::with_capacity(images);
    simd(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(values).zip(y.chunks_exact_mut(values)) {
                let found = statistics(x);
                for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
                    each(y, [x, affine.weight, affine.bias], |y, [x, w, b]| {
                        *y = (x - found.mean) * found.scale * w + b;
                    });
                }
                all.push(found);
            }
        },
    );
    (Matrix::new(y, &[x.len() / channels, channels]), all)
}

#[inline(always)]
fn statistics(x: &[f32]) -> Statistics {
    let count = x.len() as f64;
    let mean = sum(x, 0.0, false) / count;
    // Around the mean rounded to f32, which is what is subtracted from the values.
    let variance = sum(x, mean as f32, true) / count;
    Statistics {
        mean: mean as f32,
        scale: (1.0 / libm::sqrt(variance + EPSILON)) as f32,
    }
}

/// The sum of x - from, or of its square.
#[inline(always)]
fn sum(x: &[f32], from: f32, square: bool) -> f64 {
    let mut total = 0.0;
    for run in x.chunks(RUN) {
        let (chunks, rest) = run.as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        let term = |x: f32| {
            let d = x - from;
            if square { d * d } else { d }
        };
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *sum += term(*x);
            }
        }
        let lanes: f64 = sums.iter().map(|&v| f64::from(v)).sum();
        total += lanes + rest.iter().map(|&x| f64::from(term(x))).sum::<f64>();
    }
    total
}

/// The norm's gradients: of its input (to which `skip` is added), weight and bias. `grad` is the output's.
pub(super) fn backward(
    x: &[f32],
    statistics: &[Statistics],
    weight: &[f32],
    grad: &[f32],
    skip: Option<&[f32]>,
) -> (Matrix, Vec<f32>, Vec<f32>) {
    let channels = weight.len();
    let values = x.len() / statistics.len();
    let mut input = vec![0.0; x.len()];
    let (mut of_weight, mut of_bias) = (vec![0.0; channels], vec![0.0; channels]);
    simd(
        #[inline(always)]
        || {
            let images = x.chunks_exact(values).zip(grad.chunks_exact(values));
            let images = images.zip(input.chunks_exact_mut(values)).zip(statistics);
            for (((x, grad), input), found) in images {
                // Per channel: sums of the gradient, and of it times the normalised value.
                let (mut sum, mut product) = (vec![0.0; channels], vec![0.0; channels]);
                for (x, g) in x.chunks_exact(channels).zip(grad.chunks_exact(channels)) {
                    each_pair(&mut sum, &mut product, x, g, |s, p, x, g| {
                        *s += g;
                        *p += g * ((x - found.mean) * found.scale);
                    });
                }
                let weighted = |sums: &[f32]| {
                    let sum: f64 = sums.iter().zip(weight).map(|(s, w)| f64::from(s * w)).sum();
                    (sum / values as f64) as f32
                };
                let (mean, slope) = (weighted(&sum), weighted(&product));
                let rows = x.chunks_exact(channels).zip(grad.chunks_exact(channels));
                for ((x, g), y) in rows.zip(input.chunks_exact_mut(channels)) {
                    each(y, [x, g, weight], |y, [x, g, w]| {
                        let normal = (x - found.mean) * found.scale;
                        *y = found.scale * (g * w - mean - normal * slope);
                    });
                }
                add(&mut of_weight, &product);
                add(&mut of_bias, &sum);
            }
            if let Some(skip) = skip {
                add(&mut input, skip);
            }
        },
    );
    let input = Matrix::new(input, &[x.len() / channels, channels]);
    (input, of_weight, of_bias)
}
