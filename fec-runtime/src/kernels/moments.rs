//! Statistics of a map for GroupNorm with one group (SPEC 5): gathered row by row by the step that writes the map.

use super::{Norm, lane_sum};

/// What GroupNorm adds to a variance (SPEC 5).
const EPSILON: f64 = 1e-5;

/// Count, mean and sum of squared deviations of what was taken in.
///
/// Each row's own mean and deviations are merged after Chan: no difference of two large sums is ever taken. Merging is in f64, a
/// few operations per row, since thousands of rows follow each other.
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

    /// Merges a row of `n` values with that sum and sum of squared deviations from its own mean.
    pub(super) fn add_row(&mut self, n: usize, sum: f32, squares: f32) {
        let n = n as f64;
        let count = self.count + n;
        let delta = f64::from(sum) / n - self.mean;
        self.mean += delta * (n / count);
        self.squares += f64::from(squares) + delta * delta * (self.count * n / count);
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

/// Sum of a row and of its squared deviations from its mean.
pub(super) fn portable(row: &[f32]) -> (f32, f32) {
    let sum = lane_sum(row, row, |x, _| x);
    let mean = sum / row.len() as f32;
    (sum, lane_sum(row, row, |x, _| (x - mean) * (x - mean)))
}
