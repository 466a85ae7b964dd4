//! The tensors of a packed file: what each step needs after folding (ARCHITECTURE.md, "Reformulations"), in the order of the file.

use core::fmt;

use super::layout::GELU_LEN;
use crate::config::{Config, PATCH, Place, STAGES, Stage};

/// Output channels of a panel, and the padding of every vector.
pub const LANES: usize = 16;
/// Inputs that lie together in panels of 8-bit weights, and their padding.
pub(crate) const GROUP: usize = 4;

/// Storage type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats; arithmetic stays in 32 bits.
    F16,
    /// 8-bit integers, -127 to 127, with a scale per output: matrices of integer networks.
    I8,
    /// Bytes: the tables of integer networks.
    U8,
}

impl DType {
    /// Its number in the file. Numbers are never reused.
    pub const fn number(self) -> u8 {
        match self {
            DType::F32 => 0,
            DType::F16 => 1,
            DType::I8 => 2,
            DType::U8 => 3,
        }
    }

    /// The type with that number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(DType::F32),
            1 => Some(DType::F16),
            2 => Some(DType::I8),
            3 => Some(DType::U8),
            _ => None,
        }
    }

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::I8 => "i8",
            DType::U8 => "u8",
        }
    }
}

/// What a packed tensor is for. The numbers stand in the file and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Role {
    /// Patch embedding, K = 48 pixel values + 4 row positions + 4 column positions (SPEC 2).
    PatchWeights = 1,
    /// Its bias.
    PatchBias = 2,
    /// Mixer keys (SPEC 4) with norm1 folded in.
    KeysWeights = 10,
    /// Bias of the keys.
    KeysBias = 11,
    /// Sums over K of the keys' weights: what the norm's mean is multiplied with.
    KeysSums = 12,
    /// Mixer values with norm1 folded in.
    ValuesWeights = 13,
    /// Bias of the values.
    ValuesBias = 14,
    /// Sums over K of the values' weights.
    ValuesSums = 15,
    /// Projection of all heads, rows scaled by layer_scale_1.
    ProjWeights = 16,
    /// Its bias, scaled likewise.
    ProjBias = 17,
    /// sim_alpha, sim_beta.
    Similarity = 18,
    /// First layer of the MLP (SPEC 5) with norm2 folded in.
    Fc1Weights = 20,
    /// Its bias.
    Fc1Bias = 21,
    /// Sums over K of its weights.
    Fc1Sums = 22,
    /// Second layer of the MLP, rows scaled by layer_scale_2.
    Fc2Weights = 23,
    /// Its bias, scaled likewise.
    Fc2Bias = 24,
    /// GELU between the two layers of an integer network's MLP.
    GeluTable = 26,
    /// Pool keys (SPEC 3): the triangular factor of conv_f, which has the same inner products.
    PoolKeysWeights = 30,
    /// Bias of the keys in the factor's coordinates.
    PoolKeysBias = 31,
    /// The factor transposed: carries a centre's key back to the input's channels.
    PoolBackWeights = 32,
    /// Squared length of the part of conv_f's bias that no input reaches.
    PoolRest = 33,
    /// Pool values.
    PoolValuesWeights = 34,
    /// Bias of the values.
    PoolValuesBias = 35,
    /// The 3x3 convolution beside the pool, K = 9 C in the order row, column, channel.
    SkipWeights = 36,
    /// Gain of the pool's norm2.
    PoolGain = 37,
    /// Bias of the pool's norm2 plus that of the 3x3 convolution.
    PoolBias = 38,
    /// Gain of a dense output's norm (SPEC 6).
    FeatureGain = 40,
    /// Bias of a dense output's norm.
    FeatureBias = 41,
    /// Head with the last norm folded in.
    HeadWeights = 50,
    /// Its bias.
    HeadBias = 51,
    /// Sums over K of its weights.
    HeadSums = 52,
}

impl Role {
    /// Name below its place's prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Role::PatchWeights => "patch_embed.proj.weight",
            Role::PatchBias => "patch_embed.proj.bias",
            Role::KeysWeights => "token_mixer.f.weight",
            Role::KeysBias => "token_mixer.f.bias",
            Role::KeysSums => "token_mixer.f.sums",
            Role::ValuesWeights => "token_mixer.v.weight",
            Role::ValuesBias => "token_mixer.v.bias",
            Role::ValuesSums => "token_mixer.v.sums",
            Role::ProjWeights => "token_mixer.proj.weight",
            Role::ProjBias => "token_mixer.proj.bias",
            Role::Similarity => "token_mixer.sim",
            Role::Fc1Weights => "mlp.fc1.weight",
            Role::Fc1Bias => "mlp.fc1.bias",
            Role::Fc1Sums => "mlp.fc1.sums",
            Role::Fc2Weights => "mlp.fc2.weight",
            Role::Fc2Bias => "mlp.fc2.bias",
            Role::GeluTable => "mlp.gelu.table",
            Role::PoolKeysWeights => "conv_f.weight",
            Role::PoolKeysBias => "conv_f.bias",
            Role::PoolBackWeights => "conv_f.back",
            Role::PoolRest => "conv_f.rest",
            Role::PoolValuesWeights => "conv_v.weight",
            Role::PoolValuesBias => "conv_v.bias",
            Role::SkipWeights => "conv_skip.weight",
            Role::PoolGain => "norm2.weight",
            Role::PoolBias => "norm2.bias",
            Role::FeatureGain => "feature_norm.weight",
            Role::FeatureBias => "feature_norm.bias",
            Role::HeadWeights => "head.weight",
            Role::HeadBias => "head.bias",
            Role::HeadSums => "head.sums",
        }
    }
}

