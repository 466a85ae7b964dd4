//! SPEC 3: clustering-based feature pooling (Eq. 4-6) beside a 3x3 convolution (Eq. 9), [2h * 2w, C] -> [h * w, C'].
//!
//! Keys of pixels are never made. conv_f enters through inner products alone, so that its triangular factor R (conv_f = Q R) and
//! the bias in Q's coordinates q, with |rest of the bias|² = rho, serve as well: k·k' = (R x + q)·(R x' + q) + rho. A centre's key
//! c is carried back once: c·k_n = (Rᵀc)·x_n + (q·c + rho), for the cosine all of it divided by |c|. Values are summed before they are projected.

use super::linear::{self, Linear, bytes_len, quantise};
use super::tiles::{self, for_each, of};
use super::{Context, Region, Regions, TILE, norm, room, room_bytes};
use crate::config::Similarity;
use crate::format::LANES;
use crate::image::MapSize;
use crate::kernels::{
    Assign, AssignI8, Epilogue, Kernels, Locality, Matmul, Moments, PanelsI8, PanelsI8Mut, Scatter,
    Values, ValuesMut, Weights, divisor, lane_sum,
};
use crate::memory::{cut, halves_of, ints_of, map_of, signed_bytes_of};
use crate::probe::{Clusterer, Probe};

/// Centres that are made at a time: whole panels.
const CENTRES: usize = 2 * LANES;

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
    /// Maps are f16, similarities are products of bytes.
    pub(crate) integer: bool,
    pub(crate) threads: usize,
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
    fn pieces(&self) -> [usize; 9] {
        let (all, padded) = self.centres();
        let stride = self.dim.next_multiple_of(4);
        let integer = |n: usize| if self.integer { n } else { 0 };
        [
            room(all * self.dim),
            room(all),
            room(padded),
            room(padded),
            room(padded),
            integer(room_bytes(padded * stride)),
            integer(2 * padded),
            integer(2 * room(self.dim)),
            (self.threads * self.tile_len()).max(tiles::moments_len(self.map.elements())),
        ]
    }

    /// Floats of a tile's scratch: the largest of what centres, assignment, representatives and convolution take.
    fn tile_len(&self) -> usize {
        let centres = CENTRES * (self.key_dim + LANES);
        let keys = room(TILE * self.key_dim) + room(TILE * self.dim);
        let assign = keys + bytes_len(TILE, self.dim);
        let representatives = room(TILE * self.next);
        let [windows, product] = self.skip_pieces();
        centres
            .max(assign)
            .max(representatives)
            .max(windows + product)
    }

    /// Lengths of the convolution's pieces: windows, and what their product takes.
    fn skip_pieces(&self) -> [usize; 2] {
        let inputs = 9 * self.dim;
        if self.integer {
            let product = linear::scratch_len(true, TILE, inputs, self.next);
            [room_bytes(2 * TILE * inputs), product]
        } else {
            [room(TILE * inputs), 0]
        }
    }

    /// Floats of scratch.
    pub(crate) fn scratch_len(&self) -> usize {
        self.pieces().iter().sum()
    }

    /// Floats of the output's buffer: it holds the centres before it holds the output.
    pub(crate) fn out_len(&self) -> usize {
        let (all, padded) = self.centres();
        super::map_len(all * self.next, self.integer).max(room(padded * self.dim))
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
    /// Centres as bytes, in panels; with them scales and sums.
    bytes: &'a mut [f32],
    scales: &'a mut [f32],
    /// Mean pixel and mean centre [2, C].
    means: &'a mut [f32],
    /// Per thread: what a tile needs.
    tile: &'a mut [f32],
}

