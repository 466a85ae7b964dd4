//! VPMADDWD on 512 bits, and VPDPBUSD of VNNI.
#![expect(unsafe_code, reason = "intrinsics of AVX-512")]

// SAFETY of every block below: values of these types occur only in functions compiled for AVX-512 (and VNNI and VBMI, for `Vnni`),
// which are reached through tables that `Kernels::get` hands out where `Isa::is_available` has found it; loads and stores go through
// references to whole arrays.

use core::arch::x86_64::*;

use super::avx2::differences;
use super::{Dot, Group};
use crate::format::{GROUP, LANES};
use crate::kernels::lanes::Lanes;
use crate::kernels::lanes::avx512::Avx512 as Floats;

/// One 512-bit register of sums, and VPMADDWD.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx512;

impl Dot for Avx512 {
    type Lanes = Floats<false>;
    type Sums = __m512i;
    /// Even inputs, then odd ones.
    type Weights = [__m512i; 2];
    type Row = [__m512i; 2];
    /// As that of AVX2.
    type Table = [__m128i; 16];

    const ROWS: usize = 6;
    const PANELS: usize = 2;

    #[inline(always)]
    fn start(zero: u8, sums: &[i32; LANES]) -> __m512i {
        start(zero, sums)
    }

    #[inline(always)]
    fn weights(group: &Group) -> Self::Weights {
        // SAFETY: see the top.
        unsafe {
            let w = _mm512_loadu_si512(group.as_ptr().cast());
            [
                _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(w)),
                _mm512_srai_epi16::<8>(w),
            ]
        }
    }

    #[inline(always)]
    fn row(x: &[u8; GROUP]) -> Self::Row {
        // SAFETY: see the top.
        unsafe {
            let x = _mm512_set1_epi32(i32::from_ne_bytes(*x));
            [
                _mm512_and_si512(x, _mm512_set1_epi16(0xFF)),
                _mm512_srli_epi16::<8>(x),
            ]
        }
    }

    #[inline(always)]
    fn dot(sums: __m512i, x: Self::Row, weights: Self::Weights) -> __m512i {
        // SAFETY: see the top.
        unsafe {
            let sums = _mm512_add_epi32(sums, _mm512_madd_epi16(x[0], weights[0]));
            _mm512_add_epi32(sums, _mm512_madd_epi16(x[1], weights[1]))
        }
    }

    #[inline(always)]
    fn ints(sums: __m512i) -> __m512i {
        sums
    }

    #[inline(always)]
    fn table(bytes: &[u8; 256]) -> Self::Table {
        differences(bytes)
    }

    /// As that of AVX2, on 64 bytes.
    #[inline(always)]
    fn look_up(values: [Self::Lanes; 4], table: &Self::Table) -> [[u8; LANES]; 4] {
        let index = bytes(values);
        // SAFETY: see the top.
        unsafe {
            let mut found = _mm512_setzero_si512();
            let mirrored = _mm512_xor_si512(index, _mm512_set1_epi8(-128));
            for (half, index) in table.as_chunks::<8>().0.iter().zip([index, mirrored]) {
                let mut index = index;
                for row in half {
                    let bytes = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(*row), index);
                    found = _mm512_xor_si512(found, bytes);
                    index = _mm512_subs_epi8(index, _mm512_set1_epi8(16));
                }
            }
            rows(found)
        }
    }
}

/// The same with VPDPBUSD, and VPERMI2B for tables.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Vnni;

impl Dot for Vnni {
    type Lanes = Floats<false>;
    type Sums = __m512i;
    type Weights = __m512i;
    type Row = __m512i;
    type Table = [__m512i; 4];

    const ROWS: usize = 14;
    const PANELS: usize = 2;

    #[inline(always)]
    fn start(zero: u8, sums: &[i32; LANES]) -> __m512i {
        start(zero, sums)
    }

    #[inline(always)]
    fn weights(group: &Group) -> __m512i {
        // SAFETY: see the top.
        unsafe { _mm512_loadu_si512(group.as_ptr().cast()) }
    }

    #[inline(always)]
    fn row(x: &[u8; GROUP]) -> __m512i {
        // SAFETY: see the top.
        unsafe { _mm512_set1_epi32(i32::from_ne_bytes(*x)) }
    }

    #[inline(always)]
    fn dot(sums: __m512i, x: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: see the top.
        unsafe { _mm512_dpbusd_epi32(sums, x, weights) }
    }

    #[inline(always)]
    fn ints(sums: __m512i) -> __m512i {
        sums
    }

    #[inline(always)]
    fn table(bytes: &[u8; 256]) -> Self::Table {
        let p = bytes.as_ptr();
        // SAFETY: see the top.
        unsafe {
            [
                _mm512_loadu_si512(p.cast()),
                _mm512_loadu_si512(p.add(64).cast()),
                _mm512_loadu_si512(p.add(128).cast()),
                _mm512_loadu_si512(p.add(192).cast()),
            ]
        }
    }

    #[inline(always)]
    fn look_up(values: [Self::Lanes; 4], table: &Self::Table) -> [[u8; LANES]; 4] {
        let index = bytes(values);
        // SAFETY: see the top.
        unsafe {
            // Seven bits choose from two registers, the sign between the halves.
            let positive = _mm512_permutex2var_epi8(table[0], index, table[1]);
            let negative = _mm512_permutex2var_epi8(table[2], index, table[3]);
            let sign = _mm512_movepi8_mask(index);
            rows(_mm512_mask_mov_epi8(positive, sign, negative))
        }
    }
}

#[inline(always)]
fn start(zero: u8, sums: &[i32; LANES]) -> __m512i {
    let sums = Floats::<false>::load_ints(sums);
    // SAFETY: see the top.
    unsafe { _mm512_mullo_epi32(_mm512_set1_epi32(-i32::from(zero)), sums) }
}

/// 64 values rounded to signed bytes.
#[inline(always)]
fn bytes(values: [Floats<false>; 4]) -> __m512i {
    let [a, b, c, d] = values;
    let high = Lanes::splat(127.0);
    let (a, b) = (a.min(high).round(), b.min(high).round());
    let (c, d) = (c.min(high).round(), d.min(high).round());
    // SAFETY: see the top.
    unsafe {
        // Packing saturates, and works in quarters of 128 bits: the permutation puts fours of outputs back in order.
        let bytes = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_permutexvar_epi32(order, bytes)
    }
}

#[inline(always)]
fn rows(bytes: __m512i) -> [[u8; LANES]; 4] {
    let mut rows = [[0; LANES]; 4];
    // SAFETY: see the top.
    unsafe { _mm512_storeu_si512(rows.as_mut_ptr().cast(), bytes) };
    rows
}
