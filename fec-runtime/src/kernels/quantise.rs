//! Rows of a map as bytes, each with its own scale (ARCHITECTURE.md, "Integer networks").

use super::elements::Element;
use super::lanes::Lanes;
use super::values::Values;
use crate::format::{GROUP, LANES};

/// The byte that stands for 0 in quantised rows.
pub(crate) const ZERO: u8 = 128;

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

#[inline(always)]
pub(super) fn body<L: Lanes>(q: &Quantise<'_>, out: &mut [u8], scales: &mut [f32]) {
    match (q.x, q.centre) {
        (Values::F32(x), None) => rows::<L, _, false>(q, x, &[], out, scales),
        (Values::F32(x), Some(centre)) => rows::<L, _, true>(q, x, centre, out, scales),
        (Values::F16(x), None) => rows::<L, _, false>(q, x, &[], out, scales),
        (Values::F16(x), Some(centre)) => rows::<L, _, true>(q, x, centre, out, scales),
    }
}

#[inline(always)]
fn rows<L: Lanes, E: Element, const CENTRED: bool>(
    q: &Quantise<'_>,
    x: &[E],
    centre: &[f32],
    out: &mut [u8],
    scales: &mut [f32],
) {
    if q.inputs == 0 {
        return scales.fill(0.0);
    }
    let sixteen = x
        .chunks(LANES * q.inputs)
        .zip(out.chunks_mut(LANES * q.out_stride()))
        .zip(scales.chunks_mut(LANES));
    for ((x, out), scales) in sixteen {
        let rows = x.chunks_exact(q.inputs);
        let mut largest = [L::splat(0.0); LANES];
        for (x, largest) in rows.clone().zip(&mut largest) {
            *largest = Row::<E, CENTRED> { x, centre }.largest();
        }
        let largest = L::max_lanes(largest);
        let (mut factors, mut all) = ([0.0; LANES], [0.0; LANES]);
        L::splat(127.0).div(largest).store(&mut factors);
        largest.div(L::splat(127.0)).store(&mut all);
        for (factor, scale) in factors.iter_mut().zip(&mut all) {
            (*scale, *factor) = scale_and_factor(*scale, *factor);
        }
        scales.copy_from_slice(&all[..scales.len()]);
        let rows = rows.zip(out.chunks_exact_mut(q.out_stride()));
        for ((x, out), factor) in rows.zip(factors) {
            let row = Row::<E, CENTRED> { x, centre };
            let whole = x.len() / LANES;
            for (i, out) in out.as_chunks_mut().0[..whole].iter_mut().enumerate() {
                *out = row.bytes::<L>(i, factor);
            }
            if !x.len().is_multiple_of(LANES) {
                let out = &mut out[whole * LANES..];
                out.copy_from_slice(&row.last_bytes::<L>(factor)[..out.len()]);
            }
        }
    }
}

/// max / 127 and 127 / max, or zeros where the latter is no number of 32 bits.
#[inline(always)]
fn scale_and_factor(scale: f32, factor: f32) -> (f32, f32) {
    if factor == f32::INFINITY {
        (0.0, 0.0)
    } else {
        (scale, factor)
    }
}

/// Values to quantise, less those of `centre` if CENTRED.
#[derive(Clone, Copy)]
pub(super) struct Row<'a, E, const CENTRED: bool> {
    pub(super) x: &'a [E],
    pub(super) centre: &'a [f32],
}

impl<E: Element, const CENTRED: bool> Row<'_, E, CENTRED> {
    /// max / 127 and 127 / max.
    #[inline(always)]
    pub(super) fn scale<L: Lanes>(self) -> (f32, f32) {
        let max = self.largest::<L>().max_lane();
        scale_and_factor(max / 127.0, 127.0 / max)
    }

    /// The largest magnitude in each lane.
    #[inline(always)]
    fn largest<L: Lanes>(self) -> L {
        let mut largest = L::splat(0.0);
        let whole = self.x.len() / LANES;
        for i in 0..whole {
            // In this order NaN does not count.
            largest = self.value::<L>(i).abs().max(largest);
        }
        if !self.x.len().is_multiple_of(LANES) {
            largest = self.last_value::<L>().abs().max(largest);
        }
        largest
    }

    /// Sixteen values times `factor`, rounded.
    #[inline(always)]
    pub(super) fn bytes<L: Lanes>(self, i: usize, factor: f32) -> [u8; LANES] {
        quantised(self.value::<L>(i), factor)
    }

    /// The values after the last sixteen, then bytes for 0.
    #[inline(always)]
    pub(super) fn last_bytes<L: Lanes>(self, factor: f32) -> [u8; LANES] {
        quantised(self.last_value::<L>(), factor)
    }

    #[inline(always)]
    fn value<L: Lanes>(self, i: usize) -> L {
        let x: L = E::load(&self.x.as_chunks().0[i]);
        if CENTRED {
            x.sub(L::load(&self.centre.as_chunks().0[i]))
        } else {
            x
        }
    }

    #[inline(always)]
    fn last_value<L: Lanes>(self) -> L {
        let x: L = E::load_part(self.x.as_chunks::<LANES>().1);
        if CENTRED {
            x.sub(L::load_part(self.centre.as_chunks::<LANES>().1))
        } else {
            x
        }
    }
}

#[inline(always)]
fn quantised<L: Lanes>(value: L, factor: f32) -> [u8; LANES] {
    let mut bytes = [0; LANES];
    L::store_bytes(value.mul(L::splat(factor)).round(), &mut bytes);
    for byte in &mut bytes {
        *byte ^= ZERO;
    }
    bytes
}
