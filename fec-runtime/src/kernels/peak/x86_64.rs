//! Peaks of x86-64: fused multiply-adds, and the integer product that each level's kernels use.
#![expect(
    unsafe_code,
    reason = "functions with target features are called after a check"
)]

use core::arch::x86_64::{
    _mm256_add_epi32, _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_madd_epi16,
    _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_ps,
};
use core::array::from_fn;
use core::hint::black_box;

use crate::kernels::Isa;

/// Chains with 16 and with 32 registers: more than latency times operations a cycle, and room for the operands. With the widened integers,
/// where additions and products compete, these numbers reach the most (Zen 4; 8 to 14 and 12 to 28 tried).
const CHAINS_OF_16: usize = 14;
const CHAINS_OF_32: usize = 28;

/// Runs the loop of `isa`, which the machine must have, and gives the multiply-adds of a round.
pub(super) fn run(isa: Isa, integer: bool, rounds: u32) -> usize {
    assert!(isa.is_available(), "this machine has no such instructions");
    // SAFETY: `is_available` has just said that the machine has the features of `isa`, which are those of the functions called.
    unsafe {
        match (isa, integer) {
            (Isa::Avx512 | Isa::Avx512Vnni, false) => fma_512(rounds),
            (Isa::Avx512Vnni, true) => dot_512(rounds),
            (Isa::Avx512, true) => madd_512(rounds),
            (Isa::Avx2, false) => fma_256(rounds),
            (Isa::Avx2, true) => madd_256(rounds),
            _ => 0,
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn fma_256(rounds: u32) -> usize {
    let (a, b) = (
        black_box(_mm256_set1_ps(0.5)),
        black_box(_mm256_set1_ps(1.0)),
    );
    let mut sums: [_; CHAINS_OF_16] = from_fn(|i| black_box(_mm256_set1_ps(i as f32)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums);
    CHAINS_OF_16 * 8
}

#[target_feature(enable = "avx512f")]
fn fma_512(rounds: u32) -> usize {
    let (a, b) = (
        black_box(_mm512_set1_ps(0.5)),
        black_box(_mm512_set1_ps(1.0)),
    );
    let mut sums: [_; CHAINS_OF_32] = from_fn(|i| black_box(_mm512_set1_ps(i as f32)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums);
    CHAINS_OF_32 * 16
}

/// VPMADDWD and VPADDD: the widened route of AVX2, two products of 16 bits in each of 8 lanes.
#[target_feature(enable = "avx2")]
fn madd_256(rounds: u32) -> usize {
    let weight = black_box(_mm256_set1_epi16(3));
    let mut sums: [_; CHAINS_OF_16] = from_fn(|i| black_box(_mm256_set1_epi32(i as i32)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, weight));
        }
    }
    black_box(sums);
    CHAINS_OF_16 * 16
}

#[target_feature(enable = "avx512f,avx512bw")]
fn madd_512(rounds: u32) -> usize {
    let weight = black_box(_mm512_set1_epi16(3));
    let mut sums: [_; CHAINS_OF_32] = from_fn(|i| black_box(_mm512_set1_epi32(i as i32)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(*sum, weight));
        }
    }
    black_box(sums);
    CHAINS_OF_32 * 32
}

/// VPDPBUSD: four products of 8 bits in each of 16 lanes.
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_512(rounds: u32) -> usize {
    let (x, weight) = (
        black_box(_mm512_set1_epi8(3)),
        black_box(_mm512_set1_epi8(5)),
    );
    let mut sums: [_; CHAINS_OF_32] = from_fn(|i| black_box(_mm512_set1_epi32(i as i32)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, x, weight);
        }
    }
    black_box(sums);
    CHAINS_OF_32 * 64
}
