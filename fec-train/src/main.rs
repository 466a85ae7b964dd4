//! The program `fec-train`: from a folder of images to a model, and everything around it.

mod commands;

/// A step makes and drops maps of some megabytes: an allocator that keeps its pages saves a sixth of its time.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::process::ExitCode;

use clap::Parser;
use fec::output::{Exit, Format, Output, usage};

/// Trains FEC: from a folder of images to a packed model and a page that says how good it is.
#[derive(Parser)]
#[command(name = "fec-train", version, about)]
struct Cli {
    /// Results as JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let format = if cli.json { Format::Json } else { Format::Text };
    let mut out = Output::new(format);
    let exit = match cli.command.run(&mut out) {
        Ok(exit) => exit,
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Ok {
                out.message(format_args!("error: {error}"));
            }
            exit
        }
    };
    exit.into()
}
