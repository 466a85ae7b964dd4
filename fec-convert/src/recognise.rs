//! Which network a checkpoint holds: read from its tensors' shapes where they say it, else from `--arch`.
//!
//! Shapes give blocks, widths, hidden widths, classes and the product heads x head channels. Heads, proposals and folds leave no
//! trace in them: those come from the preset whose shapes fit, or from the caller. What elements and centres are compared by leaves
//! none either, and is the caller's to say; whether alpha and beta were learnt shows in their being there.

mod shapes;

use core::fmt;

use fec_runtime::config::{Config, Dispatch, NANO, PRESETS, STAGES, Similarity};

use crate::fold::Tensors;
use crate::read::Checkpoint;
use shapes::{Found, Shapes};

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

/// Recognises the network of a checkpoint, which compares by `similarity`, and checks every tensor against it.
///
/// # Errors
/// [`Refused`] names the first tensor that does not fit, or says what `--arch` must tell.
pub fn recognise(
    checkpoint: &Checkpoint,
    arch: Option<&str>,
    similarity: Similarity,
) -> Result<Recognised, Refused> {
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
    config.similarity = similarity;
    config.dispatch = dispatch(checkpoint);
    if config.dispatch != Dispatch::AlphaBeta {
        notes.push(format!(
            "sim_alpha {}, sim_beta {} (the paper's Table 4b)",
            if config.dispatch.has_alpha() {
                "learnt"
            } else {
                "is not there, 1"
            },
            if config.dispatch.has_beta() {
                "learnt"
            } else {
                "is not there, 0"
            },
        ));
    }
    let tensors = collect(checkpoint, &config)?;
    Ok(Recognised {
        config,
        name,
        tensors,
        notes,
    })
}

/// Which of alpha and beta any block has; the others must have it as well.
fn dispatch(checkpoint: &Checkpoint) -> Dispatch {
    let has = |suffix: &str| {
        let mut names = checkpoint.tensors.iter().map(|tensor| &tensor.name);
        names.any(|name| name.ends_with(suffix))
    };
    Dispatch::of(has("token_mixer.sim_alpha"), has("token_mixer.sim_beta"))
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
