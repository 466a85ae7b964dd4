//! Products of matrices in f32 for the shapes at hand: many rows, few columns. Explicit vectors (crate pulp) and no packing of the
//! tall matrix; the backend's product clears its result, copies it, and is made for large squares.
//!
//! Every element's sum goes over its terms in their order (blocks of rows in [`transposed`]), so that neither threads nor
//! vectors change it.

use pulp::{Arch, Simd, WithSimd};

use super::matrix::Matrix;

/// Rows of a tile: as many sums are under way at a time.
const TILE: usize = 8;
/// Rows of both matrices that [`transposed`] takes at a time: what lies in a core's first-level cache.
const BLOCK: usize = 64;

/// x [R, K] times weight [O, K] transposed: [R, O].
pub(super) fn by_rows(x: &[f32], weight: &[f32], inner: usize) -> Matrix {
    let outputs = weight.len() / inner;
    let mut turned = vec![0.0; weight.len()];
    for (o, row) in weight.chunks_exact(inner).enumerate() {
        for (k, v) in row.iter().enumerate() {
            turned[k * outputs + o] = *v;
        }
    }
    product(x, &turned, inner)
}

/// x [R, K] times b [K, C]: [R, C].
pub(super) fn product(x: &[f32], b: &[f32], inner: usize) -> Matrix {
    let outputs = b.len() / inner;
    let rows = x.len() / inner;
    let mut y = vec![0.0; rows * outputs];
    Arch::new().dispatch(Product {
        x,
        b,
        inner,
        y: &mut y,
        outputs,
    });
    Matrix::new(y, &[rows, outputs])
}

/// a [R, I] transposed times b [R, J]: [I, J].
pub(super) fn transposed(a: &[f32], b: &[f32], rows: usize) -> Matrix {
    let (left, right) = (a.len() / rows, b.len() / rows);
    let mut y = vec![0.0; left * right];
    Arch::new().dispatch(Transposed {
        a,
        b,
        y: &mut y,
        left,
        right,
    });
    Matrix::new(y, &[left, right])
}

struct Product<'a> {
    x: &'a [f32],
    b: &'a [f32],
    inner: usize,
    y: &'a mut [f32],
    outputs: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (inner, outputs) = (self.inner, self.outputs);
        // The columns in panels as wide as a vector, [panels, K].
        let mut panels = Vec::with_capacity(outputs.div_ceil(S::F32_LANES) * inner);
        for column in (0..outputs).step_by(S::F32_LANES) {
            for row in self.b.chunks_exact(outputs) {
                let width = S::F32_LANES.min(outputs - column);
                panels.push(load(simd, &row[column..column + width]));
            }
        }
        let tall = self.x.len() / inner / TILE * TILE;
        let (x, x_rest) = self.x.split_at(tall * inner);
        let (y, y_rest) = self.y.split_at_mut(tall * outputs);
        let tiles = x.chunks_exact(TILE * inner);
        for (x, y) in tiles.zip(y.chunks_exact_mut(TILE * outputs)) {
            tile::<S, TILE>(simd, x, &panels, y, outputs);
        }
        let tiles = x_rest.chunks_exact(inner);
        for (x, y) in tiles.zip(y_rest.chunks_exact_mut(outputs)) {
            tile::<S, 1>(simd, x, &panels, y, outputs);
        }
    }
}

/// A vector of `values`, which are as many or fewer: the masked instructions for fewer are slow.
#[inline(always)]
fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values) {
        ([vector], []) => *vector,
        _ => simd.partial_load_f32s(values),
    }
}

/// The other way round.
#[inline(always)]
fn store<S: Simd>(simd: S, values: &mut [f32], vector: S::f32s) {
    match S::as_mut_simd_f32s(values) {
        ([to], []) => *to = vector,
        _ => simd.partial_store_f32s(values, vector),
    }
}

