//! The body over any instruction set: tiles of rows pass over the centres once, with the best score and panel of each lane.

use core::ops::Range;

use super::AssignI8;
use crate::format::{GROUP, LANES};
use crate::kernels::assign::locality::{for_each_panels, position};
use crate::kernels::dot::{Dot, Group};

/// The byte that stands for 0.
const ZERO: u8 = 128;

/// Rows that share a locality's window: the same on every instruction set, whatever its tiles, since rounded scores might otherwise
/// let a centre win that lies in the window of a neighbour alone.
const BLOCK: usize = 12;

#[inline(always)]
pub(super) fn assign<D: Dot>(a: &AssignI8<'_>, out: &mut [u16]) {
    for start in (0..a.rows).step_by(BLOCK) {
        let block = start..a.rows.min(start + BLOCK);
        let mut first = start;
        while first < block.end {
            let left = block.end - first;
            first += if D::ROWS >= 6 && left >= 6 {
                tile::<D, 6>(a, &block, first, out)
            } else if left >= 4 {
                tile::<D, 4>(a, &block, first, out)
            } else if left >= 2 {
                tile::<D, 2>(a, &block, first, out)
            } else {
                tile::<D, 1>(a, &block, first, out)
            };
        }
    }
}

/// The best score of each lane and its panel.
type Best<D> = (D, <D as crate::kernels::lanes::Lanes>::Ints);

/// R rows of a block from `first` on; gives R.
#[inline(always)]
fn tile<D: Dot, const R: usize>(
    a: &AssignI8<'_>,
    block: &Range<usize>,
    first: usize,
    out: &mut [u16],
) -> usize {
    let mut best: [Best<D>; R] = [(D::splat(f32::NEG_INFINITY), D::splat_int(0)); R];
    let groups = a.inputs.div_ceil(GROUP);
    let rows: [&[[u8; GROUP]]; R] =
        core::array::from_fn(|r| &a.x[(first + r) * a.x_stride..].as_chunks().0[..groups]);
    let panels = a.shift.len() / LANES;
    for_each_panels(
        panels,
        a.locality.as_ref(),
        block.start,
        block.len(),
        |panels| {
            let mut panel = panels.start;
            while D::PANELS == 2 && panel + 2 <= panels.end {
                visit::<D, R, 2>(a, first, panel, rows, &mut best);
                panel += 2;
            }
            while panel < panels.end {
                visit::<D, R, 1>(a, first, panel, rows, &mut best);
                panel += 1;
            }
        },
    );
    for (out, best) in out[first..].iter_mut().zip(best) {
        *out = winner(best);
    }
    R
}

/// The scores of P panels.
#[inline(always)]
fn visit<D: Dot, const R: usize, const P: usize>(
    a: &AssignI8<'_>,
    first: usize,
    panel: usize,
    rows: [&[[u8; GROUP]]; R],
    best: &mut [Best<D>; R],
) {
    let lanes = |values: &[f32], p: usize| D::load(&values.as_chunks().0[panel + p]);
    let (groups, _) = a.centres.values.as_chunks::<{ GROUP * LANES }>();
    let count = a.inputs.div_ceil(GROUP);
    let weights: [&[Group]; P] = core::array::from_fn(|p| &groups[(panel + p) * count..][..count]);
    let start = core::array::from_fn(|p| D::start(ZERO, &a.centres.sums.as_chunks().0[panel + p]));
    let sums = D::products(rows, weights, start);
    for p in 0..P {
        let (factor, shift) = (lanes(a.centres.scales, p), lanes(a.shift, p));
        for (r, best) in best.iter_mut().enumerate() {
            let scale = D::splat(a.scales[first + r]);
            let product = D::from_ints(sums[r][p]).mul(factor).mul(scale);
            let mut score = product.add(shift);
            if let Some(l) = &a.locality {
                let (y, x) = position(l, l.first + first + r);
                let dy = lanes(l.centre_rows, p).sub(D::splat(y));
                let dx = lanes(l.centre_cols, p).sub(D::splat(x));
                let squares = dy.mul(dy).add(dx.mul(dx));
                score = score.sub(D::splat(l.lambda * l.key_norms[first + r]).mul(squares));
            }
            // Strictly larger: a later centre of the same score does not replace an earlier one.
            *best = D::keep_larger(*best, score, (panel + p) as i32);
        }
    }
}

/// The lane with the largest score; of equal ones the lowest centre. Centre 0 where no score is a number.
#[inline(always)]
fn winner<D: Dot>((score, panel): Best<D>) -> u16 {
    let mut panels = [0; LANES];
    D::store_ints(panel, &mut panels);
    let winners = score.equal_lanes(score.max_lane());
    let centres = panels.iter().enumerate();
    centres
        .filter(|(lane, _)| winners >> lane & 1 == 1)
        .map(|(lane, &panel)| panel as u16 * LANES as u16 + lane as u16)
        .min()
        .unwrap_or(0)
}
