//! Reading a .fec file: every length, offset, product and number is checked here, once; nothing later can go out of bounds.

use super::contents::{
    Labels, Preprocessing, SelfTest, check_labels, read_preprocessing, read_self_test,
};
use super::crc::{Crc32, crc32};
use super::layout::{
    self, ALIGN, CONFIG_LEN, HEADER_LEN, SECTION_LEN, TENSOR_LEN, f32_at, u16_at, u32_at, u64_at,
};
use super::quantised::first_impossible;
use super::tensors::{DType, PackedTensor, TensorId, index_of, packed_tensors};
use crate::config::{Config, Dispatch, Place, STAGES, Similarity};
use crate::error::{Checked, Error, Field};
use crate::memory;

/// A checked file: the bytes and where its parts lie in them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File<'a> {
    bytes: &'a [u8],
    config: Config,
    tensor_table: &'a [u8],
    labels: &'a [u8],
    preprocessing: Preprocessing,
    self_test: SelfTest,
    provenance: &'a str,
}

/// A tensor where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredTensor<'a> {
    pub(crate) dtype: DType,
    /// Inputs K of a matrix, 0 of a vector.
    pub(crate) inputs: usize,
    /// Outputs M of a matrix, length of a vector.
    pub(crate) outputs: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> File<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let given = bytes.len() as u64;
        if !bytes.starts_with(&layout::MAGIC) {
            return Err(Error::NotFec);
        }
        let short = Error::Truncated {
            needed: HEADER_LEN as u64,
            given,
        };
        let version = u16_at(bytes, layout::header::VERSION).ok_or(short)?;
        if version != layout::VERSION {
            return Err(Error::Version { found: version });
        }
        let header = bytes.get(..HEADER_LEN).ok_or(short)?;
        if !memory::is_aligned(bytes) {
            return Err(Error::Misaligned);
        }
        let head = check_extent(bytes, header)?;
        let number = |at| u32_at(header, at).ok_or(short);
        let sections = number(layout::header::SECTION_COUNT)?;
        let tensors = number(layout::header::TENSOR_COUNT)?;
        if sections as usize > layout::MAX_SECTIONS {
            return Err(field(Field::SectionCount, sections));
        }
        let (config_bytes, rest) = head
            .get(HEADER_LEN..)
            .and_then(|b| b.split_at_checked(CONFIG_LEN))
            .ok_or(field(Field::HeadLength, 0u32))?;
        let config = read_config(config_bytes)?;
        let mut expected_tensors = 0usize;
        packed_tensors(&config, |_| {
            expected_tensors = expected_tensors.saturating_add(1)
        });
        if tensors as usize != expected_tensors {
            return Err(field(Field::TensorCount, tensors));
        }
        // At most 16 sections and the tensors of a checked configuration: the products stay small.
        let section_bytes = (sections as usize).saturating_mul(SECTION_LEN);
        let tensor_bytes = expected_tensors.saturating_mul(TENSOR_LEN);
        let (section_table, rest) = rest
            .split_at_checked(section_bytes)
            .ok_or(field(Field::SectionCount, sections))?;
        let (tensor_table, padding) = rest
            .split_at_checked(tensor_bytes)
            .ok_or(field(Field::TensorCount, tensors))?;
        if padding.len() >= ALIGN || padding.iter().any(|&b| b != 0) {
            return Err(field(Field::HeadLength, head.len() as u64));
        }
        let sections = Sections::read(bytes, head.len(), section_table)?;
        Self::from_parts(bytes, config, tensor_table, &sections)
    }

    /// The small sections, each checked, then the tensors.
    fn from_parts(
        bytes: &'a [u8],
        config: Config,
        tensor_table: &'a [u8],
        sections: &Sections<'a>,
    ) -> Result<Self, Error> {
        let preprocessing = read_preprocessing(sections.get(layout::section::PREPROCESSING)?)?;
        let self_test = read_self_test(sections.get(layout::section::SELF_TEST)?)?;
        let provenance = core::str::from_utf8(sections.get(layout::section::PROVENANCE)?)
            .map_err(|_| field(Field::Provenance, 0u32))?;
        if provenance.len() > layout::MAX_PROVENANCE_LEN {
            return Err(field(Field::Provenance, provenance.len() as u64));
        }
        let labels = sections.get(layout::section::LABELS)?;
        check_labels(labels, config.classes)?;
        config.check_size(preprocessing.size)?;
        config.check_size(self_test.size)?;
        let file = Self {
            bytes,
            config,
            tensor_table,
            labels,
            preprocessing,
            self_test,
            provenance,
        };
        file.check_tensors(sections.range(layout::section::TENSORS)?)?;
        Ok(file)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn preprocessing(&self) -> Preprocessing {
        self.preprocessing
    }

    pub(crate) fn self_test(&self) -> SelfTest {
        self.self_test
    }

    pub(crate) fn provenance(&self) -> &'a str {
        self.provenance
    }

    pub(crate) fn labels(&self) -> Labels<'a> {
        Labels { rest: self.labels }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The tensor with that role and place, or `None` when the network has none.
    pub(crate) fn tensor(&self, id: TensorId) -> Option<StoredTensor<'a>> {
        let at = index_of(&self.config, id)?.checked_mul(TENSOR_LEN)?;
        let entry = self.tensor_table.get(at..)?.get(..TENSOR_LEN)?;
        let start = usize::try_from(u64_at(entry, layout::tensor::OFFSET)?).ok()?;
        let length = usize::try_from(u64_at(entry, layout::tensor::LENGTH)?).ok()?;
        let dtype = DType::from_number(*entry.get(layout::tensor::DTYPE)?)?;
        Some(StoredTensor {
            dtype,
            inputs: u32_at(entry, layout::tensor::INPUTS)? as usize,
            outputs: u32_at(entry, layout::tensor::OUTPUTS)? as usize,
            bytes: self.bytes.get(start..)?.get(..length)?,
        })
    }

    /// Every entry of the table is the tensor that the configuration asks for; together they cover the section exactly, but for
    /// zeros up to the next multiple of 64; every value is possible.
    fn check_tensors(&self, section: (usize, usize)) -> Result<(), Error> {
        let (mut at, end) = section;
        let mut entries = self.tensor_table.chunks_exact(TENSOR_LEN);
        let mut result = Ok(());
        packed_tensors(&self.config, |tensor| {
            if result.is_err() {
                return;
            }
            let refused = Error::Tensor {
                expected: tensor.id,
            };
            result = entries
                .next()
                .and_then(|entry| check_entry(entry, &tensor, at))
                .filter(|&(dtype, _)| self.config.integer || dtype != DType::I8)
                .ok_or(refused)
                .and_then(|(dtype, length)| {
                    let stop = at
                        .checked_add(length)
                        .filter(|&stop| stop <= end)
                        .ok_or(refused)?;
                    let values = self.bytes.get(at..stop).ok_or(refused)?;
                    check_values(&tensor, dtype, values)?;
                    let next = layout::align_up(stop).ok_or(refused)?.min(end);
                    let padding = self.bytes.get(stop..next).ok_or(refused)?;
                    at = next;
                    if padding.iter().all(|&b| b == 0) {
                        Ok(())
                    } else {
                        Err(refused)
                    }
                });
        });
        result?;
        if at == end {
            Ok(())
        } else {
            Err(field(Field::SectionLength, end as u64))
        }
    }
}

