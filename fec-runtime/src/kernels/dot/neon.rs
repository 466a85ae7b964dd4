//! SMULL, SMLAL and SADALP of plain NEON: two products of 16 bits in a lane, which are exact within ±32767, then pairs of lanes.
#![expect(unsafe_code, reason = "intrinsics of NEON")]

// SAFETY of every block below: values of these types occur only in functions compiled for NEON, which are reached through tables that
// `Kernels::get` hands out where `Isa::is_available` has found it; loads and stores go through references to whole arrays.

use core::arch::aarch64::*;
use core::array::from_fn;

use super::{Dot, Group};
use crate::format::{GROUP, LANES};
use crate::kernels::lanes::Lanes;
use crate::kernels::lanes::neon::Neon as Floats;

/// Sixteen sums.
pub(super) type Sums = [int32x4_t; 4];
/// Sixteen bytes of a row: four groups.
pub(super) type Four = [[u8; GROUP]; 4];

/// Four registers of sums of products widened to 16 bits.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Neon;

impl Dot for Neon {
    type Lanes = Floats<false>;
    type Sums = Sums;
    /// Inputs 0 and 1 of outputs 0 to 7, inputs 2 and 3 of those, then outputs 8 to 15.
    type Weights = [int8x16_t; 4];
    /// Inputs 0 and 1 in every 16 bits, then inputs 2 and 3; less 128.
    type Row = [int8x16_t; 2];
    type Table = Table;

    const ROWS: usize = 4;
    const PANELS: usize = 1;

    #[inline(always)]
    fn start(zero: u8, sums: &[i32; LANES]) -> Sums {
        scaled(128 - i32::from(zero), sums)
    }

    #[inline(always)]
    fn weights(group: &Group) -> Self::Weights {
        let [a, b, c, d] = load(group);
        // SAFETY: see the top.
        unsafe {
            let (a, b) = (vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b));
            let (c, d) = (vreinterpretq_s16_s8(c), vreinterpretq_s16_s8(d));
            [
                vreinterpretq_s8_s16(vuzp1q_s16(a, b)),
                vreinterpretq_s8_s16(vuzp2q_s16(a, b)),
                vreinterpretq_s8_s16(vuzp1q_s16(c, d)),
                vreinterpretq_s8_s16(vuzp2q_s16(c, d)),
            ]
        }
    }

    #[inline(always)]
    fn row(x: &[u8; GROUP]) -> Self::Row {
        pairs::<0, 1>(less_128(&[*x; 4]))
    }

    #[inline(always)]
    fn dot(sums: Sums, x: Self::Row, w: Self::Weights) -> Sums {
        [
            low(sums[0], x, w[0], w[1]),
            high(sums[1], x, w[0], w[1]),
            low(sums[2], x, w[2], w[3]),
            high(sums[3], x, w[2], w[3]),
        ]
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
        table(bytes)
    }

    #[inline(always)]
    fn look_up(values: [Self::Lanes; 4], table: &Table) -> [[u8; LANES]; 4] {
        look_up(values, table)
    }
}

/// Four products of each of outputs 0 to 3 of two registers of weights.
#[inline(always)]
fn low(sums: int32x4_t, x: [int8x16_t; 2], first: int8x16_t, second: int8x16_t) -> int32x4_t {
    // SAFETY: see the top.
    unsafe {
        let products = vmull_s8(vget_low_s8(first), vget_low_s8(x[0]));
        vpadalq_s16(
            sums,
            vmlal_s8(products, vget_low_s8(second), vget_low_s8(x[1])),
        )
    }
}

/// The same of outputs 4 to 7.
#[inline(always)]
fn high(sums: int32x4_t, x: [int8x16_t; 2], first: int8x16_t, second: int8x16_t) -> int32x4_t {
    // SAFETY: see the top.
    unsafe {
        let products = vmull_high_s8(first, x[0]);
        vpadalq_s16(sums, vmlal_high_s8(products, second, x[1]))
    }
}

/// R rows of so many groups, `stride` bytes apart.
#[inline(always)]
pub(super) fn rows<const R: usize>(x: &[u8], stride: usize, groups: usize) -> [&[[u8; GROUP]]; R] {
    let mut rows: [&[[u8; GROUP]]; R] = [&[]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &x[r * stride..].as_chunks().0[..groups];
    }
    rows
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
        add::<0, 1, R>(&mut sums, x, a);
        add::<2, 3, R>(&mut sums, x, b);
        add::<4, 5, R>(&mut sums, x, c);
        add::<6, 7, R>(&mut sums, x, d);
    }
    for (i, group) in rest.iter().enumerate() {
        let weights = Neon::weights(group);
        for (sums, row) in sums.iter_mut().zip(rows) {
            *sums = Neon::dot(*sums, Neon::row(&row[fours.len() * 4 + i]), weights);
        }
    }
    sums
}

