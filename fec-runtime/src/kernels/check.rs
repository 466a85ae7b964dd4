//! The test body of every kernel, over any table (feature "selftest"): what a host's tests run, a board can run as well.
//!
//! Expected values are computed here, plainly and in f64, not by another table. On whole numbers every sum is exact, so that the
//! result must be too, ties included; on real ones it must lie within the error that f32 sums of that length can have. Around and
//! between the outputs lie canaries.

mod assign;
mod elements;
mod integer;
mod integer_assign;
mod maps;
mod matmul;
mod mixer;

use core::fmt;

use super::Kernels;
use crate::format::LANES;

/// Values of the largest matrix or set of centres.
const MATRIX: usize = 1280 * 32;
/// Values of the largest set of rows, padding included.
const ROWS: usize = 7168;
/// Longest vector beside a matrix.
const VECTOR: usize = 1280;
/// Rounding error of one operation in f32, relative.
const ULP: f64 = 6e-8;
/// The same for f16.
const HALF_ULP: f64 = 1.0 / 2048.0;
/// Sizes around which kernels change their ways (lanes, panels, tiles, blocks), and some of each kind.
const ROW_COUNTS: [usize; 12] = [1, 2, 3, 4, 5, 15, 27, 28, 29, 30, 57, 60];
/// Sizes of the published networks.
const LARGE: [usize; 5] = [192, 196, 320, 784, 1280];
/// Every size up to this one is tried.
const SMALL: usize = 70;

/// The memory of the checks, about 415 KB: a static on a board, a box on a host.
#[derive(Clone, Debug)]
pub struct Buffers {
    matrix: [f32; MATRIX],
    narrow: [u16; MATRIX],
    x: [f32; ROWS],
    out: [f32; ROWS],
    more: [f32; ROWS],
    vectors: [[f32; VECTOR]; 3],
    assign: [u16; 512],
    bytes: [u8; 512],
    weights: [i8; MATRIX + LANES],
    sums: [i32; VECTOR],
    rows: [u8; ROWS],
    results: [u8; ROWS],
    halves: [u16; ROWS],
}

impl Buffers {
    /// Buffers of zeros; `const`, so that they can be a static's initial value.
    pub const fn new() -> Self {
        Self {
            matrix: [0.0; MATRIX],
            narrow: [0; MATRIX],
            x: [0.0; ROWS],
            out: [0.0; ROWS],
            more: [0.0; ROWS],
            vectors: [[0.0; VECTOR]; 3],
            assign: [0; 512],
            bytes: [0; 512],
            weights: [0; MATRIX + LANES],
            sums: [0; VECTOR],
            rows: [0; ROWS],
            results: [0; ROWS],
            halves: [0; ROWS],
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// What went wrong. Displays as one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failure {
    /// The kernel.
    pub kernel: &'static str,
    /// The promise that it broke.
    pub promise: &'static str,
    /// Names of the case's sizes.
    pub names: &'static [&'static str],
    /// Their values, in the same order.
    pub sizes: [u32; 6],
    /// What the kernel gave.
    pub found: f64,
    /// What it should have given.
    pub expected: f64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel,
            promise,
            found,
            expected,
            ..
        } = self;
        write!(f, "{kernel}: {promise}: {found}, expected {expected};")?;
        for (name, size) in self.names.iter().zip(self.sizes) {
            write!(f, " {name} {size}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Failure {}

/// Checks every kernel of a table on some thousand shapes; gives their number.
///
/// # Errors
/// The first [`Failure`].
pub fn check(kernels: &Kernels, buffers: &mut Buffers) -> Result<usize, Failure> {
    let mut numbers = Numbers(0x2545_F491);
    let mut cases = matmul::check(kernels, buffers, &mut numbers)?;
    cases += assign::check(kernels, buffers, &mut numbers)?;
    cases += assign::check_locality(kernels, buffers, &mut numbers)?;
    cases += mixer::check(kernels, buffers, &mut numbers)?;
    cases += elements::check(kernels, buffers, &mut numbers)?;
    cases += integer::check(kernels, buffers, &mut numbers)?;
    cases += integer_assign::check(kernels, buffers, &mut numbers)?;
    cases += maps::check(kernels, buffers, &mut numbers)?;
    Ok(cases)
}

/// Whether a table promises the portable table's bits in products and assignments as well.
fn is_exact(kernels: &Kernels) -> bool {
    core::ptr::eq(kernels, kernels.exact())
}

/// How a case's numbers are chosen.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Small whole numbers: sums are exact, ties are frequent.
    Whole,
    /// Real numbers of -1 to 1.
    Real,
}

/// Random numbers (xorshift): the same on every machine.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// One of `from..=to`.
    fn within(&mut self, from: usize, to: usize) -> usize {
        from + self.next() as usize % (to - from + 1)
    }

    /// One of the values.
    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.within(0, values.len() - 1)]
    }

    /// A whole number from -limit to limit, or a real one from -1 to 1.
    fn value(&mut self, kind: Kind, limit: u32) -> f32 {
        match kind {
            Kind::Whole => (self.next() % (2 * limit + 1)) as f32 - limit as f32,
            Kind::Real => (self.next() >> 8) as f32 / 8_388_608.0 - 1.0,
        }
    }

    fn fill(&mut self, values: &mut [f32], kind: Kind, limit: u32) {
        values.fill_with(|| self.value(kind, limit));
    }
}

/// Values around outputs: a NaN with a pattern that no arithmetic makes.
fn canary() -> f32 {
    f32::from_bits(0x7FC5_A5A5)
}

/// The same in f16.
const HALF_CANARY: u16 = 0x7DA5;

/// Rounds values to f16, which are written to `narrow` as well, if `half`.
fn to_halves(half: bool, values: &mut [f32], narrow: &mut [u16]) {
    if half {
        for (value, narrow) in values.iter_mut().zip(narrow) {
            let rounded = half::f16::from_f32(*value);
            (*value, *narrow) = (rounded.to_f32(), rounded.to_bits());
        }
    }
}

/// A number that depends on every bit of the values (FNV-1a); all NaN are one.
fn fingerprint(values: &[f32]) -> u32 {
    values.iter().fold(0x811C_9DC5, |hash, value| {
        let bits = if value.is_nan() {
            0x7FC0_0000
        } else {
            value.to_bits()
        };
        (hash ^ bits).wrapping_mul(0x0100_0193)
    })
}

/// Whether all these values are untouched.
fn untouched(values: &[f32]) -> bool {
    values.iter().all(|v| v.to_bits() == canary().to_bits())
}

/// Whether `found` lies within `tolerance` of `expected`; NaN never does.
fn near(found: f32, expected: f64, tolerance: f64) -> bool {
    let difference = f64::from(found) - expected;
    difference <= tolerance && -difference <= tolerance
}
