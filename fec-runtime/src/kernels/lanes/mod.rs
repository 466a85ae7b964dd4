//! Sixteen lanes: what kernel bodies compute with, one implementation per instruction set.
//!
//! A kernel's body is a generic function over [`Lanes`], `#[inline(always)]`, called from one function per instruction set that is
//! compiled for it (`#[target_feature]`). Every operation but [`Lanes::mul_add`] gives the same bits on every machine.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(test)]
mod check;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
mod portable;

pub(super) use portable::Portable;

use crate::format::LANES;

/// Sixteen f32, and the 32-bit integers that go with them.
pub(super) trait Lanes: Copy {
    /// Sixteen i32.
    type Ints: Copy;

    /// Rows of a product's tile, and panels of 16 outputs: as many sums as registers hold beside weights and a value.
    const TILE_ROWS: usize;
    /// See [`Lanes::TILE_ROWS`].
    const TILE_PANELS: usize;
    /// Whether [`Lanes::look_up`] costs no more than a multiplication or two, in lanes that fuse.
    const LOOKS_UP: bool = false;

    /// The same value in every lane.
    fn splat(value: f32) -> Self;
    /// Sixteen values.
    fn load(values: &[f32; LANES]) -> Self;
    /// Writes the lanes.
    fn store(self, out: &mut [f32; LANES]);
    /// Sixteen f16 as bits, widened exactly.
    fn load_half(bits: &[u16; LANES]) -> Self;
    /// Rounds to f16, to nearest even; what lies beyond ±65504 becomes that.
    fn store_half(self, out: &mut [u16; LANES]);
    /// Fewer than sixteen values; zeros in the other lanes.
    #[inline(always)]
    fn load_part(values: &[f32]) -> Self {
        let mut all = [0.0; LANES];
        all[..values.len()].copy_from_slice(values);
        Self::load(&all)
    }
    /// Writes the first lanes, fewer than sixteen.
    #[inline(always)]
    fn store_part(self, out: &mut [f32]) {
        let mut all = [0.0; LANES];
        self.store(&mut all);
        out.copy_from_slice(&all[..out.len()]);
    }
    /// [`Lanes::load_half`] of fewer than sixteen values; zeros in the other lanes.
    #[inline(always)]
    fn load_half_part(bits: &[u16]) -> Self {
        let mut all = [0; LANES];
        all[..bits.len()].copy_from_slice(bits);
        Self::load_half(&all)
    }
    /// [`Lanes::store_half`] of the first lanes, fewer than sixteen.
    #[inline(always)]
    fn store_half_part(self, out: &mut [u16]) {
        let mut all = [0; LANES];
        self.store_half(&mut all);
        out.copy_from_slice(&all[..out.len()]);
    }
    /// Input `k % 4` of a group of a byte panel, `[16 outputs][4 inputs]`.
    fn load_bytes(group: &[i8; 4 * LANES], k: usize) -> Self;

    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Difference.
    fn sub(self, other: Self) -> Self;
    /// Product.
    fn mul(self, other: Self) -> Self;
    /// Quotient, as IEEE 754 has it.
    fn div(self, other: Self) -> Self;
    /// Square root, as IEEE 754 has it.
    fn sqrt(self) -> Self;
    /// `self * factor + term`: rounded once where the implementation is the fused one, else after the product as well.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// `self > other ? self : other`, so that NaN in `self` gives `other`.
    fn max(self, other: Self) -> Self;
    /// `self < other ? self : other`.
    fn min(self, other: Self) -> Self;
    /// Without the sign.
    fn abs(self) -> Self;

    /// The lanes times 2^n, -252 <= n <= 254: times 2^(n / 2), the half rounded down, then times the rest.
    #[inline(always)]
    fn scale(self, n: Self::Ints) -> Self {
        let mut numbers = [0; LANES];
        Self::store_ints(n, &mut numbers);
        let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
        let halves = numbers.map(|n| power(n >> 1));
        let rest = numbers.map(|n| power(n.wrapping_sub(n >> 1)));
        self.mul(Self::load(&halves)).mul(Self::load(&rest))
    }

    /// Entry b of the table, b being the lowest four bits of the lane.
    #[inline(always)]
    fn look_up(self, table: &[f32; LANES]) -> Self {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        Self::load(&lanes.map(|lane| table[lane.to_bits() as usize % LANES]))
    }

    /// The largest lane; none may be NaN.
    fn max_lane(self) -> f32;
    /// Lane i: the largest lane of vector i; none may be NaN.
    #[inline(always)]
    fn max_lanes(vectors: [Self; LANES]) -> Self {
        let mut largest = [0.0; LANES];
        for (largest, vector) in largest.iter_mut().zip(vectors) {
            *largest = vector.max_lane();
        }
        Self::load(&largest)
    }
    /// Bit i: lane i equals `value`.
    fn equal_lanes(self, value: f32) -> u16;
    /// The lanes added as a tree: i and i + 8, then i and i + 4, then 0 and 2, 1 and 3, then both.
    fn sum(self) -> f32;

    /// Sixteen integers.
    fn load_ints(values: &[i32; LANES]) -> Self::Ints;
    /// Writes the integers.
    fn store_ints(ints: Self::Ints, out: &mut [i32; LANES]);
    /// Integers as floats, rounded to nearest even.
    fn from_ints(ints: Self::Ints) -> Self;
    /// Rounded to nearest even; the lanes must lie within ±2^30.
    fn round(self) -> Self::Ints;
    /// The lowest byte of each integer.
    fn store_bytes(ints: Self::Ints, out: &mut [u8; LANES]);
    /// Where `score` is larger than the first of `best` (strictly), it and `number` replace both.
    fn keep_larger(best: (Self, Self), score: Self, number: Self) -> (Self, Self);
    /// Columns of sixteen rows of eight: lane r of column k is row r's value k.
    #[inline(always)]
    fn columns(rows: [&[f32; 8]; LANES]) -> [Self; 8] {
        let mut columns = [Self::splat(0.0); 8];
        for (k, column) in columns.iter_mut().enumerate() {
            *column = Self::load(&rows.map(
                #[inline(always)]
                |row| row[k],
            ));
        }
        columns
    }
}
