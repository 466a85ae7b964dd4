//! SPEC 4: clustering-based feature encoding (Eq. 4-7) with norm1, layer scale and residual, [N, C] -> [N, C] in place.
//!
//! Norm and pooling are affine, sums commute with linear maps: keys and values come from the raw map by folded weights, the
//! members' raw values are summed (C wide) and projected once per centre, and
//! x_n += b + sum over heads of w_n * (P_h R_h)[a_n], P_h R_h being made once per centre.

use super::{Context, NormLinear, Region, Regions, TILE, room};
use crate::config::{Similarity, Stage};
use crate::format::LANES;
use crate::image::MapSize;
use crate::kernels::activation::sigmoid;
use crate::kernels::{
    Assign, CosineWeights, Dispatch, Epilogue, Kernels, Matmul, Moments, Norm, Scatter, Weights,
    divisor, lane_sum, similarity,
};
use crate::memory::cut;
use crate::probe::{Clusterer, Probe};

/// Folded layers of a mixer.
pub(crate) struct Mixer<'a> {
    pub(crate) stage: usize,
    pub(crate) block: usize,
    pub(crate) config: Stage,
    pub(crate) map: MapSize,
    pub(crate) keys: NormLinear<'a>,
    pub(crate) values: NormLinear<'a>,
    pub(crate) proj: Weights<'a>,
    pub(crate) proj_bias: &'a [f32],
    pub(crate) similarity: Similarity,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    /// Whether the weights decide, and not the cosines: [`ties_matter`]. Of no use for other similarities.
    pub(crate) ties: bool,
}

/// Lengths of the scratch pieces, in floats, in the order of [`Scratch`].
fn pieces(s: &Stage, map: MapSize) -> [usize; 9] {
    let (m, padded) = (s.centres(), s.centres().next_multiple_of(LANES));
    let elements = Regions::new(map, s.folds).size().elements();
    [
        room(m * s.dim),
        room(m * s.key_dim()),
        room(s.heads * padded * s.head_dim),
        room(s.heads * padded),
        room(s.heads * m * s.dim),
        room(s.heads * m),
        room(TILE.min(elements) * s.key_dim()),
        room(s.heads * elements),
        room(m * (s.head_dim + LANES)),
    ]
}

/// Floats of scratch.
pub(crate) fn scratch_len(stage: &Stage, map: MapSize) -> usize {
    pieces(stage, map).iter().sum()
}

struct Scratch<'a> {
    /// Pooled raw map [M, C].
    pooled: &'a mut [f32],
    /// Keys of the centres [M, E d], unit keys for the cosine.
    centres: &'a mut [f32],
    /// The same in panels, per head, negated where the least similar centre wins.
    panels: &'a mut [f32],
    /// Starts of the scores [E, M]: 0, or -|c|²/2 for the Euclidean similarity; minus infinity in the padding.
    shift: &'a mut [f32],
    /// Sums of the members' raw values [E, M, C], later the projected representatives.
    sums: &'a mut [f32],
    /// Numbers of members [E, M].
    counts: &'a mut [f32],
    /// Keys of a tile of elements [TILE, E d].
    keys: &'a mut [f32],
    /// Weights of the region's elements [E, N].
    weights: &'a mut [f32],
    /// Representatives of one head [M, d], rows up to 15 values wider.
    reps: &'a mut [f32],
}

/// Runs the mixer on `x`, whose statistics are `moments`; writes the assignments ([E, regions, N]) and gives the new statistics.
pub(crate) fn run<P: Probe>(
    cx: &mut Context<'_, P>,
    mixer: &Mixer<'_>,
    moments: &Moments,
    x: &mut [f32],
    assignments: &mut [u8],
    scratch: &mut [f32],
) -> Moments {
    let stage = &mixer.config;
    let norm = moments.norm();
    let lengths = pieces(stage, mixer.map);
    let [
        pooled,
        centres,
        panels,
        shift,
        sums,
        counts,
        keys,
        weights,
        reps,
    ] = cut(scratch, lengths);
    let mut scratch = Scratch {
        pooled,
        centres,
        panels,
        shift,
        sums,
        counts,
        keys,
        weights,
        reps,
    };
    for region in Regions::new(mixer.map, stage.folds).iter() {
        centre_keys(cx.kernels, mixer, norm, region, x, &mut scratch);
        cluster(cx, mixer, norm, region, x, assignments, &mut scratch);
        representatives(cx.kernels, mixer, norm, &mut scratch);
        dispatch(cx.kernels, mixer, region, x, assignments, &scratch);
    }
    let mut moments = Moments::new();
    cx.kernels.moments(x, stage.dim, &mut moments);
    moments
}

