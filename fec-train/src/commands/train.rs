//! `fec-train train` and `fec-train resume`.

use std::path::PathBuf;

use clap::ValueHint;
use fec::output::{Exit, Output};
use fec_train::Error;
use fec_train::finish::{Finished, finish};
use fec_train::interrupt::Interrupt;
use fec_train::progress::duration;
use fec_train::recipe::Recipe;
use fec_train::run::Folder;
use fec_train::train::{Ended, Trainer};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Recipe: a TOML file, or one of the program's own (folder.toml, cifar10-fec-nano.toml, ...)
    #[arg(value_name = "RECIPE")]
    recipe: String,
    /// Options in place of the recipe's, as in data=photos epochs=20
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Name of the run; date, model and size without it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Folder for runs
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    runs: PathBuf,
    /// Where to train, in place of the recipe's device: cpu, cuda, cuda:N or several as in cuda:0,1
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct ResumeArgs {
    /// Folder of the run
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    run: PathBuf,
    /// Where to train: cpu, cuda, cuda:N or several as in cuda:0,1; where the recipe says without it
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, Error> {
    let mut overrides = args.overrides.clone();
    overrides.extend(args.device.iter().map(|device| format!("device={device}")));
    let recipe = Recipe::load(&args.recipe, &overrides)?;
    let interrupt = Interrupt::listen()?;
    let trainer = Trainer::begin(recipe, &args.runs, args.name.as_deref(), out)?;
    go(trainer, &interrupt, out)
}

pub(crate) fn resume(args: &ResumeArgs, out: &mut Output) -> Result<Exit, Error> {
    let folder = Folder::open(&args.run)?;
    let interrupt = Interrupt::listen()?;
    let trainer = Trainer::resume(folder, args.device.as_deref(), out)?;
    go(trainer, &interrupt, out)
}

fn go(mut trainer: Trainer, interrupt: &Interrupt, out: &mut Output) -> Result<Exit, Error> {
    let run = trainer.folder().path().display().to_string();
    out.message(format_args!("run: {run}"));
    if trainer.train(interrupt, out)? == Ended::Interrupted {
        out.message(format_args!("stopped; go on with: fec-train resume {run}"));
        return Ok(Exit::Interrupted);
    }
    let finished = finish(&trainer, out)?;
    out.json(&finished)?;
    out.text(text(&finished))?;
    Ok(Exit::Ok)
}

fn text(finished: &Finished) -> String {
    let mut text = format!(
        "top-1 {:.2} % of {} validation images, after {}",
        finished.top1,
        finished.images,
        duration(finished.seconds)
    );
    for paragraph in &finished.advice {
        text.push_str(&format!("\n  {paragraph}"));
    }
    text.push_str(&format!(
        "\nmodel: {} ({:.1} MB)\nreport: {}",
        finished.model,
        finished.bytes as f64 / 1e6,
        finished.report
    ));
    text
}
