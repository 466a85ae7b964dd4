//! Plain integers: the specification.

use super::{Dot, Group};
use crate::format::{GROUP, LANES};
use crate::kernels::lanes::{Lanes, Portable};

impl Dot for Portable {
    type Sums = [i32; LANES];
    type Weights = [[i32; LANES]; GROUP];
    type Row = [i32; GROUP];

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
    fn ints(sums: Self::Sums) -> Self::Ints {
        sums
    }

    #[inline(always)]
    fn look_up(values: [Self; 4], table: &[u8; 256]) -> [[u8; LANES]; 4] {
        values.map(|values| {
            let bounded = values.min(Self::splat(127.0)).max(Self::splat(-128.0));
            bounded.round().map(|v| table[usize::from(v as i8 as u8)])
        })
    }
}