/// Eq. 4: adaptive average pooling of the raw map, its keys, for the cosine made unit keys, packed per head. The most similar centre
/// has the largest c·k, or the largest c·k - |c|²/2 where |c - k| is to be least.
fn centre_keys(
    kernels: &Kernels,
    mixer: &Mixer<'_>,
    norm: Norm,
    region: Region,
    x: &[f32],
    s: &mut Scratch<'_>,
) {
    let stage = &mixer.config;
    let (m, c, d, key) = (stage.centres(), stage.dim, stage.head_dim, stage.key_dim());
    pool_region(x, c, region, stage.proposals, &mut s.pooled[..m * c]);
    let product = Matmul::dense(
        &s.pooled[..m * c],
        m,
        mixer.keys.weights,
        mixer.keys.epilogue(norm),
    );
    let centres = &mut s.centres[..m * key];
    kernels.matmul(&product, centres);
    if mixer.similarity == Similarity::Cosine {
        for unit in centres.chunks_exact_mut(d) {
            let squares = lane_sum(unit, unit, |a, b| a * b);
            let length = libm::sqrtf(squares);
            let factor = 1.0 / divisor(length);
            unit.iter_mut().for_each(|v| *v *= factor);
        }
    }
    let sign = if mixer.alpha < 0.0 { -1.0 } else { 1.0 };
    let padded = m.next_multiple_of(LANES);
    let heads = s.panels.chunks_exact_mut(padded * d);
    let shifts = s.shift.chunks_exact_mut(padded);
    for (e, (panels, shift)) in heads.zip(shifts).take(stage.heads).enumerate() {
        pack_centres(&centres[e * d..], key, d, sign, panels);
        shift[..m].fill(0.0);
        shift[m..].fill(f32::NEG_INFINITY);
        if mixer.similarity == Similarity::Euclidean {
            for (shift, centre) in shift.iter_mut().zip(centres[e * d..].chunks(key)) {
                *shift = -0.5 * sign * lane_sum(&centre[..d], &centre[..d], |a, b| a * b);
            }
        }
    }
}

/// Packs `rows` ([rows, width]) into panels [rows / 16][width][16], as [`crate::kernels::Assign`] wants its centres.
fn pack_centres(rows: &[f32], stride: usize, width: usize, factor: f32, panels: &mut [f32]) {
    panels.fill(0.0);
    let count = (rows.len() + stride - width) / stride;
    for (m, row) in rows.chunks(stride).take(count).enumerate() {
        let panel = &mut panels[m / LANES * LANES * width..][..LANES * width];
        for (k, &value) in row[..width].iter().enumerate() {
            panel[k * LANES + m % LANES] = factor * value;
        }
    }
}

/// Means over the p x p windows of a region (SPEC 4.1: windows overlap where p does not divide the side).
fn pool_region(x: &[f32], c: usize, region: Region, p: usize, pooled: &mut [f32]) {
    let size = region.size();
    let window = |i: usize, n: usize| i * n / p..((i + 1) * n).div_ceil(p);
    for (m, mean) in pooled.chunks_exact_mut(c).enumerate() {
        mean.fill(0.0);
        let (rows, cols) = (window(m / p, size.rows), window(m % p, size.cols));
        let count = rows.len() * cols.len();
        for row in rows {
            let start = region.element(row, cols.start) * c;
            for values in x[start..start + cols.len() * c].chunks_exact(c) {
                mean.iter_mut()
                    .zip(values)
                    .for_each(|(mean, value)| *mean += value);
            }
        }
        let factor = 1.0 / count as f32;
        mean.iter_mut().for_each(|mean| *mean *= factor);
    }
}

