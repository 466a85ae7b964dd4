//! `fec-train doctor`: is everything there that a training needs?

use std::path::PathBuf;

use clap::ValueHint;
use fec::output::{Exit, Output};
use fec_train::recipe::Recipe;
use fec_train::{Error, doctor};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of images to look at
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Recipe to try
    #[arg(long, value_name = "RECIPE", default_value = "folder.toml")]
    recipe: String,
    /// Where to try it: cpu, cuda, cuda:N or several as in cuda:0,1; where the recipe says without it
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, Error> {
    let mut overrides = Vec::new();
    overrides.extend(args.dir.iter().map(|dir| format!("data={}", dir.display())));
    overrides.extend(args.device.iter().map(|device| format!("device={device}")));
    let recipe = Recipe::load(&args.recipe, &overrides)?;
    let checks = doctor::examine(&recipe, out);
    let mut exit = Exit::Ok;
    for check in &checks {
        out.json(check)?;
        out.text(format_args!(
            "{} {}: {}",
            if check.ok { "ok  " } else { "FAIL" },
            check.what,
            check.found
        ))?;
        if !check.ok {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}
