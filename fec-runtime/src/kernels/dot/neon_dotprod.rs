//! SDOT: four products of an output in one 32-bit lane. It has no stable intrinsic yet and stands as inline assembly.
#![expect(unsafe_code, reason = "SDOT")]

// SAFETY of every block below: values of this type occur only in functions compiled for the dot products, which are reached through
// tables that `Kernels::get` hands out where `Isa::is_available` has found them; the assembly touches registers alone.

use core::arch::aarch64::*;
use core::arch::asm;

use super::neon::{self, Sums, Table, less_128, load, rows, scaled, zeros};
use super::{Dot, Group};
use crate::format::{GROUP, LANES};
use crate::kernels::lanes::neon::Neon as Floats;

/// Four registers of sums, and SDOT.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct NeonDotprod;

impl Dot for NeonDotprod {
    type Lanes = Floats<false>;
    type Sums = Sums;
    type Weights = [int8x16_t; 4];
    /// A group less 128, four times.
    type Row = int8x16_t;
    type Table = Table;

    const ROWS: usize = 4;
    const PANELS: usize = 1;

    #[inline(always)]
    fn start(zero: u8, sums: &[i32; LANES]) -> Sums {
        scaled(128 - i32::from(zero), sums)
    }

    #[inline(always)]
    fn weights(group: &Group) -> Self::Weights {
        load(group)
    }

    #[inline(always)]
    fn row(x: &[u8; GROUP]) -> int8x16_t {
        less_128(&[*x; 4])
    }

    #[inline(always)]
    fn dot(sums: Sums, x: int8x16_t, weights: Self::Weights) -> Sums {
        dot::<0>(sums, x, weights)
    }

    #[inline(always)]
    fn ints(sums: Sums) -> Sums {
        sums
    }

    #[inline(always)]
    fn products<const R: usize, const P: usize>(
        x: &[u8],
        stride: usize,
        panels: [&[Group]; P],
        start: [Sums; P],
    ) -> [[Sums; P]; R] {
        let mut sums = [[start[0]; P]; R];
        for (p, (panel, start)) in panels.into_iter().zip(start).enumerate() {
            let column: [Sums; R] = column(rows(x, stride, panel.len()), panel, start);
            for (sums, column) in sums.iter_mut().zip(column) {
                sums[p] = column;
            }
        }
        sums
    }

    #[inline(always)]
    fn table(bytes: &[u8; 256]) -> Table {
        neon::table(bytes)
    }

    #[inline(always)]
    fn look_up(values: [Self::Lanes; 4], table: &Table) -> [[u8; LANES]; 4] {
        neon::look_up(values, table)
    }
}

/// The sums of R rows with a panel.
#[inline(always)]
fn column<const R: usize>(rows: [&[[u8; GROUP]]; R], panel: &[Group], start: Sums) -> [Sums; R] {
    let mut sums = [start; R];
    let (fours, rest) = panel.as_chunks::<4>();
    for (i, [a, b, c, d]) in fours.iter().enumerate() {
        let mut x = [zeros(); R];
        for (x, row) in x.iter_mut().zip(rows) {
            *x = less_128(&row.as_chunks::<4>().0[i]);
        }
        add::<0, R>(&mut sums, x, a);
        add::<1, R>(&mut sums, x, b);
        add::<2, R>(&mut sums, x, c);
        add::<3, R>(&mut sums, x, d);
    }
    for (i, group) in rest.iter().enumerate() {
        let weights = load(group);
        for (sums, row) in sums.iter_mut().zip(rows) {
            *sums = dot::<0>(*sums, NeonDotprod::row(&row[fours.len() * 4 + i]), weights);
        }
    }
    sums
}

/// Adds the products of one group, number `G` of the four in each register of `x`.
#[inline(always)]
fn add<const G: i32, const R: usize>(sums: &mut [Sums; R], x: [int8x16_t; R], group: &Group) {
    let weights = load(group);
    for (sums, x) in sums.iter_mut().zip(x) {
        *sums = dot::<G>(*sums, x, weights);
    }
}

#[inline(always)]
fn dot<const G: i32>(sums: Sums, x: int8x16_t, weights: [int8x16_t; 4]) -> Sums {
    // SAFETY: see the top.
    unsafe {
        [
            sdot::<G>(sums[0], weights[0], x),
            sdot::<G>(sums[1], weights[1], x),
            sdot::<G>(sums[2], weights[2], x),
            sdot::<G>(sums[3], weights[3], x),
        ]
    }
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const G: i32>(mut sums: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: see the top.
    unsafe {
        asm!("sdot {s:v}.4s, {w:v}.16b, {x:v}.4b[{g}]",
            s = inout(vreg) sums, w = in(vreg) weights, x = in(vreg) x, g = const G,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
