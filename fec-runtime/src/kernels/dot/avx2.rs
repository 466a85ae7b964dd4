//! VPMADDWD: bytes are widened to 16 bits, so that no pair of products can saturate.
#![expect(unsafe_code, reason = "intrinsics of AVX2")]

// SAFETY of every block below: values of these types occur only in functions compiled for AVX2, which are reached through tables that
// `Kernels::get` hands out where `Isa::is_available` has found it; loads and stores go through references to whole arrays.

use core::arch::x86_64::*;

use super::{Dot, Group};
use crate::format::{GROUP, LANES};
use crate::kernels::lanes::Lanes;
use crate::kernels::lanes::avx2::Avx2 as Floats;

/// Two 256-bit registers of sums.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx2;

impl Dot for Avx2 {
    type Lanes = Floats<false>;
    type Sums = [__m256i; 2];
    /// Even inputs of the first and second half of the outputs, then odd ones.
    type Weights = [[__m256i; 2]; 2];
    /// Even inputs, then odd ones.
    type Row = [__m256i; 2];
    /// Sixteen bytes of the table at a time, each but the first of either half with the ones before taken away (exclusive or).
    type Table = [__m128i; 16];

    const ROWS: usize = 6;
    const PANELS: usize = 1;

    #[inline(always)]
    fn start(zero: u8, sums: &[i32; LANES]) -> Self::Sums {
        let [low, high] = Floats::<false>::load_ints(sums);
        // SAFETY: see the top.
        unsafe {
            let zero = _mm256_set1_epi32(-i32::from(zero));
            [
                _mm256_mullo_epi32(zero, low),
                _mm256_mullo_epi32(zero, high),
            ]
        }
    }

    #[inline(always)]
    fn weights(group: &Group) -> Self::Weights {
        let p = group.as_ptr();
        // SAFETY: see the top.
        unsafe {
            let low = _mm256_loadu_si256(p.cast());
            let high = _mm256_loadu_si256(p.add(32).cast());
            let even_low = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(low));
            let even_high = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(high));
            [
                [even_low, even_high],
                [_mm256_srai_epi16::<8>(low), _mm256_srai_epi16::<8>(high)],
            ]
        }
    }

    #[inline(always)]
    fn row(x: &[u8; GROUP]) -> Self::Row {
        // SAFETY: see the top.
        unsafe {
            let x = _mm256_set1_epi32(i32::from_ne_bytes(*x));
            [
                _mm256_and_si256(x, _mm256_set1_epi16(0xFF)),
                _mm256_srli_epi16::<8>(x),
            ]
        }
    }

    #[inline(always)]
    fn dot(mut sums: Self::Sums, x: Self::Row, weights: Self::Weights) -> Self::Sums {
        for i in 0..2 {
            for half in 0..2 {
                // SAFETY: see the top.
                sums[half] = unsafe {
                    _mm256_add_epi32(sums[half], _mm256_madd_epi16(x[i], weights[i][half]))
                };
            }
        }
        sums
    }

    #[inline(always)]
    fn ints(sums: Self::Sums) -> [__m256i; 2] {
        sums
    }

    #[inline(always)]
    fn table(bytes: &[u8; 256]) -> Self::Table {
        differences(bytes)
    }

    #[inline(always)]
    fn look_up(values: [Self::Lanes; 4], table: &Self::Table) -> [[u8; LANES]; 4] {
        let [a, b, c, d] = values;
        let ([a, b], [c, d]) = (two(a, b, table), two(c, d, table));
        [a, b, c, d]
    }
}

/// Looks up 32 values.
#[inline(always)]
fn two(a: Floats<false>, b: Floats<false>, table: &[__m128i; 16]) -> [[u8; LANES]; 2] {
    let high = Lanes::splat(127.0);
    let (a, b) = (a.min(high).round(), b.min(high).round());
    // SAFETY: see the top.
    unsafe {
        // Packing saturates, and works in halves of 128 bits: the permutation puts fours of outputs back in order.
        let words = (
            _mm256_packs_epi32(a[0], a[1]),
            _mm256_packs_epi32(b[0], b[1]),
        );
        let bytes = _mm256_packs_epi16(words.0, words.1);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let found = find(_mm256_permutevar8x32_epi32(bytes, order), table);
        let mut out = [[0; LANES]; 2];
        _mm256_storeu_si256(out.as_mut_ptr().cast(), found);
        out
    }
}

/// See [`Dot::Table`] of [`Avx2`].
#[inline(always)]
pub(super) fn differences(bytes: &[u8; 256]) -> [__m128i; 16] {
    let (rows, _) = bytes.as_chunks::<16>();
    // SAFETY: see the top.
    unsafe {
        let mut table = [_mm_setzero_si128(); 16];
        for (row, bytes) in table.iter_mut().zip(rows) {
            *row = _mm_loadu_si128(bytes.as_ptr().cast());
        }
        let whole = table;
        for (i, row) in table.iter_mut().enumerate() {
            if i % 8 != 0 {
                *row = _mm_xor_si128(*row, whole[i - 1]);
            }
        }
        table
    }
}

/// Looks up 32 bytes. VPSHUFB gives 0 for negative indices: subtracting 16 at a time, those entries count whose 16 bytes begin at or
/// before the index, and their exclusive or is the last one's bytes. The table's halves are for indices with either sign.
#[inline(always)]
fn find(index: __m256i, table: &[__m128i; 16]) -> __m256i {
    // SAFETY: see the top.
    unsafe {
        let mut found = _mm256_setzero_si256();
        let mirrored = _mm256_xor_si256(index, _mm256_set1_epi8(-128));
        for (half, index) in table.as_chunks::<8>().0.iter().zip([index, mirrored]) {
            let mut index = index;
            for row in half {
                let bytes = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(*row), index);
                found = _mm256_xor_si256(found, bytes);
                // Saturating, so that what is negative stays so.
                index = _mm256_subs_epi8(index, _mm256_set1_epi8(16));
            }
        }
        found
    }
}
