//! `fec-train export`: a run's best weights as a file.

use std::path::PathBuf;

use clap::ValueHint;
use fec::output::{Exit, Output, write_atomically};
use fec_train::run::Folder;
use fec_train::train::best;
use fec_train::{Error, export};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the run
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    run: PathBuf,
    /// File to write: .safetensors, or .fec
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, Error> {
    let kind = args
        .output
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if !matches!(kind, "safetensors" | "fec") {
        return Err(Error::ExportKind {
            path: args.output.clone(),
        });
    }
    let folder = Folder::open(&args.run)?;
    let (fec, recipe) = best(&folder, out)?;
    let classes = folder.classes()?;
    if kind == "fec" {
        let file = export::pack(&fec, &recipe, &classes, &folder.name())?;
        write_atomically(&args.output, file.as_bytes())?;
    } else {
        export::save(&fec, &recipe, &classes, &args.output)?;
    }
    out.text(args.output.display())?;
    Ok(Exit::Ok)
}
