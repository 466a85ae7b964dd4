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
    // Without a centre nothing is subtracted: x - 0 is x.
    let value = |x: &[T; LANES], at: usize| match q.centre {
        Some(centre) => load(x).sub(L::load(&chunk(centre, at))),
        None => load(x),
    };
    let rows = x
        .chunks_exact(q.inputs)
        .zip(out.chunks_exact_mut(q.out_stride()));
    for ((x, out), scale) in rows.zip(scales) {
        let (whole, rest) = x.as_chunks::<LANES>();
        let tail = chunk(rest, 0);
        let mut largest = L::splat(0.0);
        for (i, x) in whole.iter().enumerate() {
            largest = value(x, i * LANES).abs().max(largest);
        }
        largest = value(&tail, whole.len() * LANES).abs().max(largest);
        let max = largest.max_lane();
        let factor = 127.0 / max;
        if factor == f32::INFINITY {
            *scale = 0.0;
            out.fill(ZERO);
            continue;
        }
        *scale = max / 127.0;
        let factor = L::splat(factor);
        let bytes = |x: L| {
            let mut bytes = [0; LANES];
            L::store_bytes(x.mul(factor).round(), &mut bytes);
            bytes.map(|byte| byte ^ ZERO)
        };
        let (out_whole, out_rest) = out.split_at_mut(whole.len() * LANES);
        let out_whole = out_whole.as_chunks_mut::<LANES>().0;
        for (i, (x, out)) in whole.iter().zip(out_whole).enumerate() {
            *out = bytes(value(x, i * LANES));
        }
        if !rest.is_empty() {
            // Zeros beyond the last value become bytes of 128 by themselves.
            let last = bytes(value(&tail, whole.len() * LANES));
            out_rest.copy_from_slice(&last[..out_rest.len()]);
        }
    }
}

/// Sixteen values from `at` on; zeros after the last one.
#[inline(always)]
fn chunk<T: Copy + Default>(values: &[T], at: usize) -> [T; LANES] {
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
