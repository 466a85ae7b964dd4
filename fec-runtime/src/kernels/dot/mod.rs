//! Exact integer products of bytes: what int8 kernel bodies compute with besides [`Lanes`], one implementation per instruction set.
//!
//! A row's bytes are unsigned with a zero point, weights are signed; four products of an output lie in one 32-bit word, so that a
//! group of a panel is `[16 outputs][4 inputs]`. Sums of i32 are exact, so that their order does not matter and every instruction set
//! gives the same bits.
//!
//! No closure stands in a body, here or where this is used: a closure that is not inlined is compiled without the instructions.
#![expect(
    unsafe_code,
    reason = "the inner loop checks its bounds once for all rows"
)]

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(test)]
mod check;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon_dotprod;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon_i8mm;
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

    /// The sums of R rows, `stride` bytes apart, with P panels of the same number of groups, at least one; each from its start.
    #[inline(always)]
    fn products<const R: usize, const P: usize>(
        x: &[u8],
        stride: usize,
        panels: [&[Group]; P],
        start: [Self::Sums; P],
    ) -> [[<Self::Lanes as Lanes>::Ints; P]; R] {
        let groups = panels[0].len();
        assert!(
            groups > 0 && panels[P - 1].len() == groups && (1..=2).contains(&P),
            "panels of a length"
        );
        assert!(
            (R - 1) * stride + groups * GROUP <= x.len(),
            "rows too short"
        );
        let mut sums = [start; R];
        let mut k = 0;
        loop {
            // SAFETY: k < groups, the panels' length.
            let mut weights = [Self::weights(unsafe { panels[0].get_unchecked(k) }); P];
            if P == 2 {
                // SAFETY: the same.
                weights[P - 1] = Self::weights(unsafe { panels[P - 1].get_unchecked(k) });
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row r has `groups` groups from r * stride on, as asserted of the last one.
                let x = unsafe { &*x.as_ptr().add(r * stride + k * GROUP).cast() };
                let x = Self::row(x);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = Self::dot(*sum, x, weights);
                }
            }
            k += 1;
            if k == groups {
                break;
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
