//! The body over any instruction set: tiles of rows and panels whose sums stay in registers, then the epilogue.

use super::finish::{Add, Finish, Gelu, Place, Store, Table, Tile, write};
use super::{EpilogueI8, MatmulI8, Out, RowScales};
use crate::format::{GROUP, LANES};
use crate::kernels::ValuesMut;
use crate::kernels::dot::{Dot, Group};
use crate::kernels::lanes::Lanes;

#[inline(always)]
pub(in crate::kernels) fn matmul<D: Dot>(m: &MatmulI8<'_>, out: Out<'_>) {
    match (m.epilogue, out) {
        (EpilogueI8::Table { table, .. }, Out::Bytes(out)) => {
            panels::<D, _>(m, Table(&D::table(table)), out)
        }
        (EpilogueI8::Gelu { .. }, Out::Values(ValuesMut::F32(out))) => {
            panels::<D, _>(m, Gelu, out);
        }
        (EpilogueI8::Norm { .. }, Out::Values(ValuesMut::F32(out))) => {
            panels::<D, _>(m, Store, out);
        }
        (EpilogueI8::Residual(_) | EpilogueI8::Accumulate, Out::Values(ValuesMut::F16(out))) => {
            panels::<D, _>(m, Add, out);
        }
        // `MatmulI8::check` has refused all else.
        _ => {}
    }
}

/// Rows of the largest tile.
const MOST_ROWS: usize = 14;

/// Some panels, and what their epilogue needs.
struct Columns<'a, D: Dot, const P: usize> {
    weights: [&'a [Group]; P],
    start: [D::Sums; P],
    /// The rows' scale, where they have one.
    scales: [f32; MOST_ROWS],
    /// a and c.
    both: [(D::Lanes, D::Lanes); P],
    /// The first output.
    first: usize,
    /// Outputs of each panel.
    count: usize,
}

/// All panels, as many at a time as a tile has; all rows for each.
#[inline(always)]
fn panels<D: Dot, F: Finish<D>>(m: &MatmulI8<'_>, finish: F, out: &mut [F::Item]) {
    let mut panel = 0;
    while D::PANELS == 2 && (panel + 2) * LANES <= m.outputs {
        rows(m, &columns::<D, 2>(m, panel, LANES), finish, out);
        panel += 2;
    }
    while panel * LANES < m.outputs {
        let count = LANES.min(m.outputs - panel * LANES);
        rows(m, &columns::<D, 1>(m, panel, count), finish, out);
        panel += 1;
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
    let mut columns = Columns {
        scales: match m.scales {
            RowScales::PerRow(_) => [0.0; MOST_ROWS],
            RowScales::All(scale) => [scale; MOST_ROWS],
        },
        weights: [&weights[panel * groups..][..groups]; P],
        start: [D::start(m.zero, &sums[panel]); P],
        both: [epilogue(m, panel, &scales[panel]); P],
        first: panel * LANES,
        count,
    };
    for p in 1..P {
        columns.weights[p] = &weights[(panel + p) * groups..][..groups];
        columns.start[p] = D::start(m.zero, &sums[panel + p]);
        columns.both[p] = epilogue(m, panel + p, &scales[panel + p]);
    }
    columns
}

/// a and c of a panel.
#[inline(always)]
fn epilogue<L: Lanes>(m: &MatmulI8<'_>, panel: usize, scales: &[f32; LANES]) -> (L, L) {
    let scales = L::load(scales);
    let (bias, sums, norm, inverse) = match m.epilogue {
        EpilogueI8::Norm { bias, sums, norm } | EpilogueI8::Gelu { bias, sums, norm } => {
            (bias, sums, norm, 1.0)
        }
        EpilogueI8::Table {
            bias,
            sums,
            norm,
            pre,
            ..
        } => (bias, sums, norm, 1.0 / pre),
        EpilogueI8::Residual(bias) => return (scales, L::load(&bias.as_chunks().0[panel])),
        EpilogueI8::Accumulate => return (scales, L::splat(0.0)),
    };
    let (bias, sums) = (&bias.as_chunks().0[panel], &sums.as_chunks().0[panel]);
    let shift = L::splat(norm.mean).mul(L::load(sums));
    let offset = L::load(bias).sub(shift.mul(L::splat(norm.rstd)));
    let factor = L::splat(norm.rstd * inverse);
    (scales.mul(factor), offset.mul(L::splat(inverse)))
}

/// All rows with some panels. The tiles' sizes are those that the published networks' maps divide into; each costs the program some
/// kilobytes per epilogue, so that there are few.
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
        n += if D::ROWS >= 14 && left >= 14 && m.inputs > 64 {
            tile::<D, F, P, 14>(m, columns, finish, n, out)
        } else if D::ROWS >= 14 && left >= 8 {
            tile::<D, F, P, 8>(m, columns, finish, n, out)
        } else if D::ROWS >= 14 && left >= 2 {
            tile::<D, F, P, 2>(m, columns, finish, n, out)
        } else if D::ROWS == 6 && left >= 6 {
            tile::<D, F, P, 6>(m, columns, finish, n, out)
        } else if D::ROWS <= 6 && left >= 4 {
            tile::<D, F, P, 4>(m, columns, finish, n, out)
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
    let x = &m.x[n * m.x_stride..];
    let sums = D::products::<R, P>(x, m.x_stride, columns.weights, columns.start);
    let scales = match m.scales {
        RowScales::PerRow(scales) => &scales[n..],
        RowScales::All(_) => &columns.scales,
    };
    let tile = Tile {
        sums,
        scales: &scales.as_chunks().0[0],
        both: &columns.both,
    };
    let end = (R - 1) * m.out_stride + (P - 1) * LANES + columns.count;
    let out = &mut out[n * m.out_stride + columns.first..][..end];
    let place = Place {
        out,
        stride: m.out_stride,
        count: columns.count,
    };
    write(&tile, finish, place);
    R
}
