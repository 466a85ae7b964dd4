//! The layers that ops are given: packed weights with their vectors.

use crate::kernels::{Epilogue, Norm, Weights};

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
