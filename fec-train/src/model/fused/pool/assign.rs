//! A pool's assignment (SPEC 3.2, 3.3, 3.6). It has no gradient, so that the elements' keys need not be there: a centre's
//! similarity to all elements is one vector times the map, s = x·(Wᵀ c) + b·c.

use fec_runtime::MapSize;
use fec_runtime::config::Similarity;

use super::super::super::grid::{Grid, away};
use super::super::math::{add_bias, add_scaled, dot, simd, unit_scale};
use super::super::matrix::Matrix;
use super::super::mixer::first_of_the_largest;
use super::super::product::{by_rows, product};

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
    keys: Keys,
) -> Vec<u16> {
    let length = grid.region.len() * channels;
    let images = x.chunks_exact(length);
    let mut assign = Vec::with_capacity(x.len() / channels);
    for image in images {
        assign_image(image, channels, map, grid, keys, &mut assign);
    }
    assign
}

fn assign_image(
    x: &[f32],
    channels: usize,
    map: MapSize,
    grid: &Grid,
    keys: Keys,
    assign: &mut Vec<u16>,
) {
    let (queries, offsets) = queries(x, channels, grid, keys);
    let all = grid.windows.len();
    let rows = (SIMILARITIES / all).max(1);
    for (chunk, x) in x.chunks(rows * channels).enumerate() {
        let mut similarities = by_rows(x, queries.values(), channels);
        add_bias(similarities.values_mut(), &offsets);
        let lengths = (keys.locality > 0.0).then(|| key_scales(x, channels, keys));
        simd(
            #[inline(always)]
            || {
                let rows_of = similarities.values_mut().chunks_exact_mut(all);
                for (i, row) in rows_of.enumerate() {
                    let n = chunk * rows + i;
                    let first = grid.region[n] * grid.centres;
                    let row = &mut row[first..first + grid.centres];
                    if let Some(lengths) = &lengths {
                        let place = place_in_region(map, grid, n);
                        pull(
                            row,
                            lengths[i],
                            keys.locality,
                            place,
                            map.cols / folds(grid) / 2,
                        );
                    }
                    assign.push((first + first_of_the_largest(row)) as u16);
                }
            },
        );
    }
}

/// Regions per side.
fn folds(grid: &Grid) -> usize {
    grid.regions.isqrt()
}

/// Row and column of element `n` inside its region.
#[inline(always)]
fn place_in_region(map: MapSize, grid: &Grid, n: usize) -> (usize, usize) {
    let (rows, cols) = (map.rows / folds(grid), map.cols / folds(grid));
    (n / map.cols % rows, n % map.cols % cols)
}

/// Makes cosines of the products with unit centres, less the locality times the squared distance in cells (SPEC 3.6).
#[inline(always)]
fn pull(row: &mut [f32], key_scale: f32, locality: f32, place: (usize, usize), cols: usize) {
    for (i, row) in row.chunks_exact_mut(cols).enumerate() {
        let y = away(place.0, i);
        for (j, s) in row.iter_mut().enumerate() {
            let x = away(place.1, j);
            *s = *s * key_scale - locality * (y * y + x * x);
        }
    }
}

/// 1 / length of each element's key.
fn key_scales(x: &[f32], channels: usize, keys: Keys) -> Vec<f32> {
    let mut all = by_rows(x, keys.weight, channels);
    add_bias(all.values_mut(), keys.bias);
    simd(
        #[inline(always)]
        || {
            let rows = all.values().chunks_exact(keys.bias.len());
            rows.map(|key| unit_scale(dot(key, key))).collect()
        },
    )
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
