//! The runtime's one error type. Variants carry numbers; the text is made in one place, in one line.

use core::fmt;

use crate::format::TensorId;
use crate::image::ImageSize;

/// Why a model, a plan, an arena or an image was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The first four bytes are not those of a .fec file.
    NotFec,
    /// A format version that this reader does not know.
    Version {
        /// Version in the file.
        found: u16,
    },
    /// The file ends before its own length.
    Truncated {
        /// Bytes that the header asks for.
        needed: u64,
        /// Bytes that are there.
        given: u64,
    },
    /// Bytes after the end that the header states.
    TrailingBytes {
        /// Bytes that the header asks for.
        needed: u64,
        /// Bytes that are there.
        given: u64,
    },
    /// A checksum does not fit: the file was damaged.
    Checksum {
        /// Which part was damaged.
        part: Checked,
        /// CRC-32 in the file.
        expected: u32,
        /// CRC-32 of the bytes.
        found: u32,
    },
    /// The bytes do not start at an address that is a multiple of 64.
    Misaligned,
    /// A field of the file has a value that it cannot have.
    Field {
        /// The field.
        field: Field,
        /// The value found.
        found: u64,
    },
    /// A section that this reader does not know and that is not marked optional.
    UnknownSection {
        /// Its number.
        kind: u32,
    },
    /// A table entry that is not the tensor which the configuration asks for at this place.
    Tensor {
        /// The tensor expected.
        expected: TensorId,
    },
    /// A weight that is NaN or infinite.
    WeightNotFinite {
        /// The tensor.
        tensor: TensorId,
        /// Element within the packed tensor.
        element: usize,
    },
    /// A number of the configuration outside its limits.
    Limit {
        /// Which number.
        quantity: Quantity,
        /// Its value.
        found: usize,
    },
    /// A locality that is negative, not finite or above 1000.
    Locality {
        /// The pool, counted from 1.
        pool: usize,
    },
    /// A locality beside another similarity than the cosine.
    LocalityWithoutCosine {
        /// The pool, counted from 1.
        pool: usize,
    },
    /// An 8-bit weight of -128, a scale or sum that is not the weights', or an impossible table of the hidden layer.
    Quantised {
        /// The tensor.
        tensor: TensorId,
        /// Offset in the tensor of the first impossible number, in bytes.
        byte: usize,
    },
    /// An image size that the network does not take.
    Size {
        /// The size given.
        given: ImageSize,
        /// The nearest accepted one.
        nearest: ImageSize,
        /// Both sides must be multiples of this.
        multiple: usize,
    },
    /// The plan was made for a model of another configuration.
    PlanOfAnotherModel,
    /// An arena of more than 2 GiB.
    ArenaTooLarge {
        /// Bytes needed.
        needed: u64,
    },
    /// An arena shorter than the plan's `arena_len`.
    ArenaTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// A pixel buffer of another length than the image size asks for.
    PixelCount {
        /// Values needed.
        needed: usize,
        /// Values given.
        given: usize,
    },
    /// An input value that is NaN or infinite.
    PixelNotFinite {
        /// Its index.
        index: usize,
    },
    /// An image of another size than the session was planned for.
    ImageSize {
        /// The plan's size.
        planned: ImageSize,
        /// The image's size.
        given: ImageSize,
    },
    /// A class, level, block or head that the model does not have.
    OutOfRange {
        /// The index given.
        given: usize,
        /// Indices must be below this.
        limit: usize,
    },
}

/// The two checksums of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Header, configuration and tables.
    Head,
    /// The sections behind them.
    Payload,
}

/// Fields of the file that are checked by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Length of the fixed header.
    HeaderLength,
    /// Length of header, configuration and tables.
    HeadLength,
    /// Number of sections.
    SectionCount,
    /// Offset of a section.
    SectionOffset,
    /// Length of a section.
    SectionLength,
    /// A section that is there twice.
    SectionTwice,
    /// A section that every file must have.
    SectionMissing,
    /// Flags of a section.
    SectionFlags,
    /// Number of tensors.
    TensorCount,
    /// Flags of the configuration.
    ConfigFlags,
    /// The similarity measure.
    Similarity,
    /// The form of the dispatch.
    Dispatch,
    /// Bytes that must be zero.
    Reserved,
    /// Labels: count, length or encoding.
    Labels,
    /// Interpolation of the preprocessing.
    Interpolation,
    /// Numbers of the preprocessing.
    Preprocessing,
    /// Numbers of the self-test.
    SelfTest,
    /// Provenance text.
    Provenance,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::HeaderLength => "header length",
            Field::HeadLength => "length of header and tables",
            Field::SectionCount => "number of sections",
            Field::SectionOffset => "section offset",
            Field::SectionLength => "section length",
            Field::SectionTwice => "section given twice:",
            Field::SectionMissing => "missing section",
            Field::SectionFlags => "section flags",
            Field::TensorCount => "number of tensors",
            Field::ConfigFlags => "configuration flags",
            Field::Similarity => "similarity measure",
            Field::Dispatch => "form of the dispatch",
            Field::Reserved => "reserved bytes",
            Field::Labels => "labels",
            Field::Interpolation => "interpolation",
            Field::Preprocessing => "preprocessing",
            Field::SelfTest => "self-test",
            Field::Provenance => "provenance",
        })
    }
}

