//! `fec-train recipe`: a recipe with all that it leaves to defaults.

use fec::output::{Exit, Output};
use fec_train::Error;
use fec_train::recipe::Recipe;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Recipe: a TOML file, or one of the program's own
    #[arg(value_name = "RECIPE", default_value = "folder.toml")]
    recipe: String,
    /// Options in place of the recipe's
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, Error> {
    let recipe = Recipe::load(&args.recipe, &args.overrides)?;
    out.text(recipe.to_toml().trim_end())?;
    Ok(Exit::Ok)
}
