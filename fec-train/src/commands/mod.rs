//! The subcommands, a file each.

mod doctor;
mod eval;
mod export;
mod recipe;
mod train;

use fec::output::{Exit, Output};
use fec_train::Error;

/// What the program can do.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Trains as a recipe says, and packs the best weights
    Train(train::Args),
    /// Goes on with a run that was stopped, exactly where its last checkpoint is
    Resume(train::ResumeArgs),
    /// Accuracy of a run's best weights on its validation images, or on a folder
    Eval(eval::Args),
    /// Writes a run's best weights as .safetensors (for PyTorch and fec-convert) or .fec
    Export(export::Args),
    /// Prints a recipe with every option and its meaning
    Recipe(recipe::Args),
    /// Looks at device, memory and images, and takes one batch through training, packing and the runtime
    Doctor(doctor::Args),
}

impl Command {
    pub(crate) fn run(&self, out: &mut Output) -> Result<Exit, Error> {
        match self {
            Self::Train(args) => train::run(args, out),
            Self::Resume(args) => train::resume(args, out),
            Self::Eval(args) => eval::run(args, out),
            Self::Export(args) => export::run(args, out),
            Self::Recipe(args) => recipe::run(args, out),
            Self::Doctor(args) => doctor::run(args, out),
        }
    }
}
