//! What can go wrong on the way from a checkpoint to a .fec file, each in one line.

use core::fmt;
use std::io;
use std::path::PathBuf;

use fec_runtime::format::WriteError;

use crate::recognise::Refused;

mod command;
mod graph;
mod shown;

pub use graph::GraphFault;
use shown::{Shown, shown_path};

/// What to do about bytes that went missing or changed.
const AGAIN: &str = "copy or download the file again";
/// The call that writes what this program reads.
const SAVE: &str = "torch.save(model.state_dict(), \"model.pth\")";

/// Why a checkpoint was refused, not packed, or not verified.
///
/// Display gives one line: the thing, what was found, what was expected, what to do. Names that come from the file are
/// shown with control characters escaped and cut to 100 characters.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read at all.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something is wrong with the contents of a file.
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: Box<Error>,
    },
    /// The file has no bytes.
    Empty,
    /// The file is longer than any checkpoint of this network.
    TooLarge {
        /// The longest file that is read, in bytes.
        max: u64,
    },
    /// The bytes are not a checkpoint, but something known.
    NotACheckpoint {
        /// What they are, and what to do about it.
        found: &'static str,
    },
    /// The bytes are nothing known.
    Unknown {
        /// The first bytes, at most eight.
        start: Vec<u8>,
    },
    /// A pickle that `torch.save` did not write.
    BarePickle {
        /// The first global that loading it in Python would call.
        calls: Option<String>,
    },
    /// The bytes end too early.
    Truncated {
        /// What is cut off.
        what: String,
        /// Bytes it needs.
        needed: u64,
        /// Bytes that are left.
        given: u64,
    },
    /// A zip whose directory, which stands at its end, is missing.
    TruncatedZip {
        /// Bytes of the file.
        len: u64,
    },
    /// A zip that cannot be read.
    DamagedZip {
        /// The entry, or "the directory".
        entry: String,
        /// What the zip reader said.
        detail: String,
    },
    /// A zip entry that is compressed; `torch.save` stores them as they are.
    CompressedEntry {
        /// The entry.
        entry: String,
    },
    /// An entry whose length is not what the pickle says.
    EntryLength {
        /// The entry.
        entry: String,
        /// Bytes that the pickle claims.
        needed: u64,
        /// Bytes of the entry.
        given: u64,
    },
    /// The tensors' bytes are in big-endian order.
    BigEndian,
    /// A pickle that is not well-formed.
    BadPickle {
        /// Bytes read before the fault was seen.
        at: usize,
        /// The fault.
        what: &'static str,
    },
    /// A pickle that is larger than any checkpoint's.
    PickleLimit {
        /// What there is too much of.
        what: &'static str,
        /// The most that is allowed.
        max: usize,
    },
    /// A safetensors header that is not valid.
    BadSafetensors {
        /// What the header's reader said.
        detail: String,
    },
    /// The pickled object is a module, not a state dict.
    WholeModule {
        /// Its class.
        class: String,
    },
    /// A Python object stands where weights should be.
    NotAllowed {
        /// The key, or "the file's root".
        place: String,
        /// The global that Python would import or call.
        global: String,
    },
    /// A plain value stands where a tensor or a dictionary of tensors should be.
    NotATensor {
        /// The key, or "the file's root".
        place: String,
        /// What stands there.
        found: &'static str,
    },
    /// The root dictionary holds no tensors, and no known key leads to any.
    NoStateDict {
        /// Its first keys.
        keys: Vec<String>,
    },
    /// Averaged weights were asked for, and the file has none.
    NoAveragedWeights,
    /// The file has averaged weights only, which were not asked for.
    OnlyAveragedWeights,
    /// The state dict holds no floating-point tensor.
    NoTensors,
    /// Two tensors have one name.
    DuplicateTensor {
        /// The name, prefixes taken off.
        tensor: String,
    },
    /// A tensor's name is longer than any of the network's.
    NameTooLong {
        /// How it begins.
        start: String,
        /// The most characters allowed.
        max: usize,
    },
    /// A tensor reaches beyond its storage.
    BadView {
        /// The tensor.
        tensor: String,
        /// Elements of the storage.
        stored: u64,
    },
    /// A tensor's elements are of a type that is no weight.
    UnsupportedDtype {
        /// The tensor.
        tensor: String,
        /// The type.
        dtype: String,
    },
    /// The tensors claim more values than the file has room for.
    TooManyValues {
        /// Bytes of the file.
        file_len: u64,
    },
    /// The tensors are not a network's.
    Network(Refused),
    /// The network and what comes with it do not fit a .fec file.
    Packing(WriteError),
    /// A .fec file that the runtime refuses.
    Model(fec_runtime::Error),
    /// An image size that the network does not take.
    InputSize(fec_runtime::Error),
    /// The reference network did not run.
    Reference(fec_runtime::reference::Refused),
    /// An ONNX graph that cannot be compared with, or that differs.
    Graph(GraphFault),
    /// Images, results and output files.
    Host(fec::Error),
    /// A layer named with `--keep` that the network does not have.
    UnknownLayer {
        /// What was given.
        given: String,
        /// The layer with weights whose name is nearest.
        nearest: String,
    },
    /// An option that only an integer network has.
    IntegerOption {
        /// The option.
        option: String,
    },
    /// Top-1 is asked for, and the images' classes are not known.
    NoClasses {
        /// Why the folder is not one of class folders of this network.
        cause: Box<Error>,
    },
    /// Keeping layers finer does not keep the accuracy.
    DropsTooFar {
        /// Points of top-1 lost with all layers finer.
        drop: f64,
        /// Points that may be lost.
        allowed: f64,
        /// Images it was measured on.
        images: usize,
    },
    /// Labels that are not UTF-8.
    LabelsNotText {
        /// The first line that is not, counted from 1.
        line: usize,
    },
    /// Another number of labels than classes.
    LabelCount {
        /// Labels in the file.
        given: usize,
        /// Classes of the network.
        classes: usize,
    },
    /// Formula weights of no preset.
    UnknownFormula {
        /// The name given.
        given: String,
    },
    /// An option that formula weights do not have.
    FormulaOption {
        /// The option.
        option: &'static str,
    },
    /// An option that an ONNX graph does not have.
    GraphOption {
        /// The option.
        option: &'static str,
    },
    /// A checkpoint of another network than the packed model's.
    OtherNetwork {
        /// The first number that differs.
        what: String,
        /// The checkpoint's.
        found: usize,
        /// The model's.
        expected: usize,
    },
    /// A packed model that computes something else than its checkpoint.
    Differs {
        /// Largest difference, assignments forced.
        difference: f32,
        /// Most that is allowed.
        tolerance: f32,
    },
    /// A packed model whose pools choose other centres than its checkpoint's.
    Decides {
        /// Largest margin of such a choice.
        margin: f32,
        /// Most that is allowed.
        tolerance: f32,
    },
    /// No image to compare on.
    NoImages,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "{}: cannot be read: {source}", shown_path(path))
            }
            Self::InFile { path, cause } => write!(f, "{}: {cause}", shown_path(path)),
            Self::Empty => write!(f, "the file is empty; expected a checkpoint; {AGAIN}"),
            Self::TooLarge { max } => write!(
                f,
                "the file has more than {max} bytes, more than any checkpoint of this network; save the weights alone: {SAVE}"
            ),
            Self::NotACheckpoint { found } => write!(f, "not a checkpoint, but {found}"),
            Self::Unknown { start } => {
                write!(f, "not a checkpoint: it starts with the bytes")?;
                for byte in start {
                    write!(f, " {byte:02x}")?;
                }
                write!(f, "; expected a file of torch.save or a .safetensors file")
            }
            Self::BarePickle {
                calls: Some(global),
            } => write!(
                f,
                "a bare pickle that torch.save did not write, and loading it would call {} (nothing was run); expected {SAVE}",
                Shown(global)
            ),
            Self::BarePickle { calls: None } => {
                write!(
                    f,
                    "a bare pickle that torch.save did not write; expected {SAVE}"
                )
            }
            _ => self.fmt_container(f),
        }
    }
}

