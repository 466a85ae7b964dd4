//! Integer products of rows of bytes with packed weights: an int8 network's linear layers and skip convolution.
//!
//! The products and their sums are exact. What follows is multiplied and added in f32 in one order, so that every instruction set
//! gives the same bits.

pub(super) mod body;
mod finish;

use super::{Norm, PanelsI8, ValuesMut};
use crate::format::{GROUP, LANES};

/// Most inputs: sums of 255 * 128 stay below 2^31.
pub(super) const MAX_INPUTS: usize = 65_536;

/// The scales of a product's rows.
#[derive(Clone, Copy, Debug)]
pub enum RowScales<'a> {
    /// One for each row.
    PerRow(&'a [f32]),
    /// The same for all.
    All(f32),
}

/// What becomes of a sum: v = (f32(acc) * a\[o\]) * scale\[n\] + c\[o\], each operation rounded, then the variant's own step. Vectors
/// have the matrix's outputs, padded to a multiple of 16.
///
/// With a norm, a = weights.scales * factor and c = (bias - (mean * sums) * rstd) * (1 / pre), where factor = rstd * (1 / pre);
/// without a table pre is 1.
#[derive(Clone, Copy, Debug)]
pub enum EpilogueI8<'a> {
    /// out = v, in f32
    Norm {
        /// Bias b'.
        bias: &'a [f32],
        /// Sums over k of the weights as they are, not as bytes.
        sums: &'a [f32],
        /// The image's statistics.
        norm: Norm,
    },
    /// out = gelu(v), in f32
    Gelu {
        /// Bias b'.
        bias: &'a [f32],
        /// Sums over k of the weights as they are, not as bytes.
        sums: &'a [f32],
        /// The image's statistics.
        norm: Norm,
    },
    /// out = table\[v rounded to nearest even to -128..=127\], in bytes; negative numbers stand in the table's second half
    Table {
        /// Bias b'.
        bias: &'a [f32],
        /// Sums over k of the weights as they are, not as bytes.
        sums: &'a [f32],
        /// The image's statistics.
        norm: Norm,
        /// Scale of the table's argument.
        pre: f32,
        /// The result for each argument.
        table: &'a [u8; 256],
    },
    /// out = out + v with a = weights.scales and c the bias given: the residual
    Residual(&'a [f32]),
    /// out = out + (f32(acc) * weights.scales\[o\]) * scale\[n\]
    Accumulate,
}

/// One product: acc = sum over k of (x\[n\]\[k\] - zero) * w\[o\]\[k\].
#[derive(Clone, Copy, Debug)]
pub struct MatmulI8<'a> {
    /// Rows, `x_stride` bytes apart; row n has its K values from `n * x_stride` on. Up to K rounded up to 4 bytes of a row are read.
    pub x: &'a [u8],
    /// Number of rows.
    pub rows: usize,
    /// Distance of two rows of `x`, in bytes.
    pub x_stride: usize,
    /// What a byte's difference from `zero` stands for.
    pub scales: RowScales<'a>,
    /// The byte that stands for 0.
    pub zero: u8,
    /// The matrix.
    pub weights: PanelsI8<'a>,
    /// Inputs K.
    pub inputs: usize,
    /// Outputs M, without padding.
    pub outputs: usize,
    /// Distance of two rows of the result, in values.
    pub out_stride: usize,
    /// What becomes of the sums.
    pub epilogue: EpilogueI8<'a>,
}

/// Where a product goes: f32 from `Norm` and `Gelu`, bytes from `Table`, a map of f16 from the others.
#[derive(Debug)]
pub enum Out<'a> {
    /// f32, or a map of f16.
    Values(ValuesMut<'a>),
    /// Bytes.
    Bytes(&'a mut [u8]),
}

/// Length of `rows` rows of `width` values, `stride` apart.
pub(super) fn span(rows: usize, stride: usize, width: usize) -> usize {
    match rows.checked_sub(1) {
        Some(last) => last.saturating_mul(stride).saturating_add(width),
        None => 0,
    }
}

impl MatmulI8<'_> {
    pub(super) fn check(&self, out: &Out<'_>) {
        let padded = self.outputs.next_multiple_of(LANES);
        let stored = self.inputs.next_multiple_of(GROUP);
        assert!(
            (1..=MAX_INPUTS).contains(&self.inputs),
            "no inputs, or too many"
        );
        assert!(
            self.weights.values.len() == padded * stored
                && self.weights.scales.len() == padded
                && self.weights.sums.len() == padded,
            "weights do not fill their panels"
        );
        let room = match out {
            Out::Values(values) => values.len(),
            Out::Bytes(bytes) => bytes.len(),
        };
        assert!(
            span(self.rows, self.x_stride, stored) <= self.x.len(),
            "too few inputs"
        );
        assert!(
            span(self.rows, self.out_stride, self.outputs) <= room,
            "too little room"
        );
        if let RowScales::PerRow(scales) = self.scales {
            assert!(scales.len() >= self.rows, "too few scales");
        }
        let (vectors, fits) = match (self.epilogue, out) {
            (EpilogueI8::Norm { bias, sums, .. }, Out::Values(ValuesMut::F32(_)))
            | (EpilogueI8::Gelu { bias, sums, .. }, Out::Values(ValuesMut::F32(_)))
            | (EpilogueI8::Table { bias, sums, .. }, Out::Bytes(_)) => ([bias, sums], true),
            (EpilogueI8::Residual(bias), Out::Values(ValuesMut::F16(_))) => ([bias, bias], true),
            (EpilogueI8::Accumulate, Out::Values(ValuesMut::F16(_))) => return,
            _ => ([&[][..]; 2], false),
        };
        assert!(fits, "an epilogue that does not give this type");
        assert!(
            vectors.iter().all(|vector| vector.len() >= padded),
            "vector shorter than the outputs"
        );
    }
}
