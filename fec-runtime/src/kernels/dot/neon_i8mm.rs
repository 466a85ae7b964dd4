//! USMMLA: two rows with two outputs, eight inputs each. It has no stable intrinsic yet and stands as inline assembly.
#![expect(unsafe_code, reason = "USMMLA and SUDOT")]

// SAFETY of every block below: values of this type occur only in functions compiled for the matrix products, which are reached
// through tables that `Kernels::get` hands out where `Isa::is_available` has found them; the assembly touches registers alone.

use core::arch::aarch64::*;
use core::arch::asm;
use core::array::from_fn;

use super::neon::{self, Four, Sums, Table, load, rows, scaled};
use super::{Dot, Group};
use crate::format::{GROUP, LANES};
use crate::kernels::lanes::neon::Neon as Floats;

/// Four registers of sums, and USMMLA.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct NeonI8mm;

impl Dot for NeonI8mm {
    type Lanes = Floats<false>;
    type Sums = Sums;
    type Weights = [int8x16_t; 4];
    /// A group, four times.
    type Row = uint8x16_t;
    type Table = Table;

    const ROWS: usize = 6;
    const PANELS: usize = 1;

    #[inline(always)]
    fn start(zero: u8, sums: &[i32; LANES]) -> Sums {
        scaled(-i32::from(zero), sums)
    }

    #[inline(always)]
    fn weights(group: &Group) -> Self::Weights {
        load(group)
    }

    #[inline(always)]
    fn row(x: &[u8; GROUP]) -> uint8x16_t {
        bytes(&[*x; 4])
    }

