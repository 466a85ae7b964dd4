//! Statistics of a map for GroupNorm with one group (SPEC 5): gathered tile by tile by the step that writes the map.

use super::elements::Element;
use super::lanes::Lanes;
use super::{Norm, Values};
use crate::format::LANES;

/// What GroupNorm adds to a variance (SPEC 5).
const EPSILON: f64 = 1e-5;

/// Count, mean and sum of squared deviations of what was taken in.
///
/// Each tile's own mean and deviations are merged after Chan: no difference of two large sums is ever taken. Merging is in f64, a
/// few operations per tile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Those of nothing.
    pub const fn new() -> Self {
        Self {
            count: 0.0,
            mean: 0.0,
            squares: 0.0,
        }
    }

    /// Those of `n` values with that mean and sum of squared deviations from it.
    pub(crate) fn of_tile(n: usize, [mean, squares]: [f32; 2]) -> Self {
        Self {
            count: n as f64,
            mean: f64::from(mean),
            squares: f64::from(squares),
        }
    }

    /// Takes in what `other` has taken in.
    pub fn merge(&mut self, other: &Moments) {
        let count = self.count + other.count;
        if count == 0.0 {
            return;
        }
        let delta = other.mean - self.mean;
        self.mean += delta * (other.count / count);
        self.squares += other.squares + delta * delta * (self.count * other.count / count);
        self.count = count;
    }

    /// Mean and 1 / sqrt(variance + 1e-5), the variance being the biased one.
    pub fn norm(&self) -> Norm {
        let variance = self.squares / if self.count > 0.0 { self.count } else { 1.0 };
        Norm {
            mean: self.mean as f32,
            rstd: (1.0 / libm::sqrt(variance + EPSILON)) as f32,
        }
    }
}

/// Mean of a tile and sum of the squared deviations from it.
#[inline(always)]
pub(super) fn body<L: Lanes>(x: Values<'_>) -> (f32, f32) {
    match x {
        Values::F32(x) => tile::<L, f32>(x),
        Values::F16(x) => tile::<L, u16>(x),
    }
}

#[inline(always)]
fn tile<L: Lanes, E: Element>(x: &[E]) -> (f32, f32) {
    let mean = sum::<L, E>(
        x,
        #[inline(always)]
        |x| x,
    ) / x.len() as f32;
    let deviation = L::splat(mean);
    let squares = sum::<L, E>(
        x,
        #[inline(always)]
        |x| {
            let x = x.sub(deviation);
            x.mul(x)
        },
    );
    (mean, squares)
}

/// Chains of additions that run side by side.
const CHAINS: usize = 4;

/// Sum of f(x): value i is added to lane i % 16 of chain i / 16 % 4 (of chain 0 in the last chunks), then chains, then lanes as trees.
#[inline(always)]
fn sum<L: Lanes, E: Element>(x: &[E], f: impl Fn(L) -> L) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let (rounds, chunks) = chunks.as_chunks::<CHAINS>();
    let mut chains = [L::splat(0.0); CHAINS];
    for round in rounds {
        for (chain, x) in chains.iter_mut().zip(round) {
            *chain = chain.add(f(E::load(x)));
        }
    }
    let [mut first, second, third, fourth] = chains;
    for x in chunks {
        first = first.add(f(E::load(x)));
    }
    if !rest.is_empty() {
        let mut lanes = [0.0; LANES];
        f(E::load_part(rest)).store(&mut lanes);
        lanes[rest.len()..].fill(0.0);
        first = first.add(L::load(&lanes));
    }
    first.add(second).add(third.add(fourth)).sum()
}