/// Runs the pool: reads `x`, writes the assignments ([regions, N]) and, from `start` on, the output to `buffer`, which holds the
/// centres before; gives the output's statistics.
pub(crate) fn run(
    cx: &mut Context<'_>,
    pool: &Pool<'_>,
    shape: &PoolShape,
    x: Values<'_>,
    assignments: &mut [u16],
    buffer: &mut [f32],
    start: usize,
    scratch: &mut [f32],
) -> Moments {
    let [
        sums,
        counts,
        shift,
        centre_rows,
        centre_cols,
        bytes,
        scales,
        means,
        tile,
    ] = cut(scratch, shape.pieces());
    let mut s = Scratch {
        sums,
        counts,
        shift,
        centre_rows,
        centre_cols,
        bytes,
        scales,
        means,
        tile,
    };
    let regions = Regions::new(pool.map, pool.folds);
    let elements = regions.size().elements();
    for (region, assignments) in regions.iter().zip(assignments.chunks_exact_mut(elements)) {
        let first = region.index * elements / 4;
        means_of_cells(cx, x, shape, region, &mut s.sums[first * shape.dim..]);
        centres(cx, pool, shape, first, buffer, &mut s);
        if shape.integer {
            centres_to_bytes(cx.kernels, shape, first, buffer, &mut s);
        }
        assign(cx, pool, shape, region, x, buffer, assignments, &mut s);
    }
    let (all, _) = shape.centres();
    let mut out = map_of(&mut buffer[start..], all * shape.next, shape.integer);
    representatives(cx, pool, shape, &mut out, &mut s);
    skip(cx, pool, shape, x, &mut out, s.tile);
    tiles::moments(cx.kernels, cx.threads, out.as_values(), shape.next, s.tile)
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
fn centres(
    cx: &Context<'_>,
    pool: &Pool<'_>,
    shape: &PoolShape,
    first: usize,
    out: &mut [f32],
    s: &mut Scratch<'_>,
) {
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
        s.tile,
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
        values: &mut signed_bytes_of(s.bytes)[..padded * c.next_multiple_of(4)],
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

/// What all tiles of an assignment share.
struct Assignment<'a> {
    pool: &'a Pool<'a>,
    shape: &'a PoolShape,
    region: Region,
    x: Values<'a>,
    /// Centres in panels of floats.
    panels: &'a [f32],
    /// The same as bytes, and the mean pixel.
    bytes: Option<(PanelsI8<'a>, &'a [f32])>,
    shift: &'a [f32],
    centre_rows: &'a [f32],
    centre_cols: &'a [f32],
}

impl Assignment<'_> {
    /// Assigns the elements of a tile.
    fn tile(&self, kernels: &Kernels, tile: usize, assign: &mut [u16], scratch: &mut [f32]) {
        let (c, d) = (self.shape.dim, self.shape.key_dim);
        let run = self.region.run(tile);
        let rows = run.len();
        let x = self.x.slice(run.start * c..run.end * c);
        let pieces = [room(TILE * c), room(TILE * d), bytes_len(TILE, c)];
        let [wide, keys, bytes] = cut(scratch, pieces);
        let mut key_norms = [0.0; TILE];
        let locality = (self.pool.lambda > 0.0).then(|| {
            let x = linear::floats(kernels, x, wide);
            norms(kernels, self.pool, x, keys, &mut key_norms[..rows]);
            Locality {
                lambda: self.pool.lambda,
                cols: self.region.size().cols / 2,
                first: tile * self.region.tile(),
                key_norms: &key_norms,
                centre_rows: self.centre_rows,
                centre_cols: self.centre_cols,
            }
        });
        if let Some((centres, pixel)) = self.bytes {
            let bytes = quantise(kernels, x, c, Some(pixel), bytes);
            let problem = AssignI8 {
                x: bytes.values,
                rows,
                x_stride: bytes.stride,
                scales: bytes.scales,
                inputs: c,
                centres,
                shift: self.shift,
                locality,
            };
            kernels.assign_i8(&problem, assign);
        } else {
            let problem = Assign {
                x: linear::floats(kernels, x, wide),
                rows,
                x_stride: c,
                inputs: c,
                centres: self.panels,
                shift: self.shift,
                locality,
            };
            kernels.assign(&problem, assign);
        }
    }
}

