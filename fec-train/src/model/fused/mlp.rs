//! A block's second half: x + keep * scale * mlp(norm(x)) (SPEC 5).

use alloc::sync::Arc;

use super::math::{column_sums, each, gelu, gelu_and_slope, multiply_and_sum_columns, scale, simd};
use super::matrix::Matrix;
use super::norm::{self, Affine, Statistics};
use super::product::{by_rows, product, transposed};
use super::{Fused, Matrix as M};

/// The operation. Inputs: x [B, N, C], the norm's weight and bias [C], fc1 [H, C] and [H], fc2 [C, H] and [C], layer scale [C].
#[derive(Clone, Debug)]
pub(crate) struct FusedMlp {
    /// What the branch of each image is multiplied by (drop path), [B].
    pub(crate) keep: Arc<[f32]>,
}

#[derive(Debug)]
pub(crate) struct Saved {
    statistics: Vec<Statistics>,
    /// norm(x) [R, C]
    normal: Matrix,
    /// GELU's values [R, H]
    hidden: Matrix,
    /// GELU's slopes [R, H]
    slopes: Matrix,
}

impl Fused<8> for FusedMlp {
    type Saved = Saved;

    fn forward(&self, inputs: &[M; 8], train: bool) -> (Matrix, Saved) {
        let [x, weight, bias, fc1, bias1, fc2, bias2, scale] = inputs;
        let affine = Affine {
            weight: weight.values(),
            bias: bias.values(),
        };
        let (normal, statistics) = norm::forward(x.values(), self.keep.len(), affine);
        let channels = affine.weight.len();
        let mut sums = by_rows(normal.values(), fc1.values(), channels);
        let (hidden, slopes) = if train {
            let rows = normal.values().len() / channels;
            let mut hidden = Matrix::zeros(&[rows, bias1.values().len()]);
            gelu_and_slope(sums.values_mut(), bias1.values(), hidden.values_mut());
            (hidden, sums)
        } else {
            gelu(sums.values_mut(), bias1.values());
            (sums.clone(), sums)
        };
        let mut y = by_rows(hidden.values(), fc2.values(), bias1.values().len());
        residual(&mut y, x, bias2.values(), scale.values(), &self.keep);
        let saved = Saved {
            statistics,
            normal,
            hidden,
            slopes,
        };
        (y, saved)
    }

    fn backward(&self, inputs: &[M; 8], saved: &Saved, grad: Matrix) -> [Matrix; 8] {
        let [x, weight, _, fc1, bias1, fc2, bias2, scale] = inputs;
        let channels = scale.values().len();
        let hidden = bias1.values().len();
        let grad = grad.reshape(&[grad.values().len() / channels, channels]);
        let kept = kept(&grad, &self.keep);
        // T = kept^T GELU: the gradients of fc2 and of the layer scale are both made from it.
        let rows = grad.values().len() / channels;
        let against = transposed(kept.values(), saved.hidden.values(), rows);
        let sums = column_sums(kept.values(), channels);
        let (of_fc2, of_bias2, of_scale) = through_scale(
            &against,
            &sums,
            fc2.values(),
            bias2.values(),
            scale.values(),
        );
        let scaled_fc2 = Matrix::new(
            scale_rows(fc2.values(), scale.values()),
            &[channels, hidden],
        );
        let mut of_hidden = kept.times(&scaled_fc2.view());
        let of_bias1 =
            multiply_and_sum_columns(of_hidden.values_mut(), saved.slopes.values(), hidden);
        let of_fc1 = transposed(of_hidden.values(), saved.normal.values(), rows);
        let of_normal = product(of_hidden.values(), fc1.values(), hidden);
        let (of_x, of_weight, of_bias) = norm::backward(
            x.values(),
            &saved.statistics,
            weight.values(),
            of_normal.values(),
            Some(grad.values()),
        );
        let vector = Matrix::vector;
        [
            of_x,
            vector(of_weight),
            vector(of_bias),
            of_fc1,
            vector(of_bias1),
            of_fc2,
            vector(of_bias2),
            vector(of_scale),
        ]
    }
}

/// y = x + keep * scale * (y + bias)
pub(super) fn residual(y: &mut Matrix, x: &Matrix, bias: &[f32], scale: &[f32], keep: &[f32]) {
    let (x, channels) = (x.values(), scale.len());
    let values = x.len() / keep.len();
    let y = y.values_mut();
    simd(
        #[inline(always)]
        || {
            let images = x.chunks_exact(values).zip(y.chunks_exact_mut(values));
            for ((x, y), keep) in images.zip(keep) {
                for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
                    each(y, [x, bias, scale], |y, [x, b, s]| {
                        *y = x + (*y + b) * (keep * s);
                    });
                }
            }
        },
    );
}

/// The output's gradient as the branch gets it: times each image's `keep`.
pub(super) fn kept(grad: &Matrix, keep: &[f32]) -> Matrix {
    if keep.iter().all(|&keep| keep == 1.0) {
        return grad.clone();
    }
    let mut kept = grad.clone();
    let values = kept.values_mut();
    let length = values.len() / keep.len();
    for (values, keep) in values.chunks_exact_mut(length).zip(keep) {
        scale(values, *keep);
    }
    kept
}

/// Rows of `matrix` [C, K], each times its own of `scales` [C].
pub(super) fn scale_rows(matrix: &[f32], scales: &[f32]) -> Vec<f32> {
    let mut scaled = matrix.to_vec();
    let columns = matrix.len() / scales.len();
    for (row, by) in scaled.chunks_exact_mut(columns).zip(scales) {
        scale(row, *by);
    }
    scaled
}

/// Through y = scale * (W h + bias), given T = grad^T h [C, K] and the sums of grad [C]: the gradients of W, bias and scale.
pub(super) fn through_scale(
    product: &Matrix,
    sums: &[f32],
    matrix: &[f32],
    bias: &[f32],
    scale: &[f32],
) -> (Matrix, Vec<f32>, Vec<f32>) {
    let columns = matrix.len() / scale.len();
    let product = product.values();
    let of_matrix = Matrix::new(scale_rows(product, scale), &[scale.len(), columns]);
    let of_bias = sums.iter().zip(scale).map(|(s, scale)| s * scale).collect();
    let rows = product
        .chunks_exact(columns)
        .zip(matrix.chunks_exact(columns));
    let of_scale = rows
        .zip(sums)
        .zip(bias)
        .map(|(((t, w), sum), b)| {
            let product: f64 = t.iter().zip(w).map(|(t, w)| f64::from(t * w)).sum();
            (product + f64::from(b * sum)) as f32
        })
        .collect();
    (of_matrix, of_bias, of_scale)
}
