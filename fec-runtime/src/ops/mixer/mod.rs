//! SPEC 4: clustering-based feature encoding (Eq. 4-7) with norm1, layer scale and residual, [N, C] -> [N, C] in place.
//!
//! Norm and pooling are affine, sums commute with linear maps: keys and values come from the raw map by folded weights, the
//! members' raw values are summed (C wide) and projected once per centre, and
//! x_n += b + sum over heads of w_n * (P_h R_h)[a_n], P_h R_h being made once per centre.

mod ties;

pub(crate) use ties::ties_matter;

use self::ties::assign_by_weight;
use super::linear::{self, norm_rows};
use super::tiles::{self, for_each, for_each_run, of};
use super::{Context, NormLinear, Region, Regions, TILE, room, room_bytes};
use crate::config::{Similarity, Stage};
use crate::format::LANES;
use crate::image::MapSize;
use crate::kernels::{
    Dispatch, Epilogue, Kernels, Matmul, MixerAssign, Moments, Norm, Scatter, Values, ValuesMut,
    Weights, divisor, lane_sum,
};
use crate::memory::{cut, halves_of};
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

/// Rows of the larger tile.
const MOST_ROWS: usize = 32;

/// Elements of a tile: whole vectors of 16, but where the products of floats want a multiple of their own rows.
const fn rows(integer: bool) -> usize {
    if integer { MOST_ROWS } else { TILE }
}

/// Lengths of the scratch pieces, in floats, in the order of [`Scratch`].
fn pieces(s: &Stage, integer: bool, map: MapSize, threads: usize) -> [usize; 9] {
    let (m, padded) = (s.centres(), s.centres().next_multiple_of(LANES));
    let elements = Regions::new(map, s.folds).size().elements();
    let tile: usize = tile_pieces(s, integer, rows(integer).min(elements))
        .iter()
        .sum();
    [
        room(m * s.dim),
        room(m * s.key_dim()),
        room(s.heads * padded * s.head_dim),
        room(s.heads * padded),
        room(s.heads * m * s.dim),
        room(s.heads * m),
        room_bytes(2 * elements * s.heads),
        room(elements * s.heads),
        threads * tile.max(room(m * (s.head_dim + LANES))),
    ]
}

/// Lengths of a tile's pieces: its keys, and what making them takes.
fn tile_pieces(s: &Stage, integer: bool, rows: usize) -> [usize; 2] {
    [
        room(rows * s.key_dim()),
        linear::norm_rows_len(integer, rows, s.dim),
    ]
}

/// Floats of scratch.
pub(crate) fn scratch_len(stage: &Stage, integer: bool, map: MapSize, threads: usize) -> usize {
    let region: usize = pieces(stage, integer, map, threads).iter().sum();
    region.max(tiles::moments_len(map.elements()))
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
    /// Assignments of the region's elements [N, E].
    assign: &'a mut [u16],
    /// Weights of the region's elements [N, E].
    weights: &'a mut [f32],
    /// Per thread: a tile's pieces, or the representatives of one head [M, d], rows up to 15 values wider.
    tile: &'a mut [f32],
}

/// Runs the mixer on `x`, whose statistics are `moments`; writes the assignments ([E, regions, N]) and gives the new statistics.
pub(crate) fn run(
    cx: &mut Context<'_>,
    mixer: &Mixer<'_>,
    moments: &Moments,
    mut x: ValuesMut<'_>,
    assignments: &mut [u8],
    scratch: &mut [f32],
) -> Moments {
    let stage = &mixer.config;
    let norm = moments.norm();
    let integer = matches!(x, ValuesMut::F16(_));
    let regions = Regions::new(mixer.map, stage.folds).with_tile(rows(integer));
    for region in regions.iter() {
        let lengths = pieces(stage, integer, mixer.map, cx.threads);
        let [
            pooled,
            centres,
            panels,
            shift,
            sums,
            counts,
            assign,
            weights,
            tile,
        ] = cut(scratch, lengths);
        let count = region.elements() * stage.heads;
        let mut s = Scratch {
            pooled,
            centres,
            panels,
            shift,
            sums: &mut sums[..stage.heads * stage.centres() * stage.dim],
            counts: &mut counts[..stage.heads * stage.centres()],
            assign: &mut halves_of(assign)[..count],
            weights: &mut weights[..count],
            tile,
        };
        centre_keys(cx.kernels, mixer, norm, region, x.as_values(), &mut s);
        cluster(cx, mixer, norm, region, x.as_values(), &mut s);
        aggregate(cx, mixer, region, x.as_values(), &mut s);
        representatives(cx, mixer, norm, &mut s);
        dispatch(cx, mixer, region, &mut x, &s);
        keep_assignments(mixer, region, s.assign, assignments);
    }
    tiles::moments(cx.kernels, cx.threads, x.as_values(), stage.dim, scratch)
}

