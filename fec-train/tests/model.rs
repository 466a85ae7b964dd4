//! The network in burn against PyTorch's golden files and the runtime's reference.

extern crate alloc;

#[path = "model/golden.rs"]
mod golden;
#[path = "model/gradients.rs"]
mod gradients;
#[path = "model/variants.rs"]
mod variants;
#[path = "model/weights.rs"]
mod weights;

use burn::tensor::{Device, Tensor, TensorData};
use fec_runtime::ImageSize;

/// Normalised images [3, H, W] as one batch [B, H, W, 3].
pub(crate) fn batch(images: &[Vec<f32>], size: ImageSize, device: &Device) -> Tensor<4> {
    let values = images.iter().flat_map(|image| pixel_major(image)).collect();
    let shape = [images.len(), size.height, size.width, 3];
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), device)
}

/// [3, H, W] to [H, W, 3].
pub(crate) fn pixel_major(image: &[f32]) -> Vec<f32> {
    let pixels = image.len() / 3;
    (0..image.len())
        .map(|i| image[i % 3 * pixels + i / 3])
        .collect()
}

pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter().collect()
}
