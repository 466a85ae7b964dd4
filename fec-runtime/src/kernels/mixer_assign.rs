//! The mixer's assignments and weights in one (SPEC 4.2): sixteen elements at a time, the lanes being elements and not centres, so
//! that no lane has to be compared with another, and only the winning centre's similarity becomes a weight.

use super::activation::{sigmoid, sigmoid_lanes};
use super::divisor;
use super::lanes::Lanes;
use crate::config::Similarity;
use crate::format::LANES;

/// The rows of one head: each takes the centre with the largest `score(m, n) = shift[m] + sum over k of key[n][k] * centre[m][k]`,
/// the lowest one of equal scores, and the weight sigmoid(beta + alpha * similarity) with it.
#[derive(Clone, Copy, Debug)]
pub struct MixerAssign<'a> {
    /// Keys: one row per element, `stride` apart, `dim` values each.
    pub keys: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Distance of two rows of keys, in values.
    pub stride: usize,
    /// Channels d of the head.
    pub dim: usize,
    /// Keys of the centres in panels, `[centres / 16][dim][16]`, zeros in the padding; unit keys for the cosine; negated where
    /// alpha is negative, since the least similar centre has the largest weight then.
    pub centres: &'a [f32],
    /// Start of each centre's score: 0, or ∓|c|²/2 for the Euclidean similarity; minus infinity in the padding.
    pub shift: &'a [f32],
    /// What keys and centres are compared by.
    pub similarity: Similarity,
    /// sim_alpha.
    pub alpha: f32,
    /// sim_beta.
    pub beta: f32,
}

impl MixerAssign<'_> {
    pub(super) fn check(&self, assign: usize, weights: usize) {
        let padded = self.shift.len();
        assert!(
            padded > 0 && padded.is_multiple_of(LANES) && padded <= 65_536,
            "centres are not in panels"
        );
        assert!(
            self.centres.len() == padded * self.dim,
            "centres do not fill their panels"
        );
        assert!(
            assign == self.rows && weights == self.rows,
            "one assignment and one weight per row"
        );
        assert!(
            self.rows == 0 || (self.rows - 1) * self.stride + self.dim <= self.keys.len(),
            "too few keys"
        );
    }

    /// Weight of row `n` with centre `m`: what the kernel gives where it finds that centre.
    pub(crate) fn weight(&self, n: usize, m: usize) -> f32 {
        sigmoid(self.logit(n, m))
    }

    /// What the sigmoid is taken of.
    pub(crate) fn logit(&self, n: usize, m: usize) -> f32 {
        let key = &self.keys[n * self.stride..][..self.dim];
        let (panels, _) = self.centres.as_chunks::<LANES>();
        let panel = &panels[m / LANES * self.dim..][..self.dim];
        let centre = panel.iter().map(|row| row[m % LANES]);
        let (mut score, mut squares) = (self.shift[m], 0.0);
        match self.similarity {
            Similarity::Euclidean => {
                let sign = if self.alpha < 0.0 { -1.0 } else { 1.0 };
                for (k, c) in key.iter().zip(centre) {
                    let difference = k - sign * c;
                    squares += difference * difference;
                }
                self.beta - self.alpha * libm::sqrtf(squares)
            }
            Similarity::Cosine | Similarity::Dot => {
                for (k, c) in key.iter().zip(centre) {
                    score += k * c;
                    squares += k * k;
                }
                self.logit_of(score, squares)
            }
        }
    }

    /// The same from the score and |k|², for cosine and dot product.
    fn logit_of(&self, score: f32, squares: f32) -> f32 {
        let similarity = match self.similarity {
            Similarity::Cosine => score / divisor(libm::sqrtf(squares)),
            Similarity::Dot | Similarity::Euclidean => score,
        };
        self.beta + self.alpha.abs() * similarity
    }

    /// Weights of rows from `first` on with the centres found.
    fn distances(&self, first: usize, assign: &[u16], weights: &mut [f32]) {
        for (n, (weight, &m)) in weights.iter_mut().zip(assign).enumerate() {
            *weight = self.weight(first + n, usize::from(m));
        }
    }
}

pub(super) fn portable(m: &MixerAssign<'_>, assign: &mut [u16], weights: &mut [f32]) {
    let (panels, _) = m.centres.as_chunks::<LANES>();
    for (n, (assign, weight)) in assign.iter_mut().zip(weights.iter_mut()).enumerate() {
        let key = &m.keys[n * m.stride..][..m.dim];
        let (mut best, mut centre) = (f32::NEG_INFINITY, 0);
        for (p, shift) in m.shift.as_chunks::<LANES>().0.iter().enumerate() {
            let mut scores = *shift;
            for (x, row) in key.iter().zip(&panels[p * m.dim..]) {
                for (score, c) in scores.iter_mut().zip(row) {
                    *score += x * c;
                }
            }
            for (i, &score) in scores.iter().enumerate() {
                if score > best {
                    (best, centre) = (score, p * LANES + i);
                }
            }
        }
        let squares = key.iter().fold(0.0, |sum, k| sum + k * k);
        (*assign, *weight) = (centre as u16, sigmoid(m.logit_of(best, squares)));
    }
    if m.similarity == Similarity::Euclidean {
        m.distances(0, assign, weights);
    }
}

