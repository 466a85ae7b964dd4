//! Eq. 5 and the sums of Eq. 6: every element's centre, and members added to their centres.

use super::{Pool, Scratch};
use crate::format::LANES;
use crate::kernels::{
    Assign, AssignI8, Epilogue, Kernels, Locality, Matmul, PanelsI8, Scatter, Values, divisor,
    lane_sum,
};
use crate::memory::{cut, ints_of, signed_bytes_of};
use crate::ops::linear::{self, quantise};
use crate::ops::tiles::{self, of};
use crate::ops::{Context, Region, TILE};
use crate::probe::{Clusterer, Probe};

/// What all tiles of an assignment share.
struct Assignment<'a> {
    pool: &'a Pool<'a>,
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
        let c = self.pool.shape.dim;
        let run = self.region.run(tile);
        let rows = run.len();
        let x = self.x.slice(run.start * c..run.end * c);
        let [wide, keys, bytes] = cut(scratch, self.pool.shape.assign_pieces());
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
pub(super) fn run(
    cx: &mut Context<'_>,
    pool: &Pool<'_>,
    region: Region,
    x: Values<'_>,
    panels: &[f32],
    assignments: &mut [u16],
    s: &mut Scratch<'_>,
) {
    let shape = &pool.shape;
    let (c, kernels) = (shape.dim, cx.kernels);
    let (bytes, scratch) = s.work.split_at_mut(shape.bytes_len());
    let count = region.elements() / 4;
    let padded = count.next_multiple_of(LANES);
    let (scales, byte_sums) = s
        .scales
        .split_at_mut(if shape.integer { padded } else { 0 });
    let problem = Assignment {
        pool,
        region,
        x,
        panels: &panels[..padded * c],
        bytes: shape.integer.then(|| {
            let centres = PanelsI8 {
                values: &signed_bytes_of(bytes)[..padded * c.next_multiple_of(4)],
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
    cx.for_each(region.tiles(), buffer, scratch, &work);
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