/// Eq. 4: adaptive average pooling of the raw map, its keys, for the cosine made unit keys, packed per head. The most similar centre
/// has the largest c·k, or the largest c·k - |c|²/2 where |c - k| is to be least.
fn centre_keys(
    kernels: &Kernels,
    mixer: &Mixer<'_>,
    norm: Norm,
    region: Region,
    x: Values<'_>,
    s: &mut Scratch<'_>,
) {
    let stage = &mixer.config;
    let (m, c, d, key) = (stage.centres(), stage.dim, stage.head_dim, stage.key_dim());
    pool_region(
        kernels,
        x,
        c,
        region,
        stage.proposals,
        &mut s.pooled[..m * c],
    );
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
fn pool_region(
    kernels: &Kernels,
    x: Values<'_>,
    c: usize,
    region: Region,
    p: usize,
    pooled: &mut [f32],
) {
    let size = region.size();
    let window = |i: usize, n: usize| i * n / p..((i + 1) * n).div_ceil(p);
    for (m, mean) in pooled.chunks_exact_mut(c).enumerate() {
        mean.fill(0.0);
        let (rows, cols) = (window(m / p, size.rows), window(m % p, size.cols));
        let count = rows.len() * cols.len();
        for row in rows {
            for n in region.element(row, cols.start)..region.element(row, cols.end) {
                kernels.accumulate(x.slice(n * c..(n + 1) * c), mean);
            }
        }
        let factor = 1.0 / count as f32;
        mean.iter_mut().for_each(|mean| *mean *= factor);
    }
}

/// Eq. 5, tile by tile: keys, argmax, weights.
fn cluster(
    cx: &mut Context<'_>,
    mixer: &Mixer<'_>,
    norm: Norm,
    region: Region,
    x: Values<'_>,
    s: &mut Scratch<'_>,
) {
    let (stage, kernels) = (&mixer.config, cx.kernels);
    let (c, key, heads) = (stage.dim, stage.key_dim(), stage.heads);
    let centres = Centres {
        panels: s.panels,
        shift: s.shift,
    };
    let (each, integer) = (region.tile() * heads, matches!(x, Values::F16(_)));
    let work = |tile, (assign, weights): Piece<'_>, scratch: &mut [f32], probe: &mut dyn Probe| {
        let run = region.run(tile);
        let x = x.slice(run.start * c..run.end * c);
        let [keys, scratch] = cut(
            scratch,
            tile_pieces(stage, integer, rows(integer).min(region.elements())),
        );
        let keys = &mut keys[..run.len() * key];
        norm_rows(kernels, &mixer.keys, norm, x, keys, scratch);
        for e in 0..heads {
            let (mut row, mut weight) = ([0; MOST_ROWS], [0.0; MOST_ROWS]);
            let (row, weight) = (&mut row[..run.len()], &mut weight[..run.len()]);
            let clusterer = Clusterer::Mixer {
                stage: mixer.stage,
                block: mixer.block,
                head: e,
                region: region.index,
            };
            let ask = |row: &mut [u16]| probe.assign(clusterer, tile * region.tile(), row);
            assign_head(
                kernels,
                mixer,
                &centres.of_head(mixer, e, keys, run.len()),
                ask,
                row,
                weight,
            );
            let assigned = assign.buffer.iter_mut().skip(e).step_by(heads);
            assigned.zip(&*row).for_each(|(kept, a)| *kept = *a);
            let weights = weights.buffer.iter_mut().skip(e).step_by(heads);
            weights.zip(&*weight).for_each(|(kept, w)| *kept = *w);
        }
    };
    let buffers = (of(&mut *s.assign, each), of(&mut *s.weights, each));
    cx.for_each(region.tiles(), buffers, s.tile, &work);
}

/// Assignments and weights of a tile.
type Piece<'a> = (tiles::Of<&'a mut [u16]>, tiles::Of<&'a mut [f32]>);

/// The keys of all heads' centres in panels, and the starts of their scores.
struct Centres<'a> {
    panels: &'a [f32],
    shift: &'a [f32],
}

impl<'a> Centres<'a> {
    /// One head of a tile's keys with its centres.
    fn of_head(
        &self,
        mixer: &Mixer<'_>,
        e: usize,
        keys: &'a [f32],
        rows: usize,
    ) -> MixerAssign<'a> {
        let stage = &mixer.config;
        let (d, padded) = (stage.head_dim, stage.centres().next_multiple_of(LANES));
        MixerAssign {
            keys: &keys[e * d..],
            rows,
            stride: stage.key_dim(),
            dim: d,
            centres: &self.panels[e * padded * d..][..padded * d],
            shift: &self.shift[e * padded..][..padded],
            similarity: mixer.similarity,
            alpha: mixer.alpha,
            beta: mixer.beta,
        }
    }
}