/// Adds the products of one group, whose inputs are 16-bit lanes `A` and `B` of `x`.
#[inline(always)]
fn add<const A: i32, const B: i32, const R: usize>(
    sums: &mut [Sums; R],
    x: [int8x16_t; R],
    group: &Group,
) {
    let weights = Neon::weights(group);
    let mut pairs_of = [[zeros(); 2]; R];
    for (pair, x) in pairs_of.iter_mut().zip(x) {
        *pair = pairs::<A, B>(x);
    }
    for (sums, x) in sums.iter_mut().zip(pairs_of) {
        *sums = Neon::dot(*sums, x, weights);
    }
}

/// Sixteen bytes of 0.
#[inline(always)]
pub(super) fn zeros() -> int8x16_t {
    // SAFETY: see the top.
    unsafe { vdupq_n_s8(0) }
}

/// Two 16-bit lanes, each in all lanes of a register.
#[inline(always)]
fn pairs<const A: i32, const B: i32>(x: int8x16_t) -> [int8x16_t; 2] {
    // SAFETY: see the top.
    unsafe {
        let x = vreinterpretq_s16_s8(x);
        let (a, b) = (vdupq_laneq_s16::<A>(x), vdupq_laneq_s16::<B>(x));
        [vreinterpretq_s8_s16(a), vreinterpretq_s8_s16(b)]
    }
}

/// Bytes of a row less 128: u8 become s8.
#[inline(always)]
pub(super) fn less_128(x: &Four) -> int8x16_t {
    // SAFETY: see the top.
    unsafe { vreinterpretq_s8_u8(veorq_u8(vld1q_u8(x.as_ptr().cast()), vdupq_n_u8(0x80))) }
}

/// The weights of a group, four outputs to a register.
#[inline(always)]
pub(super) fn load(group: &Group) -> [int8x16_t; 4] {
    let p = group.as_ptr();
    // SAFETY: see the top.
    unsafe {
        [
            vld1q_s8(p),
            vld1q_s8(p.add(16)),
            vld1q_s8(p.add(32)),
            vld1q_s8(p.add(48)),
        ]
    }
}

/// Sums of weights times a factor.
#[inline(always)]
pub(super) fn scaled(factor: i32, sums: &[i32; LANES]) -> Sums {
    // SAFETY: see the top.
    Floats::<false>::load_ints(sums).map(|sums| unsafe { vmulq_n_s32(sums, factor) })
}

/// 256 bytes, 64 to an instruction.
pub(super) type Table = [uint8x16x4_t; 4];

#[inline(always)]
pub(super) fn table(bytes: &[u8; 256]) -> Table {
    let (quarters, _) = bytes.as_chunks::<64>();
    // SAFETY: see the top.
    from_fn(|i| unsafe { vld1q_u8_x4(quarters[i].as_ptr()) })
}

/// TBL for the first 64 bytes; TBX leaves what another quarter has found.
#[inline(always)]
pub(super) fn look_up(values: [Floats<false>; 4], table: &Table) -> [[u8; LANES]; 4] {
    let index = values.map(bytes);
    // SAFETY: see the top.
    let mut found = index.map(|index| unsafe { vqtbl4q_u8(table[0], index) });
    for (quarter, first) in table[1..].iter().zip([64, 128, 192]) {
        for (found, index) in found.iter_mut().zip(index) {
            // SAFETY: see the top.
            *found = unsafe { vqtbx4q_u8(*found, *quarter, vsubq_u8(index, vdupq_n_u8(first))) };
        }
    }
    found.map(|found| {
        let mut bytes = [0; LANES];
        // SAFETY: see the top.
        unsafe { vst1q_u8(bytes.as_mut_ptr(), found) };
        bytes
    })
}

/// Values rounded to signed bytes.
#[inline(always)]
fn bytes(values: Floats<false>) -> uint8x16_t {
    let [a, b, c, d] = values.min(Lanes::splat(127.0)).round();
    // SAFETY: see the top.
    unsafe {
        let low = vqmovn_high_s32(vqmovn_s32(a), b);
        let high = vqmovn_high_s32(vqmovn_s32(c), d);
        vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(low), high))
    }
}
