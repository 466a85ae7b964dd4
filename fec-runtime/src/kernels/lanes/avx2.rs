//! Two 256-bit registers.
#![expect(unsafe_code, reason = "intrinsics of AVX2, FMA and F16C")]

// SAFETY of every block below: lanes of this type occur only in functions compiled for AVX2, FMA and F16C, which are reached through
// tables that `Kernels::get` hands out where `Isa::is_available` has found them; loads and stores go through references to whole
// arrays.

use core::arch::x86_64::*;

use super::Lanes;
use crate::format::LANES;

/// Sixteen floats: lanes 0 to 7, then 8 to 15.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx2<const FUSED: bool>([__m256; 2]);

/// 2^n for -126 <= n <= 127.
#[inline(always)]
fn power_of_two<const FUSED: bool>(n: [__m256i; 2]) -> Avx2<FUSED> {
    // SAFETY: see the top.
    let power = unsafe {
        let bias = _mm256_set1_epi32(127);
        [
            _mm256_slli_epi32::<23>(_mm256_add_epi32(n[0], bias)),
            _mm256_slli_epi32::<23>(_mm256_add_epi32(n[1], bias)),
        ]
    };
    // SAFETY: see the top.
    Avx2(unsafe { [_mm256_castsi256_ps(power[0]), _mm256_castsi256_ps(power[1])] })
}

