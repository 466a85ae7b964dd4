//! A pool's assignment (SPEC 3.2, 3.3, 3.6). It has no gradient, so that the elements' keys need not be there: a centre's
//! similarity to all elements is one vector times the map, s = x·(Wᵀ c) + b·c.

use fec_runtime::MapSize;
use fec_runtime::config::Similarity;

use super::super::super::grid::{Grid, away};
use super::super::math::{add_bias, add_scaled, dot, each, first_of_the_largest, simd, unit_scale};
use super::super::matrix::Matrix;
use super::super::product::{by_rows, product};
use super::unit::UnitKeys;

/// Similarities made at a time: what lies in a core's second-level cache.
const SIMILARITIES: usize = 1 << 17;

/// What a pool compares by.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// conv_f's weight [C', C] and bias [C'].
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
    pub(crate) similarity: Similarity,
    pub(crate) locality: f32,
}

/// The centre of every element of every image in `x` [B, N, C], in the grid's numbering [B, N]. `map` is the map's size.
pub(crate) fn assign(
    x: &[f32],
    channels: usize,
    map: MapSize,
    grid: &Grid,
    (keys, unit): (Keys, Option<&UnitKeys>),
) -> Vec<u16> {
    let length = grid.region.len() * channels;
    let images = x.chunks_exact(length);
    let mut assign = Vec::with_capacity(x.len() / channels);
    let distances = (keys.locality > 0.0).then(|| Distances::new(map, grid));
    // Lengths of keys count only against distances.
    let made =
        (distances.is_some() && unit.is_none()).then(|| UnitKeys::new(x, keys.weight, keys.bias));
    let scales = unit.or(made.as_ref()).map(|unit| &unit.scales[..]);
    for (image, x) in images.enumerate() {
        let of_image = image * grid.region.len()..(image + 1) * grid.region.len();
        let scales = scales.map(|scales| &scales[of_image]);
        let distances = distances.as_ref().zip(scales);
        assign_image(x, channels, grid, keys, distances, &mut assign);
    }
    assign
}

fn assign_image(
    x: &[f32],
    channels: usize,
    grid: &Grid,
    keys: Keys,
    distances: Option<(&Distances, &[f32])>,
    assign: &mut Vec<u16>,
) {
    let (queries, offsets) = queries(x, channels, grid, keys);
    let all = grid.windows.len();
    let rows = (SIMILARITIES / all).max(1);
    for (chunk, x) in x.chunks(rows * channels).enumerate() {
        let mut similarities = by_rows(x, queries.values(), channels);
        add_bias(similarities.values_mut(), &offsets);
        simd(
            #[inline(always)]
            || {
                let rows_of = similarities.values_mut().chunks_exact_mut(all);
                for (i, row) in rows_of.enumerate() {
                    let n = chunk * rows + i;
                    let first = grid.region[n] * grid.centres;
                    let row = &mut row[first..first + grid.centres];
                    if let Some((distances, key_scales)) = distances {
                        distances.pull(row, n, key_scales[n], keys.locality);
                    }
                    assign.push((first + first_of_the_largest(row)) as u16);
                }
            },
        );
    }
}

/// How far elements are from the centres of their region, in cells: squares, as whole rows of centres, so that an element takes
/// them at a stretch.
struct Distances {
    /// For each row of elements inside a region [rows, M], and for each column [cols, M].
    down: Vec<f32>,
    across: Vec<f32>,
    /// Of a region, in elements.
    size: MapSize,
    /// Columns of the map.
    cols: usize,
}

impl Distances {
    fn new(map: MapSize, grid: &Grid) -> Self {
        let folds = grid.regions.isqrt();
        let size = MapSize {
            rows: map.rows / folds,
            cols: map.cols / folds,
        };
        let square = |distance: f32| distance * distance;
        let centres = || 0..grid.centres;
        let of_row = |row| centres().map(move |m| square(away(row, m / (size.cols / 2))));
        let of_col = |col| centres().map(move |m| square(away(col, m % (size.cols / 2))));
        Self {
            down: (0..size.rows).flat_map(of_row).collect(),
            across: (0..size.cols).flat_map(of_col).collect(),
            size,
            cols: map.cols,
        }
    }

    /// Makes cosines of the products of element `n` with unit centres, less the locality times the squared distance (SPEC 3.6).
    #[inline(always)]
    fn pull(&self, row: &mut [f32], n: usize, key_scale: f32, locality: f32) {
        let count = row.len();
        let (i, j) = (
            n / self.cols % self.size.rows,
            n % self.cols % self.size.cols,
        );
        let down = &self.down[i * count..(i + 1) * count];
        let across = &self.across[j * count..(j + 1) * count];
        each(
            row,
            [down, across],
            #[inline(always)]
            |s, [y, x]| *s = *s * key_scale - locality * (y + x),
        );
    }
}

/// What the centres begin as: the means of their windows [S, C], for all images of `x` [B, N, C].
pub(super) fn centre_means(x: &[f32], channels: usize, grid: &Grid) -> Matrix {
    let (length, all) = (grid.region.len() * channels, grid.windows.len());
    let mut means = Matrix::zeros(&[x.len() / length * all, channels]);
    let of_images = means.values_mut().chunks_exact_mut(all * channels);
    for (means, x) in of_images.zip(x.chunks_exact(length)) {
        for (mean, window) in means.chunks_exact_mut(channels).zip(&grid.windows) {
            let share = 1.0 / window.len() as f32;
            for n in window {
                add_scaled(mean, share, &x[n * channels..(n + 1) * channels]);
            }
        }
    }
    means
}

/// For every centre the vector and the number that make its similarity to an element: [S, C] and [S].
fn queries(x: &[f32], channels: usize, grid: &Grid, keys: Keys) -> (Matrix, Vec<f32>) {
    let all = grid.windows.len();
    let means = centre_means(x, channels, grid);
    let mut centres = by_rows(means.values(), keys.weight, channels);
    add_bias(centres.values_mut(), keys.bias);
    let mut offsets = Vec::with_capacity(all);
    for centre in centres.values_mut().chunks_exact_mut(keys.bias.len()) {
        let square = dot(centre, centre);
        if keys.similarity == Similarity::Cosine {
            let scale = unit_scale(square);
            centre.iter_mut().for_each(|c| *c *= scale);
        }
        // -|c - k|^2 = 2 c·k - |c|^2 - |k|^2: half of it, without what all centres share, has the same largest.
        let less = match keys.similarity {
            Similarity::Euclidean => 0.5 * square,
            Similarity::Cosine | Similarity::Dot => 0.0,
        };
        offsets.push(dot(centre, keys.bias) - less);
    }
    let queries = product(centres.values(), keys.weight, keys.bias.len());
    (queries, offsets)
}
