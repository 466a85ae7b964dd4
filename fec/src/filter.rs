//! The filters of a resize, as PIL rounds them: which source pixels make one output pixel, and with which weights.

use core::ops::Range;

use fec_runtime::format::Interpolation;

use crate::resize::{Axis, Part};

/// PIL's precision: a pixel's 8 bits, 2 bits against overflow, the rest for the fraction.
const FRACTION_BITS: u32 = 32 - 8 - 2;

/// The source pixels of a nearest-neighbour part. PIL adds the scale up step by step, and its rounding errors decide ties; a side too
/// long for that (of an absurd shape) is multiplied out instead.
fn nearest(scale: f64, part: Part) -> impl Iterator<Item = usize> {
    const STEPS_MAX: usize = 1 << 20;
    let mut at = if part.from <= STEPS_MAX {
        (0..part.from).fold(scale * 0.5, |at, _| at + scale)
    } else {
        (part.from as f64 + 0.5) * scale
    };
    (part.from..part.to).map(move |_| {
        let from = at as usize;
        at += scale;
        from
    })
}

/// Which source pixels make one output pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taps {
    pub(crate) from: usize,
    pub(crate) len: usize,
    first_weight: usize,
}

impl Taps {
    /// One past its last source pixel.
    pub(crate) fn end(&self) -> usize {
        self.from + self.len
    }
}

/// The weights of one side, for the wanted part.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    pub(crate) taps: Vec<Taps>,
    fixed: Vec<i32>,
    exact: Vec<f64>,
}

/// A rounded pixel of a sum.
#[inline(always)]
pub(crate) fn clip8(sum: i32) -> u8 {
    const HALF: i32 = 1 << (FRACTION_BITS - 1);
    (sum.wrapping_add(HALF) >> FRACTION_BITS).clamp(0, 255) as u8
}

impl Weights {
    /// Weights that take a side of `source` pixels to `axis`. `mirrored`: the pixels come in reverse.
    pub(crate) fn prepare(
        &mut self,
        source: usize,
        axis: Axis,
        filter: Interpolation,
        mirrored: bool,
    ) {
        self.fill(source, axis, filter);
        if mirrored {
            for taps in &mut self.taps {
                taps.from = source - taps.end();
                if let Some(weights) = self
                    .fixed
                    .get_mut(taps.first_weight..)
                    .and_then(|w| w.get_mut(..taps.len))
                {
                    // A single weight that all share stays what it is.
                    weights.reverse();
                }
            }
        }
    }

    fn fill(&mut self, source: usize, axis: Axis, interpolation: Interpolation) {
        self.taps.clear();
        self.fixed.clear();
        let scale = source as f64 / axis.len.max(1) as f64;
        // PIL skips the pass of a side that keeps its length: every pixel is itself.
        if axis.len == source || interpolation == Interpolation::Nearest {
            self.fixed.push(1 << FRACTION_BITS);
            let single = |from: usize| Taps {
                from: from.min(source - 1),
                len: 1,
                first_weight: 0,
            };
            if axis.len == source {
                self.taps.extend((axis.part.from..axis.part.to).map(single));
            } else {
                self.taps.extend(nearest(scale, axis.part).map(single));
            }
            return;
        }
        let stretch = scale.max(1.0);
        let support = support(interpolation) * stretch;
        for x in axis.part.from..axis.part.to {
            let centre = (x as f64 + 0.5) * scale;
            let from = ((centre - support + 0.5) as usize).min(source - 1);
            let to = ((centre + support + 0.5) as usize).clamp(from + 1, source);
            self.exact.clear();
            self.exact.extend(
                (from..to)
                    .map(|s| weight(interpolation, (s as f64 - centre + 0.5) * (1.0 / stretch))),
            );
            let total: f64 = self.exact.iter().sum();
            self.taps.push(Taps {
                from,
                len: to - from,
                first_weight: self.fixed.len(),
            });
            self.fixed.extend(self.exact.iter().map(|w| {
                let w = if total == 0.0 { *w } else { w / total };
                let w = w * f64::from(1u32 << FRACTION_BITS);
                (if w < 0.0 { w - 0.5 } else { w + 0.5 }) as i32
            }));
        }
    }

    /// The weights of one output pixel.
    pub(crate) fn of(&self, taps: &Taps) -> &[i32] {
        &self.fixed[taps.first_weight..taps.first_weight + taps.len]
    }

    /// The source pixels that are needed at all.
    pub(crate) fn span(&self) -> Range<usize> {
        let first = self.taps.iter().map(|t| t.from).min().unwrap_or(0);
        let last = self.taps.iter().map(Taps::end).max().unwrap_or(0);
        first..last
    }
}

/// Radius of the filter in source pixels when nothing is scaled down.
fn support(filter: Interpolation) -> f64 {
    match filter {
        Interpolation::Nearest | Interpolation::Box => 0.5,
        Interpolation::Bilinear | Interpolation::Hamming => 1.0,
        Interpolation::Bicubic => 2.0,
        Interpolation::Lanczos => 3.0,
    }
}

/// The filter's weight at distance `x` from its centre.
fn weight(filter: Interpolation, x: f64) -> f64 {
    let sinc = |x: f64| {
        if x == 0.0 {
            1.0
        } else {
            let x = x * core::f64::consts::PI;
            x.sin() / x
        }
    };
    let d = x.abs();
    match filter {
        Interpolation::Nearest | Interpolation::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
        Interpolation::Bilinear => (1.0 - d).max(0.0),
        Interpolation::Hamming if d < 1.0 => {
            sinc(d) * (0.54 + 0.46 * (d * core::f64::consts::PI).cos())
        }
        Interpolation::Bicubic if d < 1.0 => (1.5 * d - 2.5) * d * d + 1.0,
        Interpolation::Bicubic if d < 2.0 => (((d - 5.0) * d + 8.0) * d - 4.0) * -0.5,
        Interpolation::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}
