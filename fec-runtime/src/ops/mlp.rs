//! SPEC 5: norm2, fc1, GELU, fc2, layer scale and residual, [N, C] -> [N, C] in place. The hidden layer exists for one tile of rows.

use super::linear::{self, NormLinear, bytes_len, quantise};
use super::tiles::{self, for_each, of};
use super::{Context, Linear, TILE, room};
use crate::config::Stage;
use crate::format::GeluTable;
use crate::image::MapSize;
use crate::kernels::{
    Epilogue, EpilogueI8, Kernels, Matmul, MatmulI8, Moments, Norm, Out, Panels, RowScales, Values,
    ValuesMut,
};
use crate::memory::{bytes_of, cut};

/// Folded layers of an MLP.
pub(crate) struct Mlp<'a> {
    pub(crate) fc1: NormLinear<'a>,
    pub(crate) fc2: Linear<'a>,
    /// GELU from bytes to bytes, where the hidden layer is bytes of one scale.
    pub(crate) table: Option<GeluTable<'a>>,
    /// Rows of a tile: [`tile`].
    pub(crate) tile: usize,
}

/// Rows of a tile. The weights of the later stages outgrow the caches next to a core, so that their tiles are longer; threads get
/// equal shares, in whole tiles of the kernels.
pub(crate) fn tile(stage: usize, integer: bool, map: MapSize, threads: usize) -> usize {
    let most = if stage < 2 && !integer {
        TILE
    } else {
        2 * TILE
    };
    if threads <= 1 {
        return map.elements().min(most);
    }
    let share = map.elements().div_ceil(threads);
    share
        .div_ceil(share.div_ceil(most).max(1))
        .next_multiple_of(TILE / 4)
        .min(most)
}

/// Lengths of a tile's pieces, in floats: its rows as floats or bytes, its hidden layer as floats, and as bytes.
fn pieces(stage: &Stage, integer: bool, tile: usize) -> [usize; 3] {
    let hidden = room(tile * stage.hidden);
    if integer {
        let input = room(tile * stage.dim).max(bytes_len(tile, stage.dim));
        let output = linear::add_rows_len(tile, stage.hidden, stage.dim);
        [input, hidden, output]
    } else {
        [0, hidden, 0]
    }
}

/// Floats of scratch.
pub(crate) fn scratch_len(
    stage: &Stage,
    integer: bool,
    index: usize,
    map: MapSize,
    threads: usize,
) -> usize {
    let tile: usize = pieces(stage, integer, tile(index, integer, map, threads))
        .iter()
        .sum();
    (threads * tile).max(tiles::moments_len(map.elements()))
}

/// Runs the MLP on `x`, whose statistics are `moments`, and gives the new statistics.
pub(crate) fn run(
    cx: &Context<'_>,
    mlp: &Mlp<'_>,
    stage: &Stage,
    moments: &Moments,
    mut x: ValuesMut<'_>,
    scratch: &mut [f32],
) -> Moments {
    let (norm, channels, kernels) = (moments.norm(), mlp.fc2.weights.outputs, cx.kernels);
    let each = mlp.tile.max(1) * channels;
    let count = x.len().div_ceil(each);
    let pieces = pieces(stage, matches!(x, ValuesMut::F16(_)), mlp.tile);
    let len = cx.threads * pieces.iter().sum::<usize>();
    let buffer = of(x.reborrow(), each);
    for_each(
        cx.threads,
        count,
        buffer,
        &mut scratch[..len],
        &|_, x, scratch| {
            rows(kernels, mlp, norm, x.buffer, cut(scratch, pieces));
        },
    );
    tiles::moments(kernels, cx.threads, x.as_values(), channels, scratch)
}

/// One tile of rows.
fn rows(
    kernels: &Kernels,
    mlp: &Mlp<'_>,
    norm: Norm,
    x: ValuesMut<'_>,
    [input, hidden, output]: [&mut [f32]; 3],
) {
    let (fc1, fc2) = (&mlp.fc1, &mlp.fc2);
    let NormLinear { bias, sums, .. } = *fc1;
    let rows = x.len() / fc1.weights.inputs;
    let len = rows * fc1.weights.outputs;
    match (fc1.weights.panels, fc2.weights.panels, mlp.table) {
        (Panels::I8(first), Panels::I8(second), Some(gelu)) => {
            let bytes = quantise(kernels, x.as_values(), fc1.weights.inputs, None, input);
            let table = EpilogueI8::Table {
                bias,
                sums,
                norm,
                pre: gelu.pre,
                table: gelu.table,
            };
            // Rows of bytes are a multiple of 4 apart; what lies between is multiplied with zeros.
            let stride = fc1.weights.outputs.next_multiple_of(4);
            let hidden = &mut bytes_of(hidden)[..rows * stride];
            let product = MatmulI8 {
                out_stride: stride,
                ..bytes.product(&fc1.weights, first, table)
            };
            kernels.matmul_i8(&product, Out::Bytes(hidden));
            let product = MatmulI8 {
                x: hidden,
                rows,
                x_stride: stride,
                scales: RowScales::All(gelu.post),
                zero: gelu.zero,
                weights: second,
                inputs: fc2.weights.inputs,
                outputs: fc2.weights.outputs,
                out_stride: fc2.weights.outputs,
                epilogue: EpilogueI8::Residual(fc2.bias),
            };
            kernels.matmul_i8(&product, Out::Values(x));
            return;
        }
        (Panels::I8(first), ..) => {
            let bytes = quantise(kernels, x.as_values(), fc1.weights.inputs, None, input);
            let gelu = EpilogueI8::Gelu { bias, sums, norm };
            let product = bytes.product(&fc1.weights, first, gelu);
            kernels.matmul_i8(&product, Out::Values(ValuesMut::F32(&mut hidden[..len])));
        }
        _ => {
            let x = linear::floats(kernels, x.as_values(), input);
            let gelu = Epilogue::NormGelu { bias, sums, norm };
            let product = Matmul::dense(x, rows, fc1.weights, gelu);
            kernels.matmul(&product, &mut hidden[..len]);
        }
    }
    let hidden = Values::F32(&hidden[..len]);
    linear::add_rows(kernels, &fc2.weights, Some(fc2.bias), hidden, x, output);
}
