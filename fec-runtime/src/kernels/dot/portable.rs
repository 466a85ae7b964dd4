//! Plain integers: the specification.

use super::{Dot, Group};
use crate::format::{GROUP, LANES};
use crate::kernels::lanes::{self, Lanes};

/// Products of 32-bit integers, one after another.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Portable;

impl Dot for Portable {
    type Lanes = lanes::Portable;
    type Sums = [i32; LANES];
    type Weights = [[i32; LANES]; GROUP];
    type Row = [i32; GROUP];
    type Table = [u8; 256];

    const ROWS: usize = 4;
    const PANELS: usize = 1;

    #[inline(always)]
    fn start(zero: u8, sums: &[i32; LANES]) -> Self::Sums {
        sums.map(|sum| -i32::from(zero) * sum)
    }

    #[inline(always)]
    fn weights(group: &Group) -> Self::Weights {
        core::array::from_fn(|k| core::array::from_fn(|o| i32::from(group[o * GROUP + k])))
    }

    #[inline(always)]
    fn row(x: &[u8; GROUP]) -> Self::Row {
        x.map(i32::from)
    }

    #[inline(always)]
    fn dot(mut sums: Self::Sums, x: Self::Row, weights: Self::Weights) -> Self::Sums {
        for (x, weights) in x.iter().zip(&weights) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += x * weight;
            }
        }
        sums
    }

    #[inline(always)]
    fn ints(sums: Self::Sums) -> [i32; LANES] {
        sums
    }

    #[inline(always)]
    fn table(bytes: &[u8; 256]) -> Self::Table {
        *bytes
    }

    #[inline(always)]
    fn look_up(values: [Self::Lanes; 4], table: &Self::Table) -> [[u8; LANES]; 4] {
        values.map(|values| {
            let (low, high) = (Lanes::splat(-128.0), Lanes::splat(127.0));
            let bytes = values.min(high).max(low).round();
            bytes.map(|byte| table[usize::from(byte as u8)])
        })
    }
}
