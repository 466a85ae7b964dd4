//! Tiles of rows that pass over the centres once, with the best score and panel of each lane: the body of every instruction set but
//! the portable one.
//!
//! The rows of a tile share one window of a locality: a centre outside a row's own window has a lower score than its own cell's.

use super::Assign;
use super::locality::{Window, position};
use crate::format::LANES;
use crate::kernels::lanes::Lanes;
use crate::kernels::matmul_f32::sums::{sums, vectors};

#[inline(always)]
pub(in crate::kernels) fn assign<L: Lanes>(a: &Assign<'_>, out: &mut [u16]) {
    let mut n = 0;
    if L::TILE_ROWS >= 8 {
        while a.rows - n >= 8 {
            tile::<L, 8>(a, n, out);
            n += 8;
        }
    }
    while a.rows - n >= 4 {
        tile::<L, 4>(a, n, out);
        n += 4;
    }
    while n < a.rows {
        tile::<L, 1>(a, n, out);
        n += 1;
    }
}

/// The best score of each lane, and its panel.
type Best<L> = (L, L);

/// `R` rows from `first` on.
#[inline(always)]
fn tile<L: Lanes, const R: usize>(a: &Assign<'_>, first: usize, out: &mut [u16]) {
    let panels = a.shift.len() / LANES;
    let mut best: [Best<L>; R] = [(L::splat(f32::NEG_INFINITY), L::splat(0.0)); R];
    for panels in Window::new(panels, a.locality.as_ref(), first, R) {
        let mut panel = panels.start;
        while L::TILE_PANELS > 1 && panel + 1 < panels.end {
            visit::<L, R, 2>(a, first, panel, &mut best);
            panel += 2;
        }
        while panel < panels.end {
            visit::<L, R, 1>(a, first, panel, &mut best);
            panel += 1;
        }
    }
    for (out, best) in out[first..].iter_mut().zip(best) {
        *out = winner(best);
    }
}

/// The sums of `R` rows with `P` panels.
#[inline(always)]
fn scores<L: Lanes, const R: usize, const P: usize>(
    a: &Assign<'_>,
    first: usize,
    panel: usize,
) -> [[L; P]; R] {
    let len = a.inputs * LANES;
    let panels: [&[f32]; P] = core::array::from_fn(
        #[inline(always)]
        |p| &a.centres[(panel + p) * len..][..len],
    );
    let x = &a.x[first * a.x_stride..];
    sums(x, a.x_stride, panels, 0..a.inputs, vectors(a.shift, panel))
}

#[inline(always)]
fn visit<L: Lanes, const R: usize, const P: usize>(
    a: &Assign<'_>,
    first: usize,
    panel: usize,
    best: &mut [Best<L>; R],
) {
    let mut scores = scores::<L, R, P>(a, first, panel);
    if let Some(l) = &a.locality {
        let rows: [L; P] = vectors(l.centre_rows, panel);
        let cols: [L; P] = vectors(l.centre_cols, panel);
        for (r, scores) in scores.iter_mut().enumerate() {
            let (y, x) = position(l, l.first + first + r);
            let weight = L::splat(l.lambda * l.key_norms[first + r]);
            for (p, score) in scores.iter_mut().enumerate() {
                let (dy, dx) = (rows[p].sub(L::splat(y)), cols[p].sub(L::splat(x)));
                *score = score.sub(weight.mul(dy.mul(dy).add(dx.mul(dx))));
            }
        }
    }
    for p in 0..P {
        let number = L::splat((panel + p) as f32);
        for (best, scores) in best.iter_mut().zip(&scores) {
            // Strictly larger: a later centre of the same score does not replace an earlier one.
            *best = L::keep_larger(*best, scores[p], number);
        }
    }
}

/// The lane with the largest score; of equal ones the lowest centre. Centre 0 where no score is a number.
#[inline(always)]
pub(in crate::kernels) fn winner<L: Lanes>((score, panel): (L, L)) -> u16 {
    let mut panels = [0.0; LANES];
    panel.store(&mut panels);
    let mut lanes = score.equal_lanes(score.max_lane());
    let mut winner = u16::MAX;
    while lanes != 0 {
        let lane = lanes.trailing_zeros() as usize;
        let centre = panels[lane % LANES] as u16 * LANES as u16 + lane as u16;
        winner = winner.min(centre);
        lanes &= lanes - 1;
    }
    winner
}
