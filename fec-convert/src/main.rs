//! The program `fec-convert`: checkpoints to .fec files, and the proof that nothing was lost on the way.

mod commands;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use fec::output::{Exit, Format, Output};

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

/// Help and version as clap prints them; a mistake in the command line as one line, like every other error.
fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nobody is left to tell when the stream is closed.
        let _ = error.print();
        return if error.use_stderr() {
            Exit::Usage
        } else {
            Exit::Ok
        };
    }
    let text = error.render().to_string();
    let mut line = String::new();
    for paragraph in text.split("\n\n") {
        if paragraph.starts_with("Usage:") || paragraph.starts_with("For more information") {
            break;
        }
        if !line.is_empty() {
            line.push_str("; ");
        }
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        line.push_str(&words.join(" "));
    }
    Output::new(Format::Text).message(format_args!("{line}; --help lists all options"));
    Exit::Usage
}
