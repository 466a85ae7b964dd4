//! Keys of unit length, and the way back through them.

use super::super::math::{add_bias, dot, each, simd, unit_scale};
use super::super::matrix::Matrix;
use super::super::product::by_rows;

/// Keys W x + b of unit length: made once where a pool is assigned and its keys learn.
#[derive(Debug)]
pub(crate) struct UnitKeys {
    /// [R, C']
    pub(super) rows: Matrix,
    /// 1 / length of each before.
    pub(super) scales: Vec<f32>,
}

impl UnitKeys {
    /// Of x [R, C] with conv_f's weight [C', C] and bias [C'].
    pub(crate) fn new(x: &[f32], weight: &[f32], bias: &[f32]) -> Self {
        let mut rows = by_rows(x, weight, weight.len() / bias.len());
        add_bias(rows.values_mut(), bias);
        let scales = simd(
            #[inline(always)]
            || {
                let unscaled = rows.values_mut().chunks_exact_mut(bias.len());
                let scale = |row: &mut [f32]| {
                    let scale = unit_scale(dot(row, row));
                    row.iter_mut().for_each(|k| *k *= scale);
                    scale
                };
                unscaled.map(scale).collect()
            },
        );
        Self { rows, scales }
    }

    /// From the gradient of the unit keys to `share` of that of the keys.
    pub(super) fn through(&self, of_rows: &mut [f32], share: f32) {
        let width = self.rows.values().len() / self.scales.len();
        let rows = self.rows.values().chunks_exact(width).zip(&self.scales);
        simd(
            #[inline(always)]
            || {
                for (of_row, (row, scale)) in of_rows.chunks_exact_mut(width).zip(rows) {
                    let along = dot(of_row, row);
                    each(
                        of_row,
                        [row],
                        #[inline(always)]
                        |of, [k]| *of = (*of - along * k) * scale * share,
                    );
                }
            },
        );
    }
}
