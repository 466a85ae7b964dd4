//! Layers as ops are given them: packed weights with their vectors; and their products with rows of a map.
//!
//! A layer whose weights are bytes multiplies bytes where the scheme says so (ARCHITECTURE.md, "Integer networks"): its rows are
//! quantised first. Any other multiplies floats, to which the rows are widened if they are not.

use super::{room, room_bytes};
use crate::kernels::{
    Epilogue, EpilogueI8, Kernels, Matmul, MatmulI8, Norm, Out, Panels, PanelsI8, Quantise,
    RowScales, Values, ValuesMut, Weights, ZERO,
};
use crate::memory::{bytes_of, cut};

/// Weights and bias of a linear layer.
#[derive(Clone, Copy)]
pub(crate) struct Linear<'a> {
    pub(crate) weights: Weights<'a>,
    pub(crate) bias: &'a [f32],
}

/// A linear layer that had a norm folded into it.
#[derive(Clone, Copy)]
pub(crate) struct NormLinear<'a> {
    pub(crate) weights: Weights<'a>,
    pub(crate) bias: &'a [f32],
    pub(crate) sums: &'a [f32],
}

impl<'a> NormLinear<'a> {
    pub(crate) fn epilogue(&self, norm: Norm) -> Epilogue<'a> {
        Epilogue::Norm {
            bias: self.bias,
            sums: self.sums,
            norm,
        }
    }
}

/// Rows of bytes, a scale each: what a map's rows are quantised to.
pub(crate) struct Bytes<'s> {
    pub(crate) values: &'s [u8],
    pub(crate) stride: usize,
    pub(crate) scales: &'s [f32],
}

/// Floats of scratch for `rows` rows of bytes.
pub(crate) fn bytes_len(rows: usize, inputs: usize) -> usize {
    room_bytes(rows * inputs.next_multiple_of(4)) + room(rows)
}

/// Quantises rows into scratch of [`bytes_len`] floats.
pub(crate) fn quantise<'s>(
    kernels: &Kernels,
    x: Values<'_>,
    inputs: usize,
    centre: Option<&[f32]>,
    scratch: &'s mut [f32],
) -> Bytes<'s> {
    let (rows, stride) = (x.len() / inputs, inputs.next_multiple_of(4));
    let [values, scales] = cut(scratch, [room_bytes(rows * stride), rows]);
    let values = &mut bytes_of(values)[..rows * stride];
    let problem = Quantise {
        x,
        rows,
        inputs,
        centre,
    };
    kernels.quantise(&problem, values, scales);
    Bytes {
        values,
        stride,
        scales,
    }
}

impl<'s> Bytes<'s> {
    /// Their product with a layer's bytes.
    pub(crate) fn product(
        &self,
        weights: &Weights<'s>,
        panels: PanelsI8<'s>,
        epilogue: EpilogueI8<'s>,
    ) -> MatmulI8<'s> {
        MatmulI8 {
            x: self.values,
            rows: self.scales.len(),
            x_stride: self.stride,
            scales: RowScales::PerRow(self.scales),
            zero: ZERO,
            weights: panels,
            inputs: weights.inputs,
            outputs: weights.outputs,
            out_stride: weights.outputs,
            epilogue,
        }
    }
}

/// Rows as floats: where they lie, or widened into scratch.
pub(crate) fn floats<'s>(kernels: &Kernels, x: Values<'s>, scratch: &'s mut [f32]) -> &'s [f32] {
    match x {
        Values::F32(x) => x,
        Values::F16(_) => {
            let wide = &mut scratch[..x.len()];
            kernels.widen(x, wide);
            wide
        }
    }
}

/// A product of floats to rows of a map: where they lie, or by way of `wide`.
pub(crate) fn to_map(
    kernels: &Kernels,
    product: &Matmul<'_>,
    out: ValuesMut<'_>,
    wide: &mut [f32],
) {
    match out {
        ValuesMut::F32(out) => kernels.matmul(product, out),
        ValuesMut::F16(out) => {
            let wide = &mut wide[..out.len()];
            kernels.matmul(product, wide);
            kernels.narrow(wide, out);
        }
    }
}

/// Rows that are widened at a time where a layer of an integer network was kept in floats.
const KEPT: usize = 4;

/// Floats of scratch for [`norm_rows`] in integer networks; others need none.
pub(crate) fn norm_rows_len(integer: bool, rows: usize, inputs: usize) -> usize {
    if integer {
        bytes_len(rows, inputs).max(room(rows * inputs))
    } else {
        0
    }
}

/// Floats of scratch for [`add_rows`] in integer networks; others need none.
pub(crate) fn add_rows_len(rows: usize, inputs: usize, outputs: usize) -> usize {
    bytes_len(rows, inputs).max(room(KEPT * inputs) + room(KEPT * outputs))
}

/// The layer on raw rows of a map: out = W norm(x) + b.
pub(crate) fn norm_rows(
    kernels: &Kernels,
    layer: &NormLinear<'_>,
    norm: Norm,
    x: Values<'_>,
    out: &mut [f32],
    scratch: &mut [f32],
) {
    let inputs = layer.weights.inputs;
    let NormLinear { bias, sums, .. } = *layer;
    match layer.weights.panels {
        Panels::I8(panels) => {
            let bytes = quantise(kernels, x, inputs, None, scratch);
            let epilogue = EpilogueI8::Norm { bias, sums, norm };
            let product = bytes.product(&layer.weights, panels, epilogue);
            kernels.matmul_i8(&product, Out::Values(ValuesMut::F32(out)));
        }
        _ => {
            let rows = x.len() / inputs;
            let x = floats(kernels, x, scratch);
            let product = Matmul::dense(x, rows, layer.weights, layer.epilogue(norm));
            kernels.matmul(&product, out);
        }
    }
}

/// Adds W x (and the bias, if any) to rows of a map.
pub(crate) fn add_rows(
    kernels: &Kernels,
    weights: &Weights<'_>,
    bias: Option<&[f32]>,
    x: Values<'_>,
    out: ValuesMut<'_>,
    scratch: &mut [f32],
) {
    let Weights {
        inputs, outputs, ..
    } = *weights;
    let rows = x.len() / inputs;
    if let Panels::I8(panels) = weights.panels {
        let bytes = quantise(kernels, x, inputs, None, scratch);
        let epilogue = bias.map_or(EpilogueI8::Accumulate, EpilogueI8::Residual);
        kernels.matmul_i8(&bytes.product(weights, panels, epilogue), Out::Values(out));
        return;
    }
    let epilogue = bias.map_or(Epilogue::Accumulate, Epilogue::Residual);
    match out {
        ValuesMut::F32(out) => {
            let x = floats(kernels, x, scratch);
            kernels.matmul(&Matmul::dense(x, rows, *weights, epilogue), out);
        }
        ValuesMut::F16(out) => {
            let [wide, sums] = cut(scratch, [room(KEPT * inputs), room(KEPT * outputs)]);
            for (i, out) in out.chunks_mut(KEPT * outputs).enumerate() {
                let rows = out.len() / outputs;
                let (start, sums) = (i * KEPT * inputs, &mut sums[..out.len()]);
                let x = floats(kernels, x.slice(start..start + rows * inputs), wide);
                kernels.widen(Values::F16(out), sums);
                kernels.matmul(&Matmul::dense(x, rows, *weights, epilogue), sums);
                kernels.narrow(sums, out);
            }
        }
    }
}
