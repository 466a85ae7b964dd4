//! What the shapes of a checkpoint's tensors say of the network.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use fec_runtime::config::{Config, NANO, STAGES};

use crate::read::Tensor;

/// Votes on the numbers of each stage: a single tensor of a wrong shape is outvoted, and named later.
#[derive(Default)]
pub(super) struct Shapes {
    blocks: [BTreeSet<usize>; STAGES],
    dims: [Votes; STAGES],
    hidden: [Votes; STAGES],
    keys: [Votes; STAGES],
    classes: Votes,
    dense: bool,
}

#[derive(Default)]
struct Votes(BTreeMap<usize, usize>);

impl Votes {
    fn add(&mut self, shape: &[usize], axis: usize) {
        if let Some(&n) = shape.get(axis) {
            *self.0.entry(n).or_default() += 1;
        }
    }

    fn winner(&self) -> Option<usize> {
        self.0
            .iter()
            .max_by_key(|&(_, votes)| *votes)
            .map(|(&n, _)| n)
    }
}

impl Shapes {
    pub(super) fn read(tensors: &[Tensor]) -> Self {
        let mut shapes = Self::default();
        for Tensor { name, shape, .. } in tensors {
            match name.as_str() {
                "head.weight" | "head.bias" => shapes.classes.add(shape, 0),
                "norm0.weight" | "norm2.weight" | "norm4.weight" | "norm6.weight" => {
                    shapes.dense = true
                }
                _ => shapes.read_block_tensor(name, shape),
            }
        }
        shapes
    }

    fn read_block_tensor(&mut self, name: &str, shape: &[usize]) {
        let mut parts = name.splitn(4, '.');
        let (Some("network"), Some(layer), Some(block), Some(rest)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let (Ok(layer), Ok(block)) = (layer.parse::<usize>(), block.parse::<usize>()) else {
            return;
        };
        let stage = layer / 2;
        if layer % 2 != 0 || stage >= STAGES {
            return;
        }
        self.blocks[stage].insert(block);
        let (dims, hidden, keys) = (
            &mut self.dims[stage],
            &mut self.hidden[stage],
            &mut self.keys[stage],
        );
        match rest {
            "norm1.weight" | "norm1.bias" | "norm2.weight" | "norm2.bias" | "layer_scale_1"
            | "layer_scale_2" => dims.add(shape, 0),
            "mlp.fc1.bias" | "mlp.fc1.weight" => hidden.add(shape, 0),
            "mlp.fc2.weight" => hidden.add(shape, 1),
            "token_mixer.f.weight"
            | "token_mixer.f.bias"
            | "token_mixer.v.weight"
            | "token_mixer.v.bias" => keys.add(shape, 0),
            "token_mixer.proj.weight" => keys.add(shape, 1),
            _ => {}
        }
    }

    /// What the shapes say, or `None` when a stage says nothing.
    pub(super) fn config(&self) -> Option<Found> {
        let mut found = Found {
            blocks: [0; STAGES],
            dims: [0; STAGES],
            hidden: [0; STAGES],
            key_dims: [0; STAGES],
            classes: 0,
            dense: self.dense,
        };
        for i in 0..STAGES {
            // Blocks are numbered from 0: a gap is a missing block, which is named later.
            found.blocks[i] = self.blocks[i].last()? + 1;
            found.dims[i] = self.dims[i].winner()?;
            found.hidden[i] = self.hidden[i].winner()?;
            found.key_dims[i] = self.keys[i].winner()?;
        }
        found.classes = self.classes.winner().unwrap_or(0);
        found.dense |= found.classes == 0;
        // Numbers outside the limits are refused before anything is made from them.
        let limits = found
            .with_heads([1; STAGES])
            .stages
            .iter()
            .all(|s| s.blocks <= 64 && s.dim <= 4096 && s.hidden <= 32_768);
        limits.then_some(found)
    }
}

/// What a checkpoint's shapes say.
pub(super) struct Found {
    blocks: [usize; STAGES],
    dims: [usize; STAGES],
    hidden: [usize; STAGES],
    /// Heads times head channels.
    pub(super) key_dims: [usize; STAGES],
    pub(super) classes: usize,
    dense: bool,
}

impl Found {
    /// A configuration of these shapes.
    pub(super) fn with_heads(&self, heads: [usize; STAGES]) -> Config {
        let mut config = NANO;
        (config.classes, config.dense) = (if self.dense { 0 } else { self.classes }, self.dense);
        for (i, stage) in config.stages.iter_mut().enumerate() {
            (stage.blocks, stage.dim, stage.hidden) =
                (self.blocks[i], self.dims[i], self.hidden[i]);
            (stage.heads, stage.head_dim) = (heads[i], self.key_dims[i] / heads[i].max(1));
        }
        config
    }

    /// The preset with this checkpoint's head widths, if everything else fits.
    pub(super) fn fits(&self, preset: &Config) -> Option<Config> {
        let mut config = *preset;
        let mut fits = preset.dense == self.dense;
        for (i, stage) in config.stages.iter_mut().enumerate() {
            fits &= (stage.blocks, stage.dim, stage.hidden)
                == (self.blocks[i], self.dims[i], self.hidden[i]);
            fits &= self.key_dims[i] > 0 && self.key_dims[i].is_multiple_of(stage.heads);
            stage.head_dim = self.key_dims[i] / stage.heads;
        }
        fits.then_some(config)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found {
            blocks,
            dims,
            hidden,
            key_dims,
            ..
        } = self;
        write!(
            f,
            "blocks {blocks:?}, widths {dims:?}, hidden {hidden:?}, mixer keys {key_dims:?}"
        )?;
        if self.dense {
            write!(f, ", dense")
        } else {
            write!(f, ", {} classes", self.classes)
        }
    }
}