/// Which tensor: its role and place. Displays as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorId {
    /// What it is for.
    pub role: Role,
    /// Where it belongs. A dense output's norm belongs to the first block of its stage.
    pub place: Place,
}

impl fmt::Display for TensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.role.name())
    }
}

/// Shape of a packed tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorKind {
    /// Panels of 16 output channels, `[outputs / 16][inputs][16]`, outputs padded with zeros.
    Matrix {
        /// K.
        inputs: usize,
        /// M.
        outputs: usize,
    },
    /// A vector, padded with zeros to a multiple of 16; always f32.
    Vector {
        /// Its length without padding.
        length: usize,
    },
    /// The bytes of a [`GeluTable`](super::GeluTable).
    Table,
}

impl TensorKind {
    /// Values that the file holds, padding included. Cannot overflow within the limits of [`Config::check`].
    pub const fn stored(self) -> usize {
        match self {
            TensorKind::Matrix { inputs, outputs } => {
                outputs.next_multiple_of(LANES).saturating_mul(inputs)
            }
            TensorKind::Vector { length } => length.next_multiple_of(LANES),
            TensorKind::Table => GELU_LEN,
        }
    }

    /// Bytes in the file when stored as `dtype`, or `None` where that is not possible: vectors are f32, tables u8, matrices f32, f16
    /// or i8, the latter with four bytes of scale and four of sum for each output, padding included.
    pub const fn stored_bytes(self, dtype: DType) -> Option<usize> {
        match (self, dtype) {
            (TensorKind::Matrix { .. } | TensorKind::Vector { .. }, DType::F32) => {
                Some(self.stored().saturating_mul(4))
            }
            (TensorKind::Matrix { .. }, DType::F16) => Some(self.stored().saturating_mul(2)),
            (TensorKind::Matrix { inputs, outputs }, DType::I8) => Some(
                outputs
                    .next_multiple_of(LANES)
                    .saturating_mul(inputs.next_multiple_of(GROUP).saturating_add(8)),
            ),
            (TensorKind::Table, DType::U8) => Some(GELU_LEN),
            _ => None,
        }
    }

    /// Inputs and outputs as the tensor table has them.
    pub(super) const fn shape(self) -> (usize, usize) {
        match self {
            TensorKind::Matrix { inputs, outputs } => (inputs, outputs),
            TensorKind::Vector { length } => (0, length),
            TensorKind::Table => (0, 256),
        }
    }
}

/// One tensor that a packed file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedTensor {
    /// Which.
    pub id: TensorId,
    /// Its shape.
    pub kind: TensorKind,
}

/// Calls `visit` with every tensor of a packed file, in the order of the file.
pub fn packed_tensors(config: &Config, mut visit: impl FnMut(PackedTensor)) {
    let mut emit = |place: Place, role: Role, kind: TensorKind| {
        visit(PackedTensor {
            id: TensorId { role, place },
            kind,
        });
    };
    let [first, .., last] = &config.stages;
    let network = Place::Network;
    emit(network, Role::PatchWeights, matrix(PATCH_INPUTS, first.dim));
    emit(network, Role::PatchBias, vector(first.dim));
    for (i, stage) in config.stages.iter().enumerate() {
        for block in 0..stage.blocks {
            let place = Place::Block { stage: i, block };
            block_tensors(stage, &mut |role, kind| emit(place, role, kind));
            if config.integer {
                emit(place, Role::GeluTable, TensorKind::Table);
            }
        }
        if config.dense {
            let place = Place::Block { stage: i, block: 0 };
            emit(place, Role::FeatureGain, vector(stage.dim));
            emit(place, Role::FeatureBias, vector(stage.dim));
        }
        if let Some(next) = config.stages.get(i.saturating_add(1)) {
            let place = Place::Pool { stage: i };
            pool_tensors(stage.dim, next.dim, &mut |role, kind| {
                emit(place, role, kind);
            });
        }
    }
    if !config.dense {
        emit(network, Role::HeadWeights, matrix(last.dim, config.classes));
        emit(network, Role::HeadBias, vector(config.classes));
        emit(network, Role::HeadSums, vector(config.classes));
    }
}

const fn matrix(inputs: usize, outputs: usize) -> TensorKind {
    TensorKind::Matrix { inputs, outputs }
}

const fn vector(length: usize) -> TensorKind {
    TensorKind::Vector { length }
}