/// Eq. 5 and the sums of Eq. 6: argmax over the region's centres, members added to them.
fn assign(
    cx: &mut Context<'_>,
    pool: &Pool<'_>,
    shape: &PoolShape,
    region: Region,
    x: Values<'_>,
    panels: &[f32],
    assignments: &mut [u16],
    s: &mut Scratch<'_>,
) {
    let (c, kernels) = (shape.dim, cx.kernels);
    let count = region.elements() / 4;
    let padded = count.next_multiple_of(LANES);
    let (scales, byte_sums) = s
        .scales
        .split_at_mut(if shape.integer { padded } else { 0 });
    let problem = Assignment {
        pool,
        shape,
        region,
        x,
        panels: &panels[..padded * c],
        bytes: shape.integer.then(|| {
            let centres = PanelsI8 {
                values: &signed_bytes_of(s.bytes)[..padded * c.next_multiple_of(4)],
                scales,
                sums: ints_of(byte_sums),
            };
            (centres, &s.means[..c])
        }),
        shift: &s.shift[..padded],
        centre_rows: &s.centre_rows[..padded],
        centre_cols: &s.centre_cols[..padded],
    };
    let work = |tile, assign: tiles::Of<&mut [u16]>, scratch: &mut [f32], probe: &mut dyn Probe| {
        let assign = assign.buffer;
        problem.tile(kernels, tile, assign, scratch);
        let clusterer = Clusterer::Pool {
            stage: pool.stage,
            region: region.index,
        };
        probe.assign(clusterer, tile * region.tile(), assign);
        let last = (count - 1) as u16;
        assign.iter_mut().for_each(|a| *a = (*a).min(last));
    };
    let buffer = of(&mut *assignments, region.tile());
    cx.for_each(region.tiles(), buffer, s.tile, &work);
    // The means are the centres' own values, which Eq. 6 counts as a member; the centres were made from them already.
    let sums = &mut s.sums[region.index * count * c..][..count * c];
    let counts = &mut s.counts[region.index * count..][..count];
    counts.fill(0.0);
    for (tile, assign) in assignments.chunks(region.tile()).enumerate() {
        let run = region.run(tile);
        let members = Scatter {
            x: x.slice(run.start * c..run.end * c),
            channels: c,
            heads: 1,
            centres: count,
            assign,
            assign_stride: 1,
        };
        kernels.scatter(&members, sums, counts);
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
fn representatives(
    cx: &mut Context<'_>,
    pool: &Pool<'_>,
    shape: &PoolShape,
    out: &mut ValuesMut<'_>,
    s: &mut Scratch<'_>,
) {
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
        match out {
            ValuesMut::F32(out) => kernels.matmul(&product, out),
            ValuesMut::F16(out) => {
                kernels.matmul(&product, &mut wide[..rows * next]);
                kernels.narrow(&wide[..rows * next], out);
            }
        }
    };
    for region in cells.iter() {
        if region.is_whole() {
            let all = out.len();
            let buffer = of(out.slice_mut(0..all), region.tile() * next);
            for_each(
                cx.threads,
                region.tiles(),
                buffer,
                s.tile,
                &|tile, out, wide| {
                    project(region, tile, out.buffer, wide);
                },
            );
        } else {
            for tile in 0..region.tiles() {
                let run = region.run(tile);
                project(
                    region,
                    tile,
                    out.slice_mut(run.start * next..run.end * next),
                    s.tile,
                );
            }
        }
    }
    cx.probe
        .representatives(pool.stage, out.as_values(), size, next);
    let moments = tiles::moments(kernels, cx.threads, out.as_values(), next, s.tile);
    let all = out.len();
    let (gain, bias) = (pool.gain, pool.bias);
    norm::apply_map(
        kernels,
        out.slice_mut(0..all),
        moments.norm(),
        gain,
        bias,
        next,
        s.tile,
    );
}

/// Eq. 9: adds the 3x3 convolution of stride 2.
fn skip(
    cx: &Context<'_>,
    pool: &Pool<'_>,
    shape: &PoolShape,
    x: Values<'_>,
    out: &mut ValuesMut<'_>,
    tile: &mut [f32],
) {
    let (c, next, kernels) = (shape.dim, shape.next, cx.kernels);
    let (map, cols) = (shape.map, shape.map.cols / 2);
    let (all, count) = (out.len(), out.len().div_ceil(TILE * next));
    let buffer = of(out.slice_mut(0..all), TILE * next);
    for_each(cx.threads, count, buffer, tile, &|tile, out, scratch| {
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
