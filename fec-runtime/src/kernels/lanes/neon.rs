//! Four 128-bit registers.
#![expect(unsafe_code, reason = "intrinsics of NEON")]

// SAFETY of every block below: lanes of this type occur only in functions compiled for NEON, which are reached through tables that
// `Kernels::get` hands out where `Isa::is_available` has found it; loads and stores go through references to whole arrays.

use core::arch::aarch64::*;
use core::arch::asm;

use super::Lanes;
use crate::format::LANES;

/// Sixteen floats: four registers of four.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Neon<const FUSED: bool>([float32x4_t; 4]);

impl<const FUSED: bool> Neon<FUSED> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Self {
        let ([a, b, c, d], [e, g, h, i]) = (self.0, other.0);
        Self([f(a, e), f(b, g), f(c, h), f(d, i)])
    }

    #[inline(always)]
    fn map(self, f: impl Fn(float32x4_t) -> float32x4_t) -> Self {
        self.zip(self, |a, _| f(a))
    }
}

/// Four f16, widened: FCVTL and FCVTL2 belong to plain NEON, but their intrinsics are not stable.
#[inline(always)]
fn widen(bits: uint16x8_t) -> (float32x4_t, float32x4_t) {
    let (low, high): (float32x4_t, float32x4_t);
    // SAFETY: the instructions touch registers alone; otherwise see the top.
    unsafe {
        asm!("fcvtl {low:v}.4s, {bits:v}.4h", "fcvtl2 {high:v}.4s, {bits:v}.8h",
            low = out(vreg) low, high = lateout(vreg) high, bits = in(vreg) bits,
            options(pure, nomem, nostack, preserves_flags));
    }
    (low, high)
}

/// Eight f16, rounded to nearest even.
#[inline(always)]
fn narrow(low: float32x4_t, high: float32x4_t) -> uint16x8_t {
    let bits: uint16x8_t;
    // SAFETY: the instructions touch registers alone; otherwise see the top.
    unsafe {
        asm!("fcvtn {bits:v}.4h, {low:v}.4s", "fcvtn2 {bits:v}.8h, {high:v}.4s",
            bits = out(vreg) bits, low = in(vreg) low, high = in(vreg) high,
            options(pure, nomem, nostack, preserves_flags));
    }
    bits
}

/// The lower half of every word of eight, then those of the other eight.
#[inline(always)]
fn halves(low: [uint32x4_t; 2]) -> uint16x8_t {
    // SAFETY: see the top.
    unsafe { vuzp1q_u16(vreinterpretq_u16_u32(low[0]), vreinterpretq_u16_u32(low[1])) }
}

/// The lowest byte of every word.
#[inline(always)]
fn bytes([a, b, c, d]: [uint32x4_t; 4]) -> uint8x16_t {
    let (low, high) = (halves([a, b]), halves([c, d]));
    // SAFETY: see the top.
    unsafe { vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)) }
}

impl<const FUSED: bool> Lanes for Neon<FUSED> {
    type Ints = [int32x4_t; 4];

