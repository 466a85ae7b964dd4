//! `fec-train eval`: how good a run's best weights are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueHint;
use fec::ClassFolder;
use fec::output::{Exit, Output};
use fec_train::data::{Budget, Dataset, Sample, Split};
use fec_train::run::{Folder, SPLIT};
use fec_train::train::best;
use fec_train::validate::Validation;
use fec_train::{Error, export};
use serde::Serialize;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the run
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    run: PathBuf,
    /// Other images with the same classes, in place of the run's own validation images
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct Accuracy {
    run: String,
    images: usize,
    top1: f64,
    top5: f64,
    loss: f64,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, Error> {
    let folder = Folder::open(&args.run)?;
    let (fec, recipe) = best(&folder, out)?;
    let classes = folder.classes()?;
    let file = export::pack(&fec, &recipe, &classes, &folder.name())?;
    let samples = match &args.dir {
        Some(dir) => labelled(dir, &classes)?,
        None => {
            let split_file = args.run.join(SPLIT);
            Split::open(
                recipe.data_folder()?,
                recipe.val_split,
                recipe.seed,
                &split_file,
            )?
            .val
        }
    };
    let dataset = Arc::new(Dataset::eval(samples, &recipe, &Budget::megabytes(0)));
    let validation = Validation::run(&file, &dataset)?;
    for unreadable in dataset.unreadable() {
        out.message(&unreadable.reason);
    }
    let result = Accuracy {
        run: args.run.display().to_string(),
        images: validation.verdicts.len(),
        top1: validation.percent(1),
        top5: validation.percent(5),
        loss: validation.loss(),
    };
    out.json(&result)?;
    out.text(format_args!(
        "{} images: top-1 {:.2} %, top-5 {:.2} %, loss {:.4}",
        result.images, result.top1, result.top5, result.loss
    ))?;
    let nothing = result.images == 0;
    Ok(if nothing { Exit::Failed } else { Exit::Ok })
}

/// The images of a folder of class folders, or of its val or test.
fn labelled(dir: &Path, classes: &[String]) -> Result<Vec<Sample>, Error> {
    let folder = ClassFolder::open(dir, Some(classes))?;
    let found = folder.classes.len();
    if found > classes.len() {
        let classes = classes.len();
        return Err(Error::Host(fec::Error::ClassCount { found, classes }));
    }
    let sample = |entry: fec::dataset::Entry| Sample {
        path: entry.path,
        class: entry.class as u32,
    };
    Ok(folder.images.into_iter().map(sample).collect())
}
