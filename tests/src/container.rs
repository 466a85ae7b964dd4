//! The .fec file taken apart and put together again, by docs/FORMAT.md alone; and the document's tables.

use std::path::Path;

use fec_runtime::{AlignedBytes, Error, Model};

/// Bytes of the header, of the configuration, and of an entry of either table.
pub const HEADER_LEN: usize = 64;
/// Offset of the section table.
pub const TABLES: usize = 256;
/// Length of a table's entry.
pub const ENTRY_LEN: usize = 32;

/// One line of an offset table.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Offset in its structure.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
    /// Its name in the document.
    pub name: String,
}

/// The text of docs/FORMAT.md.
pub fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/FORMAT.md");
    std::fs::read_to_string(path).expect("docs/FORMAT.md")
}

/// The rows of the first table under a heading that begins so, without its head; cells trimmed.
pub fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = document();
    let rows: Vec<Vec<String>> = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("## {heading}")))
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line
                .trim_matches('|')
                .split(" |")
                .map(|cell| cell.trim().to_owned());
            cells.collect()
        })
        .collect();
    assert!(!rows.is_empty(), "docs/FORMAT.md: no table under {heading}");
    rows
}

/// The fields of a structure, and its length as the heading states it.
pub fn structure(name: &str) -> (Vec<Field>, usize) {
    let text = document();
    let prefix = format!("## {name}: ");
    let stated = text
        .lines()
        .find_map(|line| line.strip_prefix(&prefix)?.strip_suffix(" bytes"));
    let stated = stated.unwrap_or_else(|| panic!("docs/FORMAT.md: no heading {prefix}N bytes"));
    let fields = rows(&format!("{name}: ")).into_iter().map(|row| Field {
        offset: row[0].parse().expect("an offset"),
        len: match row[1].as_str() {
            "u8" => 1,
            "u16" => 2,
            "u32" | "f32" => 4,
            "u64" => 8,
            bytes => bytes
                .strip_suffix(" bytes")
                .expect("a type")
                .parse()
                .expect("a length"),
        },
        name: row[2].clone(),
    });
    (fields.collect(), stated.parse().expect("a length"))
}

/// Offset and length of a field.
pub fn field(structure_name: &str, name: &str) -> (usize, usize) {
    let (fields, _) = structure(structure_name);
    let found = fields.iter().find(|field| field.name == name);
    let found = found.unwrap_or_else(|| panic!("docs/FORMAT.md: {structure_name} has no {name}"));
    (found.offset, found.len)
}

/// A little-endian number of up to eight bytes.
pub fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// Puts a number there, cut to `len` bytes.
pub fn put(bytes: &mut [u8], at: usize, len: usize, value: u64) {
    bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
}

/// CRC-32 of IEEE 802.3, bit by bit in a table of this file's own.
pub fn crc32(parts: &[&[u8]]) -> u32 {
    let table: [u32; 256] = core::array::from_fn(|byte| {
        (0..8).fold(byte as u32, |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            }
        })
    });
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(!0u32, |crc, &byte| {
        (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)]
    })
}

/// Makes both checksums fit. A head length that is not possible is taken as the whole file.
pub fn repair(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    let head = (number(&bytes[24..28]) as usize).clamp(HEADER_LEN, bytes.len());
    let payload = crc32(&[&bytes[head..]]);
    put(bytes, 20, 4, payload.into());
    let crc = crc32(&[&bytes[..16], &[0; 4], &bytes[20..head]]);
    put(bytes, 16, 4, crc.into());
}

/// What the reader says to these bytes, at an aligned address.
pub fn open(bytes: &[u8]) -> Result<(), Error> {
    Model::from_bytes(AlignedBytes::copy_of(bytes).as_bytes()).map(|_| ())
}

/// A section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its number.
    pub kind: u32,
    /// Its flags.
    pub flags: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A file in parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Header and configuration.
    pub start: Vec<u8>,
    /// Sections in order.
    pub sections: Vec<Section>,
    /// Entries of the tensor table, their offsets from the start of the weights.
    pub tensors: Vec<[u8; ENTRY_LEN]>,
}

impl Parts {
    /// Takes a sound file apart.
    pub fn of(file: &[u8]) -> Self {
        let entry = |at: usize| &file[at..at + ENTRY_LEN];
        let sections: Vec<Section> = (0..number(&file[28..32]) as usize)
            .map(|i| {
                let entry = entry(TABLES + i * ENTRY_LEN);
                let start = number(&entry[8..16]) as usize;
                Section {
                    kind: number(&entry[..4]) as u32,
                    flags: number(&entry[4..8]) as u32,
                    bytes: file[start..start + number(&entry[16..24]) as usize].to_vec(),
                }
            })
            .collect();
        let table = TABLES + sections.len() * ENTRY_LEN;
        let first = number(&entry(table)[16..24]);
        let tensors = (0..number(&file[32..36]) as usize)
            .map(|i| {
                let mut own: [u8; ENTRY_LEN] =
                    entry(table + i * ENTRY_LEN).try_into().expect("32 bytes");
                let offset = number(&own[16..24]) - first;
                put(&mut own, 16, 8, offset);
                own
            })
            .collect();
        Self {
            start: file[..TABLES].to_vec(),
            sections,
            tensors,
        }
    }

    /// Puts them together: offsets, lengths, counts and checksums are made to fit.
    pub fn build(&self) -> Vec<u8> {
        let tables = (self.sections.len() + self.tensors.len()) * ENTRY_LEN;
        let head = (TABLES + tables).next_multiple_of(64);
        let mut table = Vec::new();
        let mut payload = Vec::new();
        let mut weights = 0;
        for section in &self.sections {
            payload.resize(payload.len().next_multiple_of(64), 0);
            let offset = head + payload.len();
            if section.kind == 1 {
                weights = offset;
            }
            table.extend(section.kind.to_le_bytes());
            table.extend(section.flags.to_le_bytes());
            table.extend((offset as u64).to_le_bytes());
            table.extend((section.bytes.len() as u64).to_le_bytes());
            table.extend([0; 8]);
            payload.extend(&section.bytes);
        }
        for tensor in &self.tensors {
            let mut entry = *tensor;
            let offset = number(&entry[16..24]) + weights as u64;
            put(&mut entry, 16, 8, offset);
            table.extend(entry);
        }
        let mut file = self.start.clone();
        file.extend(table);
        file.resize(head, 0);
        file.extend(payload);
        let total = file.len() as u64;
        put(&mut file, 8, 8, total);
        put(&mut file, 24, 4, head as u64);
        put(&mut file, 28, 4, self.sections.len() as u64);
        put(&mut file, 32, 4, self.tensors.len() as u64);
        repair(&mut file);
        file
    }

    /// The first section of that kind.
    pub fn section(&mut self, kind: u32) -> &mut Section {
        let found = self
            .sections
            .iter_mut()
            .find(|section| section.kind == kind);
        found.expect("every file has it")
    }
}
