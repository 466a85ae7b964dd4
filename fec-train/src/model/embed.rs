//! Patch embedding (SPEC 2): a 4x4 convolution of stride 4 over the image and two channels of positions.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use fec_runtime::config::PATCH;

use super::layers::{Conv, affine};

/// Colours of a pixel.
const COLOURS: usize = 3;
/// Channels of a pixel, with its position's.
const CHANNELS: usize = COLOURS + 2;

/// `patch_embed`
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// [C, 5, 4, 4]
    pub proj: Conv,
}

impl PatchEmbed {
    /// images [B, H, W, 3], normalised, to [B, N, C].
    pub(super) fn forward(&self, images: Tensor<4>, bf16: bool) -> Tensor<3> {
        let [b, height, width, _] = images.dims();
        let (rows, cols) = (height / PATCH, width / PATCH);
        let patch = PATCH * PATCH;
        let weight = self.proj.weight.val();
        let outputs = weight.dims()[0];
        // Pixel-major patches are runs of 4 pixels: the weight is turned instead of the image.
        let colours = weight
            .clone()
            .slice([0..outputs, 0..COLOURS])
            .permute([0, 2, 3, 1])
            .reshape([outputs, patch * COLOURS]);
        let patches = images
            .reshape([b, rows, PATCH, cols, PATCH * COLOURS])
            .permute([0, 1, 3, 2, 4])
            .reshape([b * rows * cols, patch * COLOURS]);
        // The positions are the same in every image: one map for all of them, with the bias.
        let positions = weight
            .slice([0..outputs, COLOURS..CHANNELS])
            .reshape([outputs, 2 * patch]);
        let map = Tensor::from_data(positions_of(height, width), &patches.device());
        let map = affine(map, positions, self.proj.bias.val(), false);
        let y = super::layers::product(patches, colours.transpose(), bf16);
        y.reshape([b, rows * cols, outputs]) + map.reshape([1, rows * cols, outputs])
    }
}

/// The position channels of every patch [N, 2 * 16], channels outermost: row/(H-1) - 0.5 and column/(W-1) - 0.5.
fn positions_of(height: usize, width: usize) -> TensorData {
    let place = |i: usize, side: usize| i as f32 / (side as f32 - 1.0) - 0.5;
    let (rows, cols) = (height / PATCH, width / PATCH);
    let mut values = Vec::with_capacity(2 * height * width);
    for n in 0..rows * cols {
        let pixels = (0..PATCH * PATCH)
            .map(|p| (n / cols * PATCH + p / PATCH, n % cols * PATCH + p % PATCH));
        values.extend(pixels.clone().map(|(row, _)| place(row, height)));
        values.extend(pixels.map(|(_, col)| place(col, width)));
    }
    TensorData::new(values, [rows * cols, 2 * PATCH * PATCH])
}
