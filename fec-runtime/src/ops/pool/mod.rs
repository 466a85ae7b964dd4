//! SPEC 3: clustering-based feature pooling (Eq. 4-6) beside a 3x3 convolution (Eq. 9), [2h * 2w, C] -> [h * w, C'].
//!
//! Keys of pixels are never made. conv_f enters through inner products alone, so that its triangular factor R (conv_f = Q R) and
//! the bias in Q's coordinates q, with |rest of the bias|² = rho, serve as well: k·k' = (R x + q)·(R x' + q) + rho. A centre's key
//! c is carried back once: c·k_n = (Rᵀc)·x_n + (q·c + rho), for the cosine all of it divided by |c|. Values are summed before they are projected.

mod assign;
mod centres;
mod shape;

pub(crate) use shape::PoolShape;

use super::linear::{self, Linear};
use super::tiles::{self, for_each, for_each_run, of};
use super::{Context, Region, Regions, TILE, norm};
use crate::config::Similarity;
use crate::image::MapSize;
use crate::kernels::{Epilogue, Matmul, Moments, Values, ValuesMut, Weights};
use crate::memory::{cut, halves_of, map_of};

/// Folded layers of a pool.
pub(crate) struct Pool<'a> {
    pub(crate) stage: usize,
    pub(crate) shape: PoolShape,
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
    /// Scales and sums of the centres as bytes.
    scales: &'a mut [f32],
    /// Mean pixel and mean centre [2, C].
    means: &'a mut [f32],
    /// Per thread what a tile needs; during the assignment the centres as bytes before it.
    work: &'a mut [f32],
}

/// Where a pool writes.
pub(crate) struct Target<'a> {
    /// Its assignments, [regions, N].
    pub(crate) assignments: &'a mut [u16],
    /// Room for the output, which holds the centres before.
    pub(crate) buffer: &'a mut [f32],
    /// Where the output begins in it.
    pub(crate) start: usize,
}

/// Runs the pool on `x` and gives the output's statistics.
pub(crate) fn run(
    cx: &mut Context<'_>,
    pool: &Pool<'_>,
    x: Values<'_>,
    target: Target<'_>,
    scratch: &mut [f32],
) -> Moments {
    let shape = &pool.shape;
    let [
        sums,
        counts,
        shift,
        centre_rows,
        centre_cols,
        scales,
        means,
        work,
    ] = cut(scratch, shape.pieces());
    let mut s = Scratch {
        sums,
        counts,
        shift,
        centre_rows,
        centre_cols,
        scales,
        means,
        work,
    };
    let Target {
        assignments,
        buffer,
        start,
    } = target;
    let regions = Regions::new(shape.map, shape.folds);
    let elements = regions.size().elements();
    for (region, assignments) in regions.iter().zip(assignments.chunks_exact_mut(elements)) {
        centres::make(cx, pool, region, x, buffer, &mut s);
        assign::run(cx, pool, region, x, buffer, assignments, &mut s);
    }
    let (all, _) = shape.centres();
    let mut out = map_of(&mut buffer[start..], all * shape.next, shape.integer);
    representatives(cx, pool, &mut out, &mut s);
    skip(cx, pool, x, &mut out, s.work);
    tiles::moments(cx.kernels, cx.threads, out.as_values(), shape.next, s.work)
}

/// Eq. 6 and norm2: `out` becomes norm2 of the representatives, each at its centre's cell, plus both biases.
fn representatives(
    cx: &mut Context<'_>,
    pool: &Pool<'_>,
    out: &mut ValuesMut<'_>,
    s: &mut Scratch<'_>,
) {
    let shape = &pool.shape;
    let (c, next, kernels) = (shape.dim, shape.next, cx.kernels);
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
    let means = &*s.sums;
    let epilogue = Epilogue::Bias(pool.values.bias);
    let project = |region: Region, tile: usize, out: ValuesMut<'_>, wide: &mut [f32]| {
        let first = region.index * per_region + tile * region.tile();
        let rows = out.len() / next;
        let means = &means[first * c..][..rows * c];
        let product = Matmul::dense(means, rows, pool.values.weights, epilogue);
        linear::to_map(kernels, &product, out, wide);
    };
    for region in cells.iter() {
        let work = |tile, out: ValuesMut<'_>, wide: &mut [f32]| project(region, tile, out, wide);
        for_each_run(cx.threads, region, out, next, s.work, &work);
    }
    cx.probe
        .representatives(pool.stage, out.as_values(), size, next);
    let moments = tiles::moments(kernels, cx.threads, out.as_values(), next, s.work);
    let (gain, bias) = (pool.gain, pool.bias);
    norm::apply_map(
        kernels,
        out.reborrow(),
        moments.norm(),
        gain,
        bias,
        next,
        s.work,
    );
}

/// Eq. 9: adds the 3x3 convolution of stride 2.
fn skip(
    cx: &Context<'_>,
    pool: &Pool<'_>,
    x: Values<'_>,
    out: &mut ValuesMut<'_>,
    scratch: &mut [f32],
) {
    let shape = &pool.shape;
    let (c, next, kernels) = (shape.dim, shape.next, cx.kernels);
    let (map, cols) = (shape.map, shape.map.cols / 2);
    let count = out.len().div_ceil(TILE * next);
    let buffer = of(out.reborrow(), TILE * next);
    for_each(cx.threads, count, buffer, scratch, &|tile, out, scratch| {
        let rows = out.buffer.len() / next;
        let [windows, scratch] = cut(scratch, shape.skip_pieces());
        let cell = |n: usize| {
            (
                2 * ((tile * TILE + n) / cols),
                2 * ((tile * TILE + n) % cols),
            )
        };
        let windows = match x {
            Values::F32(x) => {
                let windows = &mut windows[..rows * 9 * c];
                for (n, window) in windows.chunks_exact_mut(9 * c).enumerate() {
                    gather(x, c, map, cell(n), window);
                }
                Values::F32(windows)
            }
            Values::F16(x) => {
                let windows = &mut halves_of(windows)[..rows * 9 * c];
                for (n, window) in windows.chunks_exact_mut(9 * c).enumerate() {
                    gather(x, c, map, cell(n), window);
                }
                Values::F16(windows)
            }
        };
        linear::add_rows(kernels, &pool.skip, None, windows, out.buffer, scratch);
    });
}

/// The 3x3 elements around (row, col), zeros outside the map; a window never reaches past the last row or column.
fn gather<T: Copy + Default>(
    x: &[T],
    c: usize,
    map: MapSize,
    (row, col): (usize, usize),
    window: &mut [T],
) {
    for (dy, line) in window.chunks_exact_mut(3 * c).enumerate() {
        let Some(y) = (row + dy).checked_sub(1) else {
            line.fill(T::default());
            continue;
        };
        let start = (y * map.cols + col) * c;
        if col == 0 {
            let (outside, inside) = line.split_at_mut(c);
            outside.fill(T::default());
            inside.copy_from_slice(&x[start..][..2 * c]);
        } else {
            line.copy_from_slice(&x[start - c..][..3 * c]);
        }
    }
}