fn block_tensors(stage: &Stage, emit: &mut dyn FnMut(Role, TensorKind)) {
    let (c, key, hidden) = (stage.dim, stage.key_dim(), stage.hidden);
    emit(Role::KeysWeights, matrix(c, key));
    emit(Role::KeysBias, vector(key));
    emit(Role::KeysSums, vector(key));
    emit(Role::ValuesWeights, matrix(c, key));
    emit(Role::ValuesBias, vector(key));
    emit(Role::ValuesSums, vector(key));
    emit(Role::ProjWeights, matrix(key, c));
    emit(Role::ProjBias, vector(c));
    emit(Role::Similarity, vector(2));
    emit(Role::Fc1Weights, matrix(c, hidden));
    emit(Role::Fc1Bias, vector(hidden));
    emit(Role::Fc1Sums, vector(hidden));
    emit(Role::Fc2Weights, matrix(hidden, c));
    emit(Role::Fc2Bias, vector(c));
}

fn pool_tensors(c: usize, next: usize, emit: &mut dyn FnMut(Role, TensorKind)) {
    let key = pool_key_dim(c, next);
    emit(Role::PoolKeysWeights, matrix(c, key));
    emit(Role::PoolKeysBias, vector(key));
    emit(Role::PoolBackWeights, matrix(key, c));
    emit(Role::PoolRest, vector(1));
    emit(Role::PoolValuesWeights, matrix(c, next));
    emit(Role::PoolValuesBias, vector(next));
    emit(Role::SkipWeights, matrix(c.saturating_mul(9), next));
    emit(Role::PoolGain, vector(next));
    emit(Role::PoolBias, vector(next));
}

/// Inputs of the patch embedding: 3 channels of 4x4 pixels, then 4 row and 4 column positions.
pub(crate) const PATCH_INPUTS: usize = 3 * PATCH * PATCH + 2 * PATCH;

/// Width of a pool's packed keys: conv_f of C inputs and C' outputs has at most min(C, C') independent rows.
pub(crate) const fn pool_key_dim(dim: usize, next: usize) -> usize {
    if dim < next { dim } else { next }
}

/// Tensors of one block (but for its table), of one pool, and of the dense norm of one stage: what [`index_of`] counts with.
const BLOCK_TENSORS: usize = 14;
const POOL_TENSORS: usize = 9;
const FEATURE_TENSORS: usize = 2;

/// Position of a tensor in the order of [`packed_tensors`], or `None` when the network has no such tensor.
pub(crate) fn index_of(config: &Config, id: TensorId) -> Option<usize> {
    let features = if config.dense { FEATURE_TENSORS } else { 0 };
    let block_tensors = BLOCK_TENSORS.saturating_add(usize::from(config.integer));
    // Tensors before a stage: the patch embedding, then per stage its blocks, its dense norm and its pool.
    let stage_start = |stage: usize| {
        let before = config.stages.iter().take(stage);
        before.fold(2usize, |n, s| {
            n.saturating_add(s.blocks.saturating_mul(block_tensors))
                .saturating_add(features.saturating_add(POOL_TENSORS))
        })
    };
    let after_blocks = |stage: usize| {
        Some(
            stage_start(stage).saturating_add(
                config
                    .stages
                    .get(stage)?
                    .blocks
                    .saturating_mul(block_tensors),
            ),
        )
    };
    let within = |first: Role, roles: usize| {
        let offset = usize::from((id.role as u16).wrapping_sub(first as u16));
        (offset < roles).then_some(offset)
    };
    let (base, offset) = match id.place {
        Place::Network => match within(Role::PatchWeights, 2) {
            Some(offset) => (0, offset),
            None if config.dense => return None,
            None => (
                after_blocks(STAGES.saturating_sub(1))?,
                within(Role::HeadWeights, 3)?,
            ),
        },
        Place::Block { stage, block } => match within(Role::FeatureGain, features) {
            Some(offset) if block == 0 => (after_blocks(stage)?, offset),
            _ => {
                let offset = match within(Role::KeysWeights, 9) {
                    Some(offset) => offset,
                    None if config.integer && id.role == Role::GeluTable => BLOCK_TENSORS,
                    None => within(Role::Fc1Weights, 5)?.saturating_add(9),
                };
                (
                    stage_start(stage).saturating_add(block.saturating_mul(block_tensors)),
                    offset,
                )
            }
        },
        Place::Pool { stage } => (
            after_blocks(stage)?.saturating_add(features),
            within(Role::PoolKeysWeights, 9)?,
        ),
    };
    Some(base.saturating_add(offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PRESETS;

    #[test]
    fn every_tensor_is_found_at_its_place_in_the_list() {
        for (name, integer) in PRESETS
            .iter()
            .flat_map(|name| [(name, false), (name, true)])
        {
            let config = Config {
                integer,
                ..Config::preset(name).expect("listed")
            };
            let mut index = 0;
            packed_tensors(&config, |tensor| {
                assert_eq!(
                    index_of(&config, tensor.id),
                    Some(index),
                    "{name}: {}",
                    tensor.id
                );
                index += 1;
            });
        }
    }
}