/// `ROWS` rows of x [ROWS, K] times all panels.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize>(
    simd: S,
    x: &[f32],
    panels: &[S::f32s],
    y: &mut [f32],
    outputs: usize,
) {
    let inner = x.len() / ROWS;
    let rows: [&[f32]; ROWS] = core::array::from_fn(|r| &x[r * inner..(r + 1) * inner]);
    for (panel, column) in panels.chunks_exact(inner).zip((0..).step_by(S::F32_LANES)) {
        let mut sums = [simd.splat_f32s(0.0); ROWS];
        for (k, &b) in panel.iter().enumerate() {
            for (sum, row) in sums.iter_mut().zip(&rows) {
                *sum = simd.mul_add_e_f32s(simd.splat_f32s(row[k]), b, *sum);
            }
        }
        let width = S::F32_LANES.min(outputs - column);
        for (sum, y) in sums.into_iter().zip(y.chunks_exact_mut(outputs)) {
            store(simd, &mut y[column..column + width], sum);
        }
    }
}

struct Transposed<'a> {
    a: &'a [f32],
    b: &'a [f32],
    y: &'a mut [f32],
    left: usize,
    right: usize,
}

impl WithSimd for Transposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (left, right) = (self.left, self.right);
        let tall = left / TILE * TILE;
        let blocks = self
            .a
            .chunks(BLOCK * left)
            .zip(self.b.chunks(BLOCK * right));
        for (a, b) in blocks {
            for column in (0..right).step_by(S::F32_LANES) {
                for row in (0..tall).step_by(TILE) {
                    let y = &mut self.y[row * right..(row + TILE) * right];
                    column_tile::<S, TILE>(simd, (a, row, left), (b, column, right), y);
                }
                for row in tall..left {
                    let y = &mut self.y[row * right..(row + 1) * right];
                    column_tile::<S, 1>(simd, (a, row, left), (b, column, right), y);
                }
            }
        }
    }
}

/// Adds to `ROWS` rows of y [ROWS, J], as many columns as a vector has: `a` and `b` come with their first column and their width.
#[inline(always)]
fn column_tile<S: Simd, const ROWS: usize>(
    simd: S,
    (a, row, left): (&[f32], usize, usize),
    (b, column, right): (&[f32], usize, usize),
    y: &mut [f32],
) {
    let width = S::F32_LANES.min(right - column);
    let mut sums = [simd.splat_f32s(0.0); ROWS];
    for (a, b) in a.chunks_exact(left).zip(b.chunks_exact(right)) {
        let b = load(simd, &b[column..column + width]);
        for (sum, a) in sums.iter_mut().zip(&a[row..row + ROWS]) {
            *sum = simd.mul_add_e_f32s(simd.splat_f32s(*a), b, *sum);
        }
    }
    for (sum, y) in sums.into_iter().zip(y.chunks_exact_mut(right)) {
        let y = &mut y[column..column + width];
        let before = load(simd, y);
        store(simd, y, simd.add_f32s(before, sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers: sums are exact in any order.
    fn numbers(count: usize, period: usize) -> Vec<f32> {
        (0..count).map(|i| (i * 7 % period) as f32 - 5.0).collect()
    }

    #[test]
    fn products_of_all_small_shapes_are_exact() {
        for rows in [1, 7, 8, 9, 65, 131] {
            for inner in [1, 5, 16] {
                for outputs in [1, 4, 15, 16, 17, 33] {
                    let (x, b) = (numbers(rows * inner, 13), numbers(inner * outputs, 11));
                    let found = product(&x, &b, inner);
                    let weight: Vec<f32> = (0..outputs * inner)
                        .map(|i| b[i % inner * outputs + i / inner])
                        .collect();
                    let turned = by_rows(&x, &weight, inner);
                    for i in 0..rows * outputs {
                        let (r, o) = (i / outputs, i % outputs);
                        let terms = (0..inner).map(|k| x[r * inner + k] * b[k * outputs + o]);
                        assert_eq!(found.values()[i], terms.sum::<f32>());
                    }
                    assert_eq!(found.values(), turned.values());
                    let y = numbers(rows * outputs, 17);
                    let found = transposed(&x, &y, rows);
                    for i in 0..inner * outputs {
                        let (k, o) = (i / outputs, i % outputs);
                        let terms = (0..rows).map(|r| x[r * inner + k] * y[r * outputs + o]);
                        assert_eq!(found.values()[i], terms.sum::<f32>());
                    }
                }
            }
        }
    }
}
