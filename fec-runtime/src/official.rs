//! The tensors of a checkpoint: official names and shapes (SPEC 1 to 6), in one list.

use core::fmt;

use crate::config::{Config, Dispatch, PATCH, STAGES, Stage};

impl Config {
    /// Calls `visit` with every tensor of the checkpoint, in a fixed order: patch embedding, then stage and pool in turn, then
    /// norm and head.
    pub fn official_tensors(&self, mut visit: impl FnMut(OfficialTensor)) {
        let mut emit = |place: Place, suffix: &'static str, shape: &[usize]| {
            visit(OfficialTensor::new(place, suffix, shape))
        };
        emit(
            Place::Network,
            "patch_embed.proj.weight",
            &[self.stages[0].dim, 5, PATCH, PATCH],
        );
        emit(
            Place::Network,
            "patch_embed.proj.bias",
            &[self.stages[0].dim],
        );
        for (i, stage) in self.stages.iter().enumerate() {
            for block in 0..stage.blocks {
                block_tensors(stage, self.dispatch, &mut |suffix, shape| {
                    emit(Place::Block { stage: i, block }, suffix, shape)
                });
            }
            if let Some(next) = self.stages.get(i + 1) {
                pool_tensors(stage.dim, next.dim, &mut |suffix, shape| {
                    emit(Place::Pool { stage: i }, suffix, shape)
                });
            }
        }
        let last = self.stages[STAGES - 1].dim;
        if self.dense {
            const NORMS: [[&str; 2]; STAGES] = [
                ["norm0.weight", "norm0.bias"],
                ["norm2.weight", "norm2.bias"],
                ["norm4.weight", "norm4.bias"],
                ["norm6.weight", "norm6.bias"],
            ];
            for (stage, names) in self.stages.iter().zip(NORMS) {
                emit(Place::Network, names[0], &[stage.dim]);
                emit(Place::Network, names[1], &[stage.dim]);
            }
        } else {
            emit(Place::Network, "norm.weight", &[last]);
            emit(Place::Network, "norm.bias", &[last]);
            emit(Place::Network, "head.weight", &[self.classes, last]);
            emit(Place::Network, "head.bias", &[self.classes]);
        }
    }
}

fn block_tensors(stage: &Stage, dispatch: Dispatch, emit: &mut dyn FnMut(&'static str, &[usize])) {
    let (c, key, hidden) = (stage.dim, stage.key_dim(), stage.hidden);
    emit("norm1.weight", &[c]);
    emit("norm1.bias", &[c]);
    emit("token_mixer.f.weight", &[key, c, 1, 1]);
    emit("token_mixer.f.bias", &[key]);
    emit("token_mixer.v.weight", &[key, c, 1, 1]);
    emit("token_mixer.v.bias", &[key]);
    emit("token_mixer.proj.weight", &[c, key, 1, 1]);
    emit("token_mixer.proj.bias", &[c]);
    if dispatch.has_alpha() {
        emit("token_mixer.sim_alpha", &[1]);
    }
    if dispatch.has_beta() {
        emit("token_mixer.sim_beta", &[1]);
    }
    emit("norm2.weight", &[c]);
    emit("norm2.bias", &[c]);
    emit("mlp.fc1.weight", &[hidden, c]);
    emit("mlp.fc1.bias", &[hidden]);
    emit("mlp.fc2.weight", &[c, hidden]);
    emit("mlp.fc2.bias", &[c]);
    emit("layer_scale_1", &[c]);
    emit("layer_scale_2", &[c]);
}

fn pool_tensors(c: usize, next: usize, emit: &mut dyn FnMut(&'static str, &[usize])) {
    emit("norm2.weight", &[next]);
    emit("norm2.bias", &[next]);
    emit("conv_f.weight", &[next, c, 1, 1]);
    emit("conv_f.bias", &[next]);
    emit("conv_v.weight", &[next, c, 1, 1]);
    emit("conv_v.bias", &[next]);
    emit("conv_skip.weight", &[next, c, 3, 3]);
    emit("conv_skip.bias", &[next]);
}

/// Where a tensor belongs. Displays as the prefix of its name in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The network as a whole: no prefix.
    Network,
    /// A block: `network.{2 * stage}.{block}.`
    Block {
        /// Stage, 0 to 3.
        stage: usize,
        /// Block within the stage.
        block: usize,
    },
    /// The pool after a stage: `network.{2 * stage + 1}.`
    Pool {
        /// Stage before the pool, 0 to 2.
        stage: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Network => Ok(()),
            Place::Block { stage, block } => write!(f, "network.{}.{block}.", 2 * stage),
            Place::Pool { stage } => write!(f, "network.{}.", 2 * stage + 1),
        }
    }
}

/// A tensor of the official checkpoint. Displays as its full name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfficialTensor {
    /// Where it belongs.
    pub place: Place,
    /// Its name below the place's prefix.
    pub suffix: &'static str,
    shape: [usize; 4],
    rank: usize,
}

impl OfficialTensor {
    fn new(place: Place, suffix: &'static str, dims: &[usize]) -> Self {
        let mut shape = [1; 4];
        for (to, from) in shape.iter_mut().zip(dims) {
            *to = *from;
        }
        Self {
            place,
            suffix,
            shape,
            rank: dims.len().min(4),
        }
    }

    /// Its shape, outermost dimension first.
    pub fn shape(&self) -> &[usize] {
        self.shape.get(..self.rank).unwrap_or(&self.shape)
    }

    /// How many values it holds.
    pub fn elements(&self) -> usize {
        self.shape().iter().product()
    }
}

impl fmt::Display for OfficialTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.suffix)
    }
}
