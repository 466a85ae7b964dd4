//! Exact integer products of bytes: what int8 kernel bodies compute with besides [`Lanes`], one implementation per instruction set.
//!
//! A row's bytes are unsigned with a zero point, weights are signed; four products of an output lie in one 32-bit word, so that a
//! group of a panel is `[16 outputs][4 inputs]`. Sums of i32 are exact, so that their order does not matter and every instruction set
//! gives the same bits.

mod portable;

use super::lanes::Lanes;
use crate::format::{GROUP, LANES};

/// A group of a panel: `[16 outputs][4 inputs]`.
pub(super) type Group = [i8; GROUP * LANES];

/// Sixteen outputs' sums of products.
pub(super) trait Dot: Lanes {
    /// Sixteen i32 sums of one row with one panel, in whichever form the products are added to.
    type Sums: Copy;
    /// A group of weights, prepared.
    type Weights: Copy;
    /// A group of a row, prepared.
    type Row: Copy;

    /// Rows of a tile: what the registers hold. One of 14, 6, 4.
    const ROWS: usize;
    /// Panels of a tile: 1 or 2.
    const PANELS: usize;

    /// What makes sums of `u * w` into sums of `(u - zero) * w`, given the sums of `w`.
    fn start(zero: u8, sums: &[i32; LANES]) -> Self::Sums;
    /// Prepares weights.
    fn weights(group: &Group) -> Self::Weights;
    /// Prepares a group of a row.
    fn row(x: &[u8; GROUP]) -> Self::Row;
    /// Adds four products to each sum.
    fn dot(sums: Self::Sums, x: Self::Row, weights: Self::Weights) -> Self::Sums;
    /// The sums as integers.
    fn ints(sums: Self::Sums) -> Self::Ints;

    /// The sums of R rows with P panels, each from its start; all slices have the same length.
    #[inline(always)]
    fn products<const R: usize, const P: usize>(
        rows: [&[[u8; GROUP]]; R],
        panels: [&[Group]; P],
        start: [Self::Sums; P],
    ) -> [[Self::Ints; P]; R] {
        let mut sums = [start; R];
        for k in 0..panels[0].len() {
            let weights: [_; P] = core::array::from_fn(|p| Self::weights(&panels[p][k]));
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let x = Self::row(&row[k]);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = Self::dot(*sum, x, weights);
                }
            }
        }
        sums.map(|sums| sums.map(Self::ints))
    }

    /// Each value rounded to nearest even to -128..=127 (NaN to 127), and what `table` has at that byte.
    fn look_up(values: [Self; 4], table: &[u8; 256]) -> [[u8; LANES]; 4];
}
