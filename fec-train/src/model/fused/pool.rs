//! A pool (SPEC 3) given its assignment: conv_skip(x) + norm(representatives), reformulated like the mixer: averaging commutes
//! with the affine conv_v, which so runs on M rows in place of N.

mod assign;
mod colours;
mod unit;

use alloc::sync::Arc;

use fec_runtime::MapSize;

use super::super::grid::Grid;
use super::Fused;
use super::math::{add, add_bias, add_scaled, column_sums, dot, scale, simd};
use super::matrix::Matrix;
use super::norm::{self, Affine, Statistics};
use super::product::{by_rows, product, transposed};

pub(crate) use assign::{Keys, assign};
pub(crate) use colours::FusedColours;
pub(crate) use unit::UnitKeys;

/// Taps of conv_skip: 3 x 3.
const TAPS: usize = 9;

/// The operation. Inputs: x [B, N, C], conv_v [C', C, 1, 1] and [C'], the norm's weight and bias [C'], conv_skip [C', C, 3, 3]
/// and [C'], and the members' weights [B, N].
#[derive(Clone, Debug)]
pub(crate) struct FusedPool {
    /// The map before the pool.
    pub(crate) map: MapSize,
    pub(crate) grid: Arc<Grid>,
    /// Where each centre's representative goes on the map after the pool.
    pub(crate) cells: Arc<[usize]>,
    /// Each element's centre [B, N], in the grid's numbering.
    pub(crate) assign: Arc<[u16]>,
    /// The weights have a gradient.
    pub(crate) weighing: bool,
}

#[derive(Debug)]
pub(crate) struct Saved {
    /// 1 / (1 + weights of the members) [S], S cells of all images.
    share: Vec<f32>,
    /// Means over centres and members [S, C].
    means: Matrix,
    /// Representatives [S, C'].
    reps: Matrix,
    statistics: Vec<Statistics>,
    /// The windows of conv_skip [S, 9 C].
    windows: Matrix,
}

impl Fused<8> for FusedPool {
    type Saved = Saved;

    fn forward(&self, inputs: &[Matrix; 8], _: bool) -> (Matrix, Saved) {
        let [x, v, v_bias, weight, bias, skip, skip_bias, members] = inputs;
        let next = v_bias.values().len();
        let channels = v.values().len() / next;
        let (means, share) = self.means(x.values(), members.values(), channels);
        let mut reps = by_rows(means.values(), v.values(), channels);
        add_bias(reps.values_mut(), v_bias.values());
        let affine = Affine {
            weight: weight.values(),
            bias: bias.values(),
        };
        let (normal, statistics) = norm::forward(reps.values(), self.images(), affine);
        let windows = self.windows(x.values(), channels);
        let taps = by_tap(skip, next, channels);
        let mut y = by_rows(windows.values(), taps.values(), TAPS * channels);
        add_bias(y.values_mut(), skip_bias.values());
        simd(
            #[inline(always)]
            || add(y.values_mut(), normal.values()),
        );
        let saved = Saved {
            share,
            means,
            reps,
            statistics,
            windows,
        };
        (y, saved)
    }

    fn backward(&self, inputs: &[Matrix; 8], saved: &Saved, grad: Matrix) -> [Matrix; 8] {
        let [x, v, v_bias, weight, _, skip, _, members] = inputs;
        let next = v_bias.values().len();
        let channels = v.values().len() / next;
        let grad = grad.reshape(&[grad.values().len() / next, next]);
        let (of_reps, of_weight, of_bias) = norm::backward(
            saved.reps.values(),
            &saved.statistics,
            weight.values(),
            grad.values(),
            None,
        );
        let cells = self.images() * self.cells.len();
        let of_v = transposed(of_reps.values(), saved.means.values(), cells);
        let of_means = product(of_reps.values(), v.values(), next);
        let of_skip = transposed(grad.values(), saved.windows.values(), cells);
        let of_skip = of_skip.reshape(&[next, TAPS, channels]);
        let taps = by_tap(skip, next, channels);
        let of_windows = product(grad.values(), taps.values(), next);
        let mut of_x = vec![0.0; x.values().len()];
        self.through_windows(of_windows.values(), &mut of_x, channels);
        let of_means = scale_by_row(of_means, &saved.share, channels);
        self.through_means(of_means.values(), members.values(), &mut of_x, channels);
        let of_members = if self.weighing {
            self.through_weights(
                of_means.values(),
                saved.means.values(),
                x.values(),
                channels,
            )
        } else {
            vec![0.0; members.values().len()]
        };
        let vector = Matrix::vector;
        let rows = self.images() * self.elements();
        [
            Matrix::new(of_x, &[rows, channels]),
            of_v,
            vector(column_sums(of_reps.values(), next)),
            vector(of_weight),
            vector(of_bias),
            of_skip.view().swap(1, 2).copied(),
            vector(column_sums(grad.values(), next)),
            Matrix::new(of_members, &[rows]),
        ]
    }
}

/// conv_skip's weight [C', C, 3, 3] as [C', 9 C], taps outermost.
fn by_tap(weight: &Matrix, next: usize, channels: usize) -> Matrix {
    let by_channel = weight.reshape(&[next, channels, TAPS]);
    let by_tap = by_channel.view().swap(1, 2).copied();
    by_tap.reshape(&[next, TAPS * channels])
}

impl FusedPool {
    fn elements(&self) -> usize {
        self.grid.region.len()
    }

    fn images(&self) -> usize {
        self.assign.len() / self.elements()
    }

    /// The cell of an element's centre among those of all images.
    #[inline(always)]
    fn cell(&self, r: usize) -> usize {
        r / self.elements() * self.cells.len() + self.cells[usize::from(self.assign[r])]
    }

