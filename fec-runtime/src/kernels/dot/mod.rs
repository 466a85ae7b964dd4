//! Exact integer products of bytes: what int8 kernel bodies compute with besides [`Lanes`], one implementation per instruction set.
//!
//! A row's bytes are unsigned with a zero point, weights are signed; four products of an output lie in one 32-bit word, so that a
//! group of a panel is `[16 outputs][4 inputs]`. Sums of i32 are exact, so that their order does not matter and every instruction set
//! gives the same bits.
//!
//! No closure stands in a body, here or where this is used: a closure that is not inlined is compiled without the instructions.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
mod portable;

pub(super) use portable::Portable;

use super::lanes::Lanes;
use crate::format::{GROUP, LANES};

/// A group of a panel: `[16 outputs][4 inputs]`.
pub(super) type Group = [i8; GROUP * LANES];

/// Sixteen outputs' sums of products.
pub(super) trait Dot: Copy {
    /// What the sums are scaled with; never the fused ones.
    type Lanes: Lanes;
    /// Sixteen i32 sums of one row with one panel, in whichever form the products are added to.
    type Sums: Copy;
    /// A group of weights, prepared.
    type Weights: Copy;
    /// A group of a row, prepared.
    type Row: Copy;
    /// A table of 256 bytes, prepared.
    type Table: Copy;

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
    fn ints(sums: Self::Sums) -> <Self::Lanes as Lanes>::Ints;

    /// The sums of R rows with P panels, each from its start; all slices have the same length.
    #[inline(always)]
    fn products<const R: usize, const P: usize>(
        rows: [&[[u8; GROUP]]; R],
        panels: [&[Group]; P],
        start: [Self::Sums; P],
    ) -> [[<Self::Lanes as Lanes>::Ints; P]; R] {
        let mut sums = [start; R];
        for k in 0..panels[0].len() {
            let mut weights = [Self::weights(&panels[0][k]); P];
            for p in 1..P {
                weights[p] = Self::weights(&panels[p][k]);
            }
            for r in 0..R {
                let x = Self::row(&rows[r][k]);
                for p in 0..P {
                    sums[r][p] = Self::dot(sums[r][p], x, weights[p]);
                }
            }
        }
        let mut ints = [[Self::ints(sums[0][0]); P]; R];
        for r in 0..R {
            for p in 0..P {
                ints[r][p] = Self::ints(sums[r][p]);
            }
        }
        ints
    }

    /// Prepares a table.
    fn table(bytes: &[u8; 256]) -> Self::Table;
    /// Each value rounded to nearest even to -128..=127 (NaN to 127), and what the table has at that byte.
    fn look_up(values: [Self::Lanes; 4], table: &Self::Table) -> [[u8; LANES]; 4];
}