/// The winning centres of one head for a tile's keys, and the weights; `ask` may replace centres.
fn assign_head(
    kernels: &Kernels,
    mixer: &Mixer<'_>,
    head: &MixerAssign<'_>,
    ask: impl FnOnce(&mut [u16]),
    assign: &mut [u16],
    weights: &mut [f32],
) {
    let centres = mixer.config.centres();
    kernels.mixer_assign(head, assign, weights);
    let mut found = [0; MOST_ROWS];
    let found = &mut found[..assign.len()];
    found.copy_from_slice(assign);
    if mixer.ties || mixer.similarity != Similarity::Cosine {
        assign_by_weight(head, centres, mixer.ties, assign);
    }
    ask(assign);
    for (n, (a, found)) in assign.iter_mut().zip(found).enumerate() {
        *a = (*a).min(centres as u16 - 1);
        if *a != *found {
            weights[n] = head.weight(n, usize::from(*a));
        }
    }
}

/// The sums of Eq. 6: members are added to their centres, the heads shared among the threads.
fn aggregate(
    cx: &Context<'_>,
    mixer: &Mixer<'_>,
    region: Region,
    x: Values<'_>,
    s: &mut Scratch<'_>,
) {
    let (stage, kernels) = (&mixer.config, cx.kernels);
    let (m, c, heads) = (stage.centres(), stage.dim, stage.heads);
    s.sums.fill(0.0);
    s.counts.fill(0.0);
    let each = heads.div_ceil(cx.threads);
    let buffers = (of(&mut *s.sums, each * m * c), of(&mut *s.counts, each * m));
    let assign = &*s.assign;
    let groups = heads.div_ceil(each);
    for_each(
        cx.threads,
        groups,
        buffers,
        &mut [],
        &|group, (sums, counts), _| {
            for tile in 0..region.tiles() {
                let run = region.run(tile);
                let members = Scatter {
                    x: x.slice(run.start * c..run.end * c),
                    channels: c,
                    heads: counts.buffer.len() / m,
                    centres: m,
                    assign: &assign[tile * region.tile() * heads + group * each..],
                    assign_stride: heads,
                };
                kernels.scatter(&members, sums.buffer, counts.buffer);
            }
        },
    );
}

/// Eq. 6 and the projection: `sums` become P_h R_h.
fn representatives(cx: &Context<'_>, mixer: &Mixer<'_>, norm: Norm, s: &mut Scratch<'_>) {
    let (stage, kernels) = (&mixer.config, cx.kernels);
    let (m, c, d) = (stage.centres(), stage.dim, stage.head_dim);
    let (pooled, counts) = (&s.pooled[..m * c], &*s.counts);
    let buffer = of(&mut *s.sums, m * c);
    for_each(cx.threads, stage.heads, buffer, s.tile, &|e, sums, reps| {
        let sums = sums.buffer;
        for (i, sum) in sums.chunks_exact_mut(c).enumerate() {
            let factor = 1.0 / (1.0 + counts[e * m + i]);
            for (sum, pooled) in sum.iter_mut().zip(&pooled[i * c..]) {
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
        kernels.matmul(&values, reps);
        let reps = &reps[skip..m * width];
        let proj = Matmul {
            x_stride: width,
            inputs: e * d..(e + 1) * d,
            ..Matmul::dense(reps, m, mixer.proj, Epilogue::Plain)
        };
        kernels.matmul(&proj, sums);
    });
}

/// Eq. 7 with the residual.
fn dispatch(
    cx: &Context<'_>,
    mixer: &Mixer<'_>,
    region: Region,
    x: &mut ValuesMut<'_>,
    s: &Scratch<'_>,
) {
    let (stage, kernels) = (&mixer.config, cx.kernels);
    let (m, c, heads) = (stage.centres(), stage.dim, stage.heads);
    let (table, assign, weights) = (&*s.sums, &*s.assign, &*s.weights);
    let work = |tile: usize, x: ValuesMut<'_>, _: &mut [f32]| {
        let start = tile * region.tile() * heads;
        let end = start + x.len() / c * heads;
        let dispatch = Dispatch {
            table,
            bias: mixer.proj_bias,
            heads,
            centres: m,
            channels: c,
            assign: &assign[start..end],
            weights: &weights[start..end],
        };
        kernels.dispatch(&dispatch, x);
    };
    for_each_run(cx.threads, region, x, c, &mut [], &work);
}

/// From [N, E] to the region's part of [E, regions, N].
fn keep_assignments(mixer: &Mixer<'_>, region: Region, assign: &[u16], kept: &mut [u8]) {
    let (heads, elements) = (mixer.config.heads, region.elements());
    for (e, kept) in kept.chunks_exact_mut(region.count() * elements).enumerate() {
        let kept = &mut kept[region.index * elements..][..elements];
        for (kept, a) in kept.iter_mut().zip(assign.iter().skip(e).step_by(heads)) {
            *kept = *a as u8;
        }
    }
}