fn field(field: Field, found: impl Into<u64>) -> Error {
    Error::Field {
        field,
        found: found.into(),
    }
}

/// Checks lengths and both checksums; gives header, configuration and tables.
fn check_extent<'a>(bytes: &'a [u8], header: &[u8]) -> Result<&'a [u8], Error> {
    let given = bytes.len() as u64;
    let short = Error::Truncated {
        needed: HEADER_LEN as u64,
        given,
    };
    let header_len = u16_at(header, layout::header::HEADER_LEN).ok_or(short)?;
    if usize::from(header_len) != HEADER_LEN {
        return Err(field(Field::HeaderLength, header_len));
    }
    let needed = u64_at(header, layout::header::TOTAL_LEN).ok_or(short)?;
    if needed > given {
        return Err(Error::Truncated { needed, given });
    }
    if needed < given {
        return Err(Error::TrailingBytes { needed, given });
    }
    let head_len = u32_at(header, layout::header::HEAD_LEN).ok_or(short)?;
    let head_end = head_len as usize;
    let at_least = HEADER_LEN.saturating_add(CONFIG_LEN);
    if head_end < at_least || !head_end.is_multiple_of(ALIGN) {
        return Err(field(Field::HeadLength, head_len));
    }
    let (head, payload) = bytes
        .split_at_checked(head_end)
        .ok_or(field(Field::HeadLength, head_len))?;
    let mut crc = Crc32::new();
    // The head's own checksum counts as zero.
    crc.update(head.get(..layout::header::HEAD_CRC).unwrap_or_default());
    crc.update(&[0; 4]);
    crc.update(head.get(layout::header::PAYLOAD_CRC..).unwrap_or_default());
    compare(
        Checked::Head,
        u32_at(header, layout::header::HEAD_CRC).ok_or(short)?,
        crc.value(),
    )?;
    compare(
        Checked::Payload,
        u32_at(header, layout::header::PAYLOAD_CRC).ok_or(short)?,
        crc32(payload),
    )?;
    zeros(header.get(layout::header::RESERVED..))?;
    Ok(head)
}

