//! The subcommands, a file each, and what they share: values of options, files that are read.

mod images;
mod integer;
mod pack;
mod report;
mod verify;

use std::path::Path;

use clap::Subcommand;
use fec::output::{Exit, Output};
pub(crate) use fec::preprocess::parse_size;
use fec_convert::Error;
use fec_convert::fold::{Tensors, formula_tensors};
pub(crate) use fec_convert::read::read_file;
use fec_convert::read::{Checkpoint, ReadOptions, in_file, read_bytes};
use fec_convert::recognise::Recognised;
use fec_runtime::config::{Config, PRESETS};
use sha2::{Digest, Sha256};

/// In place of a checkpoint: the weights of SPEC 11, for benchmarks.
const FORMULA: &str = "formula:";

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Pack a checkpoint into a .fec file
    Pack(pack::Args),
    /// Compare a .fec file with the checkpoint it was packed from, or with an ONNX graph of it
    Verify(verify::Args),
}

impl Command {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Pack(args) => args.json,
            Self::Verify(args) => args.json,
        }
    }

    pub(crate) fn run(&self, out: &mut Output) -> Result<Exit, Error> {
        match self {
            Self::Pack(args) => pack::run(args, out),
            Self::Verify(args) => verify::run(args, out),
        }
    }
}

/// What the command line alone shows to be wrong is a matter of usage; the rest needed a look at the input.
pub(crate) fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Host(error) => Exit::from(error),
        Error::UnknownFormula { .. }
        | Error::FormulaOption { .. }
        | Error::IntegerOption { .. } => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// Reads a checkpoint; `-` is standard input.
fn read_checkpoint(path: &Path, ema: bool) -> Result<Checkpoint, Error> {
    fec_convert::read::read(path, &ReadOptions { ema })
}

/// The checkpoint of these bytes, which `path` held.
fn checkpoint(path: &Path, bytes: &[u8], ema: bool) -> Result<Checkpoint, Error> {
    read_bytes(bytes, &ReadOptions { ema }).map_err(|cause| in_file(path, cause))
}

/// The network of `formula:PRESET`; `None` for anything else. Options that only a checkpoint has are refused.
fn formula_network(
    path: &Path,
    arch: Option<&str>,
    ema: bool,
) -> Option<Result<Recognised, Error>> {
    let preset = path.to_str()?.strip_prefix(FORMULA)?;
    let used = [("--arch", arch.is_some()), ("--ema", ema)];
    if let Some((option, _)) = used.into_iter().find(|(_, used)| *used) {
        return Some(Err(Error::FormulaOption { option }));
    }
    let network = Config::preset(preset).map(|config| Recognised {
        config,
        name: preset.to_string(),
        tensors: formula_tensors(&config),
        notes: Vec::new(),
    });
    Some(network.ok_or_else(|| Error::UnknownFormula {
        given: preset.to_string(),
    }))
}

/// SHA-256 over the little-endian f32 of all tensors, sorted by name: the same for every layout of the same weights.
fn weights_digest(tensors: &Tensors) -> String {
    let mut hash = Sha256::new();
    let mut bytes = Vec::new();
    for values in tensors.values() {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        hash.update(&bytes);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A whole number with a comma between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `--arch`: a preset, or settings, which are checked against the checkpoint.
fn parse_arch(text: &str) -> Result<String, String> {
    if text.contains('=') || Config::preset(text).is_some() {
        return Ok(text.to_string());
    }
    Err(format!(
        "expected one of {}, or settings as in \"heads=4,4,8,8 proposals=4,4,2,2 folds=1,1,1,1\"",
        PRESETS.join(", ")
    ))
}

/// A finite number from `low` to `high`.
fn parse_number(text: &str, low: f32, high: f32) -> Option<f32> {
    let number: f32 = text.trim().parse().ok()?;
    (low..=high).contains(&number).then_some(number)
}

/// Three numbers with commas between them.
fn parse_three(text: &str, low: f32, high: f32) -> Result<[f32; 3], String> {
    let numbers: Option<Vec<f32>> = text
        .split(',')
        .map(|number| parse_number(number, low, high))
        .collect();
    match numbers.as_deref() {
        Some(&[a, b, c]) => Ok([a, b, c]),
        _ => Err(format!(
            "expected three numbers from {low} to {high} with commas between them"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_numbers_are_exactly_three_finite_ones() {
        assert_eq!(parse_three("0.5,-1, 2", -2.0, 2.0), Ok([0.5, -1.0, 2.0]));
        for text in ["1,2", "1,2,3,4", "1,2,nan", "1,2,inf", "1,2,9", ""] {
            assert!(parse_three(text, -2.0, 5.0).is_err(), "{text}");
        }
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(5_727_528), "5,727,528");
    }
}