/// Eq. 5 and the sums of Eq. 6, tile by tile: keys, argmax, weights, sums of members.
fn cluster<P: Probe>(
    cx: &mut Context<'_, P>,
    mixer: &Mixer<'_>,
    norm: Norm,
    region: Region,
    x: &[f32],
    assignments: &mut [u8],
    s: &mut Scratch<'_>,
) {
    let stage = &mixer.config;
    let (m, c) = (stage.centres(), stage.dim);
    let elements = region.elements();
    s.sums.fill(0.0);
    s.counts.fill(0.0);
    for (local, run) in region.runs(TILE) {
        let rows = run.len();
        let x = &x[run.start * c..run.end * c];
        let product = Matmul::dense(x, rows, mixer.keys.weights, mixer.keys.epilogue(norm));
        cx.kernels.matmul(&product, s.keys);
        for e in 0..stage.heads {
            let mut tile = [0; TILE];
            let assign = &mut tile[..rows];
            assign_head(cx.kernels, mixer, e, s, assign);
            let (stage, block) = (mixer.stage, mixer.block);
            let clusterer = Clusterer::Mixer {
                stage,
                block,
                head: e,
                region: region.index,
            };
            cx.probe.assign(clusterer, local, assign);
            let stored =
                &mut assignments[(e * region.count() + region.index) * elements + local..][..rows];
            for (assign, stored) in assign.iter_mut().zip(stored) {
                *assign = (*assign).min(m as u16 - 1);
                *stored = *assign as u8;
            }
            let weights = head_weights(mixer, e, s.keys, s.centres, assign);
            cx.kernels
                .cosine_weights(&weights, &mut s.weights[e * elements + local..][..rows]);
            let members = Scatter {
                x,
                channels: c,
                assign,
            };
            let sums = &mut s.sums[e * m * c..][..m * c];
            cx.kernels
                .scatter(&members, sums, &mut s.counts[e * m..][..m]);
        }
    }
}

/// What the weights of one head come from, for a tile of keys.
fn head_weights<'a>(
    mixer: &Mixer<'_>,
    e: usize,
    keys: &'a [f32],
    centres: &'a [f32],
    assign: &'a [u16],
) -> CosineWeights<'a> {
    let (d, key) = (mixer.config.head_dim, mixer.config.key_dim());
    CosineWeights {
        keys: &keys[e * d..],
        stride: key,
        dim: d,
        centres: &centres[e * d..mixer.config.centres() * key],
        centre_stride: key,
        assign,
        similarity: mixer.similarity,
        alpha: mixer.alpha,
        beta: mixer.beta,
    }
}

/// The winning centres of one head for the tile whose keys are in `s`.
fn assign_head(
    kernels: &Kernels,
    mixer: &Mixer<'_>,
    e: usize,
    s: &Scratch<'_>,
    assign: &mut [u16],
) {
    let stage = &mixer.config;
    let (d, key) = (stage.head_dim, stage.key_dim());
    let padded = stage.centres().next_multiple_of(LANES);
    let keys = &s.keys[e * d..assign.len() * key];
    let problem = Assign {
        x: keys,
        rows: assign.len(),
        x_stride: key,
        inputs: d,
        centres: &s.panels[e * padded * d..][..padded * d],
        shift: &s.shift[e * padded..][..padded],
        locality: None,
    };
    kernels.assign(&problem, assign);
    if mixer.ties || mixer.similarity != Similarity::Cosine {
        let weights = head_weights(mixer, e, s.keys, s.centres, &[]);
        assign_by_weight(&weights, mixer.ties, assign);
    }
}

/// Whether two cosines that differ by more than 4e-6 can have the same weight in f32 (SPEC 4: alpha near 0, or a sigmoid near
/// saturation). Towards 1 the largest such difference is where the sigmoid is flattest: at the larger end of t = beta ± alpha,
/// where its rounding error 2^-24 stands against the slope w (1 - w); t itself is rounded by |t| 2^-24. Towards 0 weights keep
/// their relative accuracy until they are no normal numbers any more, below t = -87.
pub(crate) fn ties_matter(alpha: f32, beta: f32) -> bool {
    ties_between(alpha, beta - alpha.abs(), beta + alpha.abs())
}