fn compare(part: Checked, expected: u32, found: u32) -> Result<(), Error> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::Checksum {
            part,
            expected,
            found,
        })
    }
}

fn zeros(bytes: Option<&[u8]>) -> Result<(), Error> {
    match bytes.unwrap_or_default().iter().find(|&&b| b != 0) {
        Some(&b) => Err(field(Field::Reserved, b)),
        None => Ok(()),
    }
}

fn read_config(bytes: &[u8]) -> Result<Config, Error> {
    use layout::config as at;
    let short = field(Field::HeadLength, bytes.len() as u64);
    let number = |offset| u32_at(bytes, offset).ok_or(short);
    let flags = number(at::FLAGS)?;
    if flags & !(at::FLAG_DENSE | at::FLAG_INTEGER) != 0 {
        return Err(field(Field::ConfigFlags, flags));
    }
    let (similarity, dispatch) = (number(at::SIMILARITY)?, number(at::DISPATCH)?);
    zeros(bytes.get(at::RESERVED..at::STAGES))?;
    let base = crate::config::NANO;
    let mut config = Config {
        classes: number(at::CLASSES)? as usize,
        dense: flags & at::FLAG_DENSE != 0,
        integer: flags & at::FLAG_INTEGER != 0,
        similarity: Similarity::ALL
            .into_iter()
            .find(|s| s.number() == similarity)
            .ok_or(field(Field::Similarity, similarity))?,
        dispatch: Dispatch::ALL
            .into_iter()
            .find(|d| d.number() == dispatch)
            .ok_or(field(Field::Dispatch, dispatch))?,
        ..base
    };
    for (to, chunk) in config.locality.iter_mut().zip(
        bytes
            .get(at::LOCALITY..at::RESERVED)
            .unwrap_or_default()
            .chunks_exact(4),
    ) {
        *to = f32_at(chunk, 0).ok_or(short)?;
    }
    for (stage, chunk) in config.stages.iter_mut().zip(
        bytes
            .get(at::STAGES..)
            .unwrap_or_default()
            .chunks_exact(at::STAGE_LEN),
    ) {
        let fields = [
            &mut stage.blocks,
            &mut stage.dim,
            &mut stage.hidden,
            &mut stage.heads,
            &mut stage.head_dim,
            &mut stage.proposals,
            &mut stage.folds,
        ];
        for (to, value) in fields.into_iter().zip(chunk.chunks_exact(4)) {
            *to = u32_at(value, 0).ok_or(short)? as usize;
        }
        zeros(chunk.get(28..))?;
    }
    config.check()?;
    Ok(config)
}

/// The known sections, in the order of their kinds 1 to 5.
struct Sections<'a> {
    bytes: &'a [u8],
    known: [Option<(usize, usize)>; 5],
}

impl<'a> Sections<'a> {
    /// Sections follow each other without gaps (but for zeros up to the next multiple of 64) from `head_len` to the end of the file.
    fn read(bytes: &'a [u8], head_len: usize, table: &[u8]) -> Result<Self, Error> {
        let mut sections = Self {
            bytes,
            known: [None; 5],
        };
        let mut at = head_len;
        for entry in table.chunks_exact(SECTION_LEN) {
            let short = field(Field::SectionLength, 0u32);
            let kind = u32_at(entry, layout::section::KIND).ok_or(short)?;
            let flags = u32_at(entry, layout::section::FLAGS).ok_or(short)?;
            let offset = u64_at(entry, layout::section::OFFSET).ok_or(short)?;
            let length = u64_at(entry, layout::section::LENGTH).ok_or(short)?;
            zeros(entry.get(layout::section::RESERVED..))?;
            if flags & !layout::section::FLAG_OPTIONAL != 0 {
                return Err(field(Field::SectionFlags, flags));
            }
            let aligned = layout::align_up(at).ok_or(field(Field::SectionOffset, offset))?;
            if offset != aligned as u64
                || bytes
                    .get(at..aligned)
                    .is_none_or(|gap| gap.iter().any(|&b| b != 0))
            {
                return Err(field(Field::SectionOffset, offset));
            }
            let end = usize::try_from(length)
                .ok()
                .and_then(|length| aligned.checked_add(length));
            let end = end
                .filter(|&end| end <= bytes.len())
                .ok_or(field(Field::SectionLength, length))?;
            match kind
                .checked_sub(1)
                .and_then(|slot| sections.known.get_mut(slot as usize))
            {
                Some(slot) if slot.is_none() => *slot = Some((aligned, end)),
                Some(_) => return Err(field(Field::SectionTwice, kind)),
                None if flags & layout::section::FLAG_OPTIONAL != 0 => {}
                None => return Err(Error::UnknownSection { kind }),
            }
            at = end;
        }
        if at == bytes.len() {
            Ok(sections)
        } else {
            Err(field(Field::SectionLength, at as u64))
        }
    }

