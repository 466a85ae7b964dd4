//! Which network a checkpoint holds: read from its tensors' shapes where they say it, else from `--arch`.
//!
//! Shapes give blocks, widths, hidden widths, classes and the product heads x head channels. Heads, proposals and folds leave no
//! trace in them: those come from the preset whose shapes fit, or from the caller.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use fec_runtime::config::{Config, NANO, PRESETS, STAGES};

use crate::fold::Tensors;
use crate::read::{Checkpoint, Tensor};

/// A recognised network.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// Its configuration.
    pub config: Config,
    /// The preset's name, or what was said with `--arch`.
    pub name: String,
    /// Its tensors by official name.
    pub tensors: Tensors,
    /// What a person should know, a line each.
    pub notes: Vec<String>,
}

/// Why a checkpoint was not recognised.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// Not a FEC network.
    OtherNetwork {
        /// The first tensor that FEC does not have.
        unknown: String,
    },
    /// A tensor that FEC does not have, in an otherwise fitting checkpoint.
    Unknown {
        /// Its name.
        tensor: String,
    },
    /// A tensor that should be there.
    Missing {
        /// Its name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor of another shape.
    Shape {
        /// Its name.
        tensor: String,
        /// Its shape in the checkpoint.
        found: Vec<usize>,
        /// Its shape in the network.
        expected: Vec<usize>,
    },
    /// A weight that is NaN or infinite.
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Its row-major index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Shapes that no preset has.
    NeedsArch {
        /// What the shapes say.
        shapes: String,
    },
    /// Shapes that several presets have.
    Ambiguous {
        /// Their names.
        presets: Vec<&'static str>,
    },
    /// An `--arch` that is neither a preset nor a list of settings.
    UnknownArch {
        /// What was given.
        given: String,
    },
    /// A setting of `--arch` that is not possible.
    BadSetting {
        /// What was given.
        given: String,
        /// Why not.
        why: String,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNetwork { unknown } => write!(
                f,
                "not a FEC network: its first unknown tensor is {}; expected patch_embed.proj.weight, network.0.0.norm1.weight, ...",
                unknown.escape_debug()
            ),
            Self::Unknown { tensor } => {
                write!(
                    f,
                    "unknown tensor {}: this FEC network has none of that name",
                    tensor.escape_debug()
                )
            }
            Self::Missing { tensor, shape } => {
                write!(
                    f,
                    "{tensor} is missing; expected shape {shape:?}: save the whole state dict"
                )
            }
            Self::Shape {
                tensor,
                found,
                expected,
            } => write!(
                f,
                "{tensor} has shape {found:?}, expected {expected:?}: another architecture? name it with --arch"
            ),
            Self::NotFinite {
                tensor,
                index,
                value,
            } => write!(
                f,
                "{tensor} holds {value} at element {index}: the training diverged; take an earlier checkpoint"
            ),
            Self::NeedsArch { shapes } => write!(
                f,
                "no preset has these shapes ({shapes}): give the rest with --arch \"heads=4,4,8,8 proposals=4,4,2,2 folds=1,1,1,1\""
            ),
            Self::Ambiguous { presets } => {
                write!(
                    f,
                    "these shapes fit {}: say which with --arch",
                    presets.join(" and ")
                )
            }
            Self::UnknownArch { given } => write!(
                f,
                "unknown architecture \"{}\": expected one of {}, or settings as in \"heads=4,4,8,8 proposals=4,4,2,2\"",
                given.escape_debug(),
                PRESETS.join(", ")
            ),
            Self::BadSetting { given, why } => {
                write!(f, "--arch setting \"{}\": {why}", given.escape_debug())
            }
        }
    }
}

impl core::error::Error for Refused {}

/// Recognises the network of a checkpoint and checks every tensor against it.
///
/// # Errors
/// [`Refused`] names the first tensor that does not fit, or says what `--arch` must tell.
pub fn recognise(checkpoint: &Checkpoint, arch: Option<&str>) -> Result<Recognised, Refused> {
    let shapes = Shapes::read(&checkpoint.tensors);
    let Some(found) = shapes.config() else {
        return Err(first_misfit(checkpoint));
    };
    let mut notes = Vec::new();
    let (mut config, name) = match arch {
        Some(arch) => from_arch(arch, &found)?,
        None => from_presets(checkpoint, &found, &mut notes)?,
    };
    if !config.dense {
        config.classes = found.classes;
    }
    let tensors = collect(checkpoint, &config)?;
    Ok(Recognised {
        config,
        name,
        tensors,
        notes,
    })
}

/// The network named by `--arch`: a preset, or settings on top of what the shapes say.
fn from_arch(arch: &str, found: &Found) -> Result<(Config, String), Refused> {
    if let Some(config) = Config::preset(arch) {
        return Ok((config, arch.to_string()));
    }
    if !arch.contains('=') {
        return Err(Refused::UnknownArch {
            given: arch.to_string(),
        });
    }
    let mut config = found.with_heads([1; STAGES]);
    for setting in arch.split_whitespace() {
        let bad = |why: &str| Refused::BadSetting {
            given: setting.to_string(),
            why: why.to_string(),
        };
        let (key, values) = setting
            .split_once('=')
            .ok_or_else(|| bad("expected NAME=A,B,C,D"))?;
        let values: Result<Vec<usize>, _> = values.split(',').map(str::parse).collect();
        let values: [usize; STAGES] = match values.as_deref() {
            Ok([one]) => [*one; STAGES],
            Ok(&[a, b, c, d]) => [a, b, c, d],
            _ => return Err(bad("expected one whole number, or four, one per stage")),
        };
        for ((stage, value), key_dim) in config.stages.iter_mut().zip(values).zip(found.key_dims) {
            match key {
                "heads" if value == 0 || key_dim % value != 0 => {
                    return Err(bad("heads must divide the width of the mixers' keys"));
                }
                "heads" => (stage.heads, stage.head_dim) = (value, key_dim / value),
                "proposals" => stage.proposals = value,
                "folds" => stage.folds = value,
                _ => return Err(bad("known settings are heads, proposals and folds")),
            }
        }
    }
    config.check().map_err(|error| Refused::BadSetting {
        given: arch.to_string(),
        why: error.to_string(),
    })?;
    Ok((config, arch.to_string()))
}

