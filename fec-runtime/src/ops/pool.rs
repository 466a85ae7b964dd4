//! SPEC 3: clustering-based feature pooling (Eq. 4-6) beside a 3x3 convolution (Eq. 9), [2h * 2w, C] -> [h * w, C'].
//!
//! Keys of pixels are never made. conv_f enters through inner products alone, so that its triangular factor R (conv_f = Q R) and
//! the bias in Q's coordinates q, with |rest of the bias|² = rho, serve as well: k·k' = (R x + q)·(R x' + q) + rho. A centre's key
//! c is carried back once: c·k_n = (Rᵀc)·x_n + (q·c + rho), for the cosine all of it divided by |c|. Values are summed before they are projected.

use super::{Context, Linear, Region, Regions, TILE, norm, room};
use crate::config::Similarity;
use crate::format::LANES;
use crate::image::MapSize;
use crate::kernels::{
    Assign, Epilogue, Kernels, Locality, Matmul, Moments, Scatter, Weights, divisor, lane_sum,
};
use crate::memory::cut;
use crate::probe::{Clusterer, Probe};

/// Folded layers of a pool.
pub(crate) struct Pool<'a> {
    pub(crate) stage: usize,
    /// Size of the input's map.
    pub(crate) map: MapSize,
    pub(crate) folds: usize,
    pub(crate) similarity: Similarity,
    pub(crate) lambda: f32,
    /// R and q.
    pub(crate) keys: Linear<'a>,
    /// Rᵀ.
    pub(crate) back: Weights<'a>,
    /// rho.
    pub(crate) rest: f32,
    pub(crate) values: Linear<'a>,
    pub(crate) skip: Weights<'a>,
    pub(crate) gain: &'a [f32],
    pub(crate) bias: &'a [f32],
}

/// Sizes that a pool's buffers depend on.
#[derive(Clone, Copy)]
pub(crate) struct PoolShape {
    pub(crate) map: MapSize,
    pub(crate) folds: usize,
    pub(crate) dim: usize,
    pub(crate) next: usize,
    pub(crate) key_dim: usize,
}

impl PoolShape {
    /// Centres of all regions, and of one region padded to panels.
    fn centres(&self) -> (usize, usize) {
        let all = self.map.elements() / 4;
        (
            all,
            (all / (self.folds * self.folds)).next_multiple_of(LANES),
        )
    }

    /// Lengths of the scratch pieces, in floats, in the order of [`Scratch`].
    fn pieces(&self) -> [usize; 6] {
        let (all, padded) = self.centres();
        let elements = self.map.elements() / (self.folds * self.folds);
        let keys = TILE.min(elements) * (self.key_dim + LANES);
        let tile = keys.max(TILE.min(all) * 9 * self.dim);
        [
            room(all * self.dim),
            room(all),
            room(padded),
            room(padded),
            room(padded),
            room(tile),
        ]
    }

    /// Floats of scratch.
    pub(crate) fn scratch_len(&self) -> usize {
        self.pieces().iter().sum()
    }

    /// Floats of the output's buffer: it holds the centres in panels before it holds the output.
    pub(crate) fn out_len(&self) -> usize {
        let (all, padded) = self.centres();
        room((all * self.next).max(padded * self.dim))
    }
}

struct Scratch<'a> {
    /// 2x2 means, then sums with the members [regions, M, C].
    sums: &'a mut [f32],
    /// Numbers of members [regions, M].
    counts: &'a mut [f32],
    /// Starts of the scores [M].
    shift: &'a mut [f32],
    /// Positions of the centres [M].
    centre_rows: &'a mut [f32],
    centre_cols: &'a mut [f32],
    /// Keys of a tile, or its windows of the 3x3 convolution.
    tile: &'a mut [f32],
}

/// Runs the pool: reads `x`, writes the assignments ([regions, N]) and, from `start` on, the h * w * C' floats
/// of the output to `out`, whose first floats hold the centres before; gives the output's statistics.
pub(crate) fn run<P: Probe>(
    cx: &mut Context<'_, P>,
    pool: &Pool<'_>,
    x: &[f32],
    assignments: &mut [u16],
    out: &mut [f32],
    start: usize,
    scratch: &mut [f32],
) -> Moments {
    let shape = PoolShape {
        map: pool.map,
        folds: pool.folds,
        dim: pool.values.weights.inputs,
        next: pool.values.weights.outputs,
        key_dim: pool.keys.weights.outputs,
    };
    let [sums, counts, shift, centre_rows, centre_cols, tile] = cut(scratch, shape.pieces());
    let mut s = Scratch {
        sums,
        counts,
        shift,
        centre_rows,
        centre_cols,
        tile,
    };
    let regions = Regions::new(pool.map, pool.folds);
    let elements = regions.size().elements();
    for (region, assignments) in regions.iter().zip(assignments.chunks_exact_mut(elements)) {
        let first = region.index * elements / 4;
        let sums = &mut s.sums[first * shape.dim..][..elements / 4 * shape.dim];
        means(x, shape.dim, region, sums);
        centres(cx.kernels, pool, &shape, first, out, &mut s);
        assign(cx, pool, region, x, out, assignments, &mut s);
    }
    let (all, _) = shape.centres();
    let out = &mut out[start..][..all * shape.next];
    representatives(cx, pool, &shape, out, &mut s);
    skip(cx.kernels, pool, &shape, x, out, s.tile)
}

