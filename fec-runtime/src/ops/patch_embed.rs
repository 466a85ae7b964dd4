//! SPEC 2: 4x4 patches of the image and two position channels, [H, W, 5] -> [N, C0].
//!
//! A position channel depends on row or column alone, so that its 16 weights act as 4 sums: K = 3 * 16 pixel values, then the
//! positions of 4 rows, then of 4 columns. 8-bit values are normalised while they are gathered.

use super::linear::{self, Linear};
use super::tiles::{self, for_each, of};
use super::{Context, TILE, room};
use crate::config::PATCH;
use crate::format::PATCH_INPUTS;
use crate::image::Image;
use crate::kernels::{Epilogue, Matmul, Moments, ValuesMut};
use crate::memory::cut;

/// Lengths of a tile's pieces: its patches, and its rows before they are rounded.
fn pieces(channels: usize, integer: bool) -> [usize; 2] {
    let wide = if integer { room(TILE * channels) } else { 0 };
    [room(TILE * PATCH_INPUTS), wide]
}

/// Floats of scratch.
pub(crate) fn scratch_len(
    elements: usize,
    channels: usize,
    integer: bool,
    threads: usize,
) -> usize {
    let tile: usize = pieces(channels, integer).iter().sum();
    (threads * tile).max(tiles::moments_len(elements))
}

/// The layer and the factor and term that normalise 8-bit values.
pub(crate) struct PatchEmbed<'a> {
    pub(crate) linear: Linear<'a>,
    pub(crate) scale: [f32; 3],
    pub(crate) offset: [f32; 3],
}

/// Writes the embedded image to `x` ([N, C0]) and gives its statistics.
pub(crate) fn run(
    cx: &Context<'_>,
    layer: &PatchEmbed<'_>,
    image: &Image<'_>,
    mut x: ValuesMut<'_>,
    scratch: &mut [f32],
) -> Moments {
    let (channels, kernels) = (layer.linear.weights.outputs, cx.kernels);
    let cols = image.size().width / PATCH;
    let count = x.len().div_ceil(TILE * channels);
    let pieces = pieces(channels, matches!(x, ValuesMut::F16(_)));
    let len = cx.threads * pieces.iter().sum::<usize>();
    let buffer = of(x.reborrow(), TILE * channels);
    for_each(
        cx.threads,
        count,
        buffer,
        &mut scratch[..len],
        &|tile, out, scratch| {
            let rows = out.buffer.len() / channels;
            let [patches, wide] = cut(scratch, pieces);
            let patches = &mut patches[..rows * PATCH_INPUTS];
            for (n, patch) in patches.chunks_exact_mut(PATCH_INPUTS).enumerate() {
                let element = tile * TILE + n;
                let (top, left) = (element / cols * PATCH, element % cols * PATCH);
                gather(layer, image, top, left, patch);
            }
            let epilogue = Epilogue::Bias(layer.linear.bias);
            let product = Matmul::dense(patches, rows, layer.linear.weights, epilogue);
            linear::to_map(kernels, &product, out.buffer, wide);
        },
    );
    tiles::moments(kernels, cx.threads, x.as_values(), channels, scratch)
}

fn gather(layer: &PatchEmbed<'_>, image: &Image<'_>, top: usize, left: usize, patch: &mut [f32]) {
    let (pixels, positions) = patch.split_at_mut(3 * PATCH * PATCH);
    let mut values = [[[0.0; PATCH]; PATCH]; 3];
    image.patch(top, left, &layer.scale, &layer.offset, &mut values);
    pixels.copy_from_slice(values.as_flattened().as_flattened());
    let size = image.size();
    let (rows, columns) = positions.split_at_mut(PATCH);
    for (values, first, side) in [(rows, top, size.height), (columns, left, size.width)] {
        for (k, value) in values.iter_mut().enumerate() {
            *value = (first + k) as f32 / (side - 1) as f32 - 0.5;
        }
    }
}