/// The preset whose shapes fit.
fn from_presets(
    checkpoint: &Checkpoint,
    found: &Found,
    notes: &mut Vec<String>,
) -> Result<(Config, String), Refused> {
    let fits = |name: &&'static str| {
        Config::preset(name).is_some_and(|preset| found.fits(&preset).is_some())
    };
    let mut names: Vec<&'static str> = PRESETS.into_iter().filter(fits).collect();
    if names.len() > 1 {
        let has = |part: &str| {
            checkpoint
                .left_out
                .iter()
                .any(|name| name.starts_with(part))
        };
        let task = if has("decode_head") {
            "_seg"
        } else if has("rpn_head") || has("roi_head") || has("bbox_head") {
            "_det"
        } else {
            return Err(Refused::Ambiguous { presets: names });
        };
        names.retain(|name| name.ends_with(task));
    }
    let [name] = names[..] else {
        return Err(Refused::NeedsArch {
            shapes: found.to_string(),
        });
    };
    let config = Config::preset(name)
        .and_then(|preset| found.fits(&preset))
        .ok_or(Refused::NeedsArch {
            shapes: found.to_string(),
        })?;
    if Config::preset(name).is_some_and(|preset| preset.stages != config.stages) {
        notes.push(format!(
            "heads as in {name}, with other head widths (the paper's Table 4c): {found}"
        ));
    }
    Ok((config, name.to_string()))
}

/// The network's tensors, each checked against its official shape.
fn collect(checkpoint: &Checkpoint, config: &Config) -> Result<Tensors, Refused> {
    let mut tensors = Tensors::new();
    let mut result = Ok(());
    config.official_tensors(|official| {
        if result.is_err() {
            return;
        }
        let name = official.to_string();
        result = match checkpoint.tensor(&name) {
            None => Err(Refused::Missing {
                tensor: name,
                shape: official.shape().to_vec(),
            }),
            Some(found) if !same_shape(&found.shape, official.shape()) => Err(Refused::Shape {
                tensor: name,
                found: found.shape.clone(),
                expected: official.shape().to_vec(),
            }),
            Some(found) => {
                tensors.insert(name, found.values.clone());
                Ok(())
            }
        };
    });
    result?;
    if let Some(unknown) = checkpoint
        .tensors
        .iter()
        .find(|tensor| !tensors.contains_key(&tensor.name))
    {
        return Err(Refused::Unknown {
            tensor: unknown.name.clone(),
        });
    }
    match checkpoint.first_non_finite() {
        Some((tensor, index, value)) => Err(Refused::NotFinite {
            tensor: tensor.to_string(),
            index,
            value,
        }),
        None => Ok(tensors),
    }
}

/// A 1x1 convolution may have been saved as a linear layer, and the other way round.
fn same_shape(found: &[usize], expected: &[usize]) -> bool {
    let trim = |shape: &[usize]| -> Vec<usize> {
        let keep = shape
            .iter()
            .rposition(|&n| n != 1)
            .map_or(0, |last| last + 1);
        shape[..keep].to_vec()
    };
    trim(found) == trim(expected)
}

/// What to say when too little is there to tell the shapes.
fn first_misfit(checkpoint: &Checkpoint) -> Refused {
    let ours = |name: &str| {
        ["patch_embed.", "network.", "norm", "head."]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let names = || checkpoint.order.iter();
    match names().find(|name| !ours(name)) {
        Some(unknown) => Refused::OtherNetwork {
            unknown: unknown.clone(),
        },
        // Only our names, but not enough of them: the first of the smallest network that is not there.
        None => {
            let mut missing = None;
            NANO.official_tensors(|tensor| {
                if missing.is_none() && checkpoint.tensor(&tensor.to_string()).is_none() {
                    missing = Some(Refused::Missing {
                        tensor: tensor.to_string(),
                        shape: tensor.shape().to_vec(),
                    });
                }
            });
            missing.unwrap_or(Refused::NeedsArch {
                shapes: "no stage is complete".to_string(),
            })
        }
    }
}

/// Votes on the numbers of each stage: a single tensor of a wrong shape is outvoted, and named later.
#[derive(Default)]
struct Shapes {
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
    fn read(tensors: &[Tensor]) -> Self {
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
    fn config(&self) -> Option<Found> {
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
struct Found {
    blocks: [usize; STAGES],
    dims: [usize; STAGES],
    hidden: [usize; STAGES],
    /// Heads times head channels.
    key_dims: [usize; STAGES],
    classes: usize,
    dense: bool,
}

impl Found {
    /// A configuration of these shapes.
    fn with_heads(&self, heads: [usize; STAGES]) -> Config {
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
    fn fits(&self, preset: &Config) -> Option<Config> {
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
