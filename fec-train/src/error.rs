//! What can go wrong with a training, one line each.

use core::fmt;
use std::path::PathBuf;

use fec::output::Exit;

use crate::model::Misfit;
use crate::{data, recipe, run};

/// Why a command failed. `Display` is one line.
#[derive(Debug)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the line above each variant and the fields' names say it"
)]
pub enum Error {
    /// The recipe.
    Recipe(recipe::Error),
    /// The images.
    Data(data::Error),
    /// The run's folder.
    Run(run::Error),
    /// Files, photos and output.
    Host(fec::Error),
    /// Reading weights, packing.
    Convert(fec_convert::Error),
    /// A network or an image size outside its limits.
    Network(fec_runtime::Error),
    /// Weights that are not the network's.
    Weights { file: String, misfit: Misfit },
    /// A checkpoint's tensors cannot be read.
    Checkpoint { folder: PathBuf, reason: String },
    /// Weights that are not numbers can not be packed.
    NotFinite { tensor: String },
    /// The loss is no number any more.
    Diverged {
        step: u64,
        epoch: u64,
        loss: f32,
        first_image: String,
    },
    /// No such device on this machine, or in this build.
    Device { given: String, reason: String },
    /// What burn panicked with on a device.
    Panicked { reason: String },
    /// A run that is finished.
    Finished { folder: PathBuf },
    /// The recipe and the folder do not go together any more.
    DataChanged { folder: PathBuf },
    /// `export` to a kind of file that there is not.
    ExportKind { path: PathBuf },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recipe(error) => error.fmt(f),
            Self::Data(error) => error.fmt(f),
            Self::Run(error) => error.fmt(f),
            Self::Host(error) => error.fmt(f),
            Self::Convert(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
            Self::Weights { file, misfit } => write!(f, "{file}: {misfit}"),
            Self::Checkpoint { folder, reason } => write!(
                f,
                "{}: its tensors cannot be read ({reason}); remove the folder to go on from the checkpoint before it",
                folder.display()
            ),
            Self::NotFinite { tensor } => write!(
                f,
                "{tensor} has values that are not finite: the training diverged; lower lr, or set clip-grad=1"
            ),
            Self::Diverged {
                step,
                epoch,
                loss,
                first_image,
            } => write!(
                f,
                "the loss is {loss} at step {step} (epoch {epoch}, batch beginning with {first_image}): lower lr, set clip-grad=1, or look at these images; the last checkpoint is kept"
            ),
            Self::Device { given, reason } => write!(f, "device {given}: {reason}"),
            Self::Panicked { reason } => write!(
                f,
                "the device gave up: {reason}; a smaller batch-size needs less memory, device=cpu always works"
            ),
            Self::Finished { folder } => write!(
                f,
                "{}: this run is finished; begin another one with more epochs, from its weights: initial-checkpoint={}",
                folder.display(),
                folder.join("best.safetensors").display()
            ),
            Self::DataChanged { folder } => write!(
                f,
                "{}: the images are not those that the run began with (files came, went or changed class); put them back, or begin a new run",
                folder.display()
            ),
            Self::ExportKind { path } => write!(
                f,
                "{}: export writes .safetensors and .fec; give the file one of these endings",
                path.display()
            ),
        }
    }
}

impl core::error::Error for Error {}

impl Error {
    /// How a command that met this ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Host(error) => Exit::from(error),
            Self::Recipe(_) | Self::Device { .. } | Self::ExportKind { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

impl From<recipe::Error> for Error {
    fn from(error: recipe::Error) -> Self {
        Self::Recipe(error)
    }
}

impl From<data::Error> for Error {
    fn from(error: data::Error) -> Self {
        Self::Data(error)
    }
}

impl From<run::Error> for Error {
    fn from(error: run::Error) -> Self {
        Self::Run(error)
    }
}

impl From<fec::Error> for Error {
    fn from(error: fec::Error) -> Self {
        Self::Host(error)
    }
}

impl From<fec_convert::Error> for Error {
    fn from(error: fec_convert::Error) -> Self {
        Self::Convert(error)
    }
}

impl From<fec_runtime::Error> for Error {
    fn from(error: fec_runtime::Error) -> Self {
        Self::Network(error)
    }
}
