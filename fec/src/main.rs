//! The `fec` command: classifies photos, shows how the network grouped them, measures. Only this file exits.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{Common, bench, classify, eval, inspect, map, sibling, trace, verify};
use fec::output::{Format, Output, usage};

/// Runs FEC, the vision network that shows how it sees: clusters instead of grid pooling.
#[derive(Parser)]
#[command(
    name = "fec",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What photos show: the most probable classes
    Classify(classify::Args),
    /// How the network grouped a photo: overlays, label maps and a page to explore
    Map(map::Args),
    /// Accuracy over a folder of class folders
    Eval(eval::Args),
    /// How fast a model runs on this machine
    Bench(bench::Args),
    /// Every step's output and every assignment of one run, as safetensors
    Trace(trace::Args),
    /// What a model file holds, and what it needs to run
    Inspect(inspect::Args),
    /// Runs the self-test in a model file
    Verify(verify::Args),
    /// Starts fec-convert: checkpoints to .fec files
    #[command(disable_help_flag = true)]
    Convert(sibling::Args),
    /// Starts fec-train: from a folder of images to a model
    #[command(disable_help_flag = true)]
    Train(sibling::Args),
}

fn main() -> ExitCode {
    let Cli { common, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let mut out = Output::new(if common.json {
        Format::Json
    } else {
        Format::Text
    });
    let result = match &command {
        Command::Classify(args) => classify::run(args, &common, &mut out),
        Command::Map(args) => map::run(args, &common, &mut out),
        Command::Eval(args) => eval::run(args, &common, &mut out),
        Command::Bench(args) => bench::run(args, &common, &mut out),
        Command::Trace(args) => trace::run(args, &common, &mut out),
        Command::Inspect(args) => inspect::run(args, &common, &mut out),
        Command::Verify(args) => verify::run(args, &common, &mut out),
        Command::Convert(args) => sibling::run("fec-convert", args),
        Command::Train(args) => sibling::run("fec-train", args),
    };
    result.unwrap_or_else(|error| out.error(&error)).into()
}
