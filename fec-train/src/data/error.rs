//! What can be wrong with a folder of images, one line each.

use core::fmt;
use std::io;
use std::path::PathBuf;

/// Why a folder cannot be trained on. `Display` is one line.
#[derive(Debug)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the line above each variant and the fields' names say it"
)]
pub enum Error {
    /// What reading and writing files can meet.
    File(fec::Error),
    /// A single class: there is nothing to tell apart.
    OneClass { path: PathBuf, class: String },
    /// Splits for validation, but none for training.
    MissingTrain { path: PathBuf, found: String },
    /// A class to validate that is not trained.
    UnknownClass {
        path: PathBuf,
        class: String,
        nearest: Option<String>,
    },
    /// No image for validation: every class has a single one.
    NoValidation { path: PathBuf },
    /// A split file that is not as this program writes it.
    SplitFile {
        path: PathBuf,
        line: usize,
        reason: &'static str,
    },
    /// An image of the split file is gone.
    ImageGone { path: PathBuf, split_file: PathBuf },
    /// Not a single image of a set can be read.
    NothingReadable { images: usize, first: String },
    /// Threads could not be started.
    Threads { source: io::Error },
    /// A worker thread ended before its time.
    WorkerLost,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Error::File(source) => source.to_string(),
            Error::OneClass { path, class } => format!(
                "{}: a single class, '{class}'; expected at least two folders of images, one per class",
                path.display()
            ),
            Error::MissingTrain { path, found } => format!(
                "{}: has {found}/ but no train/; expected train/CLASS/* beside it, or the class folders alone",
                path.display()
            ),
            Error::UnknownClass {
                path,
                class,
                nearest,
            } => {
                let hint = nearest
                    .as_ref()
                    .map_or_else(String::new, |n| format!("; the nearest is '{n}'"));
                format!(
                    "{}: class '{class}' has no folder with images in train/{hint}",
                    path.display()
                )
            }
            Error::NoValidation { path } => format!(
                "{}: no class has a second image, so none can be kept for validation; add images",
                path.display()
            ),
            Error::SplitFile { path, line, reason } => format!(
                "{}: line {line}: {reason}; delete the file to make a new split",
                path.display()
            ),
            Error::ImageGone { path, split_file } => format!(
                "{}: no such image, but {} lists it; put it back, or start a new run",
                path.display(),
                split_file.display()
            ),
            Error::NothingReadable { images, first } => {
                format!("none of the {images} images can be read; the first: {first}")
            }
            Error::Threads { source } => {
                format!("threads that decode images cannot be started: {source}; use workers=1")
            }
            Error::WorkerLost => {
                "a thread that decodes images ended unexpectedly: please report this".into()
            }
        };
        // File names may hold line breaks and control characters.
        for c in text.chars() {
            fmt::Write::write_char(f, if c.is_control() { '\u{fffd}' } else { c })?;
        }
        Ok(())
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Error::File(source) => Some(source),
            Error::Threads { source } => Some(source),
            _ => None,
        }
    }
}

impl From<fec::Error> for Error {
    fn from(source: fec::Error) -> Error {
        Error::File(source)
    }
}