/// Eq. 4: means of 2x2 elements, [M, C].
fn means(x: &[f32], c: usize, region: Region, means: &mut [f32]) {
    let cols = region.size().cols / 2;
    for (m, mean) in means.chunks_exact_mut(c).enumerate() {
        let (row, col) = (m / cols * 2, m % cols * 2);
        let line = |row| &x[region.element(row, col) * c..][..2 * c];
        let ((a, b), (d, e)) = (line(row).split_at(c), line(row + 1).split_at(c));
        for (i, mean) in mean.iter_mut().enumerate() {
            *mean = ((a[i] + b[i]) + (d[i] + e[i])) * 0.25;
        }
    }
}

/// Keys of a region's centres, for the cosine unit keys, carried back to the input's channels and packed into `panels`; shifts and positions.
fn centres(
    kernels: &Kernels,
    pool: &Pool<'_>,
    shape: &PoolShape,
    first: usize,
    panels: &mut [f32],
    s: &mut Scratch<'_>,
) {
    let (all, padded) = shape.centres();
    let (c, d) = (shape.dim, shape.key_dim);
    let (count, cols) = (
        all / (shape.folds * shape.folds),
        shape.map.cols / shape.folds / 2,
    );
    let q = &pool.keys.bias[..d];
    let panels = &mut panels[..padded * c];
    s.shift.fill(f32::NEG_INFINITY);
    s.centre_rows.fill(0.0);
    s.centre_cols.fill(0.0);
    panels.fill(0.0);
    for start in (0..count).step_by(TILE) {
        let rows = TILE.min(count - start);
        let (keys, back) = s.tile.split_at_mut(rows * d);
        let means = &s.sums[(first + start) * c..][..rows * c];
        kernels.matmul(
            &Matmul::dense(
                means,
                rows,
                pool.keys.weights,
                Epilogue::Bias(pool.keys.bias),
            ),
            keys,
        );
        for (i, key) in keys.chunks_exact_mut(d).take(rows).enumerate() {
            s.shift[start + i] = prepare(pool, key, q);
            s.centre_rows[start + i] = ((start + i) / cols) as f32 + 0.5;
            s.centre_cols[start + i] = ((start + i) % cols) as f32 + 0.5;
        }
        // A panel of channels at a time: the piece then has its place in the tile.
        for channel in (0..c).step_by(LANES) {
            let outputs = channel..c.min(channel + LANES);
            let width = outputs.len();
            let product = Matmul {
                outputs,
                out_stride: width,
                ..Matmul::dense(keys, rows, pool.back, Epilogue::Plain)
            };
            kernels.matmul(&product, back);
            for (i, row) in back.chunks_exact(width).take(rows).enumerate() {
                let m = start + i;
                for (k, &value) in row.iter().enumerate() {
                    panels[(m / LANES * c + channel + k) * LANES + m % LANES] = value;
                }
            }
        }
    }
}

/// Makes a centre's key one whose product with k_n, plus the number given, is largest for the most similar centre; the number
/// includes the product with `q`. What is the same for all centres is left out.
fn prepare(pool: &Pool<'_>, key: &mut [f32], q: &[f32]) -> f32 {
    let squares = lane_sum(key, key, |a, b| a * b);
    match pool.similarity {
        Similarity::Cosine => {
            let factor = 1.0 / divisor(libm::sqrtf(squares + pool.rest));
            key.iter_mut().for_each(|v| *v *= factor);
            lane_sum(key, q, |a, b| a * b) + pool.rest * factor
        }
        Similarity::Dot => lane_sum(key, q, |a, b| a * b),
        // |c - k|² = |c|² - 2 c·k + |k|²
        Similarity::Euclidean => lane_sum(key, q, |a, b| a * b) - 0.5 * squares,
    }
}

