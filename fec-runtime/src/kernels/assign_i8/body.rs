//! The body over any instruction set: tiles of rows pass over the centres once, with the best score and panel of each lane.

use core::ops::Range;

use super::AssignI8;
use crate::format::{GROUP, LANES};
use crate::kernels::Locality;
use crate::kernels::assign::locality::{Window, position};
use crate::kernels::assign::tiled::winner;
use crate::kernels::dot::{Dot, Group};
use crate::kernels::lanes::Lanes;
use crate::kernels::quantise::ZERO;

/// Rows that share a locality's window: the same on every instruction set, whatever its tiles, since rounded scores might otherwise
/// let a centre win that lies in the window of a neighbour alone.
const BLOCK: usize = 12;

#[inline(always)]
pub(in crate::kernels) fn assign<D: Dot>(a: &AssignI8<'_>, out: &mut [u16]) {
    match a.locality {
        Some(_) => blocks::<D, true>(a, out),
        None => blocks::<D, false>(a, out),
    }
}

/// All rows; `LOCAL` where there is a locality, whose code would else keep sums out of registers.
#[inline(always)]
fn blocks<D: Dot, const LOCAL: bool>(a: &AssignI8<'_>, out: &mut [u16]) {
    for start in (0..a.rows).step_by(BLOCK) {
        let block = start..a.rows.min(start + BLOCK);
        let mut first = start;
        while first < block.end {
            let left = block.end - first;
            first += if D::ROWS >= 6 && left >= 6 {
                tile::<D, LOCAL, 6>(a, &block, first, out)
            } else if left >= 4 {
                tile::<D, LOCAL, 4>(a, &block, first, out)
            } else {
                tile::<D, LOCAL, 1>(a, &block, first, out)
            };
        }
    }
}

/// The best score of each lane and its panel.
type Best<L> = (L, L);

/// R rows of a block from `first` on; gives R.
#[inline(always)]
fn tile<D: Dot, const LOCAL: bool, const R: usize>(
    a: &AssignI8<'_>,
    block: &Range<usize>,
    first: usize,
    out: &mut [u16],
) -> usize {
    let mut best: [Best<D::Lanes>; R] =
        [(D::Lanes::splat(f32::NEG_INFINITY), D::Lanes::splat(0.0)); R];
    let panels = a.shift.len() / LANES;
    for run in Window::new(panels, a.locality.as_ref(), block.start, block.len()) {
        let mut panel = run.start;
        while D::PANELS == 2 && panel + 2 <= run.end {
            visit::<D, LOCAL, R, 2>(a, first, panel, &mut best);
            panel += 2;
        }
        while panel < run.end {
            visit::<D, LOCAL, R, 1>(a, first, panel, &mut best);
            panel += 1;
        }
    }
    for (out, best) in out[first..].iter_mut().zip(best) {
        *out = winner(best);
    }
    R
}

/// The scores of P panels.
#[inline(always)]
fn visit<D: Dot, const LOCAL: bool, const R: usize, const P: usize>(
    a: &AssignI8<'_>,
    first: usize,
    panel: usize,
    best: &mut [Best<D::Lanes>; R],
) {
    let (groups, _) = a.centres.values.as_chunks::<{ GROUP * LANES }>();
    let (centre_sums, _) = a.centres.sums.as_chunks();
    let count = a.inputs.div_ceil(GROUP);
    let mut weights: [&[Group]; P] = [&[]; P];
    let mut start = [D::start(ZERO, &centre_sums[panel]); P];
    for p in 0..P {
        weights[p] = &groups[(panel + p) * count..][..count];
        start[p] = D::start(ZERO, &centre_sums[panel + p]);
    }
    let x = &a.x[first * a.x_stride..];
    let sums = D::products::<R, P>(x, a.x_stride, weights, start);
    let scales: &[f32; R] = &a.scales[first..].as_chunks().0[0];
    let mut scores = [[D::Lanes::splat(0.0); R]; P];
    for p in 0..P {
        let factor = lanes::<D::Lanes>(a.centres.scales, panel + p);
        let shift = lanes(a.shift, panel + p);
        for r in 0..R {
            let product = D::Lanes::from_ints(sums[r][p]).mul(factor);
            scores[p][r] = product.mul(D::Lanes::splat(scales[r])).add(shift);
        }
    }
    for (p, scores) in scores.iter_mut().enumerate() {
        let number = D::Lanes::splat((panel + p) as f32);
        if LOCAL && let Some(l) = &a.locality {
            subtract_distances(l, first, panel + p, scores);
        }
        for (best, score) in best.iter_mut().zip(scores) {
            // Strictly larger: a later centre of the same score does not replace an earlier one.
            *best = D::Lanes::keep_larger(*best, *score, number);
        }
    }
}

/// Takes lambda |k_n| d² from the scores of a panel's centres.
#[inline(always)]
fn subtract_distances<L: Lanes>(l: &Locality<'_>, first: usize, panel: usize, scores: &mut [L]) {
    let (rows, cols) = (
        lanes::<L>(l.centre_rows, panel),
        lanes::<L>(l.centre_cols, panel),
    );
    for (n, score) in scores.iter_mut().enumerate() {
        let (y, x) = position(l, l.first + first + n);
        let (dy, dx) = (rows.sub(L::splat(y)), cols.sub(L::splat(x)));
        let squares = dy.mul(dy).add(dx.mul(dx));
        *score = score.sub(L::splat(l.lambda * l.key_norms[first + n]).mul(squares));
    }
}

/// The values of a panel.
#[inline(always)]
fn lanes<L: Lanes>(values: &[f32], panel: usize) -> L {
    L::load(&values.as_chunks().0[panel])
}
