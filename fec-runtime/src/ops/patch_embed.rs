//! SPEC 2: 4x4 patches of the image and two position channels, [H, W, 5] -> [N, C0].
//!
//! A position channel depends on row or column alone, so that its 16 weights act as 4 sums: K = 3 * 16 pixel values, then the
//! positions of 4 rows, then of 4 columns. 8-bit values are normalised while they are gathered.

use super::{Linear, TILE};
use crate::config::PATCH;
use crate::format::PATCH_INPUTS;
use crate::image::Image;
use crate::kernels::{Epilogue, Kernels, Matmul, Moments};

/// Floats of scratch.
pub(crate) const SCRATCH: usize = super::room(TILE * PATCH_INPUTS);

/// The layer and the factor and term that normalise 8-bit values.
pub(crate) struct PatchEmbed<'a> {
    pub(crate) linear: Linear<'a>,
    pub(crate) scale: [f32; 3],
    pub(crate) offset: [f32; 3],
}

/// Writes the embedded image to `x` ([N, C0]) and gives its statistics.
pub(crate) fn run(
    kernels: &Kernels,
    layer: &PatchEmbed<'_>,
    image: &Image<'_>,
    x: &mut [f32],
    scratch: &mut [f32],
) -> Moments {
    let mut moments = Moments::new();
    let channels = layer.linear.weights.outputs;
    let cols = image.size().width / PATCH;
    for (i, out) in x.chunks_mut(TILE * channels).enumerate() {
        let rows = out.len() / channels;
        let patches = &mut scratch[..rows * PATCH_INPUTS];
        for (n, patch) in patches.chunks_exact_mut(PATCH_INPUTS).enumerate() {
            let element = i * TILE + n;
            gather(
                layer,
                image,
                element / cols * PATCH,
                element % cols * PATCH,
                patch,
            );
        }
        kernels.matmul(
            &Matmul::dense(
                patches,
                rows,
                layer.linear.weights,
                Epilogue::Bias(layer.linear.bias),
            ),
            out,
        );
        kernels.moments(out, channels, &mut moments);
    }
    moments
}

fn gather(layer: &PatchEmbed<'_>, image: &Image<'_>, top: usize, left: usize, patch: &mut [f32]) {
    let (pixels, positions) = patch.split_at_mut(3 * PATCH * PATCH);
    for (k, value) in pixels.iter_mut().enumerate() {
        let (channel, row, column) = (k / (PATCH * PATCH), k / PATCH % PATCH, k % PATCH);
        *value = image.value(
            channel,
            top + row,
            left + column,
            &layer.scale,
            &layer.offset,
        );
    }
    let size = image.size();
    let (rows, columns) = positions.split_at_mut(PATCH);
    for (values, first, side) in [(rows, top, size.height), (columns, left, size.width)] {
        for (k, value) in values.iter_mut().enumerate() {
            *value = (first + k) as f32 / (side - 1) as f32 - 0.5;
        }
    }
}