/// Widest head whose keys are laid out in lanes; the portable form does wider ones.
const WIDEST: usize = 64;
/// Columns of keys that are turned into lanes together.
const COLUMNS: usize = 8;

#[inline(always)]
pub(super) fn body<L: Lanes>(m: &MixerAssign<'_>, assign: &mut [u16], weights: &mut [f32]) {
    if m.dim > WIDEST {
        return portable(m, assign, weights);
    }
    // Sixteen sums stay in the registers of the widest machines alone, and are too many for four centres.
    let few = m.shift.len() == LANES && m.shift[4] == f32::NEG_INFINITY;
    let fours = L::TILE_ROWS < 8 || few;
    let mut columns = [L::splat(0.0); WIDEST];
    let chunks = assign.chunks_mut(LANES).zip(weights.chunks_mut(LANES));
    for (i, (assign, weights)) in chunks.enumerate() {
        turn(m, i * LANES, &mut columns);
        let columns = &columns[..m.dim];
        let mut squares = L::splat(0.0);
        for x in columns {
            squares = x.mul_add(*x, squares);
        }
        let (score, centre) = if fours {
            best::<L, 4>(m, columns)
        } else {
            best::<L, LANES>(m, columns)
        };
        let mut numbers = [0; LANES];
        L::store_ints(centre.round(), &mut numbers);
        for (assign, number) in assign.iter_mut().zip(numbers) {
            *assign = number as u16;
        }
        if m.similarity == Similarity::Euclidean {
            m.distances(i * LANES, assign, weights);
            continue;
        }
        let similarity = match m.similarity {
            Similarity::Cosine => score.div(squares.sqrt().max(L::splat(divisor(0.0)))),
            Similarity::Dot | Similarity::Euclidean => score,
        };
        let t = L::splat(m.alpha.abs())
            .mul(similarity)
            .add(L::splat(m.beta));
        let found = sigmoid_lanes(t);
        match weights.as_mut_array() {
            Some(weights) => found.store(weights),
            None => found.store_part(weights),
        }
    }
}

/// Lays the keys of sixteen rows from `first` on out in lanes, the last row standing in for those that do not exist.
#[inline(always)]
fn turn<L: Lanes>(m: &MixerAssign<'_>, first: usize, columns: &mut [L; WIDEST]) {
    let width = m.dim.next_multiple_of(COLUMNS);
    let last = (m.rows - 1) * m.stride;
    if last + width > m.keys.len() {
        return turn_last(m, first, columns);
    }
    // What lies behind the head's keys is read, and not used.
    let mut rows: [&[[f32; COLUMNS]]; LANES] = [&[]; LANES];
    for (r, row) in rows.iter_mut().enumerate() {
        let start = ((first + r) * m.stride).min(last);
        *row = m.keys[start..][..width].as_chunks().0;
    }
    let (blocks, _) = columns.as_chunks_mut::<COLUMNS>();
    for (i, block) in blocks[..width / COLUMNS].iter_mut().enumerate() {
        *block = L::columns(core::array::from_fn(
            #[inline(always)]
            |r| &rows[r][i],
        ));
    }
}

/// The same for rows behind which nothing may be read.
#[inline(always)]
fn turn_last<L: Lanes>(m: &MixerAssign<'_>, first: usize, columns: &mut [L; WIDEST]) {
    for (k, column) in columns.iter_mut().enumerate().take(m.dim) {
        *column = L::load(&core::array::from_fn(
            #[inline(always)]
            |r| m.keys[(first + r).min(m.rows - 1) * m.stride + k],
        ));
    }
}

/// The best score of each lane and its centre, `G` centres at a time: as many sums as stay in registers.
#[inline(always)]
fn best<L: Lanes, const G: usize>(m: &MixerAssign<'_>, columns: &[L]) -> (L, L) {
    let mut best = (L::splat(f32::NEG_INFINITY), L::splat(0.0));
    let (groups, _) = m.centres.as_chunks::<G>();
    for (i, shift) in m.shift.as_chunks::<G>().0.iter().enumerate() {
        if shift[0] == f32::NEG_INFINITY {
            // Padding alone.
            break;
        }
        let (panel, group) = (i * G / LANES, i % (LANES / G));
        let mut sums = [L::splat(0.0); G];
        for (sum, shift) in sums.iter_mut().zip(shift) {
            *sum = L::splat(*shift);
        }
        let rows = groups[panel * m.dim * (LANES / G) + group..]
            .iter()
            .step_by(LANES / G);
        for (x, row) in columns.iter().zip(rows) {
            for (sum, c) in sums.iter_mut().zip(row) {
                *sum = x.mul_add(L::splat(*c), *sum);
            }
        }
        for (g, sum) in sums.into_iter().enumerate() {
            // Strictly larger: a later centre of the same score does not replace an earlier one.
            best = L::keep_larger(best, sum, L::splat((i * G + g) as f32));
        }
    }
    best
}
