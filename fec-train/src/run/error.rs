//! What can go wrong with a run's folder, one line each.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a run cannot be made, read or gone on with. `Display` is one line.
#[derive(Debug)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the line above each variant and the fields' names say it"
)]
pub enum Error {
    /// A file could not be read or written.
    File(fec::Error),
    /// A name that cannot be a folder's.
    Name { name: String },
    /// A class name that does not fit a line of `classes.txt`.
    ClassName { name: String },
    /// Something of that name is there already.
    Taken { folder: PathBuf },
    /// The folder is not a run's.
    NotARun {
        folder: PathBuf,
        missing: &'static str,
    },
    /// Another process trains into the run.
    Locked {
        folder: PathBuf,
        process: Option<u32>,
    },
    /// The run has not got as far as a checkpoint.
    NoCheckpoint { folder: PathBuf },
    /// The run has no checkpoint of that step.
    NoStep {
        folder: PathBuf,
        step: u64,
        steps: Vec<u64>,
    },
    /// Not one of its checkpoints can be used.
    Damaged { folder: PathBuf, reason: String },
    /// Written by a version that is newer than this one.
    Newer { path: PathBuf, format: u32 },
    /// A checkpoint that is older than the last one, or holds what is not a number.
    State { step: u64, reason: &'static str },
    /// The model or the optimizer could not be written.
    Payload { folder: PathBuf, reason: String },
    /// Ctrl-C cannot be listened to.
    Signals { reason: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File(error) => error.fmt(f),
            Error::Name { name } => write!(
                f,
                "'{}' cannot name a run: expected a folder's name without '/', '\\' and ':', not beginning with '.' or '-'",
                plain(name)
            ),
            Error::ClassName { name } => write!(
                f,
                "class '{}': a class's name has to fit one line; rename its folder",
                plain(name)
            ),
            Error::Taken { folder } => write!(
                f,
                "{}: is there already and is never overwritten; give another name, or resume it",
                shown(folder)
            ),
            Error::NotARun { folder, missing } => write!(
                f,
                "{}: no {missing}, so not the folder of a run, or of one that was stopped before it began",
                shown(folder)
            ),
            Error::Locked { folder, process } => {
                write!(f, "{}: ", shown(folder))?;
                match process {
                    Some(id) => write!(f, "process {id}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str(" is training into this run; wait for its end or stop it")
            }
            Error::NoCheckpoint { folder } => write!(
                f,
                "{}: no checkpoint yet; `resume` begins this run again",
                shown(folder)
            ),
            Error::NoStep {
                folder,
                step,
                steps,
            } => {
                write!(f, "{}: no checkpoint of step {step}; ", shown(folder))?;
                let steps: Vec<String> = steps.iter().map(u64::to_string).collect();
                match steps.is_empty() {
                    true => f.write_str("it has none"),
                    false => write!(f, "it has {}", steps.join(", ")),
                }
            }
            other => other.fmt_checkpoint(f),
        }
    }
}

impl Error {
    /// The lines about checkpoints and signals.
    fn fmt_checkpoint(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Damaged { folder, reason } => write!(
                f,
                "{}: no checkpoint that can be used ({}); copy the run again, or train anew under another name",
                shown(folder),
                plain(reason)
            ),
            Error::Newer { path, format } => write!(
                f,
                "{}: format {format}, this fec-train reads up to {}; use a newer one",
                shown(path),
                super::checkpoint::FORMAT
            ),
            Error::State { step, reason } => {
                write!(f, "checkpoint of step {step} refused: {reason}")
            }
            Error::Payload { folder, reason } => write!(
                f,
                "{}: checkpoint cannot be written: {}; the last one stays",
                shown(folder),
                plain(reason)
            ),
            Error::Signals { reason } => {
                write!(f, "Ctrl-C cannot be listened to: {}", plain(reason))
            }
            _ => f.write_str("failed"),
        }
    }

    /// The error of a failed read.
    pub(super) fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Error::File(match source.kind() {
            io::ErrorKind::NotFound => fec::Error::Missing { path },
            io::ErrorKind::IsADirectory => fec::Error::IsFolder { path },
            io::ErrorKind::NotADirectory => fec::Error::NotAFolder { path },
            _ => fec::Error::Read { path, source },
        })
    }

    /// The error of a failed write.
    pub(super) fn writing(path: &Path, source: io::Error) -> Self {
        Error::File(fec::Error::Write {
            path: path.to_path_buf(),
            source,
        })
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Error::File(error) => error.source(),
            _ => None,
        }
    }
}

impl From<fec::Error> for Error {
    fn from(error: fec::Error) -> Self {
        Error::File(error)
    }
}

/// Text on one line: names and messages of others may hold anything.
pub(super) fn plain(text: impl fmt::Display) -> String {
    text.to_string().replace(char::is_control, "\u{fffd}")
}

/// A path on one line.
pub(super) fn shown(path: &Path) -> String {
    plain(path.display())
}
