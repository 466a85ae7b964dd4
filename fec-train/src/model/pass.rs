//! What a forward pass may be told, and what it may tell.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// How a forward pass goes; the default is inference in f32.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// The factors of drop path.
    pub drop_path: Option<DropPath>,
    /// Composes everything of burn's operations, also where this crate has its own for the CPU.
    pub composed: bool,
    /// Rounds the factors of the large products to bf16; norms, similarities and sums stay f32. Not on the CPU.
    pub bf16: bool,
    /// Assignments by the clusterer's name, in place of the argmax: [B, regions, N of a region] in golden's order.
    pub forced: Option<BTreeMap<String, Vec<u16>>>,
    /// Keep what the pass saw.
    pub traced: bool,
    /// How the pools' keys learn.
    pub pools: PoolTraining,
    /// Devices besides the network's own that take a share of a batch each; for gradients alone.
    pub further: Vec<Device>,
}

/// How the pools' keys learn, which nothing trains in the published code (SPEC 3.4). Inference is the same for all: the kernels
/// are those of the published network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolTraining {
    /// The way from the loss to the keys.
    pub gradient: PoolGradient,
    /// Weight of a loss that ties members to their centres: the mean of 1 - similarity, summed over the pools. 0: none.
    pub tie: f32,
}

/// The way from the loss to the pools' keys. Similarities are divided by a temperature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PoolGradient {
    /// There is none, as published.
    #[default]
    None,
    /// Forward the hard assignment, backward the softmax over all centres for the keys.
    StraightThrough {
        /// Of the softmax.
        temperature: f32,
    },
    /// Forward the plain mean, backward as if members were weighed by exp(similarity / temperature): an element whose presence
    /// helps its cluster becomes more like the centre, another one less.
    Members {
        /// Of the weights.
        temperature: f32,
    },
    /// Members are weighed by exp((similarity - 1) / temperature), forward too, so that the mean of training is not quite that
    /// of inference.
    Weighted {
        /// Of the weights.
        temperature: f32,
    },
    /// No way from the task's loss: the keys learn to tell apart what looks different, by a loss of their own.
    Colours {
        /// Of the softmax over the centres around an element.
        temperature: f32,
    },
}

impl PoolTraining {
    /// Whether members have weights, or a distance to their centre, that count.
    pub(super) fn weighs(self) -> bool {
        self.gradient.weighs() || self.tie > 0.0
    }
}

impl PoolGradient {
    /// Whether members have weights that learn.
    pub(super) fn weighs(self) -> bool {
        matches!(self, Self::Members { .. } | Self::Weighted { .. })
    }
}

/// What a traced pass saw.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// `embed`, then `net.0` to `net.6`: the maps [B, N, C].
    pub maps: Vec<(String, Tensor<3>)>,
    /// The argmax of every mixer and pool, by name: [B, regions, N of a region] in golden's order.
    pub own: BTreeMap<String, Vec<u16>>,
}

/// A pass under way.
pub(super) struct Run<'a> {
    pub(super) pass: &'a Pass,
    pub(super) trace: Trace,
    /// Images in the batch.
    pub(super) images: usize,
    /// What the pools' keys learn from [1], if they learn: summed over the pools.
    pub(super) pools: Option<Tensor<1>>,
    /// What the elements of the map look like, where the keys learn it (`pool/colours.rs`).
    pub(super) colours: Option<Tensor<3>>,
}

impl Run<'_> {
    /// What the branch `branch` (two per block) of each image is multiplied by.
    pub(super) fn keep(&self, branch: usize) -> Arc<[f32]> {
        let drop_path = self.pass.drop_path.as_ref();
        match drop_path.and_then(|drop_path| drop_path.0.get(branch)) {
            Some(keep) => keep.clone(),
            None => vec![1.0; self.images].into(),
        }
    }

    /// Adds to what the pools' keys learn from.
    pub(super) fn teach(&mut self, loss: Tensor<1>) {
        self.pools = Some(match self.pools.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
    }

    /// The forced assignments of that clusterer.
    pub(super) fn forced(&self, name: &str) -> Option<&[u16]> {
        let forced = self.pass.forced.as_ref()?.get(name)?;
        Some(forced)
    }
}

/// Drop path (stochastic depth): per branch and image 0, or 1 / (1 - rate). Two branches per block.
#[derive(Clone, Debug, PartialEq)]
pub struct DropPath(Vec<Arc<[f32]>>);

impl DropPath {
    /// The factors of a step's batch of `images` for a network of `blocks` blocks: rates grow linearly from 0 to `rate`
    /// (SPEC 8). They depend on the arguments alone.
    pub fn draw(rate: f64, blocks: usize, images: usize, seed: u64, step: u64) -> Self {
        let branch = |branch: usize| {
            let rate = rate * (branch / 2) as f64 / (blocks.max(2) - 1) as f64;
            let mut key = [0; 32];
            key[..8].copy_from_slice(&seed.to_le_bytes());
            key[8..16].copy_from_slice(&step.to_le_bytes());
            key[16..24].copy_from_slice(&(branch as u64).to_le_bytes());
            key[24..].copy_from_slice(b"droppath");
            let mut random = ChaCha8Rng::from_seed(key);
            let kept = (1.0 / (1.0 - rate)) as f32;
            (0..images)
                .map(|_| {
                    let uniform = f64::from(random.next_u32()) / 4_294_967_296.0;
                    if uniform < rate { 0.0 } else { kept }
                })
                .collect()
        };
        Self((0..2 * blocks).map(branch).collect())
    }

    /// Images of the batch it was drawn for.
    pub fn images(&self) -> usize {
        self.0.first().map_or(0, |keep| keep.len())
    }

    /// Those of some of the images.
    pub(super) fn part(&self, images: core::ops::Range<usize>) -> Self {
        let part = |keep: &Arc<[f32]>| keep.get(images.clone()).unwrap_or_default().into();
        Self(self.0.iter().map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_path_drops_its_share_of_the_last_block_and_nothing_of_the_first() {
        let drop_path = DropPath::draw(0.25, 5, 4000, 7, 11);
        assert_eq!(drop_path.0.len(), 10);
        assert!(drop_path.0[1].iter().all(|&keep| keep == 1.0));
        let dropped = drop_path.0[9].iter().filter(|&&keep| keep == 0.0).count();
        assert!((900..1100).contains(&dropped), "{dropped} of 4000");
        assert!(drop_path.0[9].contains(&(4.0 / 3.0)));
        assert_ne!(drop_path.0[8], drop_path.0[9]);
        assert_eq!(drop_path, DropPath::draw(0.25, 5, 4000, 7, 11));
        assert_ne!(drop_path, DropPath::draw(0.25, 5, 4000, 7, 12));
        assert_eq!(drop_path.part(3..5).0[9][..], drop_path.0[9][3..5]);
    }
}