    fn range(&self, kind: u32) -> Result<(usize, usize), Error> {
        let slot = kind
            .checked_sub(1)
            .and_then(|slot| self.known.get(slot as usize).copied())
            .flatten();
        slot.ok_or(field(Field::SectionMissing, kind))
    }

    fn get(&self, kind: u32) -> Result<&'a [u8], Error> {
        let (start, end) = self.range(kind)?;
        self.bytes
            .get(start..end)
            .ok_or(field(Field::SectionMissing, kind))
    }
}

/// Gives the type and length in bytes of a table entry that is `tensor` and lies at `at`.
fn check_entry(entry: &[u8], tensor: &PackedTensor, at: usize) -> Option<(DType, usize)> {
    use layout::tensor as field;
    let (stage, block) = place_numbers(tensor.id.place);
    let (inputs, outputs) = tensor.kind.shape();
    let dtype = DType::from_number(*entry.get(field::DTYPE)?)?;
    let length = tensor.kind.stored_bytes(dtype)?;
    let fits = u16_at(entry, field::ROLE)? == tensor.id.role as u16
        && *entry.get(field::STAGE)? == stage
        && u16_at(entry, field::BLOCK)? == block
        && u16_at(entry, field::RESERVED)? == 0
        && u32_at(entry, field::INPUTS)? as usize == inputs
        && u32_at(entry, field::OUTPUTS)? as usize == outputs
        && u64_at(entry, field::OFFSET)? == at as u64
        && u64_at(entry, field::LENGTH)? == length as u64;
    fits.then_some((dtype, length))
}

/// Stage and block of a place as the table writes them.
pub(crate) fn place_numbers(place: Place) -> (u8, u16) {
    let stage_number =
        |stage: usize| u8::try_from(stage.min(STAGES)).unwrap_or(layout::tensor::NO_STAGE);
    match place {
        Place::Network => (layout::tensor::NO_STAGE, layout::tensor::NO_BLOCK),
        Place::Block { stage, block } => (
            stage_number(stage),
            u16::try_from(block).unwrap_or(layout::tensor::NO_BLOCK),
        ),
        Place::Pool { stage } => (stage_number(stage), layout::tensor::NO_BLOCK),
    }
}

/// Number of the first value that `is`. Whole blocks are looked at without stopping, which the compiler does many values at a time.
fn first_of<const N: usize>(bytes: &[u8], is: impl Fn([u8; N]) -> bool) -> Option<usize> {
    const BLOCK: usize = 256;
    let (values, _) = bytes.as_chunks::<N>();
    let mut before = 0_usize;
    for block in values.chunks(BLOCK) {
        if block.iter().fold(false, |found, value| found | is(*value)) {
            let within = block.iter().position(|value| is(*value))?;
            return Some(before.saturating_add(within));
        }
        before = before.saturating_add(block.len());
    }
    None
}

/// Every float is finite, every 8-bit number possible.
fn check_values(tensor: &PackedTensor, dtype: DType, bytes: &[u8]) -> Result<(), Error> {
    // A float is NaN or infinite exactly when its exponent bits are all ones.
    let not_finite = match dtype {
        DType::F32 => first_of(bytes, |b| {
            u32::from_le_bytes(b) & 0x7F80_0000 == 0x7F80_0000
        }),
        DType::F16 => first_of(bytes, |b| u16::from_le_bytes(b) & 0x7C00 == 0x7C00),
        DType::I8 | DType::U8 => {
            return match first_impossible(tensor.kind, bytes) {
                Some(byte) => Err(Error::Quantised {
                    tensor: tensor.id,
                    byte,
                }),
                None => Ok(()),
            };
        }
    };
    match not_finite {
        Some(element) => Err(Error::WeightNotFinite {
            tensor: tensor.id,
            element,
        }),
        None => Ok(()),
    }
}