/// The same for t from `low` to `high`.
fn ties_between(alpha: f32, low: f32, high: f32) -> bool {
    const ULP: f32 = 6e-8;
    let weight = sigmoid(high);
    let slope = weight * (1.0 - weight);
    let size = if high.abs() > low.abs() {
        high.abs()
    } else {
        low.abs()
    };
    let difference = (ULP * weight / slope + ULP * size) / alpha.abs();
    // NaN (0 / 0: alpha = 0, or a slope of 0) is a tie as well.
    difference.is_nan() || difference >= 4e-6 || low < -87.0
}

/// SPEC 4.2 to the letter: the lowest index of the largest weight. Where not `all` rows ask for it, those do whose weight with the
/// centre found may tie: similarities other than the cosine have no bound that would say it for a whole mixer.
fn assign_by_weight(w: &CosineWeights<'_>, all: bool, assign: &mut [u16]) {
    for (key, assign) in w.keys.chunks(w.stride).zip(assign) {
        let key = &key[..w.dim];
        if !all {
            let found = &w.centres[usize::from(*assign) * w.centre_stride..][..w.dim];
            let t = w.beta + w.alpha * similarity(w.similarity, key, found);
            if !ties_between(w.alpha, t, t) {
                continue;
            }
        }
        let mut best = f32::NEG_INFINITY;
        for (m, centre) in w.centres.chunks(w.centre_stride).enumerate() {
            let weight = w.weight(key, &centre[..w.dim]);
            if weight > best {
                (best, *assign) = (weight, m as u16);
            }
        }
    }
}

/// Eq. 6 and the projection: `sums` become P_h R_h.
fn representatives(kernels: &Kernels, mixer: &Mixer<'_>, norm: Norm, s: &mut Scratch<'_>) {
    let stage = &mixer.config;
    let (m, c, d) = (stage.centres(), stage.dim, stage.head_dim);
    for e in 0..stage.heads {
        let sums = &mut s.sums[e * m * c..][..m * c];
        for (i, sum) in sums.chunks_exact_mut(c).enumerate() {
            let factor = 1.0 / (1.0 + s.counts[e * m + i]);
            for (sum, pooled) in sum.iter_mut().zip(&s.pooled[i * c..]) {
                *sum = (*sum + pooled) * factor;
            }
        }
        // The head's values begin inside a panel: the product starts at the panel, the head's values `skip` further.
        let outputs = e * d / LANES * LANES..(e + 1) * d;
        let (width, skip) = (outputs.len(), e * d % LANES);
        let values = Matmul {
            outputs,
            out_stride: width,
            ..Matmul::dense(sums, m, mixer.values.weights, mixer.values.epilogue(norm))
        };
        kernels.matmul(&values, s.reps);
        let reps = &s.reps[skip..m * width];
        let proj = Matmul {
            x_stride: width,
            inputs: e * d..(e + 1) * d,
            ..Matmul::dense(reps, m, mixer.proj, Epilogue::Plain)
        };
        kernels.matmul(&proj, sums);
    }
}

/// Eq. 7 with the residual.
fn dispatch(
    kernels: &Kernels,
    mixer: &Mixer<'_>,
    region: Region,
    x: &mut [f32],
    assignments: &[u8],
    s: &Scratch<'_>,
) {
    let stage = &mixer.config;
    let (m, c, elements) = (stage.centres(), stage.dim, region.elements());
    for (local, run) in region.runs(TILE) {
        let dispatch = Dispatch {
            table: &s.sums[..stage.heads * m * c],
            bias: mixer.proj_bias,
            heads: stage.heads,
            centres: m,
            channels: c,
            assign: &assignments[region.index * elements + local..],
            assign_stride: region.count() * elements,
            weights: &s.weights[local..],
            weights_stride: elements,
        };
        kernels.dispatch(&dispatch, &mut x[run.start * c..run.end * c]);
    }
}
