//! Eq. 4: the centres of a region, from 2x2 means to what an assignment compares with.

use super::shape::CENTRES;
use super::{Pool, PoolShape, Scratch};
use crate::config::Similarity;
use crate::format::LANES;
use crate::kernels::{Epilogue, Kernels, Matmul, PanelsI8Mut, Values, divisor, lane_sum};
use crate::memory::{ints_of, signed_bytes_of};
use crate::ops::tiles::{for_each, of};
use crate::ops::{Context, Region, room};

/// Makes a region's centres from `x`: in panels in `out`, or as bytes in `s`, with their shifts and positions.
pub(super) fn make(
    cx: &Context<'_>,
    pool: &Pool<'_>,
    region: Region,
    x: Values<'_>,
    out: &mut [f32],
    s: &mut Scratch<'_>,
) {
    let shape = &pool.shape;
    let first = region.index * region.elements() / 4;
    means_of_cells(cx, x, shape, region, &mut s.sums[first * shape.dim..]);
    centres(cx, pool, first, out, s);
    if shape.integer {
        centres_to_bytes(cx.kernels, shape, first, out, s);
    }
}

/// Eq. 4: means of 2x2 elements, [M, C].
fn means_of_cells(
    cx: &Context<'_>,
    x: Values<'_>,
    shape: &PoolShape,
    region: Region,
    means: &mut [f32],
) {
    let (c, cols, kernels) = (shape.dim, region.size().cols / 2, cx.kernels);
    let count = region.elements() / 4;
    let buffer = of(&mut means[..count * c], c);
    for_each(cx.threads, count, buffer, &mut [], &|m, mean, _| {
        let mean = mean.buffer;
        let (row, col) = (m / cols * 2, m % cols * 2);
        mean.fill(0.0);
        for (row, col) in [
            (row, col),
            (row, col + 1),
            (row + 1, col),
            (row + 1, col + 1),
        ] {
            let n = region.element(row, col);
            kernels.accumulate(x.slice(n * c..(n + 1) * c), mean);
        }
        mean.iter_mut().for_each(|mean| *mean *= 0.25);
    });
}

/// Unit keys of a region's centres, carried back to the input's channels; shifts and positions. They are written in panels, in an
/// integer network as rows.
fn centres(cx: &Context<'_>, pool: &Pool<'_>, first: usize, out: &mut [f32], s: &mut Scratch<'_>) {
    let shape = &pool.shape;
    let (all, padded) = shape.centres();
    let (c, kernels) = (shape.dim, cx.kernels);
    let count = all / (shape.folds * shape.folds);
    let cols = shape.map.cols / shape.folds / 2;
    s.shift.fill(f32::NEG_INFINITY);
    for (m, (row, col)) in s
        .centre_rows
        .iter_mut()
        .zip(&mut *s.centre_cols)
        .enumerate()
    {
        (*row, *col) = ((m / cols) as f32 + 0.5, (m % cols) as f32 + 0.5);
    }
    let means = &s.sums[first * c..][..count * c];
    let out = &mut out[..padded * c];
    out.fill(0.0);
    let buffers = (of(out, CENTRES * c), of(&mut *s.shift, CENTRES));
    let tiles = count.div_ceil(CENTRES);
    for_each(
        cx.threads,
        tiles,
        buffers,
        s.work,
        &|tile, (out, shift), scratch| {
            let start = tile * CENTRES;
            let rows = CENTRES.min(count - start);
            let means = &means[start * c..][..rows * c];
            carry_back(
                kernels,
                pool,
                means,
                shift.buffer,
                scratch,
                |m, k, value| {
                    let at = if shape.integer {
                        m * c + k
                    } else {
                        (m / LANES * c + k) * LANES + m % LANES
                    };
                    out.buffer[at] = value;
                },
            );
        },
    );
}

/// Keys of some centres, for the cosine made unit keys, carried back: `place` takes centre, channel and value.
fn carry_back(
    kernels: &Kernels,
    pool: &Pool<'_>,
    means: &[f32],
    shift: &mut [f32],
    scratch: &mut [f32],
    mut place: impl FnMut(usize, usize, f32),
) {
    let (c, d) = (pool.keys.weights.inputs, pool.keys.weights.outputs);
    let (rows, q) = (means.len() / c, &pool.keys.bias[..d]);
    let (keys, back) = scratch.split_at_mut(rows * d);
    let epilogue = Epilogue::Bias(pool.keys.bias);
    kernels.matmul(
        &Matmul::dense(means, rows, pool.keys.weights, epilogue),
        keys,
    );
    for (key, shift) in keys.chunks_exact_mut(d).zip(shift) {
        *shift = prepare(pool, key, q);
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
        for (m, row) in back.chunks_exact(width).take(rows).enumerate() {
            for (k, &value) in row.iter().enumerate() {
                place(m, channel + k, value);
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

/// Centres as bytes. What all scores of an element have in common does not matter to their order, so that the mean centre is taken
/// from every centre; and the mean pixel goes from the pixels into the shifts, so that fewer bits are spent on what is common.
fn centres_to_bytes(
    kernels: &Kernels,
    shape: &PoolShape,
    first: usize,
    rows: &mut [f32],
    s: &mut Scratch<'_>,
) {
    let (all, padded) = shape.centres();
    let c = shape.dim;
    let count = all / (shape.folds * shape.folds);
    let rows = &mut rows[..count * c];
    let (pixel, centre) = s.means.split_at_mut(room(c));
    let (pixel, centre) = (&mut pixel[..c], &mut centre[..c]);
    mean_row(&s.sums[first * c..][..count * c], pixel);
    mean_row(rows, centre);
    for (row, shift) in rows.chunks_exact_mut(c).zip(&mut *s.shift) {
        *shift += lane_sum(row, pixel, |a, b| a * b);
        row.iter_mut()
            .zip(&*centre)
            .for_each(|(v, mean)| *v -= mean);
    }
    let (scales, sums) = s.scales.split_at_mut(padded);
    let panels = PanelsI8Mut {
        values: &mut signed_bytes_of(s.work)[..padded * c.next_multiple_of(4)],
        scales,
        sums: ints_of(sums),
    };
    kernels.pack_centres(rows, c, panels);
}

/// Mean of the rows.
fn mean_row(rows: &[f32], mean: &mut [f32]) {
    mean.fill(0.0);
    for row in rows.chunks_exact(mean.len()) {
        mean.iter_mut().zip(row).for_each(|(mean, v)| *mean += v);
    }
    let factor = mean.len() as f32 / rows.len() as f32;
    mean.iter_mut().for_each(|mean| *mean *= factor);
}