/// Eq. 5 and the sums of Eq. 6: argmax over the region's centres, members added to them.
fn assign<P: Probe>(
    cx: &mut Context<'_, P>,
    pool: &Pool<'_>,
    region: Region,
    x: &[f32],
    panels: &[f32],
    assignments: &mut [u16],
    s: &mut Scratch<'_>,
) {
    let c = pool.values.weights.inputs;
    let (count, cols) = (region.elements() / 4, region.size().cols / 2);
    let padded = count.next_multiple_of(LANES);
    let sums = &mut s.sums[region.index * count * c..][..count * c];
    let counts = &mut s.counts[region.index * count..][..count];
    counts.fill(0.0);
    // The means are the centres' own values, which Eq. 6 counts as a member; the centres were made from them already.
    for (local, run) in region.runs(TILE) {
        let rows = run.len();
        let x = &x[run.start * c..run.end * c];
        let mut key_norms = [0.0; TILE];
        let locality = (pool.lambda > 0.0).then(|| {
            norms(cx.kernels, pool, x, s.tile, &mut key_norms[..rows]);
            Locality {
                lambda: pool.lambda,
                cols,
                first: local,
                key_norms: &key_norms,
                centre_rows: &s.centre_rows[..padded],
                centre_cols: &s.centre_cols[..padded],
            }
        });
        let problem = Assign {
            x,
            rows,
            x_stride: c,
            inputs: c,
            centres: &panels[..padded * c],
            shift: &s.shift[..padded],
            locality,
        };
        let assign = &mut assignments[local..][..rows];
        cx.kernels.assign(&problem, assign);
        cx.probe.assign(
            Clusterer::Pool {
                stage: pool.stage,
                region: region.index,
            },
            local,
            assign,
        );
        for assign in assign.iter_mut() {
            *assign = (*assign).min((count - 1) as u16);
        }
        cx.kernels.scatter(
            &Scatter {
                x,
                channels: c,
                assign,
            },
            sums,
            counts,
        );
    }
}

/// Lengths of the rows' keys: the locality weighs against cosines, the scores are cosines times these. SPEC 3.3 divides by at least
/// 1e-12, so that a key of zeros goes to the nearest centre.
fn norms(kernels: &Kernels, pool: &Pool<'_>, x: &[f32], tile: &mut [f32], out: &mut [f32]) {
    let d = pool.keys.weights.outputs;
    kernels.matmul(
        &Matmul::dense(
            x,
            out.len(),
            pool.keys.weights,
            Epilogue::Bias(pool.keys.bias),
        ),
        tile,
    );
    for (key, out) in tile.chunks_exact(d).zip(out) {
        let length = libm::sqrtf(lane_sum(key, key, |a, b| a * b) + pool.rest);
        *out = divisor(length);
    }
}

/// Eq. 6 and norm2: `out` becomes norm2 of the representatives, each at its centre's cell, plus both biases.
fn representatives<P: Probe>(
    cx: &mut Context<'_, P>,
    pool: &Pool<'_>,
    shape: &PoolShape,
    out: &mut [f32],
    s: &mut Scratch<'_>,
) {
    let (c, next) = (shape.dim, shape.next);
    let (all, _) = shape.centres();
    for (sum, count) in s.sums.chunks_exact_mut(c).zip(&*s.counts).take(all) {
        let factor = 1.0 / (1.0 + count);
        sum.iter_mut().for_each(|v| *v *= factor);
    }
    let size = MapSize {
        rows: shape.map.rows / 2,
        cols: shape.map.cols / 2,
    };
    let cells = Regions::new(size, shape.folds);
    let per_region = all / cells.count();
    for region in cells.iter() {
        for (local, run) in region.runs(TILE) {
            let means = &s.sums[(region.index * per_region + local) * c..][..run.len() * c];
            let epilogue = Epilogue::Bias(pool.values.bias);
            let product = Matmul::dense(means, run.len(), pool.values.weights, epilogue);
            cx.kernels
                .matmul(&product, &mut out[run.start * next..run.end * next]);
        }
    }
    cx.probe.representatives(pool.stage, out, size, next);
    let mut moments = Moments::new();
    cx.kernels.moments(out, next, &mut moments);
    norm::apply(out, moments.norm(), pool.gain, pool.bias, next);
}

/// Eq. 9: adds the 3x3 convolution of stride 2 and gives the statistics of the sum.
fn skip(
    kernels: &Kernels,
    pool: &Pool<'_>,
    shape: &PoolShape,
    x: &[f32],
    out: &mut [f32],
    tile: &mut [f32],
) -> Moments {
    let (c, next) = (shape.dim, shape.next);
    let cols = shape.map.cols / 2;
    let mut moments = Moments::new();
    for (i, out) in out.chunks_mut(TILE * next).enumerate() {
        let rows = out.len() / next;
        let windows = &mut tile[..rows * 9 * c];
        for (n, window) in windows.chunks_exact_mut(9 * c).enumerate() {
            let cell = i * TILE + n;
            gather(
                x,
                c,
                shape.map,
                2 * (cell / cols),
                2 * (cell % cols),
                window,
            );
        }
        kernels.matmul(
            &Matmul::dense(windows, rows, pool.skip, Epilogue::Accumulate),
            out,
        );
        kernels.moments(out, next, &mut moments);
    }
    moments
}

/// The 3x3 elements around (row, col), zeros outside the map; a window never reaches past the last row or column.
fn gather(x: &[f32], c: usize, map: MapSize, row: usize, col: usize, window: &mut [f32]) {
    for (dy, line) in window.chunks_exact_mut(3 * c).enumerate() {
        let Some(y) = (row + dy).checked_sub(1) else {
            line.fill(0.0);
            continue;
        };
        let start = (y * map.cols + col) * c;
        if col == 0 {
            let (outside, inside) = line.split_at_mut(c);
            outside.fill(0.0);
            inside.copy_from_slice(&x[start..][..2 * c]);
        } else {
            line.copy_from_slice(&x[start - c..][..3 * c]);
        }
    }
}
