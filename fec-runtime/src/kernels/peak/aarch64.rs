//! Peaks of aarch64: fused multiply-adds, and the integer product that each level's kernels use. SDOT and SMMLA have no stable
//! intrinsics yet and stand as inline assembly.
#![expect(
    unsafe_code,
    reason = "functions with target features are called after a check"
)]

use core::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, vdupq_n_f32, vdupq_n_s8, vdupq_n_s32, vfmaq_f32,
    vget_low_s8, vmlal_high_s8, vmull_s8, vpadalq_s16, vreinterpretq_s8_s32,
};
use core::arch::asm;
use core::array::from_fn;
use core::hint::black_box;

use crate::kernels::Isa;

/// Chains of accumulators: latency of 4 cycles times up to four operations a cycle.
const CHAINS: usize = 16;

/// Runs the loop of `isa`, which the machine must have, and gives the multiply-adds of a round.
pub(super) fn run(isa: Isa, integer: bool, rounds: u32) -> usize {
    assert!(isa.is_available(), "this machine has no such instructions");
    // SAFETY: `is_available` has just said that the machine has the features of `isa`, which are those of the functions called.
    unsafe {
        match (isa, integer) {
            (_, false) => fma(rounds),
            (Isa::NeonI8mm, true) => matrix(rounds),
            (Isa::NeonDotprod, true) => dot(rounds),
            (_, true) => widening(rounds),
        }
    }
}

#[target_feature(enable = "neon")]
fn fma(rounds: u32) -> usize {
    let (a, b) = (black_box(vdupq_n_f32(0.5)), black_box(vdupq_n_f32(0.25)));
    let mut sums: [float32x4_t; CHAINS] = from_fn(|i| black_box(vdupq_n_f32(i as f32)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = vfmaq_f32(*sum, a, b);
        }
    }
    black_box(sums);
    CHAINS * 4
}

#[target_feature(enable = "neon")]
fn integers() -> (int8x16_t, [int32x4_t; CHAINS]) {
    (
        black_box(vdupq_n_s8(3)),
        from_fn(|i| black_box(vdupq_n_s32(i as i32))),
    )
}

/// SMULL, SMLAL2 and SADALP: two products of 8 bits in each of 8 lanes, added in pairs.
#[target_feature(enable = "neon")]
fn widening(rounds: u32) -> usize {
    let (weight, mut sums) = integers();
    for _ in 0..rounds {
        for sum in &mut sums {
            let x = vreinterpretq_s8_s32(*sum);
            let products = vmull_s8(vget_low_s8(x), vget_low_s8(weight));
            *sum = vpadalq_s16(*sum, vmlal_high_s8(products, x, weight));
        }
    }
    black_box(sums);
    CHAINS * 16
}

/// SDOT: four products of 8 bits in each of 4 lanes.
#[target_feature(enable = "neon,dotprod")]
fn dot(rounds: u32) -> usize {
    let (weight, mut sums) = integers();
    for _ in 0..rounds {
        for sum in &mut sums {
            // SAFETY: the instruction touches registers alone, and this function's features have it.
            unsafe {
                asm!("sdot {s:v}.4s, {w:v}.16b, {w:v}.16b", s = inout(vreg) *sum, w = in(vreg) weight,
                    options(pure, nomem, nostack, preserves_flags));
            }
        }
    }
    black_box(sums);
    CHAINS * 16
}

/// SMMLA: eight products of 8 bits in each of the 4 values of a 2x2 matrix.
#[target_feature(enable = "neon,i8mm")]
fn matrix(rounds: u32) -> usize {
    let (weight, mut sums) = integers();
    for _ in 0..rounds {
        for sum in &mut sums {
            // SAFETY: the instruction touches registers alone, and this function's features have it.
            unsafe {
                asm!("smmla {s:v}.4s, {w:v}.16b, {w:v}.16b", s = inout(vreg) *sum, w = in(vreg) weight,
                    options(pure, nomem, nostack, preserves_flags));
            }
        }
    }
    black_box(sums);
    CHAINS * 32
}