impl Error {
    /// Faults of the container: zip, pickle stream, safetensors header.
    fn fmt_container(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated {
                what,
                needed,
                given,
            } => write!(
                f,
                "truncated: {} goes on for {needed} byte{}, but only {given} bytes are left; {AGAIN}",
                Shown(what),
                if *needed == 1 { "" } else { "s" }
            ),
            Self::TruncatedZip { len } => write!(
                f,
                "truncated: a zip whose directory, at its end, is missing after {len} bytes; {AGAIN}"
            ),
            Self::DamagedZip { entry, detail } => {
                write!(
                    f,
                    "damaged zip: {}: {}; {AGAIN}",
                    Shown(entry),
                    Shown(detail)
                )
            }
            Self::CompressedEntry { entry } => write!(
                f,
                "zip entry {} is compressed, which torch.save never does; load the file in PyTorch and save it again: {SAVE}",
                Shown(entry)
            ),
            Self::EntryLength {
                entry,
                needed,
                given,
            } => write!(
                f,
                "damaged zip: {} has {given} bytes where the pickle says {needed}; {AGAIN}",
                Shown(entry)
            ),
            Self::BigEndian => write!(
                f,
                "the tensors are stored in big-endian order, expected little-endian; load and save the file on a little-endian machine"
            ),
            Self::BadPickle { at, what } => write!(f, "damaged pickle: byte {at}: {what}; {AGAIN}"),
            Self::PickleLimit { what, max } => write!(
                f,
                "the pickle has more than {max} {what}; no network's checkpoint needs so many"
            ),
            Self::BadSafetensors { detail } => {
                write!(f, "damaged safetensors header: {}; {AGAIN}", Shown(detail))
            }
            _ => self.fmt_contents(f),
        }
    }

    /// Faults of what the container holds: the state dict and its tensors.
    fn fmt_contents(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WholeModule { class } => write!(
                f,
                "a whole module of class {} was pickled, which only its own Python code can load; save its weights instead: {SAVE}",
                Shown(class)
            ),
            Self::NotAllowed { place, global } => write!(
                f,
                "{} would be made by Python's {}, which is never run; expected tensors: {SAVE}",
                Shown(place),
                Shown(global)
            ),
            Self::NotATensor { place, found } => {
                write!(f, "{} is {found}; expected tensors: {SAVE}", Shown(place))
            }
            Self::NoStateDict { keys } => {
                write!(f, "no state dict found among the keys [")?;
                for (i, key) in keys.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { ", " }, Shown(key))?;
                }
                write!(
                    f,
                    "]; expected tensors, or one of state_dict, model, module: {SAVE}"
                )
            }
            Self::NoAveragedWeights => write!(
                f,
                "no averaged weights found; expected the key state_dict_ema or model_ema; read the plain ones instead"
            ),
            Self::OnlyAveragedWeights => write!(
                f,
                "only averaged weights found (state_dict_ema or model_ema); ask for them explicitly"
            ),
            Self::NoTensors => write!(
                f,
                "the state dict holds no floating-point tensors; expected weights: {SAVE}"
            ),
            Self::DuplicateTensor { tensor } => write!(
                f,
                "two tensors are called {} (wrapper prefixes taken off); keep the one that belongs to the network",
                Shown(tensor)
            ),
            Self::NameTooLong { start, max } => write!(
                f,
                "a tensor's name that starts with {} has more than {max} characters; expected the network's names",
                Shown(start)
            ),
            Self::BadView { tensor, stored } => write!(
                f,
                "{} reaches beyond the {stored} elements of its storage; {AGAIN}",
                Shown(tensor)
            ),
            Self::UnsupportedDtype { tensor, dtype } => write!(
                f,
                "{} holds elements of type {dtype}; expected f32, f16, bf16 or f64; convert it with .float() before saving",
                Shown(tensor)
            ),
            Self::TooManyValues { file_len } => write!(
                f,
                "the tensors claim more values than a file of {file_len} bytes can hold; save them contiguous: {SAVE}"
            ),
            _ => self.fmt_command(f),
        }
    }
}

impl From<GraphFault> for Error {
    fn from(fault: GraphFault) -> Self {
        Self::Graph(fault)
    }
}

impl From<fec::Error> for Error {
    fn from(error: fec::Error) -> Self {
        Self::Host(error)
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::InFile { cause, .. } => Some(cause),
            Self::Host(cause) => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_cannot_break_the_line() {
        let error = Error::WholeModule {
            class: format!("a\n\x1b[31m{}", "x".repeat(200)),
        };
        let line = error.to_string();
        assert!(line.contains("a\\u{a}\\u{1b}[31mxxx"), "{line}");
        assert!(
            !line.contains('\n') && line.contains("xxx... was pickled"),
            "{line}"
        );
    }
}
