//! Everything that can go wrong on a host, one line each: the thing, what was found, what was expected and what to do.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::image::{MAX_FILE_BYTES, MAX_PIXELS, READABLE};

/// Why something could not be done. `Display` is one line, whatever stands in file names and foreign messages.
#[derive(Debug)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the line above each variant and the fields' names say it"
)]
pub enum Error {
    /// There is no such file or folder.
    Missing { path: PathBuf },
    /// A folder stands where a file was expected.
    IsFolder { path: PathBuf },
    /// A file stands where a folder was expected.
    NotAFolder { path: PathBuf },
    /// The system refused to read it.
    Read { path: PathBuf, source: io::Error },
    /// The system refused to write it; nothing half-written is left.
    Write { path: PathBuf, source: io::Error },
    /// Whoever read standard output has closed it; this is success for a command.
    OutputClosed,
    /// The file has more bytes than we read.
    FileTooLarge { path: PathBuf },
    /// None of the image formats that are read.
    NotAnImage { path: PathBuf },
    /// An image whose end is missing.
    TruncatedImage { path: PathBuf, format: &'static str },
    /// An image that its decoder refuses.
    DamagedImage {
        path: PathBuf,
        format: &'static str,
        reason: String,
    },
    /// The header claims more pixels than we decode, or none.
    ImageSize {
        path: PathBuf,
        width: u32,
        height: u32,
    },
    /// Decoding would take more memory than allowed.
    ImageMemory { path: PathBuf },
    /// A number of values that does not fit the shape it came with.
    Shape {
        what: &'static str,
        expected: usize,
        found: usize,
    },
    /// A name that is not on the list.
    UnknownName {
        what: &'static str,
        found: String,
        known: &'static [&'static str],
    },
    /// A setting outside its range.
    Setting {
        what: &'static str,
        found: String,
        expected: &'static str,
    },
    /// A folder of classes without a single folder.
    NoClassFolders { path: PathBuf },
    /// Class folders without a single image.
    NoImages { path: PathBuf },
    /// A class folder that is none of the model's labels.
    UnknownClass {
        path: PathBuf,
        class: String,
        nearest: Option<String>,
        folders: usize,
        labels: usize,
    },
    /// Two class folders that mean the same label.
    SameClass { path: PathBuf, class: String },
    /// A model file that is not sound.
    Model {
        name: String,
        source: fec_runtime::Error,
    },
    /// The runtime refused a size or an input.
    Runtime(fec_runtime::Error),
    /// Classes were asked of a dense model.
    NoClasses { model: String },
    /// More class folders than the model has classes.
    ClassCount { found: usize, classes: usize },
    /// `FEC_ISA` names no kernels that this machine has.
    Isa { found: String, reason: String },
    /// Two runs on the same input gave different results.
    Unsteady,
    /// Threads could not be started.
    Threads { reason: String },
    /// Another program of the project could not be started.
    Sibling {
        program: &'static str,
        source: io::Error,
    },
    /// A picture could not be put into a file format.
    Encode { what: &'static str, reason: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing { path } => {
                write!(f, "{}: no such file or folder", OneLine(path))
            }
            Error::IsFolder { path } => {
                write!(f, "{}: is a folder, expected a file", OneLine(path))
            }
            Error::NotAFolder { path } => {
                write!(f, "{}: is a file, expected a folder", OneLine(path))
            }
            Error::Read { path, source } => {
                write!(f, "{}: cannot be read: {}", OneLine(path), Plain(source))
            }
            Error::Write { path, source } => {
                write!(f, "{}: cannot be written: {}", OneLine(path), Plain(source))
            }
            Error::OutputClosed => f.write_str("standard output was closed by its reader"),
            Error::Shape {
                what,
                expected,
                found,
            } => {
                write!(
                    f,
                    "{what}: {found} values given, {expected} expected by the shape"
                )
            }
            Error::UnknownName { what, found, known } => {
                write!(
                    f,
                    "unknown {what} '{}'; known are: {}",
                    Plain(found),
                    known.join(", ")
                )
            }
            Error::Setting {
                what,
                found,
                expected,
            } => {
                write!(f, "{what} is {}, expected {expected}", Plain(found))
            }
            other => other.fmt_run(f),
        }
    }
}

