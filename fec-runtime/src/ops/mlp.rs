//! SPEC 5: norm2, fc1, GELU, fc2, layer scale and residual, [N, C] -> [N, C] in place. The hidden layer exists for one tile of rows.

use super::{Linear, NormLinear, TILE, room};
use crate::config::Stage;
use crate::image::MapSize;
use crate::kernels::{Epilogue, Kernels, Matmul, Moments};

/// Folded layers of an MLP.
pub(crate) struct Mlp<'a> {
    pub(crate) fc1: NormLinear<'a>,
    pub(crate) fc2: Linear<'a>,
    /// Rows of a tile: [`tile`].
    pub(crate) tile: usize,
}

/// Rows of a tile. The weights of the later stages outgrow the caches next to a core, so that their tiles are longer.
pub(crate) fn tile(stage: usize, map: MapSize) -> usize {
    map.elements().min(if stage < 2 { TILE } else { 2 * TILE })
}

/// Floats of scratch.
pub(crate) fn scratch_len(stage: &Stage, tile: usize) -> usize {
    room(tile * stage.hidden)
}

/// Runs the MLP on `x`, whose statistics are `moments`, and gives the new statistics.
pub(crate) fn run(
    kernels: &Kernels,
    mlp: &Mlp<'_>,
    moments: &Moments,
    x: &mut [f32],
    scratch: &mut [f32],
) -> Moments {
    let norm = moments.norm();
    let (channels, hidden) = (mlp.fc2.weights.outputs, mlp.fc1.weights.outputs);
    let mut moments = Moments::new();
    for x in x.chunks_mut(mlp.tile.max(1) * channels) {
        let rows = x.len() / channels;
        let hidden = &mut scratch[..rows * hidden];
        let epilogue = Epilogue::NormGelu {
            bias: mlp.fc1.bias,
            sums: mlp.fc1.sums,
            norm,
        };
        kernels.matmul(&Matmul::dense(x, rows, mlp.fc1.weights, epilogue), hidden);
        kernels.matmul(
            &Matmul::dense(
                hidden,
                rows,
                mlp.fc2.weights,
                Epilogue::Residual(mlp.fc2.bias),
            ),
            x,
        );
        kernels.moments(x, channels, &mut moments);
    }
    moments
}
