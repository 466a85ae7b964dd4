//! One 512-bit register.
#![expect(unsafe_code, reason = "intrinsics of AVX-512")]

// SAFETY of every block below: lanes of this type occur only in functions compiled for AVX-512, which are reached through tables
// that `Kernels::get` hands out where `Isa::is_available` has found it; loads and stores go through references to whole arrays.

use core::arch::x86_64::*;

use super::Lanes;
use crate::format::LANES;

/// Sixteen floats.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx512<const FUSED: bool>(__m512);

/// 2^n for -126 <= n <= 127.
#[inline(always)]
fn power_of_two<const FUSED: bool>(n: __m512i) -> Avx512<FUSED> {
    // SAFETY: see the top.
    unsafe {
        let exponent = _mm512_add_epi32(n, _mm512_set1_epi32(127));
        Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
    }
}

/// Mask of the first lanes, fewer than sixteen.
#[inline(always)]
fn first(count: usize) -> u16 {
    debug_assert!(count < LANES);
    (1 << count) - 1
}

/// Both halves of eight vectors, each half a square of eight rows and columns, with rows and columns exchanged.
///
/// # Safety
/// The machine must have AVX-512.
#[inline(always)]
unsafe fn transpose_halves(rows: [__m512; 8]) -> [__m512; 8] {
    // SAFETY: see the top.
    unsafe {
        let mut twos = rows;
        for i in (0..8).step_by(2) {
            twos[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
            twos[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
        }
        // Quarters of 128 bits: columns 0 and 4 of four rows, 1 and 5, 2 and 6, 3 and 7.
        let mut fours = rows;
        for i in [0, 4] {
            fours[i] = _mm512_shuffle_ps::<0x44>(twos[i], twos[i + 2]);
            fours[i + 1] = _mm512_shuffle_ps::<0xEE>(twos[i], twos[i + 2]);
            fours[i + 2] = _mm512_shuffle_ps::<0x44>(twos[i + 1], twos[i + 3]);
            fours[i + 3] = _mm512_shuffle_ps::<0xEE>(twos[i + 1], twos[i + 3]);
        }
        let low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
        let high = _mm512_setr_epi32(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
        let mut columns = rows;
        for k in 0..4 {
            columns[k] = _mm512_permutex2var_ps(fours[k], low, fours[k + 4]);
            columns[k + 4] = _mm512_permutex2var_ps(fours[k], high, fours[k + 4]);
        }
        columns
    }
}

impl<const FUSED: bool> Lanes for Avx512<FUSED> {
    type Ints = __m512i;

    // The exact form has the few products of integer networks that are not of bytes.
    const TILE_ROWS: usize = if FUSED { 14 } else { 8 };
    const TILE_PANELS: usize = if FUSED { 2 } else { 1 };
    const LOOKS_UP: bool = FUSED;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_loadu_ps(values.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        // SAFETY: see the top.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn load_part(values: &[f32]) -> Self {
        // SAFETY: see the top; the mask leaves out what lies behind the values.
        Self(unsafe { _mm512_maskz_loadu_ps(first(values.len()), values.as_ptr()) })
    }

    #[inline(always)]
    fn store_part(self, out: &mut [f32]) {
        // SAFETY: see the top; the mask leaves out what lies behind the values.
        unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), first(out.len()), self.0) }
    }

    #[inline(always)]
    fn load_half_part(bits: &[u16]) -> Self {
        // SAFETY: see the top; the mask leaves out what lies behind the values.
        Self(unsafe {
            _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(
                first(bits.len()),
                bits.as_ptr().cast(),
            ))
        })
    }

    #[inline(always)]
    fn store_half_part(self, out: &mut [u16]) {
        let bounded = self.min(Self::splat(65504.0)).max(Self::splat(-65504.0));
        // SAFETY: see the top; the mask leaves out what lies behind the values.
        unsafe {
            let bits = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(bounded.0);
            _mm256_mask_storeu_epi16(out.as_mut_ptr().cast(), first(out.len()), bits);
        }
    }

    #[inline(always)]
    fn load_half(bits: &[u16; LANES]) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast())) })
    }

    #[inline(always)]
    fn store_half(self, out: &mut [u16; LANES]) {
        let bounded = self.min(Self::splat(65504.0)).max(Self::splat(-65504.0));
        // SAFETY: see the top.
        unsafe {
            let bits = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(bounded.0);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bits);
        }
    }

    #[inline(always)]
    fn load_bytes(group: &[i8; 4 * LANES], k: usize) -> Self {
        // SAFETY: see the top.
        unsafe {
            let words = _mm512_loadu_si512(group.as_ptr().cast());
            let up = _mm_cvtsi32_si128(24 - 8 * (k % 4) as i32);
            Self(_mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(
                _mm512_sll_epi32(words, up),
            )))
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_sqrt_ps(self.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        if FUSED {
            // SAFETY: see the top.
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
        } else {
            self.mul(factor).add(term)
        }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }

    #[inline(always)]
    fn scale(self, n: Self::Ints) -> Self {
        // SAFETY: see the top.
        unsafe {
            let half = _mm512_srai_epi32::<1>(n);
            self.mul(power_of_two(half))
                .mul(power_of_two(_mm512_sub_epi32(n, half)))
        }
    }

    #[inline(always)]
    fn look_up(self, table: &[f32; LANES]) -> Self {
        // SAFETY: see the top.
        Self(unsafe {
            let entry = _mm512_castps_si512(self.0);
            _mm512_permutexvar_ps(entry, _mm512_loadu_ps(table.as_ptr()))
        })
    }

    #[inline(always)]
    fn max_lane(self) -> f32 {
        // SAFETY: see the top.
        unsafe { _mm512_reduce_max_ps(self.0) }
    }

    /// Each step takes the larger halves of two vectors into one: half as many vectors, each with twice as many rows.
    #[inline(always)]
    fn max_lanes(v: [Self; LANES]) -> Self {
        // SAFETY: see the top.
        unsafe {
            let mut eight = [_mm512_setzero_ps(); 8];
            for (r, max) in eight.iter_mut().enumerate() {
                let (a, b) = (v[r].0, v[r + 8].0);
                let low = _mm512_shuffle_f32x4::<0x44>(a, b);
                *max = _mm512_max_ps(low, _mm512_shuffle_f32x4::<0xEE>(a, b));
            }
            let mut four = [_mm512_setzero_ps(); 4];
            for (r, max) in four.iter_mut().enumerate() {
                let (a, b) = (eight[r], eight[r + 4]);
                let even = _mm512_shuffle_f32x4::<0x88>(a, b);
                *max = _mm512_max_ps(even, _mm512_shuffle_f32x4::<0xDD>(a, b));
            }
            let mut two = [_mm512_setzero_ps(); 2];
            for (r, max) in two.iter_mut().enumerate() {
                let (a, b) = (four[r], four[r + 2]);
                let low = _mm512_shuffle_ps::<0x44>(a, b);
                *max = _mm512_max_ps(low, _mm512_shuffle_ps::<0xEE>(a, b));
            }
            let even = _mm512_shuffle_ps::<0x88>(two[0], two[1]);
            let max = _mm512_max_ps(even, _mm512_shuffle_ps::<0xDD>(two[0], two[1]));
            // The rows lie in the order 0 2 1 3, 8 10 9 11, 4 6 5 7, 12 14 13 15.
            let order = _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15);
            Self(_mm512_permutexvar_ps(order, max))
        }
    }

    #[inline(always)]
    fn equal_lanes(self, value: f32) -> u16 {
        // SAFETY: see the top.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self.0, _mm512_set1_ps(value)) }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: see the top.
        unsafe {
            let low = _mm512_castps512_ps256(self.0);
            let eight = _mm256_add_ps(low, _mm512_extractf32x8_ps::<1>(self.0));
            super::avx2::sum(eight)
        }
    }

    #[inline(always)]
    fn load_ints(values: &[i32; LANES]) -> Self::Ints {
        // SAFETY: see the top.
        unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_ints(ints: Self::Ints, out: &mut [i32; LANES]) {
        // SAFETY: see the top.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), ints) }
    }

    #[inline(always)]
    fn from_ints(ints: Self::Ints) -> Self {
        // SAFETY: see the top.
        Self(unsafe { _mm512_cvtepi32_ps(ints) })
    }

    #[inline(always)]
    fn round(self) -> Self::Ints {
        // SAFETY: see the top.
        unsafe { _mm512_cvtps_epi32(self.0) }
    }

    #[inline(always)]
    fn store_bytes(ints: Self::Ints, out: &mut [u8; LANES]) {
        // SAFETY: see the top.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(ints)) }
    }

    #[inline(always)]
    fn keep_larger(best: (Self, Self), score: Self, number: Self) -> (Self, Self) {
        // SAFETY: see the top.
        unsafe {
            let better = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(score.0, best.0.0);
            (
                Self(_mm512_mask_mov_ps(best.0.0, better, score.0)),
                Self(_mm512_mask_mov_ps(best.1.0, better, number.0)),
            )
        }
    }

    #[inline(always)]
    fn columns(rows: [&[f32; 8]; LANES]) -> [Self; 8] {
        // SAFETY: see the top.
        unsafe {
            let mut pairs = [_mm512_setzero_ps(); 8];
            for (r, pair) in pairs.iter_mut().enumerate() {
                let low = _mm512_castps256_ps512(_mm256_loadu_ps(rows[r].as_ptr()));
                *pair = _mm512_insertf32x8::<1>(low, _mm256_loadu_ps(rows[r + 8].as_ptr()));
            }
            transpose_halves(pairs).map(Self)
        }
    }
}
