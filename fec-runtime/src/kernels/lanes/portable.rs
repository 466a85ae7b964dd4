//! Plain arrays: the specification of every operation.

use super::Lanes;
use crate::format::LANES;
use crate::kernels::sum_lanes;

/// Sixteen floats in an array; nothing is fused.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(core::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    type Ints = [i32; LANES];

    const TILE_ROWS: usize = 2;
    const TILE_PANELS: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        *out = self.0;
    }

    #[inline(always)]
    fn load_half(bits: &[u16; LANES]) -> Self {
        Self(bits.map(|bits| half::f16::from_bits(bits).to_f32()))
    }

    #[inline(always)]
    fn store_half(self, out: &mut [u16; LANES]) {
        let largest = half::f16::MAX.to_f32();
        let bounded = self.min(Self::splat(largest)).max(Self::splat(-largest));
        *out = bounded.0.map(|value| half::f16::from_f32(value).to_bits());
    }

    #[inline(always)]
    fn load_bytes(group: &[i8; 4 * LANES], k: usize) -> Self {
        let (group, _) = group.as_chunks::<4>();
        Self(core::array::from_fn(|i| f32::from(group[i][k % 4])))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.map(libm::sqrtf))
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self.mul(factor).add(term)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }

    #[inline(always)]
    fn max_lane(self) -> f32 {
        let larger = |best, &lane| if lane > best { lane } else { best };
        self.0.iter().fold(f32::NEG_INFINITY, larger)
    }

    #[inline(always)]
    fn equal_lanes(self, value: f32) -> u16 {
        let bit = |mask, (i, &lane)| mask | (u16::from(lane == value) << i);
        self.0.iter().enumerate().fold(0, bit)
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        sum_lanes(self.0)
    }

    #[inline(always)]
    fn load_ints(values: &[i32; LANES]) -> Self::Ints {
        *values
    }

    #[inline(always)]
    fn store_ints(ints: Self::Ints, out: &mut [i32; LANES]) {
        *out = ints;
    }

    #[inline(always)]
    fn from_ints(ints: Self::Ints) -> Self {
        Self(ints.map(|int| int as f32))
    }

    #[inline(always)]
    fn round(self) -> Self::Ints {
        self.0.map(|value| libm::rintf(value) as i32)
    }

    #[inline(always)]
    fn store_bytes(ints: Self::Ints, out: &mut [u8; LANES]) {
        *out = ints.map(|int| int as u8);
    }

    #[inline(always)]
    fn keep_larger(best: (Self, Self), score: Self, number: Self) -> (Self, Self) {
        let choose = |from: Self, other: Self| {
            Self(core::array::from_fn(|i| {
                if score.0[i] > best.0.0[i] {
                    from.0[i]
                } else {
                    other.0[i]
                }
            }))
        };
        (choose(score, best.0), choose(number, best.1))
    }
}
