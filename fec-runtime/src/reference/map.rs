//! Maps and the few things one does to them.

use alloc::vec;
use alloc::vec::Vec;

use crate::image::MapSize;

/// Vectors are divided by their length, or by this where it is shorter (SPEC 3.3).
const SHORTEST: f32 = 1e-12;

/// A feature map, pixel-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Rows and columns; N is their product.
    pub size: MapSize,
    /// Channels C.
    pub channels: usize,
    /// Values [N, C].
    pub values: Vec<f32>,
}

impl Map {
    pub(super) fn zeros(size: MapSize, channels: usize) -> Self {
        Self {
            size,
            channels,
            values: vec![0.0; size.elements() * channels],
        }
    }

    /// The elements' vectors, each [C].
    pub(super) fn elements(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.channels)
    }

    pub(super) fn element(&self, row: usize, col: usize) -> &[f32] {
        let n = row * self.size.cols + col;
        &self.values[n * self.channels..(n + 1) * self.channels]
    }
}

/// The regions of a map: head e owns channels e*d .. (e+1)*d, folds cut the map into folds x folds rectangles.
#[derive(Clone, Copy)]
pub(super) struct Regions {
    pub(super) heads: usize,
    pub(super) folds: usize,
    pub(super) map: MapSize,
}

impl Regions {
    pub(super) fn count(self) -> usize {
        self.heads * self.folds * self.folds
    }

    pub(super) fn size(self) -> MapSize {
        MapSize {
            rows: self.map.rows / self.folds,
            cols: self.map.cols / self.folds,
        }
    }

    /// Where the channels of element `n` of region `r` begin in a map of `channels`.
    pub(super) fn start(self, r: usize, n: usize, channels: usize) -> usize {
        let MapSize { rows, cols } = self.size();
        let (head, fold) = (r / (self.folds * self.folds), r % (self.folds * self.folds));
        let row = fold / self.folds * rows + n / cols;
        let col = fold % self.folds * cols + n % cols;
        (row * self.map.cols + col) * channels + head * (channels / self.heads)
    }

    /// Region `r` of `x` as a map of its own.
    pub(super) fn cut(self, r: usize, x: &Map) -> Map {
        let d = x.channels / self.heads;
        let mut y = Map::zeros(self.size(), d);
        for (n, y) in y.values.chunks_exact_mut(d).enumerate() {
            let start = self.start(r, n, x.channels);
            y.copy_from_slice(&x.values[start..start + d]);
        }
        y
    }

    /// Writes `values` [N, d] into region `r` of `y`.
    pub(super) fn paste(self, r: usize, values: &[f32], y: &mut Map) {
        let d = y.channels / self.heads;
        for (n, values) in values.chunks_exact(d).enumerate() {
            let start = self.start(r, n, y.channels);
            y.values[start..start + d].copy_from_slice(values);
        }
    }
}

/// The windows of a convolution, zeros beyond the border: [N', C * side * side] in the order of the weights.
pub(super) fn windows(x: &Map, side: usize, stride: usize, padding: usize) -> Map {
    let out = |n: usize| (n + 2 * padding - side) / stride + 1;
    let size = MapSize {
        rows: out(x.size.rows),
        cols: out(x.size.cols),
    };
    let mut y = Map::zeros(size, x.channels * side * side);
    let channels = y.channels;
    for (n, y) in y.values.chunks_exact_mut(channels).enumerate() {
        for k in 0..side * side {
            let row = n / size.cols * stride + k / side;
            let col = n % size.cols * stride + k % side;
            let inside = |at: usize, end: usize| (padding..end + padding).contains(&at);
            if inside(row, x.size.rows) && inside(col, x.size.cols) {
                for (c, v) in x.element(row - padding, col - padding).iter().enumerate() {
                    y[c * side * side + k] = *v;
                }
            }
        }
    }
    y
}

/// Means over windows (SPEC 4.1): window i of p over n is floor(i n / p) .. ceil((i + 1) n / p).
pub(super) fn adaptive_average_pool(x: &Map, size: MapSize) -> Map {
    let window = |i: usize, p: usize, n: usize| i * n / p..((i + 1) * n).div_ceil(p);
    let mut y = Map::zeros(size, x.channels);
    for (i, y) in y.values.chunks_exact_mut(x.channels).enumerate() {
        let rows = window(i / size.cols, size.rows, x.size.rows);
        let cols = window(i % size.cols, size.cols, x.size.cols);
        let count = (rows.len() * cols.len()) as f32;
        for row in rows {
            for col in cols.clone() {
                y.iter_mut()
                    .zip(x.element(row, col))
                    .for_each(|(y, v)| *y += v);
            }
        }
        y.iter_mut().for_each(|y| *y /= count);
    }
    y
}

pub(super) fn normalized(x: &Map) -> Map {
    let mut y = x.clone();
    for y in y.values.chunks_exact_mut(x.channels) {
        let length = libm::sqrtf(y.iter().map(|v| v * v).sum()).max(SHORTEST);
        y.iter_mut().for_each(|v| *v /= length);
    }
    y
}

pub(super) fn scaled(mut x: Map, scale: &[f32]) -> Map {
    for x in x.values.chunks_exact_mut(x.channels) {
        x.iter_mut().zip(scale).for_each(|(x, s)| *x *= s);
    }
    x
}

pub(super) fn add(mut x: Map, y: &Map) -> Map {
    debug_assert_eq!((x.size, x.channels), (y.size, y.channels));
    x.values
        .iter_mut()
        .zip(&y.values)
        .for_each(|(x, y)| *x += y);
    x
}

/// The first of the largest.
pub(super) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (m, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = m;
        }
    }
    best
}

/// [rows, cols] to [cols, rows].
pub(super) fn transpose(matrix: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    debug_assert_eq!(matrix.len(), rows * cols);
    (0..rows * cols)
        .map(|i| matrix[i % rows * cols + i / rows])
        .collect()
}

/// y += x A for x [K], A [K, outputs]: the inner loop runs over the outputs, so that it can use vector instructions.
pub(super) fn multiply_add(x: &[f32], a: &[f32], y: &mut [f32]) {
    for (x, a) in x.iter().zip(a.chunks_exact(y.len())) {
        y.iter_mut().zip(a).for_each(|(y, a)| *y += x * a);
    }
}