    const TILE_ROWS: usize = 4;
    const TILE_PANELS: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see the top.
        Self([unsafe { vdupq_n_f32(value) }; 4])
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        let p = values.as_ptr();
        // SAFETY: see the top.
        Self(unsafe {
            [
                vld1q_f32(p),
                vld1q_f32(p.add(4)),
                vld1q_f32(p.add(8)),
                vld1q_f32(p.add(12)),
            ]
        })
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        let p = out.as_mut_ptr();
        let [a, b, c, d] = self.0;
        // SAFETY: see the top.
        unsafe {
            vst1q_f32(p, a);
            vst1q_f32(p.add(4), b);
            vst1q_f32(p.add(8), c);
            vst1q_f32(p.add(12), d);
        }
    }

    #[inline(always)]
    fn load_half(bits: &[u16; LANES]) -> Self {
        let p = bits.as_ptr();
        // SAFETY: see the top.
        let (low, high) = unsafe { (vld1q_u16(p), vld1q_u16(p.add(8))) };
        let ((a, b), (c, d)) = (widen(low), widen(high));
        Self([a, b, c, d])
    }

    #[inline(always)]
    fn store_half(self, out: &mut [u16; LANES]) {
        let bounded = self.min(Self::splat(65504.0)).max(Self::splat(-65504.0));
        let [a, b, c, d] = bounded.0;
        let p = out.as_mut_ptr();
        // SAFETY: see the top.
        unsafe {
            vst1q_u16(p, narrow(a, b));
            vst1q_u16(p.add(8), narrow(c, d));
        }
    }

    #[inline(always)]
    fn load_bytes(group: &[i8; 4 * LANES], k: usize) -> Self {
        let p = group.as_ptr();
        // SAFETY: see the top.
        unsafe {
            let up = vdupq_n_s32(24 - 8 * (k % 4) as i32);
            let word = |at: usize| {
                let words = vshlq_s32(vreinterpretq_s32_s8(vld1q_s8(p.add(at))), up);
                vcvtq_f32_s32(vshrq_n_s32::<24>(words))
            };
            Self([word(0), word(16), word(32), word(48)])
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the top.
        self.zip(other, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see the top.
        self.zip(other, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see the top.
        self.zip(other, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see the top.
        self.zip(other, |a, b| unsafe { vdivq_f32(a, b) })
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: see the top.
        self.map(|a| unsafe { vsqrtq_f32(a) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        if FUSED {
            let ([a, b, c, d], [e, f, g, h], [i, j, k, l]) = (self.0, factor.0, term.0);
            // SAFETY: see the top.
            Self(unsafe {
                [
                    vfmaq_f32(i, a, e),
                    vfmaq_f32(j, b, f),
                    vfmaq_f32(k, c, g),
                    vfmaq_f32(l, d, h),
                ]
            })
        } else {
            self.mul(factor).add(term)
        }
    }

    // Compared and selected: FMAX and FMAXNM treat NaN and the zeros otherwise.

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the top.
        self.zip(other, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the top.
        self.zip(other, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: see the top.
        self.map(|a| unsafe { vabsq_f32(a) })
    }

    #[inline(always)]
    fn max_lane(self) -> f32 {
        let [a, b, c, d] = self.0;
        // SAFETY: see the top.
        unsafe { vmaxvq_f32(vmaxq_f32(vmaxq_f32(a, b), vmaxq_f32(c, d))) }
    }

    #[inline(always)]
    fn equal_lanes(self, value: f32) -> u16 {
        const BIT: [u8; LANES] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
        // SAFETY: see the top.
        unsafe {
            let value = vdupq_n_f32(value);
            let equal = bytes(self.0.map(|lanes| vceqq_f32(lanes, value)));
            let bits = vandq_u8(equal, vld1q_u8(BIT.as_ptr()));
            let (low, high) = (vaddv_u8(vget_low_u8(bits)), vaddv_u8(vget_high_u8(bits)));
            u16::from_le_bytes([low, high])
        }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        let [a, b, c, d] = self.0;
        // SAFETY: see the top.
        unsafe {
            let four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)))
        }
    }

    #[inline(always)]
    fn load_ints(values: &[i32; LANES]) -> Self::Ints {
        let p = values.as_ptr();
        // SAFETY: see the top.
        unsafe {
            [
                vld1q_s32(p),
                vld1q_s32(p.add(4)),
                vld1q_s32(p.add(8)),
                vld1q_s32(p.add(12)),
            ]
        }
    }

    #[inline(always)]
    fn store_ints([a, b, c, d]: Self::Ints, out: &mut [i32; LANES]) {
        let p = out.as_mut_ptr();
        // SAFETY: see the top.
        unsafe {
            vst1q_s32(p, a);
            vst1q_s32(p.add(4), b);
            vst1q_s32(p.add(8), c);
            vst1q_s32(p.add(12), d);
        }
    }

    #[inline(always)]
    fn from_ints([a, b, c, d]: Self::Ints) -> Self {
        // SAFETY: see the top.
        Self(unsafe {
            [
                vcvtq_f32_s32(a),
                vcvtq_f32_s32(b),
                vcvtq_f32_s32(c),
                vcvtq_f32_s32(d),
            ]
        })
    }

    #[inline(always)]
    fn round(self) -> Self::Ints {
        let [a, b, c, d] = self.0;
        // SAFETY: see the top.
        unsafe {
            [
                vcvtnq_s32_f32(a),
                vcvtnq_s32_f32(b),
                vcvtnq_s32_f32(c),
                vcvtnq_s32_f32(d),
            ]
        }
    }

    #[inline(always)]
    fn store_bytes(ints: Self::Ints, out: &mut [u8; LANES]) {
        // SAFETY: see the top.
        unsafe {
            let words = ints.map(|ints| vreinterpretq_u32_s32(ints));
            vst1q_u8(out.as_mut_ptr(), bytes(words));
        }
    }

    #[inline(always)]
    fn keep_larger(best: (Self, Self), score: Self, number: Self) -> (Self, Self) {
        let (mut value, mut kept) = best;
        for i in 0..4 {
            // SAFETY: see the top.
            unsafe {
                let better = vcgtq_f32(score.0[i], value.0[i]);
                value.0[i] = vbslq_f32(better, score.0[i], value.0[i]);
                kept.0[i] = vbslq_f32(better, number.0[i], kept.0[i]);
            }
        }
        (value, kept)
    }

    #[inline(always)]
    fn columns(rows: [&[f32; 8]; LANES]) -> [Self; 8] {
        let mut columns = [Self::splat(0.0); 8];
        for (i, rows) in rows.as_chunks::<4>().0.iter().enumerate() {
            for half in [0, 4] {
                // SAFETY: see the top; each row has four values from `half` on.
                unsafe {
                    let row = |r: usize| vld1q_f32(rows[r].as_ptr().add(half));
                    let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                    let (ab, cd) = (vtrnq_f32(a, b), vtrnq_f32(c, d));
                    let low = |x, y| vcombine_f32(vget_low_f32(x), vget_low_f32(y));
                    let high = |x, y| vcombine_f32(vget_high_f32(x), vget_high_f32(y));
                    columns[half].0[i] = low(ab.0, cd.0);
                    columns[half + 1].0[i] = low(ab.1, cd.1);
                    columns[half + 2].0[i] = high(ab.0, cd.0);
                    columns[half + 3].0[i] = high(ab.1, cd.1);
                }
            }
        }
        columns
    }
}
