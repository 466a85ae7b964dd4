//! The mixer's weights (SPEC 4.2): only the winning centre's similarity is ever needed.

use super::activation::{sigmoid, sigmoid_lanes};
use super::lanes::Lanes;
use super::{divisor, lane_sum};
use crate::config::Similarity;
use crate::format::LANES;

/// Weights of the rows of one head with their centres.
#[derive(Clone, Copy, Debug)]
pub struct CosineWeights<'a> {
    /// Keys: one row per element, `stride` apart, `dim` values each.
    pub keys: &'a [f32],
    /// Distance of two rows of keys, in values.
    pub stride: usize,
    /// Channels d of the head.
    pub dim: usize,
    /// Keys of the centres, rows `centre_stride` apart; unit keys for the cosine.
    pub centres: &'a [f32],
    /// Distance of two rows of centres, in values.
    pub centre_stride: usize,
    /// Centre of each element.
    pub assign: &'a [u16],
    /// What they are compared by.
    pub similarity: Similarity,
    /// sim_alpha.
    pub alpha: f32,
    /// sim_beta.
    pub beta: f32,
}

impl CosineWeights<'_> {
    pub(super) fn check(&self, out: usize) {
        let rows = self.assign.len();
        assert!(out == rows, "one weight per row");
        assert!(
            rows == 0 || (rows - 1) * self.stride + self.dim <= self.keys.len(),
            "too few keys"
        );
        let last = usize::from(self.assign.iter().copied().max().unwrap_or(0));
        assert!(
            last * self.centre_stride + self.dim <= self.centres.len(),
            "no such centre"
        );
    }

    /// Weight of a key with a centre's.
    pub(crate) fn weight(&self, key: &[f32], centre: &[f32]) -> f32 {
        sigmoid(self.beta + self.alpha * similarity(self.similarity, key, centre))
    }
}

/// Similarity of a key and a centre's key, which is a unit key for the cosine.
#[inline(always)]
pub(crate) fn similarity(measure: Similarity, key: &[f32], centre: &[f32]) -> f32 {
    match measure {
        Similarity::Cosine => cosine(key, centre),
        Similarity::Dot => lane_sum(key, centre, |a, b| a * b),
        Similarity::Euclidean => -libm::sqrtf(lane_sum(key, centre, |a, b| (a - b) * (a - b))),
    }
}

/// Cosine of a key with a unit key.
fn cosine(key: &[f32], unit: &[f32]) -> f32 {
    let norm = libm::sqrtf(lane_sum(key, key, |a, b| a * b));
    lane_sum(key, unit, |a, b| a * b) / divisor(norm)
}

pub(super) fn portable(w: &CosineWeights<'_>, out: &mut [f32]) {
    for (n, (out, &centre)) in out.iter_mut().zip(w.assign).enumerate() {
        let key = &w.keys[n * w.stride..][..w.dim];
        let centre = &w.centres[usize::from(centre) * w.centre_stride..][..w.dim];
        *out = w.weight(key, centre);
    }
}

/// The same with up to sixteen rows' similarities in the lanes of one vector.
#[inline(always)]
pub(super) fn body<L: Lanes>(w: &CosineWeights<'_>, out: &mut [f32]) {
    for (i, out) in out.chunks_mut(LANES).enumerate() {
        let (mut dots, mut squares) = ([0.0; LANES], [1.0; LANES]);
        for r in 0..out.len() {
            let n = i * LANES + r;
            let key = &w.keys[n * w.stride..][..w.dim];
            let centre = &w.centres[usize::from(w.assign[n]) * w.centre_stride..][..w.dim];
            (dots[r], squares[r]) = row_sums::<L>(w.similarity, key, centre);
        }
        let (dots, lengths) = (L::load(&dots), L::load(&squares).sqrt());
        let similarity = match w.similarity {
            Similarity::Cosine => dots.div(lengths.max(L::splat(divisor(0.0)))),
            Similarity::Dot => dots,
            Similarity::Euclidean => lengths.mul(L::splat(-1.0)),
        };
        let t = L::splat(w.alpha).mul(similarity).add(L::splat(w.beta));
        let weights = sigmoid_lanes(t);
        match out.as_mut_array() {
            Some(out) => weights.store(out),
            None => weights.store_part(out),
        }
    }
}

/// Sum of the products, and the sum of squares that a similarity takes the root of.
#[inline(always)]
fn row_sums<L: Lanes>(measure: Similarity, key: &[f32], centre: &[f32]) -> (f32, f32) {
    let (keys, key_rest) = key.as_chunks::<LANES>();
    let (centres, centre_rest) = centre.as_chunks::<LANES>();
    let (mut dot, mut squares) = (L::splat(0.0), L::splat(0.0));
    for (key, centre) in keys.iter().zip(centres) {
        let (key, centre) = (L::load(key), L::load(centre));
        dot = dot.add(key.mul(centre));
        squares = squares.add(square(measure, key, centre));
    }
    if !key_rest.is_empty() {
        let (key, centre) = (L::load_part(key_rest), L::load_part(centre_rest));
        dot = dot.add(key.mul(centre));
        squares = squares.add(square(measure, key, centre));
    }
    (dot.sum(), squares.sum())
}

#[inline(always)]
fn square<L: Lanes>(measure: Similarity, key: L, centre: L) -> L {
    let difference = match measure {
        Similarity::Euclidean => key.sub(centre),
        Similarity::Cosine | Similarity::Dot => key,
    };
    difference.mul(difference)
}
