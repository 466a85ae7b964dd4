//! Writing a .fec file (feature "write"): the same bytes for the same contents, always.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::contents::{Preprocessing, SelfTest};
use super::crc::crc32;
use super::layout::{self, ALIGN, CONFIG_LEN, GELU_LEN, HEADER_LEN, SECTION_LEN, TENSOR_LEN};
use super::quantised::{GeluTable, gelu_bytes, panel_bytes};
use super::read::place_numbers;
use super::tensors::{DType, PackedTensor, TensorId, packed_tensors};
use crate::config::Config;

/// Everything a file holds but its weights.
#[derive(Clone, Debug)]
pub struct FileContents<'a> {
    /// The network's configuration.
    pub config: Config,
    /// Class names, one per class, or none.
    pub labels: &'a [String],
    /// How photos become inputs.
    pub preprocessing: Preprocessing,
    /// What the self-test expects.
    pub self_test: SelfTest,
    /// Where the weights came from: lines of `key: value`.
    pub provenance: &'a str,
}

/// Why a file could not be written.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteError {
    /// The configuration, size or preprocessing is not possible.
    Contents(crate::Error),
    /// A label longer than 255 bytes, or another number of labels than classes.
    Labels {
        /// Labels given.
        given: usize,
        /// Classes of the network.
        classes: usize,
    },
    /// A label that is too long.
    LabelTooLong {
        /// Its index.
        index: usize,
    },
    /// Provenance longer than 64 KiB.
    ProvenanceTooLong,
    /// A tensor came in a type that it cannot be stored in.
    DType {
        /// Which tensor.
        tensor: TensorId,
        /// The type given.
        dtype: DType,
    },
    /// A tensor came with another number of values than its shape asks for.
    Values {
        /// Which tensor.
        tensor: TensorId,
        /// Values needed: with padding in floats; in 8 bits without, and a scale per output.
        needed: usize,
        /// Values given.
        given: usize,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contents(error) => error.fmt(f),
            Self::Labels { given, classes } => write!(
                f,
                "{given} labels for {classes} classes: give one line per class"
            ),
            Self::LabelTooLong { index } => write!(
                f,
                "label {index} is longer than {} bytes: shorten it",
                layout::MAX_LABEL_LEN
            ),
            Self::ProvenanceTooLong => write!(
                f,
                "provenance is longer than {} bytes",
                layout::MAX_PROVENANCE_LEN
            ),
            Self::DType { tensor, dtype } => write!(
                f,
                "{tensor} cannot be stored as {}: store it as f32",
                dtype.name()
            ),
            Self::Values {
                tensor,
                needed,
                given,
            } => write!(f, "{tensor}: {given} values, its shape asks for {needed}"),
        }
    }
}

impl core::error::Error for WriteError {}

/// A tensor as the writer takes it.
#[derive(Clone, Debug)]
pub enum TensorValues {
    /// A matrix in panels, or a vector; padded to [`TensorKind::stored`](super::TensorKind::stored).
    F32(Vec<f32>),
    /// A matrix in panels, padded likewise; rounded to f16 by the writer, to nearest even.
    F16(Vec<f32>),
    /// A matrix in 8 bits: weight (o, k) is `values[o * inputs + k] * scales[o]`. The writer makes panels, padding and sums.
    I8 {
        /// [outputs, inputs], row-major, without padding; -127 to 127.
        values: Vec<i8>,
        /// One per output, finite, not negative.
        scales: Vec<f32>,
    },
    /// GELU of an integer network's block by table.
    Gelu {
        /// Scale of the table's index, above 0.
        pre: f32,
        /// Scale of the table's entries, above 0.
        post: f32,
        /// Entry that means 0.
        zero: u8,
        /// The entries; the index is the bit pattern of the 8-bit value.
        table: Box<[u8; 256]>,
    },
    /// GELU of an integer network's block is computed: the finer form.
    GeluComputed,
}

