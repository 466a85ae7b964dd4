//! The layers of a network as its quantiser sees them: one per matrix, with what it reads and what a run of it costs.

use fec_runtime::config::Place;
use fec_runtime::format::{PackedTensor, Role, TensorId, TensorKind, packed_tensors};
use fec_runtime::{Config, ImageSize};

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name in options and reports.
    pub name: String,
    /// Its matrix.
    pub tensor: PackedTensor,
    /// K.
    pub inputs: usize,
    /// M.
    pub outputs: usize,
    /// Multiply-adds of its products in a run.
    pub multiply_adds: u64,
}

impl Layer {
    /// What its matrix is for.
    pub fn role(&self) -> Role {
        self.tensor.id.role
    }

    /// Where it belongs.
    pub fn place(&self) -> Place {
        self.tensor.id.place
    }

    /// Whether an integer network multiplies bytes with bytes here; elsewhere its bytes are widened and multiplied with floats.
    pub fn multiplies_bytes(&self) -> bool {
        matches!(
            self.role(),
            Role::KeysWeights | Role::Fc1Weights | Role::Fc2Weights | Role::SkipWeights
        )
    }

    /// The vector that is added to its outputs, where there is one that nothing else depends on.
    pub fn bias(&self) -> Option<TensorId> {
        let role = match self.role() {
            Role::PatchWeights => Role::PatchBias,
            Role::KeysWeights => Role::KeysBias,
            Role::ValuesWeights => Role::ValuesBias,
            Role::ProjWeights => Role::ProjBias,
            Role::Fc1Weights => Role::Fc1Bias,
            Role::Fc2Weights => Role::Fc2Bias,
            Role::PoolValuesWeights => Role::PoolValuesBias,
            Role::SkipWeights => Role::PoolBias,
            Role::HeadWeights => Role::HeadBias,
            // A pool's keys meet their bias on both sides of a product.
            _ => return None,
        };
        Some(TensorId {
            role,
            place: self.place(),
        })
    }
}

/// The matrix whose sums a vector holds.
pub fn summed(role: Role) -> Option<Role> {
    match role {
        Role::KeysSums => Some(Role::KeysWeights),
        Role::ValuesSums => Some(Role::ValuesWeights),
        Role::Fc1Sums => Some(Role::Fc1Weights),
        Role::HeadSums => Some(Role::HeadWeights),
        _ => None,
    }
}

/// All layers of a network, in the order of its file; costs are those of images of `size`.
pub fn layers(config: &Config, size: ImageSize) -> Vec<Layer> {
    let mut layers = Vec::new();
    packed_tensors(config, |tensor| {
        let TensorKind::Matrix { inputs, outputs } = tensor.kind else {
            return;
        };
        let name = tensor.id.to_string();
        let name = name.strip_suffix(".weight").unwrap_or(&name).to_string();
        let rows = rows(config, size, tensor.id) as u64;
        layers.push(Layer {
            name,
            tensor,
            inputs,
            outputs,
            multiply_adds: rows * inputs as u64 * outputs as u64,
        });
    });
    layers
}

/// Rows that a layer's matrix is multiplied with in a run.
fn rows(config: &Config, size: ImageSize, id: TensorId) -> usize {
    match id.place {
        Place::Network if id.role == Role::HeadWeights => 1,
        Place::Network => size.map(0).elements(),
        Place::Pool { stage } => size.map(stage + 1).elements(),
        Place::Block { stage, .. } => {
            let centres = config
                .stages
                .get(stage)
                .map_or(0, |s| s.centres() * s.folds * s.folds);
            match id.role {
                // Once per centre: each head with its own part of the matrix.
                Role::ValuesWeights | Role::ProjWeights => centres,
                _ => size.map(stage).elements(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fec_runtime::config::{NANO, SMALL};

    use super::*;

    const SIZE: ImageSize = ImageSize {
        height: 224,
        width: 224,
    };

    #[test]
    fn every_matrix_is_a_layer() {
        let layers = layers(&NANO, SIZE);
        // The patch embedding, five of each block, four of each pool, the head.
        assert_eq!(layers.len(), 1 + 5 * 5 + 3 * 4 + 1);
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        for name in [
            "patch_embed.proj",
            "network.0.0.token_mixer.f",
            "network.1.conv_f.back",
            "head",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
    }

    #[test]
    fn costs_add_up_to_the_published_networks() {
        let layers = layers(&SMALL, SIZE);
        let of = |role| -> u64 {
            let layers = layers.iter().filter(|layer| layer.role() == role);
            (layers.map(|layer| layer.multiply_adds).sum::<u64>() + 50_000) / 100_000
        };
        // In millions: 370.6 each of the MLP's, 91.1 of keys, 64.2 of skips.
        assert_eq!(of(Role::Fc1Weights), 3706);
        assert_eq!(of(Role::Fc2Weights), of(Role::Fc1Weights));
        assert_eq!(of(Role::KeysWeights), 911);
        assert_eq!(of(Role::SkipWeights), 642);
    }
}
