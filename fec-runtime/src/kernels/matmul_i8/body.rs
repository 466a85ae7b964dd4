//! The body over any instruction set: tiles of rows and panels whose sums stay in registers, then the epilogue.

use super::finish::{Add, AddHalf, Finish, Gelu, Store, Table};
use super::{EpilogueI8, MatmulI8, Out};
use crate::format::{GROUP, LANES};
use crate::kernels::dot::{Dot, Group};
use crate::kernels::{Norm, ValuesMut};

#[inline(always)]
pub(super) fn matmul<D: Dot>(m: &MatmulI8<'_>, out: Out<'_>) {
    match (m.epilogue, out) {
        (EpilogueI8::Table { table, .. }, Out::Bytes(out)) => panels::<D, _>(m, Table(table), out),
        (epilogue, Out::Values(ValuesMut::F32(out))) => match epilogue {
            EpilogueI8::Gelu { .. } => panels::<D, _>(m, Gelu, out),
            EpilogueI8::Residual(_) => panels::<D, _>(m, Add::<true>, out),
            EpilogueI8::Accumulate => panels::<D, _>(m, Add::<false>, out),
            _ => panels::<D, _>(m, Store, out),
        },
        (EpilogueI8::Residual(_), Out::Values(ValuesMut::F16(out))) => {
            panels::<D, _>(m, AddHalf::<true>, out);
        }
        (EpilogueI8::Accumulate, Out::Values(ValuesMut::F16(out))) => {
            panels::<D, _>(m, AddHalf::<false>, out);
        }
        // `MatmulI8::check` has refused all else.
        _ => {}
    }
}

/// Some panels, and what their epilogue needs.
struct Columns<'a, D: Dot, const P: usize> {
    weights: [&'a [Group]; P],
    start: [D::Sums; P],
    factor: [D; P],
    offset: [D; P],
    /// The first output.
    first: usize,
    /// Outputs of each panel.
    count: usize,
}

/// All panels, as many at a time as a tile has; all rows for each.
#[inline(always)]
fn panels<D: Dot, F: Finish<D>>(m: &MatmulI8<'_>, finish: F, out: &mut [F::Item]) {
    let whole = m.outputs / LANES;
    let mut panel = 0;
    while D::PANELS == 2 && panel + 2 <= whole {
        rows(m, &columns::<D, 2>(m, panel, LANES), finish, out);
        panel += 2;
    }
    while panel < whole {
        rows(m, &columns::<D, 1>(m, panel, LANES), finish, out);
        panel += 1;
    }
    if !m.outputs.is_multiple_of(LANES) {
        let count = m.outputs % LANES;
        rows(m, &columns::<D, 1>(m, panel, count), finish, out);
    }
}

#[inline(always)]
fn columns<'a, D: Dot, const P: usize>(
    m: &MatmulI8<'a>,
    panel: usize,
    count: usize,
) -> Columns<'a, D, P> {
    let groups = m.inputs.div_ceil(GROUP);
    let (weights, _) = m.weights.values.as_chunks();
    let (sums, _) = m.weights.sums.as_chunks();
    let (scales, _) = m.weights.scales.as_chunks();
    let both: [(D, D); P] = core::array::from_fn(|p| epilogue(m, panel + p, &scales[panel + p]));
    Columns {
        weights: core::array::from_fn(|p| &weights[(panel + p) * groups..][..groups]),
        start: core::array::from_fn(|p| D::start(m.zero, &sums[panel + p])),
        factor: both.map(|(factor, _)| factor),
        offset: both.map(|(_, offset)| offset),
        first: panel * LANES,
        count,
    }
}

/// a and c of a panel.
#[inline(always)]
fn epilogue<D: Dot>(m: &MatmulI8<'_>, panel: usize, scales: &[f32; LANES]) -> (D, D) {
    let lanes = |vector: &[f32]| D::load(&vector.as_chunks().0[panel]);
    let scales = D::load(scales);
    let normed = |bias: &[f32], sums: &[f32], norm: Norm, inverse: f32| {
        let shift = D::splat(norm.mean).mul(lanes(sums));
        let offset = lanes(bias).sub(shift.mul(D::splat(norm.rstd)));
        let inverse = D::splat(inverse);
        let factor = D::splat(norm.rstd).mul(inverse);
        (scales.mul(factor), offset.mul(inverse))
    };
    match m.epilogue {
        EpilogueI8::Norm { bias, sums, norm } | EpilogueI8::Gelu { bias, sums, norm } => {
            normed(bias, sums, norm, 1.0)
        }
        EpilogueI8::Table {
            bias,
            sums,
            norm,
            pre,
            ..
        } => normed(bias, sums, norm, 1.0 / pre),
        EpilogueI8::Residual(bias) => (scales, lanes(bias)),
        EpilogueI8::Accumulate => (scales, D::splat(0.0)),
    }
}

/// All rows with some panels. The tiles' sizes are those that the published networks' maps divide into.
#[inline(always)]
fn rows<D: Dot, F: Finish<D>, const P: usize>(
    m: &MatmulI8<'_>,
    columns: &Columns<'_, D, P>,
    finish: F,
    out: &mut [F::Item],
) {
    let mut n = 0;
    while n < m.rows {
        let left = m.rows - n;
        n += if D::ROWS >= 14 && left >= 14 {
            tile::<D, F, P, 14>(m, columns, finish, n, out)
        } else if D::ROWS >= 14 && left >= 7 {
            tile::<D, F, P, 7>(m, columns, finish, n, out)
        } else if D::ROWS >= 6 && left >= 6 {
            tile::<D, F, P, 6>(m, columns, finish, n, out)
        } else if left >= 4 {
            tile::<D, F, P, 4>(m, columns, finish, n, out)
        } else if left >= 2 {
            tile::<D, F, P, 2>(m, columns, finish, n, out)
        } else {
            tile::<D, F, P, 1>(m, columns, finish, n, out)
        };
    }
}

/// R rows from `n` on with some panels; gives R.
#[inline(always)]
fn tile<D: Dot, F: Finish<D>, const P: usize, const R: usize>(
    m: &MatmulI8<'_>,
    columns: &Columns<'_, D, P>,
    finish: F,
    n: usize,
    out: &mut [F::Item],
) -> usize {
    let groups = columns.weights[0].len();
    let x: [&[[u8; GROUP]]; R] =
        core::array::from_fn(|r| &m.x[(n + r) * m.x_stride..].as_chunks().0[..groups]);
    let sums = D::products(x, columns.weights, columns.start);
    let values: [[D; P]; R] = core::array::from_fn(|r| {
        let scale = D::splat(m.scales.of(n + r));
        core::array::from_fn(|p| {
            let value = D::from_ints(sums[r][p]).mul(columns.factor[p]).mul(scale);
            if F::OFFSET {
                value.add(columns.offset[p])
            } else {
                value
            }
        })
    });
    let out = &mut out[n * m.out_stride + columns.first..];
    finish.tile(values, out, m.out_stride, columns.count);
    R
}