impl TensorValues {
    /// Storage type.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F16(_) => DType::F16,
            Self::I8 { .. } => DType::I8,
            Self::Gelu { .. } | Self::GeluComputed => DType::U8,
        }
    }

    /// How many values were given, and the bytes of the file. Those of an incomplete tensor are of no use.
    fn bytes(&self, tensor: &PackedTensor) -> (usize, Vec<u8>) {
        let (inputs, outputs) = tensor.kind.shape();
        match self {
            Self::F32(values) => (
                values.len(),
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
            Self::F16(values) => (
                values.len(),
                values
                    .iter()
                    .flat_map(|v| half::f16::from_f32(*v).to_le_bytes())
                    .collect(),
            ),
            Self::I8 { values, scales } => (
                values.len().saturating_add(scales.len()),
                panel_bytes(inputs, outputs, values, scales),
            ),
            &Self::Gelu {
                pre,
                post,
                zero,
                ref table,
            } => {
                let table = GeluTable {
                    pre,
                    post,
                    zero,
                    table,
                };
                (GELU_LEN, gelu_bytes(Some(table)).into())
            }
            Self::GeluComputed => (GELU_LEN, gelu_bytes(None).into()),
        }
    }

    /// How many values [`Self::bytes`] should count, or `None` when the tensor cannot be stored so.
    fn needed(&self, tensor: &PackedTensor) -> Option<usize> {
        tensor.kind.stored_bytes(self.dtype())?;
        let (inputs, outputs) = tensor.kind.shape();
        Some(match self {
            Self::I8 { .. } => outputs.saturating_mul(inputs.saturating_add(1)),
            _ => tensor.kind.stored(),
        })
    }
}

/// The bytes of a file. `values` gives each tensor.
///
/// # Errors
/// [`WriteError`] says what does not fit.
pub fn write_file(
    contents: &FileContents<'_>,
    mut values: impl FnMut(&PackedTensor) -> TensorValues,
) -> Result<Vec<u8>, WriteError> {
    check(contents)?;
    let mut tensors = Vec::new();
    packed_tensors(&contents.config, |tensor| tensors.push(tensor));
    const SECTIONS: usize = 5;
    let tables = SECTIONS
        .saturating_mul(SECTION_LEN)
        .saturating_add(tensors.len().saturating_mul(TENSOR_LEN));
    let head_len = padded(HEADER_LEN.saturating_add(CONFIG_LEN).saturating_add(tables));

    let mut payload = Payload {
        start: head_len,
        bytes: Vec::new(),
        sections: Vec::new(),
    };
    // The small sections come first, so that `fec inspect` on a device reads one page.
    payload.section(layout::section::LABELS, &label_bytes(contents.labels));
    payload.section(
        layout::section::PREPROCESSING,
        &preprocessing_bytes(&contents.preprocessing),
    );
    payload.section(
        layout::section::SELF_TEST,
        &self_test_bytes(&contents.self_test),
    );
    payload.section(layout::section::PROVENANCE, contents.provenance.as_bytes());
    let mut table = Vec::new();
    let first = payload.align();
    for tensor in &tensors {
        let values = values(tensor);
        let dtype = values.dtype();
        let possible = contents.config.integer || dtype != DType::I8;
        let needed = values
            .needed(tensor)
            .filter(|_| possible)
            .ok_or(WriteError::DType {
                tensor: tensor.id,
                dtype,
            })?;
        let (given, bytes) = values.bytes(tensor);
        if given != needed {
            return Err(WriteError::Values {
                tensor: tensor.id,
                needed,
                given,
            });
        }
        let offset = payload.align();
        table.extend(tensor_entry(tensor, dtype, offset, bytes.len()));
        payload.bytes.extend(bytes);
    }
    let end = payload.end();
    payload
        .sections
        .push((layout::section::TENSORS, first, end.saturating_sub(first)));
    Ok(assemble(
        contents,
        head_len,
        &payload,
        &table,
        tensors.len(),
    ))
}

fn check(contents: &FileContents<'_>) -> Result<(), WriteError> {
    let config = &contents.config;
    config.check().map_err(WriteError::Contents)?;
    contents
        .preprocessing
        .check()
        .map_err(WriteError::Contents)?;
    config
        .check_size(contents.preprocessing.size)
        .map_err(WriteError::Contents)?;
    config
        .check_size(contents.self_test.size)
        .map_err(WriteError::Contents)?;
    let given = contents.labels.len();
    if given != 0 && given != config.classes {
        return Err(WriteError::Labels {
            given,
            classes: config.classes,
        });
    }
    if let Some(index) = contents
        .labels
        .iter()
        .position(|label| label.len() > layout::MAX_LABEL_LEN)
    {
        return Err(WriteError::LabelTooLong { index });
    }
    if contents.provenance.len() > layout::MAX_PROVENANCE_LEN {
        return Err(WriteError::ProvenanceTooLong);
    }
    Ok(())
}

fn padded(n: usize) -> usize {
    layout::align_up(n).unwrap_or(n)
}

/// The bytes behind the tables, in the making.
struct Payload {
    /// Offset in the file of the first byte.
    start: usize,
    bytes: Vec<u8>,
    /// Kind, offset, length.
    sections: Vec<(u32, usize, usize)>,
}

