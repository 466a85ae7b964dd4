//! Records: what was measured, with all that it takes to judge and to repeat it, as JSON (README.md has the format).

use std::path::{Path, PathBuf};

use fec_runtime::kernels::Isa;
use serde::Serialize;

use crate::machine;
use crate::peak::{Peak, Peaks};
use crate::rounds::{Milliseconds, Times};

/// Version of the format.
const FORMAT: u32 = 1;

/// One bench on one machine.
#[derive(Debug, Serialize)]
pub struct Record {
    format: u32,
    /// Name of the bench.
    pub bench: String,
    machine: String,
    core: Option<usize>,
    date: String,
    commit: String,
    command: String,
    clock_ghz: f64,
    peaks: Vec<Peak>,
    /// What it found.
    pub results: Vec<Row>,
}

/// One candidate: the keys of `fec bench --json`, and some more.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// `fec`, or the name and version of another engine.
    pub engine: String,
    /// The network.
    pub model: String,
    /// Height of the image.
    pub height: usize,
    /// Width of the image.
    pub width: usize,
    /// Type of the weights.
    pub dtype: String,
    /// Instruction set, where the engine says which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isa: Option<&'static str>,
    /// Threads.
    pub threads: usize,
    /// Runs that were timed.
    pub runs: usize,
    /// Time on the wall.
    pub ms: Milliseconds,
    /// Time on the core.
    pub cpu_ms: Milliseconds,
    /// Multiply-adds of one run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiply_adds: Option<u64>,
    /// Share of the measured peak of that instruction set and type, in the fastest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_peak: Option<f64>,
    /// Memory that a run works in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arena_bytes: Option<usize>,
    /// Checksum of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_crc: Option<String>,
    /// Largest difference of a logit from that of our f32 network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_difference: Option<f32>,
}

impl Row {
    /// The same with these times.
    pub fn timed(self, times: &Times, runs: usize) -> Self {
        Self {
            runs,
            ms: times.wall,
            cpu_ms: times.cpu,
            ..self
        }
    }

    /// The same with its share of the peak of its instruction set: that of i8 where any weight is an integer.
    pub fn shared(self, isa: Isa, peaks: &Peaks) -> Self {
        let integer = self.dtype.split('+').any(|name| name == "i8");
        let dtype = if integer { "i8" } else { "f32" };
        let share = |n| peaks.share(isa, dtype, n, self.ms.min);
        Self {
            share_of_peak: self.multiply_adds.and_then(share),
            ..self
        }
    }

    /// A line for people.
    pub fn text(&self) -> String {
        let Self {
            engine,
            model,
            height,
            width,
            dtype,
            ms,
            cpu_ms,
            ..
        } = self;
        let isa = self.isa.unwrap_or("");
        let mut text = format!(
            "{engine:24} {model} {height}x{width} {dtype:8} {isa:12} min {:9.3} ms, median {:9.3} ms (core: {:9.3}, {:9.3})",
            ms.min, ms.median, cpu_ms.min, cpu_ms.median
        );
        if let Some(share) = self.share_of_peak {
            text += &format!(", {:5.1} % of peak", share * 100.0);
        }
        if let Some(difference) = self.logit_difference {
            text += &format!(", logits within {difference:.1e}");
        }
        text
    }
}

impl Record {
    /// The record of a bench that ran just now.
    pub fn new(bench: &str, core: Option<usize>, peaks: &Peaks, results: Vec<Row>) -> Self {
        // cargo runs a bench by the path of its binary, which says nothing to others.
        let arguments = std::env::args().skip(1).filter(|a| a != "--bench");
        let arguments: Vec<String> = arguments.collect();
        let mut command = format!("cargo bench -p fec-bench --bench {bench}");
        if !arguments.is_empty() {
            command += " -- ";
            command += &arguments.join(" ");
        }
        Self {
            format: FORMAT,
            bench: bench.to_string(),
            machine: machine::cpu_model(),
            core,
            date: machine::today(),
            commit: machine::commit(),
            command,
            clock_ghz: peaks.clock_ghz,
            peaks: peaks.peaks.clone(),
            results,
        }
    }

    /// Name of its file: MACHINE-DATE-BENCH.json.
    pub fn file_name(&self) -> String {
        let name = format!("{}-{}-{}", self.machine, self.date, self.bench);
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let words: Vec<String> = name
            .chars()
            .map(plain)
            .collect::<String>()
            .split('-')
            .filter(|word| !word.is_empty())
            .map(String::from)
            .collect();
        words.join("-") + ".json"
    }

    /// Writes it into a folder; gives the file's path.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn save(&self, folder: &Path) -> crate::Result<PathBuf> {
        let path = folder.join(self.file_name());
        let text = serde_json::to_string_pretty(self)? + "\n";
        fec::output::write_atomically(&path, text.as_bytes())?;
        Ok(path)
    }
}

/// The folder of the records that come with the sources.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("record")
}
