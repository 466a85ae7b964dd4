//! Layers with the checkpoints' names and shapes, on pixel-major rows.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};

/// Added to the variance (SPEC 5).
const NORM_EPSILON: f64 = 1e-5;

/// GroupNorm with one group: over all elements and channels of an image.
#[derive(Module, Debug)]
pub struct Norm {
    /// [C]
    pub weight: Param<Tensor<1>>,
    /// [C]
    pub bias: Param<Tensor<1>>,
}

impl Norm {
    /// x [B, N, C]
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, n, c] = x.dims();
        let flat = x.reshape([b, n * c]);
        let centred = flat.clone() - flat.mean_dim(1);
        let variance = centred.clone().square().mean_dim(1);
        let scale = variance
            .add_scalar(NORM_EPSILON)
            .sqrt()
            .recip()
            .reshape([b, 1, 1]);
        let scale = scale * self.weight.val().reshape([1, 1, c]);
        centred.reshape([b, n, c]) * scale + self.bias.val().reshape([1, 1, c])
    }
}

/// A linear layer.
#[derive(Module, Debug)]
pub struct Linear {
    /// [outputs, inputs]
    pub weight: Param<Tensor<2>>,
    /// [outputs]
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// x [R, inputs]
    pub(super) fn rows(&self, x: Tensor<2>, bf16: bool) -> Tensor<2> {
        affine(x, self.weight.val(), self.bias.val(), bf16)
    }
}

/// A convolution.
#[derive(Module, Debug)]
pub struct Conv {
    /// [outputs, inputs, side, side]
    pub weight: Param<Tensor<4>>,
    /// [outputs]
    pub bias: Param<Tensor<1>>,
}

impl Conv {
    /// The weight of a 1x1 convolution as a matrix [outputs, inputs].
    pub(super) fn matrix(&self) -> Tensor<2> {
        let weight = self.weight.val();
        let [outputs, inputs, height, width] = weight.dims();
        weight.reshape([outputs, inputs * height * width])
    }

    /// A 1x1 convolution on rows x [R, inputs].
    pub(super) fn rows(&self, x: Tensor<2>, bf16: bool) -> Tensor<2> {
        affine(x, self.matrix(), self.bias.val(), bf16)
    }

    /// A 1x1 convolution on maps x [B, N, inputs].
    pub(super) fn maps(&self, x: Tensor<3>, bf16: bool) -> Tensor<3> {
        let [b, n, c] = x.dims();
        let y = self.rows(x.reshape([b * n, c]), bf16);
        let outputs = y.dims()[1];
        y.reshape([b, n, outputs])
    }
}

/// x [R, I] times weight [O, I] transposed, plus bias [O].
pub(super) fn affine(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, bf16: bool) -> Tensor<2> {
    let outputs = bias.dims()[0];
    product(x, weight.transpose(), bf16) + bias.reshape([1, outputs])
}

/// a times b; `bf16` rounds both to bf16 first, the sums stay f32 where the device keeps them so.
pub(super) fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>, bf16: bool) -> Tensor<D> {
    if bf16 {
        let product = a.cast(FloatDType::BF16).matmul(b.cast(FloatDType::BF16));
        product.cast(FloatDType::F32)
    } else {
        a.matmul(b)
    }
}

/// Exact GELU of erf: burn's own has the gradient of the tanh approximation on some backends.
pub(super) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let erf = x.clone().mul_scalar(core::f32::consts::FRAC_1_SQRT_2).erf();
    erf.add_scalar(1.0) * x.mul_scalar(0.5)
}

/// Rows scaled to unit length along dimension `dim`; vectors shorter than 1e-12 are divided by that (SPEC 3.3).
pub(super) fn unit<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    x.clone() / length(x, dim)
}

/// The vectors' lengths along dimension `dim`, at least 1e-12.
pub(super) fn length<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    // The square root has no slope at 0: the bound comes before it.
    x.square().sum_dim(dim).clamp_min(1e-24).sqrt()
}