/// Numbers that have limits. The limits keep every later product within 32 bits and the work bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Blocks of a stage.
    Blocks,
    /// Channels of a stage.
    Channels,
    /// Width of a hidden layer.
    Hidden,
    /// Heads of a mixer.
    Heads,
    /// Channels of a head.
    HeadChannels,
    /// Mixer centres per side.
    Proposals,
    /// Regions per side.
    Folds,
    /// Classes of a classifier.
    Classes,
    /// Classes of a dense model.
    DenseClasses,
    /// Side of an image in pixels.
    Side,
    /// Centres of a pool in one region.
    Centres,
}

impl Quantity {
    /// Smallest and largest value accepted.
    pub const fn limits(self) -> (usize, usize) {
        match self {
            Quantity::Blocks => (1, 64),
            Quantity::Channels => (1, 4096),
            Quantity::Hidden => (1, 32_768),
            Quantity::Heads => (1, 64),
            Quantity::HeadChannels => (1, 512),
            Quantity::Proposals => (1, 16),
            Quantity::Folds => (1, 8),
            Quantity::Classes => (1, 65_536),
            Quantity::DenseClasses => (0, 0),
            Quantity::Side => (1, 4096),
            Quantity::Centres => (1, 65_536),
        }
    }

    /// # Errors
    /// [`Error::Limit`] when `value` lies outside the limits.
    pub fn check(self, value: usize) -> Result<(), Error> {
        let (low, high) = self.limits();
        if (low..=high).contains(&value) {
            Ok(())
        } else {
            Err(Error::Limit {
                quantity: self,
                found: value,
            })
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quantity::Blocks => "blocks of a stage",
            Quantity::Channels => "channels of a stage",
            Quantity::Hidden => "width of a hidden layer",
            Quantity::Heads => "heads",
            Quantity::HeadChannels => "channels of a head",
            Quantity::Proposals => "mixer centres per side",
            Quantity::Folds => "folds",
            Quantity::Classes => "classes",
            Quantity::DenseClasses => "classes of a dense model",
            Quantity::Side => "side of the image in pixels",
            Quantity::Centres => "pool centres in one region",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::NotFec => f.write_str("not a .fec file: it does not begin with the bytes \"FEC\\0\"; make one with `fec-convert pack`"),
            Error::Version { found } => write!(
                f,
                "format version {found}, but this program reads version {}: use a newer program or pack the model again",
                crate::format::VERSION
            ),
            Error::Truncated { needed, given } => {
                write!(f, "file cut off: its header asks for {needed} bytes, {given} are there; copy it again")
            }
            Error::TrailingBytes { needed, given } => {
                write!(f, "bytes after the end: the header asks for {needed}, {given} are there; copy the file again")
            }
            Error::Checksum { part, expected, found } => {
                let part = if part == Checked::Head { "header and tables" } else { "weights" };
                write!(f, "file damaged: checksum of its {part} is {found:08x}, expected {expected:08x}; copy it again")
            }
            Error::Misaligned => f.write_str("model bytes must start at an address that is a multiple of 64: use `include_model!` or `AlignedBytes`"),
            Error::Field { field, found } => write!(f, "{field} {found} is not possible in a .fec file: pack the model again"),
            Error::UnknownSection { kind } => {
                write!(f, "section of unknown kind {kind}: the file needs a newer program")
            }
            Error::Tensor { expected } => {
                write!(f, "tensor table does not fit the configuration at {expected}: pack the model again")
            }
            Error::WeightNotFinite { tensor, element } => {
                write!(f, "{tensor} holds a NaN or infinite value at element {element}: pack a sound checkpoint")
            }
            Error::Limit { quantity, found } => {
                let (low, high) = quantity.limits();
                write!(f, "{quantity}: {found} is outside {low} to {high}")
            }
            Error::Locality { pool } => write!(f, "locality of pool {pool} must be a number from 0 to 1000"),
            Error::LocalityWithoutCosine { pool } => {
                write!(f, "locality of pool {pool} needs the cosine similarity: set it to 0, or use cosine")
            }
            Error::Quantised { tensor, byte } => {
                write!(f, "{tensor} holds an impossible 8-bit weight, scale, sum or table at its byte {byte}: pack the model again")
            }
            Error::Size { given, nearest, multiple } => write!(
                f,
                "image size {given} (height x width) is not possible: both sides must be multiples of {multiple}; the nearest is {nearest}"
            ),
            Error::PlanOfAnotherModel => f.write_str("the plan belongs to a model of another configuration: make it with this model's `plan`"),
            Error::ArenaTooLarge { needed } => write!(f, "this model and image size need an arena of {needed} bytes, more than 2 GiB: use a smaller image"),
            Error::ArenaTooSmall { needed, given } => {
                write!(f, "arena of {given} bytes is too small: this model and image size need {needed}")
            }
            Error::PixelCount { needed, given } => {
                write!(f, "{given} pixel values given, but an image of this size has {needed}")
            }
            Error::PixelNotFinite { index } => write!(f, "input value {index} is NaN or infinite"),
            Error::ImageSize { planned, given } => {
                write!(f, "image of {given} given to a session planned for {planned} (height x width)")
            }
            Error::OutOfRange { given, limit } => write!(f, "index {given} is out of range: it must be below {limit}"),
        }
    }
}

impl core::error::Error for Error {}
