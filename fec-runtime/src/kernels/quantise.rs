//! Rows of a map as bytes, each with its own scale (ARCHITECTURE.md, "Integer networks").

use super::lanes::{Lanes, Portable};
use super::values::Values;
use crate::format::{GROUP, LANES};

/// The byte that stands for 0 in quantised rows.
const ZERO: u8 = 128;

/// Rows to quantise: out\[n\]\[k\] = 128 + the nearest integer, ties to even, of (x\[n\]\[k\] - centre\[k\]) * (127 / max), and
/// scales\[n\] = max / 127, where max is the largest |x\[n\]\[k\] - centre\[k\]| of the row.
///
/// A row of zeros, or of values so small that 127 / max is no number of 32 bits, gives bytes of 128 and a scale of 0.
#[derive(Clone, Copy, Debug)]
pub struct Quantise<'a> {
    /// Rows, dense.
    pub x: Values<'a>,
    /// Number of rows.
    pub rows: usize,
    /// Values of a row K.
    pub inputs: usize,
    /// What is subtracted first, if anything: K values.
    pub centre: Option<&'a [f32]>,
}

impl Quantise<'_> {
    /// Distance of two rows of the result: K rounded up to 4; bytes between rows are 128.
    pub fn out_stride(&self) -> usize {
        self.inputs.next_multiple_of(GROUP)
    }

    pub(super) fn check(&self, out: usize, scales: usize) {
        assert!(
            self.x.len() == self.rows * self.inputs,
            "rows are not whole"
        );
        assert!(
            out == self.rows * self.out_stride() && scales == self.rows,
            "result of another shape"
        );
        assert!(
            self.centre.is_none_or(|centre| centre.len() == self.inputs),
            "centre of another width"
        );
    }
}

pub(super) fn portable(q: &Quantise<'_>, out: &mut [u8], scales: &mut [f32]) {
    body::<Portable>(q, out, scales);
}

#[inline(always)]
fn body<L: Lanes>(q: &Quantise<'_>, out: &mut [u8], scales: &mut [f32]) {
    match q.x {
        Values::F32(x) => rows(q, x, L::load, out, scales),
        Values::F16(x) => rows(q, x, L::load_half, out, scales),
    }
}

#[inline(always)]
fn rows<L: Lanes, T: Copy + Default>(
    q: &Quantise<'_>,
    x: &[T],
    load: impl Fn(&[T; LANES]) -> L,
    out: &mut [u8],
    scales: &mut [f32],
) {
    if q.inputs == 0 {
        return scales.fill(0.0);
    }
    let rows = x
        .chunks_exact(q.inputs)
        .zip(out.chunks_exact_mut(q.out_stride()));
    for ((x, out), scale) in rows.zip(scales) {
        // Without a centre nothing is subtracted: x - 0 is x.
        let value = |at: usize| match q.centre {
            Some(centre) => load(&chunk(x, at)).sub(L::load(&chunk(centre, at))),
            None => load(&chunk(x, at)),
        };
        *scale = row(q.inputs, value, |at, bytes| {
            let out = &mut out[at..];
            let count = out.len().min(LANES);
            out[..count].copy_from_slice(&bytes.map(|byte| byte ^ ZERO)[..count]);
        });
    }
}

/// One row: gives sixteen bytes at a time, signed, to `put`, zeros after the last value, and returns the scale.
#[inline(always)]
pub(super) fn row<L: Lanes>(
    inputs: usize,
    value: impl Fn(usize) -> L,
    mut put: impl FnMut(usize, [u8; LANES]),
) -> f32 {
    let mut largest = L::splat(0.0);
    for at in (0..inputs).step_by(LANES) {
        // In this order NaN does not count.
        largest = value(at).abs().max(largest);
    }
    let max = largest.max_lane();
    let (factor, scale) = match 127.0 / max {
        f32::INFINITY => (0.0, 0.0),
        factor => (factor, max / 127.0),
    };
    for at in (0..inputs).step_by(LANES) {
        let mut bytes = [0; LANES];
        L::store_bytes(value(at).mul(L::splat(factor)).round(), &mut bytes);
        put(at, bytes);
    }
    scale
}

/// Sixteen values from `at` on; zeros after the last one.
#[inline(always)]
pub(super) fn chunk<T: Copy + Default>(values: &[T], at: usize) -> [T; LANES] {
    let values = &values[at..];
    match values.first_chunk() {
        Some(whole) => *whole,
        None => {
            let mut padded = [T::default(); LANES];
            padded[..values.len()].copy_from_slice(values);
            padded
        }
    }
}
