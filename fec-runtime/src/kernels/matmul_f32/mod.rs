//! Products of rows with packed weights: every linear layer and convolution of the network.

pub(super) mod portable;
pub(super) mod sums;
pub(super) mod tiled;

use core::ops::Range;

use crate::format::{GROUP, LANES};

/// Packed weights where they lie: `[outputs / 16][inputs][16]`.
#[derive(Clone, Copy, Debug)]
pub enum Panels<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit floats as bits; widened exactly, arithmetic is in 32 bits.
    F16(&'a [u16]),
    /// 8-bit integers with a scale per output.
    I8(PanelsI8<'a>),
}

/// 8-bit weights where they lie: weight (o, k) is `values[o][k] * scales[o]`. Outputs are padded to 16, inputs to 4, with zeros.
#[derive(Clone, Copy, Debug)]
pub struct PanelsI8<'a> {
    /// -127 to 127, `[outputs / 16][inputs / 4][16][4]`: four inputs of an output are one 32-bit word of a dot product.
    pub values: &'a [i8],
    /// Scale of each output, padded.
    pub scales: &'a [f32],
    /// Sum over k of each output's values, padded: what an activation's zero point is multiplied with.
    pub sums: &'a [i32],
}

impl PanelsI8<'_> {
    /// The values of input `k` for the 16 outputs of a panel, of a matrix of `inputs` inputs, widened.
    pub(crate) fn row(&self, inputs: usize, panel: usize, k: usize) -> [f32; LANES] {
        let group = panel * inputs.div_ceil(GROUP) + k / GROUP;
        let values = &self.values[group * GROUP * LANES..][..GROUP * LANES];
        core::array::from_fn(|i| f32::from(values[i * GROUP + k % GROUP]))
    }
}

/// A packed matrix.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// The values.
    pub panels: Panels<'a>,
    /// Inputs K.
    pub inputs: usize,
    /// Outputs M, without padding.
    pub outputs: usize,
}

impl Weights<'_> {
    /// Whether the values are those of the shape.
    fn fill_their_panels(&self) -> bool {
        let outputs = self.outputs.next_multiple_of(LANES);
        match self.panels {
            Panels::F32(values) => values.len() == outputs * self.inputs,
            Panels::F16(values) => values.len() == outputs * self.inputs,
            Panels::I8(panels) => {
                panels.values.len() == outputs * self.inputs.next_multiple_of(GROUP)
                    && panels.scales.len() == outputs
                    && panels.sums.len() == outputs
            }
        }
    }
}

/// A norm that was folded into weights: W(norm x) + b = (W' x - mean * sums) * rstd + b' (ARCHITECTURE.md, reformulation 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Mean of the image's map.
    pub mean: f32,
    /// 1 / sqrt(variance + 1e-5).
    pub rstd: f32,
}

/// What becomes of a sum before it is stored. Vectors have the matrix's outputs, padded to a multiple of 16.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// out = sum + bias
    Bias(&'a [f32]),
    /// out = sum
    Plain,
    /// out = (sum - mean * sums) * rstd + bias
    Norm {
        /// Bias b'.
        bias: &'a [f32],
        /// Sums over k of the weights.
        sums: &'a [f32],
        /// The image's statistics.
        norm: Norm,
    },
    /// out = gelu of what `Norm` gives
    NormGelu {
        /// Bias b'.
        bias: &'a [f32],
        /// Sums over k of the weights.
        sums: &'a [f32],
        /// The image's statistics.
        norm: Norm,
    },
    /// out = out + (sum + bias): the residual
    Residual(&'a [f32]),
    /// out = out + sum
    Accumulate,
}

/// One product.
#[derive(Clone, Debug)]
pub struct Matmul<'a> {
    /// Rows, `x_stride` values apart; row n has its K values from `n * x_stride` on.
    pub x: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Distance of two rows of `x`, in values.
    pub x_stride: usize,
    /// The matrix.
    pub weights: Weights<'a>,
    /// Which of its inputs the rows hold: all of them, or one head's.
    pub inputs: Range<usize>,
    /// Which of its outputs are computed; starts at a multiple of 16.
    pub outputs: Range<usize>,
    /// Distance of two rows of the result, in values.
    pub out_stride: usize,
    /// What becomes of the sums.
    pub epilogue: Epilogue<'a>,
}

impl<'a> Matmul<'a> {
    /// The whole of `weights` on `rows` rows that lie densely, to a dense result.
    pub fn dense(x: &'a [f32], rows: usize, weights: Weights<'a>, epilogue: Epilogue<'a>) -> Self {
        let Weights {
            inputs, outputs, ..
        } = weights;
        Self {
            x,
            rows,
            x_stride: inputs,
            weights,
            inputs: 0..inputs,
            outputs: 0..outputs,
            out_stride: outputs,
            epilogue,
        }
    }

    pub(super) fn check(&self, out: usize) {
        let w = &self.weights;
        assert!(w.fill_their_panels(), "weights do not fill their panels");
        assert!(
            self.inputs.start <= self.inputs.end && self.inputs.end <= w.inputs,
            "inputs outside the matrix"
        );
        assert!(
            self.outputs.start <= self.outputs.end && self.outputs.end <= w.outputs,
            "outputs outside the matrix"
        );
        assert!(
            self.outputs.start.is_multiple_of(LANES),
            "outputs start inside a panel"
        );
        if self.rows > 0 {
            assert!(
                (self.rows - 1) * self.x_stride + self.inputs.len() <= self.x.len(),
                "too few inputs"
            );
            assert!(
                (self.rows - 1) * self.out_stride + self.outputs.len() <= out,
                "too little room"
            );
        }
        let vectors: [&[f32]; 2] = match self.epilogue {
            Epilogue::Plain | Epilogue::Accumulate => return,
            Epilogue::Bias(bias) | Epilogue::Residual(bias) => [bias, bias],
            Epilogue::Norm { bias, sums, .. } | Epilogue::NormGelu { bias, sums, .. } => {
                [bias, sums]
            }
        };
        for vector in vectors {
            assert!(
                vector.len() >= self.outputs.end.next_multiple_of(LANES),
                "vector shorter than the outputs"
            );
        }
    }
}