    #[inline(always)]
    fn dot(sums: Sums, x: uint8x16_t, weights: Self::Weights) -> Sums {
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
        let sums: [[Sums; R]; P] = from_fn(|p| {
            let rows = rows::<R>(x, stride, panels[p].len());
            if R.is_multiple_of(2) {
                pairs_of_rows(rows, panels[p], start[p])
            } else {
                row_by_row(rows, panels[p], start[p])
            }
        });
        from_fn(|r| from_fn(|p| sums[p][r]))
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

/// USMMLA over pairs of rows. A register holds sums of two rows with outputs 2b and 2b + 1; rows 2i and 2i + 1 share two times four
/// of them, blocks 0 to 3 in the place of the former.
#[inline(always)]
fn pairs_of_rows<const R: usize>(
    rows: [&[[u8; GROUP]]; R],
    panel: &[Group],
    start: Sums,
) -> [Sums; R] {
    let blocks = blocks(start);
    let mut sums: [Sums; R] = from_fn(|r| blocks[r % 2]);
    let (fours, rest) = panel.as_chunks::<4>();
    let rows_fours = rows.map(|row| &row.as_chunks::<4>().0[..fours.len()]);
    for (i, [a, b, c, d]) in fours.iter().enumerate() {
        let x = rows_fours.map(|row| bytes(&row[i]));
        // Groups 0 and 1 of both rows of a pair, then groups 2 and 3.
        let low: [uint8x16_t; R] = from_fn(|r| first_halves(x[r & !1], x[r | 1]));
        add_two(&mut sums, low, load(a), load(b));
        let high: [uint8x16_t; R] = from_fn(|r| second_halves(x[r & !1], x[r | 1]));
        add_two(&mut sums, high, load(c), load(d));
    }
    for (i, group) in rest.iter().enumerate() {
        let x = rows.map(|row| bytes(&[row[fours.len() * 4 + i], [0; 4], [0; 4], [0; 4]]));
        let x: [uint8x16_t; R] = from_fn(|r| first_halves(x[r & !1], x[r | 1]));
        add_two(&mut sums, x, load(group), load(&[0; 64]));
    }
    from_fn(|r| lines(sums[r & !1], sums[r | 1])[r % 2])
}

/// SUDOT for a row that has no partner.
#[inline(always)]
fn row_by_row<const R: usize>(
    rows: [&[[u8; GROUP]]; R],
    panel: &[Group],
    start: Sums,
) -> [Sums; R] {
    rows.map(|row| {
        let mut sums = start;
        let (fours, rest) = panel.as_chunks::<4>();
        let (row_fours, row_rest) = row.as_chunks::<4>();
        for (x, [a, b, c, d]) in row_fours.iter().zip(fours) {
            let x = bytes(x);
            sums = dot::<0>(sums, x, load(a));
            sums = dot::<1>(sums, x, load(b));
            sums = dot::<2>(sums, x, load(c));
            sums = dot::<3>(sums, x, load(d));
        }
        for (x, group) in row_rest.iter().zip(rest) {
            sums = dot::<0>(sums, NeonI8mm::row(x), load(group));
        }
        sums
    })
}

/// Adds the products of two groups. `x` has the bytes of a pair of rows at the places of both.
#[inline(always)]
fn add_two<const R: usize>(
    sums: &mut [Sums; R],
    x: [uint8x16_t; R],
    first: [int8x16_t; 4],
    second: [int8x16_t; 4],
) {
    for i in 0..4 {
        let (a, b) = zip(first[i], second[i]);
        for pair in 0..R / 2 {
            // Blocks 2i and 2i + 1.
            let block = &mut sums[2 * pair + i / 2];
            // SAFETY: see the top.
            unsafe {
                block[2 * (i % 2)] = usmmla(block[2 * (i % 2)], x[2 * pair], a);
                block[2 * (i % 2) + 1] = usmmla(block[2 * (i % 2) + 1], x[2 * pair], b);
            }
        }
    }
}

/// Eight inputs of outputs 0 and 1, and of outputs 2 and 3, from four inputs of each and the four after.
#[inline(always)]
fn zip(first: int8x16_t, second: int8x16_t) -> (int8x16_t, int8x16_t) {
    // SAFETY: see the top.
    unsafe {
        let (first, second) = (vreinterpretq_s32_s8(first), vreinterpretq_s32_s8(second));
        (
            vreinterpretq_s8_s32(vzip1q_s32(first, second)),
            vreinterpretq_s8_s32(vzip2q_s32(first, second)),
        )
    }
}

#[inline(always)]
fn first_halves(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    // SAFETY: see the top.
    unsafe { vcombine_u8(vget_low_u8(a), vget_low_u8(b)) }
}

#[inline(always)]
fn second_halves(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    // SAFETY: see the top.
    unsafe { vcombine_u8(vget_high_u8(a), vget_high_u8(b)) }
}

/// The start of two equal rows as blocks, 0 to 3 and 4 to 7.
#[inline(always)]
fn blocks([a, b, c, d]: Sums) -> [Sums; 2] {
    let both = |sums: int32x4_t| {
        // SAFETY: see the top.
        unsafe {
            let (low, high) = (vget_low_s32(sums), vget_high_s32(sums));
            (vcombine_s32(low, low), vcombine_s32(high, high))
        }
    };
    let (a, b, c, d) = (both(a), both(b), both(c), both(d));
    [[a.0, a.1, b.0, b.1], [c.0, c.1, d.0, d.1]]
}

/// Two rows from their blocks.
#[inline(always)]
fn lines(first: Sums, second: Sums) -> [Sums; 2] {
    let two = |a: int32x4_t, b: int32x4_t| {
        // SAFETY: see the top.
        unsafe {
            (
                vcombine_s32(vget_low_s32(a), vget_low_s32(b)),
                vcombine_s32(vget_high_s32(a), vget_high_s32(b)),
            )
        }
    };
    let (a, b) = (two(first[0], first[1]), two(first[2], first[3]));
    let (c, d) = (two(second[0], second[1]), two(second[2], second[3]));
    [[a.0, b.0, c.0, d.0], [a.1, b.1, c.1, d.1]]
}

/// Four groups of a row.
#[inline(always)]
fn bytes(x: &Four) -> uint8x16_t {
    // SAFETY: see the top.
    unsafe { vld1q_u8(x.as_ptr().cast()) }
}

#[inline(always)]
fn dot<const G: i32>(sums: Sums, x: uint8x16_t, weights: [int8x16_t; 4]) -> Sums {
    // SAFETY: see the top.
    from_fn(|i| unsafe { sudot::<G>(sums[i], weights[i], x) })
}

#[inline]
#[target_feature(enable = "neon,i8mm")]
fn sudot<const G: i32>(mut sums: int32x4_t, weights: int8x16_t, x: uint8x16_t) -> int32x4_t {
    // SAFETY: see the top.
    unsafe {
        asm!("sudot {s:v}.4s, {w:v}.16b, {x:v}.4b[{g}]",
            s = inout(vreg) sums, w = in(vreg) weights, x = in(vreg) x, g = const G,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

#[inline]
#[target_feature(enable = "neon,i8mm")]
fn usmmla(mut sums: int32x4_t, x: uint8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: see the top.
    unsafe {
        asm!("usmmla {s:v}.4s, {x:v}.16b, {w:v}.16b",
            s = inout(vreg) sums, x = in(vreg) x, w = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