impl Error {
    /// The lines about models and runs.
    fn fmt_run(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Model { name, source } => write!(f, "{}: {source}", Plain(name)),
            Error::Runtime(source) => write!(f, "{source}"),
            Error::NoClasses { model } => write!(
                f,
                "{}: a dense model, which has no classes; use `fec map`, or a classification model",
                Plain(model)
            ),
            Error::ClassCount { found, classes } => write!(
                f,
                "{found} class folders, but the model has {classes} classes; give the model that these folders belong to"
            ),
            Error::Isa { found, reason } => write!(
                f,
                "{} is '{}': {reason}",
                crate::isa::VARIABLE,
                Plain(found)
            ),
            Error::Unsteady => f.write_str(
                "two runs on the same image gave different results: please report this, with the model",
            ),
            Error::Threads { reason } => {
                write!(f, "threads cannot be started: {}; use --threads 1", Plain(reason))
            }
            Error::Sibling { program, source } => write!(
                f,
                "{program} cannot be started: {}; it belongs beside fec or on the path",
                Plain(source)
            ),
            Error::Encode { what, reason } => {
                write!(f, "{what} cannot be encoded: {}", Plain(reason))
            }
            image => image.fmt_image(f),
        }
    }

    /// The lines about images.
    fn fmt_image(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::FileTooLarge { path } => write!(
                f,
                "{}: more than the {} MiB that are read of an image file",
                OneLine(path),
                MAX_FILE_BYTES >> 20
            ),
            Error::NotAnImage { path } => {
                write!(f, "{}: not an image; read are {READABLE}", OneLine(path))
            }
            Error::TruncatedImage { path, format } => write!(
                f,
                "{}: truncated {format} image, its end is missing; fetch or copy the file again",
                OneLine(path)
            ),
            Error::DamagedImage {
                path,
                format,
                reason,
            } => {
                write!(
                    f,
                    "{}: damaged or unsupported {format} image: {}",
                    OneLine(path),
                    Plain(reason)
                )
            }
            Error::ImageSize {
                path,
                width,
                height,
            } => write!(
                f,
                "{}: image of {width} x {height} pixels, allowed are 1 to {} megapixels; scale it down first",
                OneLine(path),
                MAX_PIXELS / 1_000_000
            ),
            Error::ImageMemory { path } => write!(
                f,
                "{}: decoding takes more memory than is allowed for one image; scale it down first",
                OneLine(path)
            ),
            dataset => dataset.fmt_dataset(f),
        }
    }

    /// The lines about class folders.
    fn fmt_dataset(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoClassFolders { path } => write!(
                f,
                "{}: no class folders; expected one folder per class with its images inside",
                OneLine(path)
            ),
            Error::NoImages { path } => write!(
                f,
                "{}: no images in its class folders; looked for {READABLE}",
                OneLine(path)
            ),
            Error::UnknownClass {
                path,
                class,
                nearest,
                folders,
                labels,
            } => {
                write!(
                    f,
                    "{}: folder '{}' is none of the model's {labels} labels ({folders} folders here)",
                    OneLine(path),
                    Plain(class)
                )?;
                match nearest {
                    Some(label) => write!(f, "; the nearest label is '{}'", Plain(label)),
                    None => Ok(()),
                }
            }
            Error::SameClass { path, class } => write!(
                f,
                "{}: two folders mean the label '{}'; merge them",
                OneLine(path),
                Plain(class)
            ),
            _ => f.write_str("failed"),
        }
    }

    /// The error of a failed read, with the two that people meet most told apart.
    pub fn from_read(path: &Path, source: io::Error) -> Error {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { path },
            io::ErrorKind::IsADirectory => Error::IsFolder { path },
            io::ErrorKind::NotADirectory => Error::NotAFolder { path },
            _ => Error::Read { path, source },
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Error::Read { source, .. } | Error::Write { source, .. } => Some(source),
            Error::Model { source, .. } | Error::Runtime(source) => Some(source),
            _ => None,
        }
    }
}

impl From<fec_runtime::Error> for Error {
    fn from(error: fec_runtime::Error) -> Self {
        Error::Runtime(error)
    }
}

/// A path as one line of text.
pub(crate) struct OneLine<'a>(pub(crate) &'a Path);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Plain(self.0.display()).fmt(f)
    }
}

/// Text in which control characters are replaced, so that no file name breaks the line or drives the terminal.
pub(crate) struct Plain<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            fmt::Write::write_char(f, if c.is_control() { '\u{fffd}' } else { c })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_break_the_line() {
        let text = Error::Missing {
            path: PathBuf::from("a\nb\x1b[31m.jpg"),
        }
        .to_string();
        assert_eq!(text, "a\u{fffd}b\u{fffd}[31m.jpg: no such file or folder");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = Error::UnknownName {
            what: "style",
            found: "glow".into(),
            known: &["boundary", "fill"],
        };
        assert_eq!(
            error.to_string(),
            "unknown style 'glow'; known are: boundary, fill"
        );
    }
}
