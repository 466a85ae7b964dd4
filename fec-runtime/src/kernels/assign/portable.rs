//! The specification: scores panel by panel, the best value and panel of each lane, then the lanes.

use super::Assign;
use super::locality::{Window, position};
use crate::format::LANES;

/// Rows that share a pass over the centres.
const TILE: usize = 2;

/// The best score of each lane and its centre.
#[derive(Clone, Copy)]
struct Best {
    score: [f32; LANES],
    centre: [u32; LANES],
}

pub(in crate::kernels) fn assign(a: &Assign<'_>, out: &mut [u16]) {
    let mut first = 0;
    while first < a.rows {
        let rows = if a.rows - first >= TILE { TILE } else { 1 };
        let mut best = [Best {
            score: [f32::NEG_INFINITY; LANES],
            centre: [0; LANES],
        }; TILE];
        let panels = a.shift.len() / LANES;
        for run in Window::new(panels, a.locality.as_ref(), first, rows) {
            for panel in run {
                if rows == TILE {
                    visit_panel::<TILE>(a, first, panel, &mut best);
                } else {
                    visit_panel::<1>(a, first, panel, &mut best);
                }
            }
        }
        for (out, best) in out[first..first + rows].iter_mut().zip(&best) {
            *out = winner(best);
        }
        first += rows;
    }
}

fn visit_panel<const R: usize>(
    a: &Assign<'_>,
    first: usize,
    panel: usize,
    best: &mut [Best; TILE],
) {
    let base = panel * LANES;
    let lanes = |values: &[f32]| -> [f32; LANES] { core::array::from_fn(|i| values[base + i]) };
    let weights = a.centres[base * a.inputs..][..a.inputs * LANES]
        .as_chunks::<LANES>()
        .0;
    let rows: [&[f32]; R] = core::array::from_fn(|r| &a.x[(first + r) * a.x_stride..][..a.inputs]);
    let mut scores = [lanes(a.shift); R];
    for (k, weights) in weights.iter().enumerate() {
        for (scores, row) in scores.iter_mut().zip(&rows) {
            let x = row[k];
            for (score, weight) in scores.iter_mut().zip(weights) {
                *score += x * weight;
            }
        }
    }
    if let Some(l) = &a.locality {
        let (centre_rows, centre_cols) = (lanes(l.centre_rows), lanes(l.centre_cols));
        for (r, scores) in scores.iter_mut().enumerate() {
            let (y, x) = position(l, l.first + first + r);
            let weight = l.lambda * l.key_norms[first + r];
            for (score, (cy, cx)) in scores.iter_mut().zip(centre_rows.iter().zip(&centre_cols)) {
                let (dy, dx) = (cy - y, cx - x);
                *score -= weight * (dy * dy + dx * dx);
            }
        }
    }
    for (best, scores) in best.iter_mut().zip(&scores) {
        for (i, &score) in scores.iter().enumerate() {
            // Strictly: a later centre of the same score does not replace an earlier one.
            let better = score > best.score[i];
            best.score[i] = if better { score } else { best.score[i] };
            best.centre[i] = if better {
                (base + i) as u32
            } else {
                best.centre[i]
            };
        }
    }
}

/// The lane with the largest score; of equal ones the lowest centre. Centre 0 where no score is a number.
fn winner(best: &Best) -> u16 {
    let (mut score, mut centre) = (f32::NEG_INFINITY, 0);
    for (&s, &c) in best.score.iter().zip(&best.centre) {
        if s > score || (s == score && c < centre) {
            (score, centre) = (s, c);
        }
    }
    centre as u16
}