    /// Eq. 6 on x: the means over centre and members [S, C], and 1 / (1 + weights of the members).
    fn means(&self, x: &[f32], weights: &[f32], channels: usize) -> (Matrix, Vec<f32>) {
        let all = self.images() * self.cells.len();
        let mut sums = vec![0.0; all * channels];
        let mut members = vec![1.0f32; all];
        simd(
            #[inline(always)]
            || {
                self.each_window(
                    #[inline(always)]
                    |r, cell, share| {
                        let sums = &mut sums[cell * channels..(cell + 1) * channels];
                        add_scaled(sums, share, &x[r * channels..(r + 1) * channels]);
                    },
                );
                for (r, (x, w)) in x.chunks_exact(channels).zip(weights).enumerate() {
                    let cell = self.cell(r);
                    let sums = &mut sums[cell * channels..(cell + 1) * channels];
                    add_scaled(sums, *w, x);
                    members[cell] += w;
                }
                for (row, members) in sums.chunks_exact_mut(channels).zip(&mut members) {
                    *members = 1.0 / *members;
                    scale(row, *members);
                }
            },
        );
        (Matrix::new(sums, &[all, channels]), members)
    }

    /// Calls `each` with every element of every window, the window's cell and 1 / elements of the window.
    #[inline(always)]
    fn each_window(&self, mut each: impl FnMut(usize, usize, f32)) {
        for image in 0..self.images() {
            for (window, cell) in self.grid.windows.iter().zip(&*self.cells) {
                let share = 1.0 / window.len() as f32;
                for n in window {
                    let r = image * self.elements() + n;
                    each(r, image * self.cells.len() + cell, share);
                }
            }
        }
    }

    /// Adds what comes through the means to the gradient of x. `of_means`: of the sums of weighed members [S, C].
    fn through_means(&self, of_means: &[f32], weights: &[f32], of_x: &mut [f32], channels: usize) {
        simd(
            #[inline(always)]
            || {
                for (r, (of_x, w)) in of_x.chunks_exact_mut(channels).zip(weights).enumerate() {
                    let cell = self.cell(r);
                    let of_mean = &of_means[cell * channels..(cell + 1) * channels];
                    add_scaled(of_x, *w, of_mean);
                }
                self.each_window(
                    #[inline(always)]
                    |r, cell, share| {
                        let of_mean = &of_means[cell * channels..(cell + 1) * channels];
                        add_scaled(&mut of_x[r * channels..(r + 1) * channels], share, of_mean);
                    },
                );
            },
        );
    }

    /// The gradients of the members' weights: a mean moves towards the member by what its weight grows, times its share.
    fn through_weights(
        &self,
        of_means: &[f32],
        means: &[f32],
        x: &[f32],
        channels: usize,
    ) -> Vec<f32> {
        simd(
            #[inline(always)]
            || {
                let towards = means
                    .chunks_exact(channels)
                    .zip(of_means.chunks_exact(channels));
                let there: Vec<f32> = towards.map(|(mean, of_mean)| dot(mean, of_mean)).collect();
                let of_weight = |(r, x): (usize, &[f32])| {
                    let cell = self.cell(r);
                    dot(x, &of_means[cell * channels..(cell + 1) * channels]) - there[cell]
                };
                x.chunks_exact(channels)
                    .enumerate()
                    .map(of_weight)
                    .collect()
            },
        )
    }

    /// The windows of conv_skip [S, 9 C]: stride 2, one row and column of zeros around the map.
    fn windows(&self, x: &[f32], channels: usize) -> Matrix {
        let rows = self.images() * self.cells.len();
        let mut windows = vec![0.0; rows * TAPS * channels];
        self.each_tap(|r, tap| {
            let tap = &mut windows[tap * channels..(tap + 1) * channels];
            tap.copy_from_slice(&x[r * channels..(r + 1) * channels]);
        });
        Matrix::new(windows, &[rows, TAPS * channels])
    }

    /// Adds the gradient of the windows to that of x.
    fn through_windows(&self, of_windows: &[f32], of_x: &mut [f32], channels: usize) {
        simd(
            #[inline(always)]
            || {
                self.each_tap(
                    #[inline(always)]
                    |r, tap| {
                        let of_x = &mut of_x[r * channels..(r + 1) * channels];
                        add(of_x, &of_windows[tap * channels..(tap + 1) * channels]);
                    },
                );
            },
        );
    }

    /// Calls `each` with every element that a tap of a window sees, and the tap's number among all.
    #[inline(always)]
    fn each_tap(&self, mut each: impl FnMut(usize, usize)) {
        let MapSize { rows, cols } = self.map;
        let mut first = 0;
        for image in 0..self.images() {
            for i in 0..rows / 2 {
                for j in 0..cols / 2 {
                    for tap in 0..TAPS {
                        // One less than where it is: the border is a row and a column of zeros.
                        let (row, col) = (2 * i + tap / 3, 2 * j + tap % 3);
                        if (1..=rows).contains(&row) && (1..=cols).contains(&col) {
                            let r = image * self.elements() + (row - 1) * cols + col - 1;
                            each(r, first + tap);
                        }
                    }
                    first += TAPS;
                }
            }
        }
    }
}

/// Rows of `matrix` [S, C], each times its own number.
fn scale_by_row(mut matrix: Matrix, scales: &[f32], channels: usize) -> Matrix {
    let rows = matrix.values_mut().chunks_exact_mut(channels).zip(scales);
    for (row, by) in rows {
        scale(row, *by);
    }
    matrix
}
