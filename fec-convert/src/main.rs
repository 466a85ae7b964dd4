//! The program `fec-convert`: checkpoints to .fec files, and the proof that nothing was lost on the way.

mod commands;

use std::process::ExitCode;

use clap::Parser;
use fec::output::{Exit, Format, Output, usage};

/// Turns PyTorch checkpoints of FEC into packed .fec files.
#[derive(Parser)]
#[command(name = "fec-convert", version, about)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let format = if cli.command.json() {
        Format::Json
    } else {
        Format::Text
    };
    let mut out = Output::new(format);
    let exit = match cli.command.run(&mut out) {
        Ok(exit) => exit,
        Err(error) => {
            let exit = commands::exit_of(&error);
            if exit != Exit::Ok {
                out.message(format_args!("error: {error}"));
            }
            exit
        }
    };
    exit.into()
}
