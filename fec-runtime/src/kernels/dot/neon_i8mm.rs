//! USMMLA: two rows with two outputs, eight inputs each. It has no stable intrinsic yet and stands as inline assembly.
#![expect(unsafe_code, reason = "USMMLA and SUDOT")]

// SAFETY of every block below: values of this type occur only in functions compiled for the matrix products, which are reached
// through tables that `Kernels::get` hands out where `Isa::is_available` has found them; the assembly touches registers alone.

use core::arch::aarch64::*;
use core::arch::asm;

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

    const ROWS: usize = 4;
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
        let mut sums = [[start[0]; P]; R];
        for (p, (panel, start)) in panels.into_iter().zip(start).enumerate() {
            let rows: [_; R] = rows(x, stride, panel.len());
            let column = if R.is_multiple_of(2) {
                pairs_of_rows(rows, panel, start)
            } else {
                row_by_row(rows, panel, start)
            };
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

/// USMMLA over pairs of rows. A register holds sums of two rows with outputs 2b and 2b + 1; rows 2i and 2i + 1 share two times four
/// of them, blocks 0 to 3 in the place of the former.
#[inline(always)]
fn pairs_of_rows<const R: usize>(
    rows: [&[[u8; GROUP]]; R],
    panel: &[Group],
    start: Sums,
) -> [Sums; R] {
    let blocks = blocks(start);
    let mut sums = [start; R];
    for (r, sums) in sums.iter_mut().enumerate() {
        *sums = blocks[r % 2];
    }
    let (fours, rest) = panel.as_chunks::<4>();
    for (i, [a, b, c, d]) in fours.iter().enumerate() {
        // Groups 0 and 1 of both rows of a pair in the place of the first, groups 2 and 3 in that of the second.
        let mut x = [zeros(); R];
        for (x, rows) in x.chunks_exact_mut(2).zip(rows.chunks_exact(2)) {
            let first = bytes(&rows[0].as_chunks::<4>().0[i]);
            let second = bytes(&rows[1].as_chunks::<4>().0[i]);
            x[0] = first_halves(first, second);
            x[1] = second_halves(first, second);
        }
        add_two::<0, R>(&mut sums, x, load(a), load(b));
        add_two::<1, R>(&mut sums, x, load(c), load(d));
    }
    for (i, group) in rest.iter().enumerate() {
        let mut x = [zeros(); R];
        for (x, rows) in x.chunks_exact_mut(2).zip(rows.chunks_exact(2)) {
            let k = fours.len() * 4 + i;
            x[0] = first_halves(NeonI8mm::row(&rows[0][k]), NeonI8mm::row(&rows[1][k]));
        }
        add_two::<0, R>(&mut sums, x, load(group), load(&[0; GROUP * LANES]));
    }
    for pair in sums.chunks_exact_mut(2) {
        let lines = lines(pair[0], pair[1]);
        pair.copy_from_slice(&lines);
    }
    sums
}

/// SUDOT for a row that has no partner.
#[inline(always)]
fn row_by_row<const R: usize>(
    rows: [&[[u8; GROUP]]; R],
    panel: &[Group],
    start: Sums,
) -> [Sums; R] {
    let mut sums = [start; R];
    for (sums, row) in sums.iter_mut().zip(rows) {
        let (fours, rest) = panel.as_chunks::<4>();
        let (row_fours, row_rest) = row.as_chunks::<4>();
        for (x, [a, b, c, d]) in row_fours.iter().zip(fours) {
            let x = bytes(x);
            *sums = dot::<0>(*sums, x, load(a));
            *sums = dot::<1>(*sums, x, load(b));
            *sums = dot::<2>(*sums, x, load(c));
            *sums = dot::<3>(*sums, x, load(d));
        }
        for (x, group) in row_rest.iter().zip(rest) {
            *sums = dot::<0>(*sums, NeonI8mm::row(x), load(group));
        }
    }
    sums
}

/// Adds the products of two groups, which each pair of rows has in the register of its row `H`.
#[inline(always)]
fn add_two<const H: usize, const R: usize>(
    sums: &mut [Sums; R],
    x: [uint8x16_t; R],
    first: [int8x16_t; 4],
    second: [int8x16_t; 4],
) {
    for (i, (first, second)) in first.into_iter().zip(second).enumerate() {
        let (a, b) = zip(first, second);
        for (sums, x) in sums.chunks_exact_mut(2).zip(x.chunks_exact(2)) {
            // Blocks 2i and 2i + 1.
            let block = &mut sums[i / 2];
            let at = 2 * (i % 2);
            // SAFETY: see the top.
            unsafe {
                block[at] = usmmla(block[at], x[H], a);
                block[at + 1] = usmmla(block[at + 1], x[H], b);
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
    let [[a, e], [b, f], [c, g], [d, h]] = [halves(a, a), halves(b, b), halves(c, c), halves(d, d)];
    [[a, e, b, f], [c, g, d, h]]
}

/// Two rows from their blocks.
#[inline(always)]
fn lines(first: Sums, second: Sums) -> [Sums; 2] {
    let ([a, e], [b, f]) = (halves(first[0], first[1]), halves(first[2], first[3]));
    let ([c, g], [d, h]) = (halves(second[0], second[1]), halves(second[2], second[3]));
    [[a, b, c, d], [e, f, g, h]]
}

/// The first halves of two registers, and the second ones.
#[inline(always)]
fn halves(a: int32x4_t, b: int32x4_t) -> [int32x4_t; 2] {
    // SAFETY: see the top.
    unsafe {
        [
            vcombine_s32(vget_low_s32(a), vget_low_s32(b)),
            vcombine_s32(vget_high_s32(a), vget_high_s32(b)),
        ]
    }
}

/// Sixteen bytes of 0.
#[inline(always)]
fn zeros() -> uint8x16_t {
    // SAFETY: see the top.
    unsafe { vdupq_n_u8(0) }
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
    unsafe {
        [
            sudot::<G>(sums[0], weights[0], x),
            sudot::<G>(sums[1], weights[1], x),
            sudot::<G>(sums[2], weights[2], x),
            sudot::<G>(sums[3], weights[3], x),
        ]
    }
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
