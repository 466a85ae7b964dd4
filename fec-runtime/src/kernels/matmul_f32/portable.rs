//! The specification: for each output one sum over k in ascending order, then the epilogue.

use super::{Epilogue, Matmul, Panels};
use crate::format::LANES;
use crate::kernels::activation::gelu;

/// Rows whose sums are held at a time: a panel's weights are read (and widened) once for all of them.
const BLOCK: usize = 28;
/// Rows of the inner loop: their sums and one row of weights fit the registers of most machines.
const TILE: usize = 2;
/// Narrow weights are widened in chunks of this many inputs, on the stack.
const CHUNK: usize = 32;

pub(in crate::kernels) fn matmul(m: &Matmul<'_>, out: &mut [f32]) {
    for panel in m.outputs.start / LANES..m.outputs.end.div_ceil(LANES) {
        let mut first = 0;
        while first < m.rows {
            let rows = BLOCK.min(m.rows - first);
            let mut sums = [[0.0; LANES]; BLOCK];
            add_panel(m, panel, first, &mut sums[..rows]);
            for (i, sums) in sums[..rows].iter().enumerate() {
                store(m, panel, sums, &mut out[(first + i) * m.out_stride..]);
            }
            first += rows;
        }
    }
}

/// Adds the products of a panel with the rows from `first` on to sums of 0.
fn add_panel(m: &Matmul<'_>, panel: usize, first: usize, sums: &mut [[f32; LANES]]) {
    let start = (panel * m.weights.inputs + m.inputs.start) * LANES;
    let values = start..start + m.inputs.len() * LANES;
    match m.weights.panels {
        Panels::F32(weights) => add_chunk(m, first, 0, weights[values].as_chunks().0, sums),
        Panels::F16(weights) => {
            let mut wide = [[0.0; LANES]; CHUNK];
            for (i, chunk) in weights[values].chunks(CHUNK * LANES).enumerate() {
                let (chunk, _) = chunk.as_chunks::<LANES>();
                for (wide, narrow) in wide.iter_mut().zip(chunk) {
                    *wide = narrow.map(|bits| half::f16::from_bits(bits).to_f32());
                }
                add_chunk(m, first, i * CHUNK, &wide[..chunk.len()], sums);
            }
        }
        Panels::I8(weights) => {
            let mut wide = [[0.0; LANES]; CHUNK];
            for k in (0..m.inputs.len()).step_by(CHUNK) {
                let count = CHUNK.min(m.inputs.len() - k);
                for (i, wide) in wide[..count].iter_mut().enumerate() {
                    *wide = weights.row(m.weights.inputs, panel, m.inputs.start + k + i);
                }
                add_chunk(m, first, k, &wide[..count], sums);
            }
            let scales = &weights.scales[panel * LANES..][..LANES];
            for sums in sums {
                sums.iter_mut()
                    .zip(scales)
                    .for_each(|(v, scale)| *v *= scale);
            }
        }
    }
}

/// Adds `weights`, whose first input is `k` of the row, to the sums of all rows.
fn add_chunk(
    m: &Matmul<'_>,
    first: usize,
    k: usize,
    weights: &[[f32; LANES]],
    sums: &mut [[f32; LANES]],
) {
    let row = |i: usize| &m.x[(first + i) * m.x_stride + k..][..weights.len()];
    let (tiles, rest) = sums.as_chunks_mut::<TILE>();
    let done = tiles.len() * TILE;
    for (i, tile) in tiles.iter_mut().enumerate() {
        *tile = add_rows(core::array::from_fn(|r| row(i * TILE + r)), weights, *tile);
    }
    for (i, sums) in rest.iter_mut().enumerate() {
        [*sums] = add_rows([row(done + i)], weights, [*sums]);
    }
}

/// The inner loop: `sums` stay in registers.
#[inline]
fn add_rows<const R: usize>(
    rows: [&[f32]; R],
    weights: &[[f32; LANES]],
    mut sums: [[f32; LANES]; R],
) -> [[f32; LANES]; R] {
    for (k, weights) in weights.iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let x = row[k];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += x * weight;
            }
        }
    }
    sums
}

/// Applies the epilogue to one row of a panel; `out` begins at that row.
fn store(m: &Matmul<'_>, panel: usize, sums: &[f32; LANES], out: &mut [f32]) {
    let first = panel * LANES;
    let count = LANES.min(m.outputs.end - first);
    let out = &mut out[first - m.outputs.start..][..count];
    let lanes = |vector: &[f32]| -> [f32; LANES] { core::array::from_fn(|i| vector[first + i]) };
    let value: [f32; LANES] = match m.epilogue {
        Epilogue::Plain | Epilogue::Accumulate => *sums,
        Epilogue::Bias(bias) | Epilogue::Residual(bias) => {
            let bias = lanes(bias);
            core::array::from_fn(|i| sums[i] + bias[i])
        }
        Epilogue::Norm {
            bias,
            sums: s,
            norm,
        }
        | Epilogue::NormGelu {
            bias,
            sums: s,
            norm,
        } => {
            let (bias, s) = (lanes(bias), lanes(s));
            core::array::from_fn(|i| (sums[i] - norm.mean * s[i]) * norm.rstd + bias[i])
        }
    };
    match m.epilogue {
        Epilogue::NormGelu { .. } => out.copy_from_slice(&gelu(value)[..count]),
        Epilogue::Residual(_) | Epilogue::Accumulate => out
            .iter_mut()
            .zip(value)
            .for_each(|(out, value)| *out += value),
        Epilogue::Plain | Epilogue::Bias(_) | Epilogue::Norm { .. } => {
            out.copy_from_slice(&value[..count])
        }
    }
}
