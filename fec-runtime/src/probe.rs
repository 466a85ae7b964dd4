//! Looking into a run: profiles, traces, golden tests. With `()` the compiler removes all of it.

use core::fmt;

use crate::config::{Config, POOLS, STAGES};
use crate::image::MapSize;
use crate::kernels::Values;

/// A step of a run. The steps' order is that of [`Step::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// SPEC 2.
    PatchEmbed,
    /// First half of a block: norm1, clustering, residual (SPEC 4, 5).
    Mixer {
        /// Stage, 0 to 3.
        stage: usize,
        /// Block within the stage.
        block: usize,
    },
    /// Second half of a block: norm2, MLP, residual (SPEC 5).
    Mlp {
        /// Stage, 0 to 3.
        stage: usize,
        /// Block within the stage.
        block: usize,
    },
    /// Dense models: the normalised map of a stage (SPEC 6).
    Feature {
        /// Stage, 0 to 3.
        stage: usize,
    },
    /// SPEC 3.
    Pool {
        /// Stage before the pool, 0 to 2.
        stage: usize,
    },
    /// Norm, mean and linear layer (SPEC 6).
    Head,
}

impl Step {
    /// The step after this one, or `None` after the last.
    pub fn next(self, config: &Config) -> Option<Step> {
        let after_blocks = |stage: usize| match (config.dense, stage < POOLS) {
            (_, true) => Some(Step::Pool { stage }),
            (false, false) => Some(Step::Head),
            (true, false) => None,
        };
        match self {
            Step::PatchEmbed => Some(Step::Mixer { stage: 0, block: 0 }),
            Step::Mixer { stage, block } => Some(Step::Mlp { stage, block }),
            Step::Mlp { stage, block }
                if block + 1 < config.stages[stage.min(STAGES - 1)].blocks =>
            {
                Some(Step::Mixer {
                    stage,
                    block: block + 1,
                })
            }
            Step::Mlp { stage, .. } if config.dense => Some(Step::Feature { stage }),
            Step::Mlp { stage, .. } | Step::Feature { stage } => after_blocks(stage),
            Step::Pool { stage } => Some(Step::Mixer {
                stage: stage + 1,
                block: 0,
            }),
            Step::Head => None,
        }
    }
}

/// The name of what the step computes in the official checkpoints.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Step::PatchEmbed => f.write_str("patch_embed"),
            Step::Mixer { stage, block } => write!(f, "network.{}.{block}.token_mixer", 2 * stage),
            Step::Mlp { stage, block } => write!(f, "network.{}.{block}.mlp", 2 * stage),
            Step::Feature { stage } => write!(f, "norm{}", 2 * stage),
            Step::Pool { stage } => write!(f, "network.{}", 2 * stage + 1),
            Step::Head => f.write_str("head"),
        }
    }
}

/// One clustering: the elements of one region, for mixers of one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clusterer {
    /// A head of a mixer.
    Mixer {
        /// Stage, 0 to 3.
        stage: usize,
        /// Block within the stage.
        block: usize,
        /// Head.
        head: usize,
        /// Region (fold), row by row.
        region: usize,
    },
    /// A pool.
    Pool {
        /// Stage before the pool, 0 to 2.
        stage: usize,
        /// Region (fold), row by row.
        region: usize,
    },
}

/// What a run shows while it runs. Every method has an empty default.
pub trait Probe {
    /// A step begins.
    fn begin(&mut self, _step: Step) {}

    /// A step has ended and left this map, `values` [N, C] ([1, classes] after the head).
    fn end(&mut self, _step: Step, _values: Values<'_>, _size: MapSize, _channels: usize) {}

    /// A pool has made its representatives R (Eq. 6), `values` [cells, C'], each at its centre's cell.
    fn representatives(
        &mut self,
        _stage: usize,
        _values: Values<'_>,
        _size: MapSize,
        _channels: usize,
    ) {
    }

    /// A clusterer has assigned the elements from `first` on (numbered row by row within its region) to centres. What stands in
    /// `assignments` afterwards is what counts: golden tests put theirs here. Numbers past the last centre count as the last.
    fn assign(&mut self, _clusterer: Clusterer, _first: usize, _assignments: &mut [u16]) {}

    /// Whether [`Probe::assign`] is to be called at all; if so, clustering runs on one thread.
    fn watches_assignments(&self) -> bool {
        true
    }
}

impl Probe for () {
    fn watches_assignments(&self) -> bool {
        false
    }
}
