//! The numbers of a run: `metrics.jsonl` has a line every few steps and one per epoch, `summary.csv` the epochs alone, in timm's columns.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use super::Error;
use super::files::write_durably;

const LINES: &str = "metrics.jsonl";
const SUMMARY: &str = "summary.csv";
const COLUMNS: &str =
    "epoch,step,train_loss,eval_loss,eval_top1,eval_top5,lr,images_per_second,seconds\n";

/// How training went over the last few steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// Steps that are done.
    pub step: u64,
    /// The epoch of this step, from 0.
    pub epoch: u64,
    /// Mean loss since the last row.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Norm of all gradients before clipping, where it is known.
    pub grad_norm: Option<f64>,
    /// Images per second since the last row.
    pub images_per_second: f64,
    /// Seconds of training so far.
    pub seconds: f64,
}

/// An epoch and its validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Steps that are done at its end.
    pub step: u64,
    /// Mean loss over its images, as augmented.
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    /// Mean loss over the validation images; none where it was not validated.
    pub eval_loss: Option<f64>,
    /// Validation images whose likeliest class is the true one, in percent.
    pub eval_top1: Option<f64>,
    /// The same for the five likeliest; none with five classes or fewer.
    pub eval_top5: Option<f64>,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Training images per second.
    pub images_per_second: f64,
    /// Seconds of training so far.
    pub seconds: f64,
}

/// JSON has no word for what is not a number: it is written as null.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Row {
    Step(StepRow),
    Epoch(EpochRow),
}

impl Row {
    fn step(&self) -> u64 {
        match self {
            Row::Step(row) => row.step,
            Row::Epoch(row) => row.step,
        }
    }
}

/// All rows of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Rows of steps, in order.
    pub steps: Vec<StepRow>,
    /// Rows of epochs, in order.
    pub epochs: Vec<EpochRow>,
}

impl Rows {
    /// Reads `metrics.jsonl`. A line that a killed process has not finished is passed over.
    pub(super) fn read(run: &Path) -> Result<Self, Error> {
        let mut rows = Self::default();
        for (_, row) in lines(run)? {
            match row {
                Row::Step(row) => rows.steps.push(row),
                Row::Epoch(row) => rows.epochs.push(row),
            }
        }
        Ok(rows)
    }
}

/// The whole lines of `metrics.jsonl`, each as text and as a row.
fn lines(run: &Path) -> Result<Vec<(String, Row)>, Error> {
    let path = run.join(LINES);
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(|e| Error::reading(&path, e))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let parsed = text.lines().filter_map(|line| {
        let row = serde_json::from_str(line).ok()?;
        Some((line.to_string(), row))
    });
    Ok(parsed.collect())
}

/// Adds rows to both files.
#[derive(Debug)]
pub(super) struct Metrics {
    lines: Appended,
    summary: Appended,
}

#[derive(Debug)]
struct Appended {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Goes on after `step`: later rows and unfinished lines are cut off, each file in one move; the summary is made anew from the lines.
    pub(super) fn open(run: &Path, step: u64) -> Result<Self, Error> {
        let mut kept = String::new();
        let mut summary = String::from(COLUMNS);
        for (line, row) in lines(run)? {
            if row.step() > step {
                continue;
            }
            kept.push_str(&line);
            kept.push('\n');
            if let Row::Epoch(row) = row {
                summary.push_str(&csv(&row));
            }
        }
        write_durably(&run.join(LINES), kept.as_bytes())?;
        write_durably(&run.join(SUMMARY), summary.as_bytes())?;
        Ok(Self {
            lines: Appended::open(run.join(LINES))?,
            summary: Appended::open(run.join(SUMMARY))?,
        })
    }

    /// Adds the row of a step.
    pub(super) fn step(&mut self, row: &StepRow) -> Result<(), Error> {
        self.lines.push(&line(&Row::Step(row.clone()))?)
    }

    /// Adds the row of an epoch.
    pub(super) fn epoch(&mut self, row: &EpochRow) -> Result<(), Error> {
        self.lines.push(&line(&Row::Epoch(row.clone()))?)?;
        self.summary.push(&csv(row))
    }

    /// Waits until the disk has all rows.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        for Appended { path, file } in [&self.lines, &self.summary] {
            file.sync_data().map_err(|e| Error::writing(path, e))?;
        }
        Ok(())
    }
}

impl Appended {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let file = File::options().append(true).open(&path);
        let file = file.map_err(|e| Error::writing(&path, e))?;
        Ok(Self { path, file })
    }

    /// Adds a line; what a full disk has taken of it is taken back.
    fn push(&mut self, line: &str) -> Result<(), Error> {
        let before = self.file.metadata().map(|m| m.len());
        self.file.write_all(line.as_bytes()).map_err(|e| {
            if let Ok(before) = before {
                let _ = self.file.set_len(before);
            }
            Error::writing(&self.path, e)
        })
    }
}

fn line(row: &Row) -> Result<String, Error> {
    let encode = |e: serde_json::Error| fec::Error::Encode {
        what: "a row of metrics",
        reason: e.to_string(),
    };
    Ok(serde_json::to_string(row).map_err(encode)? + "\n")
}

/// A row of the summary; what is not known stays empty.
fn csv(row: &EpochRow) -> String {
    let or_empty = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
    format!(
        "{},{},{},{},{},{},{},{:.1},{:.1}\n",
        row.epoch,
        row.step,
        row.train_loss,
        or_empty(row.eval_loss),
        or_empty(row.eval_top1),
        or_empty(row.eval_top5),
        row.lr,
        row.images_per_second,
        row.seconds
    )
}