impl Payload {
    fn end(&self) -> usize {
        self.start.saturating_add(self.bytes.len())
    }

    /// Pads with zeros to the next multiple of 64 and gives that offset.
    fn align(&mut self) -> usize {
        self.bytes.resize(padded(self.bytes.len()), 0);
        self.end()
    }

    fn section(&mut self, kind: u32, bytes: &[u8]) {
        let offset = self.align();
        self.bytes.extend(bytes);
        self.sections.push((kind, offset, bytes.len()));
    }
}

fn assemble(
    contents: &FileContents<'_>,
    head_len: usize,
    payload: &Payload,
    tensor_table: &[u8],
    tensors: usize,
) -> Vec<u8> {
    let mut file = Vec::with_capacity(payload.end());
    file.extend(layout::MAGIC);
    file.extend(layout::VERSION.to_le_bytes());
    file.extend((HEADER_LEN as u16).to_le_bytes());
    file.extend((payload.end() as u64).to_le_bytes());
    file.extend([0; 4]); // the head's checksum, filled in below
    file.extend(crc32(&payload.bytes).to_le_bytes());
    file.extend((head_len as u32).to_le_bytes());
    file.extend((payload.sections.len() as u32).to_le_bytes());
    file.extend((tensors as u32).to_le_bytes());
    file.resize(HEADER_LEN, 0);
    file.extend(config_bytes(&contents.config));
    for &(kind, offset, length) in &payload.sections {
        file.extend(kind.to_le_bytes());
        file.extend(0u32.to_le_bytes());
        file.extend((offset as u64).to_le_bytes());
        file.extend((length as u64).to_le_bytes());
        file.extend([0; 8]);
    }
    file.extend(tensor_table);
    file.resize(head_len, 0);
    let crc = crc32(&file).to_le_bytes();
    for (to, from) in file.iter_mut().skip(layout::header::HEAD_CRC).zip(crc) {
        *to = from;
    }
    file.extend(&payload.bytes);
    file
}

fn config_bytes(config: &Config) -> Vec<u8> {
    use layout::config as at;
    let mut bytes = Vec::with_capacity(CONFIG_LEN);
    let dense = if config.dense { at::FLAG_DENSE } else { 0 };
    let integer = if config.integer { at::FLAG_INTEGER } else { 0 };
    for number in [
        config.classes as u32,
        dense | integer,
        config.similarity.number(),
        config.dispatch.number(),
    ] {
        bytes.extend(number.to_le_bytes());
    }
    for locality in config.locality {
        bytes.extend(locality.to_le_bytes());
    }
    bytes.resize(at::STAGES, 0);
    for stage in &config.stages {
        for number in [
            stage.blocks,
            stage.dim,
            stage.hidden,
            stage.heads,
            stage.head_dim,
            stage.proposals,
            stage.folds,
            0,
        ] {
            bytes.extend((number as u32).to_le_bytes());
        }
    }
    bytes
}

fn label_bytes(labels: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels {
        // `check` has held every label to 255 bytes.
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes
}

fn preprocessing_bytes(p: &Preprocessing) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((p.size.height as u32).to_le_bytes());
    bytes.extend((p.size.width as u32).to_le_bytes());
    bytes.extend(p.crop_ratio.to_le_bytes());
    bytes.extend(p.interpolation.number().to_le_bytes());
    p.mean
        .iter()
        .chain(&p.std)
        .for_each(|v| bytes.extend(v.to_le_bytes()));
    bytes
}

fn self_test_bytes(test: &SelfTest) -> Vec<u8> {
    let numbers = [
        test.size.height as u32,
        test.size.width as u32,
        test.output_crc,
        test.assignments_crc,
    ];
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn tensor_entry(tensor: &PackedTensor, dtype: DType, offset: usize, length: usize) -> Vec<u8> {
    let (stage, block) = place_numbers(tensor.id.place);
    let (inputs, outputs) = tensor.kind.shape();
    let mut entry = Vec::with_capacity(TENSOR_LEN);
    entry.extend((tensor.id.role as u16).to_le_bytes());
    entry.extend([stage, dtype.number()]);
    entry.extend(block.to_le_bytes());
    entry.extend([0; 2]);
    entry.extend((inputs as u32).to_le_bytes());
    entry.extend((outputs as u32).to_le_bytes());
    entry.extend((offset as u64).to_le_bytes());
    entry.extend((length as u64).to_le_bytes());
    entry
}

const _: () = assert!(
    ALIGN.is_power_of_two() && HEADER_LEN.is_multiple_of(ALIGN) && CONFIG_LEN.is_multiple_of(ALIGN)
);