/// Eight lanes added as a tree: i and i + 4, then 0 and 2, 1 and 3, then both.
#[inline(always)]
pub(super) fn sum(eight: __m256) -> f32 {
    // SAFETY: see the top.
    unsafe {
        let four = _mm_add_ps(
            _mm256_castps256_ps128(eight),
            _mm256_extractf128_ps::<1>(eight),
        );
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

/// Columns of eight rows.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn transpose(rows: &[&[f32; 8]; 8]) -> [__m256; 8] {
    // SAFETY: see the top.
    unsafe {
        // A half of each row, and the same half of the row four further.
        let mut halves = [[_mm256_setzero_ps(); 4]; 2];
        for (i, half) in halves.iter_mut().enumerate() {
            for (r, pair) in half.iter_mut().enumerate() {
                let low = _mm256_castps128_ps256(_mm_loadu_ps(rows[r].as_ptr().add(4 * i)));
                let high = _mm_loadu_ps(rows[r + 4].as_ptr().add(4 * i));
                *pair = _mm256_insertf128_ps::<1>(low, high);
            }
        }
        let mut columns = [_mm256_setzero_ps(); 8];
        for (i, [a, b, c, d]) in halves.into_iter().enumerate() {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            columns[4 * i] = _mm256_shuffle_ps::<0x44>(low, high);
            columns[4 * i + 1] = _mm256_shuffle_ps::<0xEE>(low, high);
            let (low, high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            columns[4 * i + 2] = _mm256_shuffle_ps::<0x44>(low, high);
            columns[4 * i + 3] = _mm256_shuffle_ps::<0xEE>(low, high);
        }
        columns
    }
}

impl<const FUSED: bool> Lanes for Avx2<FUSED> {
    type Ints = [__m256i; 2];

    // The exact form has the few products of integer networks that are not of bytes.
    const TILE_ROWS: usize = if FUSED { 6 } else { 4 };
    const TILE_PANELS: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see the top.
        Self([unsafe { _mm256_set1_ps(value) }; 2])
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        let p = values.as_ptr();
        // SAFETY: see the top.
        Self(unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] })
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        let p = out.as_mut_ptr();
        // SAFETY: see the top.
        unsafe {
            _mm256_storeu_ps(p, self.0[0]);
            _mm256_storeu_ps(p.add(8), self.0[1]);
        }
    }

    #[inline(always)]
    fn load_half(bits: &[u16; LANES]) -> Self {
        let p = bits.as_ptr();
        // SAFETY: see the top.
        Self(unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(p.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(p.add(8).cast())),
            ]
        })
    }

    #[inline(always)]
    fn store_half(self, out: &mut [u16; LANES]) {
        let bounded = self.min(Self::splat(65504.0)).max(Self::splat(-65504.0));
        let p = out.as_mut_ptr();
        // SAFETY: see the top.
        unsafe {
            let low = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(bounded.0[0]);
            let high = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(bounded.0[1]);
            _mm_storeu_si128(p.cast(), low);
            _mm_storeu_si128(p.add(8).cast(), high);
        }
    }

    #[inline(always)]
    fn load_bytes(group: &[i8; 4 * LANES], k: usize) -> Self {
        let p = group.as_ptr();
        // SAFETY: see the top.
        unsafe {
            let up = _mm_cvtsi32_si128(24 - 8 * (k % 4) as i32);
            let low = _mm256_sll_epi32(_mm256_loadu_si256(p.cast()), up);
            let high = _mm256_sll_epi32(_mm256_loadu_si256(p.add(32).cast()), up);
            Self([
                _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(low)),
                _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(high)),
            ])
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe {
            [
                _mm256_add_ps(self.0[0], other.0[0]),
                _mm256_add_ps(self.0[1], other.0[1]),
            ]
        })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe {
            [
                _mm256_sub_ps(self.0[0], other.0[0]),
                _mm256_sub_ps(self.0[1], other.0[1]),
            ]
        })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe {
            [
                _mm256_mul_ps(self.0[0], other.0[0]),
                _mm256_mul_ps(self.0[1], other.0[1]),
            ]
        })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe {
            [
                _mm256_div_ps(self.0[0], other.0[0]),
                _mm256_div_ps(self.0[1], other.0[1]),
            ]
        })
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: see the top.
        Self(unsafe { [_mm256_sqrt_ps(self.0[0]), _mm256_sqrt_ps(self.0[1])] })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        if FUSED {
            // SAFETY: see the top.
            Self(unsafe {
                [
                    _mm256_fmadd_ps(self.0[0], factor.0[0], term.0[0]),
                    _mm256_fmadd_ps(self.0[1], factor.0[1], term.0[1]),
                ]
            })
        } else {
            self.mul(factor).add(term)
        }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe {
            [
                _mm256_max_ps(self.0[0], other.0[0]),
                _mm256_max_ps(self.0[1], other.0[1]),
            ]
        })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the top.
        Self(unsafe {
            [
                _mm256_min_ps(self.0[0], other.0[0]),
                _mm256_min_ps(self.0[1], other.0[1]),
            ]
        })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: see the top.
        Self(unsafe {
            let sign = _mm256_set1_ps(-0.0);
            [
                _mm256_andnot_ps(sign, self.0[0]),
                _mm256_andnot_ps(sign, self.0[1]),
            ]
        })
    }

    #[inline(always)]
    fn scale(self, n: Self::Ints) -> Self {
        // SAFETY: see the top.
        let half = unsafe { [_mm256_srai_epi32::<1>(n[0]), _mm256_srai_epi32::<1>(n[1])] };
        // SAFETY: see the top.
        let rest = unsafe {
            [
                _mm256_sub_epi32(n[0], half[0]),
                _mm256_sub_epi32(n[1], half[1]),
            ]
        };
        self.mul(power_of_two(half)).mul(power_of_two(rest))
    }

    #[inline(always)]
    fn max_lane(self) -> f32 {
        // SAFETY: see the top.
        unsafe {
            let eight = _mm256_max_ps(self.0[0], self.0[1]);
            let four = _mm_max_ps(
                _mm256_castps256_ps128(eight),
                _mm256_extractf128_ps::<1>(eight),
            );
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn equal_lanes(self, value: f32) -> u16 {
        // SAFETY: see the top.
        unsafe {
            let value = _mm256_set1_ps(value);
            let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(self.0[0], value));
            let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(self.0[1], value));
            (high << 8 | low) as u16
        }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: see the top.
        sum(unsafe { _mm256_add_ps(self.0[0], self.0[1]) })
    }

    #[inline(always)]
    fn load_ints(values: &[i32; LANES]) -> Self::Ints {
        let p = values.as_ptr();
        // SAFETY: see the top.
        unsafe {
            [
                _mm256_loadu_si256(p.cast()),
                _mm256_loadu_si256(p.add(8).cast()),
            ]
        }
    }

    #[inline(always)]
    fn store_ints(ints: Self::Ints, out: &mut [i32; LANES]) {
        let p = out.as_mut_ptr();
        // SAFETY: see the top.
        unsafe {
            _mm256_storeu_si256(p.cast(), ints[0]);
            _mm256_storeu_si256(p.add(8).cast(), ints[1]);
        }
    }

    #[inline(always)]
    fn from_ints(ints: Self::Ints) -> Self {
        // SAFETY: see the top.
        Self(unsafe { [_mm256_cvtepi32_ps(ints[0]), _mm256_cvtepi32_ps(ints[1])] })
    }

    #[inline(always)]
    fn round(self) -> Self::Ints {
        // SAFETY: see the top.
        unsafe { [_mm256_cvtps_epi32(self.0[0]), _mm256_cvtps_epi32(self.0[1])] }
    }

    #[inline(always)]
    fn store_bytes(ints: Self::Ints, out: &mut [u8; LANES]) {
        // SAFETY: see the top.
        unsafe {
            // Each word's lowest byte alone, so that the saturating packs change nothing.
            let byte = _mm256_set1_epi32(255);
            let packed = _mm256_packs_epi32(
                _mm256_and_si256(ints[0], byte),
                _mm256_and_si256(ints[1], byte),
            );
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            let bytes = _mm_packus_epi16(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
        }
    }

    #[inline(always)]
    fn keep_larger(best: (Self, Self), score: Self, number: Self) -> (Self, Self) {
        let (mut value, mut kept) = best;
        for i in 0..2 {
            // SAFETY: see the top.
            unsafe {
                let better = _mm256_cmp_ps::<_CMP_GT_OQ>(score.0[i], value.0[i]);
                value.0[i] = _mm256_blendv_ps(value.0[i], score.0[i], better);
                kept.0[i] = _mm256_blendv_ps(kept.0[i], number.0[i], better);
            }
        }
        (value, kept)
    }

    #[inline(always)]
    fn columns(rows: [&[f32; 8]; LANES]) -> [Self; 8] {
        let (rows, _) = rows.as_chunks::<8>();
        // SAFETY: see the top.
        let (low, high) = unsafe { (transpose(&rows[0]), transpose(&rows[1])) };
        core::array::from_fn(
            #[inline(always)]
            |k| Self([low[k], high[k]]),
        )
    }
}
