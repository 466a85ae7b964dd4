//! The table of refusals in docs/FORMAT.md: every row is made here, and nothing else.

use fec_convert::fold::formula_tensors;
use fec_convert::pack::pack;
use fec_runtime::format::DType;
use fec_runtime::{AlignedBytes, Model};
use fec_tests::container::{
    ENTRY_LEN, HEADER_LEN, Parts, Section, TABLES, field, number, put, repair, rows,
};
use fec_tests::engine::pack_options;
use fec_tests::fixtures::{config, integers};

/// A sound file with labels, provenance, two matrices in f16, and zeros behind one of them.
pub(crate) fn sound() -> Vec<u8> {
    let mut network = config("micro");
    (network.stages[3].dim, network.stages[3].hidden) = (19, 38);
    let mut options = pack_options();
    options.labels = ["one", "two", "drei", "", "fünf"]
        .map(String::from)
        .to_vec();
    options.provenance = "source: formula\n".to_owned();
    options.keep = ["head", "patch_embed"]
        .map(|layer| (layer.to_owned(), DType::F16))
        .to_vec();
    pack(&network, &formula_tensors(&network), &options).expect("it packs")
}

/// A sound file of integers: every matrix in 8 bits, widths that fill neither groups nor panels, a table in the blocks of every
/// other stage.
pub(crate) fn sound_integers() -> Vec<u8> {
    let mut network = config("micro");
    (network.stages[3].dim, network.stages[3].hidden) = (19, 38);
    integers(&network).as_bytes().to_vec()
}

type Change = (&'static str, fn(&mut Vec<u8>));
type PartsChange = (&'static str, fn(&mut Parts));

/// Sets a field of the structure that begins at `base`.
fn set(bytes: &mut [u8], structure: &str, base: usize, name: &str, value: u64) {
    let (offset, len) = field(structure, name);
    put(bytes, base + offset, len, value);
}

fn header(bytes: &mut [u8], name: &str, value: u64) {
    set(bytes, "Header", 0, name, value);
}

/// Sets a field of the entry of section `i`.
fn section(bytes: &mut [u8], i: usize, name: &str, value: u64) {
    set(bytes, "Section entry", TABLES + i * ENTRY_LEN, name, value);
}

fn add_to_total(bytes: &mut [u8], more: u64) {
    let total = number(&bytes[8..16]) + more;
    header(bytes, "total length", total);
}

/// Changes of bytes.
const RAW: &[Change] = &[
    ("is empty", |b| b.clear()),
    ("begins with `FEX`", |b| b[2] = b'X'),
    ("has version 0", |b| header(b, "version", 0)),
    ("has version 2", |b| header(b, "version", 2)),
    ("ends after 63 bytes", |b| b.truncate(63)),
    ("has a header length of 65", |b| {
        header(b, "header length", 65)
    }),
    ("ends one byte early", |b| b.truncate(b.len() - 1)),
    ("has one byte more", |b| b.push(0)),
    ("has a head length of 192", |b| {
        header(b, "head length", 192)
    }),
    ("has a head length of 257", |b| {
        header(b, "head length", 257)
    }),
    ("has a head that ends past the file", |b| {
        header(b, "head length", 0xFFFF_FFC0)
    }),
    (
        "has a bit of the tables flipped, checksums as they were",
        |b| b[TABLES] ^= 4,
    ),
    (
        "has a bit of the weights flipped, checksums as they were",
        |b| {
            let last = b.len() - 1;
            b[last] ^= 0x80;
        },
    ),
    ("has reserved header bytes", |b| b[HEADER_LEN - 1] = 7),
    ("has 17 sections", |b| header(b, "section count", 17)),
    ("has a tensor less in its count", |b| {
        header(b, "tensor count", 87)
    }),
    ("has 64 zeros behind its tables", |b| {
        let head = number(&b[24..28]);
        b.splice(head as usize..head as usize, [0; 64]);
        header(b, "head length", head + 64);
        add_to_total(b, 64);
    }),
    ("has section flags of 2", |b| section(b, 0, "flags", 2)),
    ("has reserved section bytes", |b| {
        b[TABLES + ENTRY_LEN - 1] = 7
    }),
    ("has sections that overlap", |b| {
        let first = number(&b[TABLES + 8..TABLES + 16]);
        section(b, 1, "offset", first);
    }),
    ("has sections in another order than their table", |b| {
        let (first, second) = b[TABLES..].split_at_mut(ENTRY_LEN);
        first.swap_with_slice(&mut second[..ENTRY_LEN]);
    }),
    (
        "has a section at an offset that is no multiple of 64",
        |b| {
            let first = number(&b[TABLES + 8..TABLES + 16]);
            section(b, 0, "offset", first + 1);
        },
    ),
    ("has a one between two sections", |b| {
        let [start, len] = [8, 16].map(|at| number(&b[TABLES + at..][..8]) as usize);
        b[start + len] = 1;
    }),
    ("has a section longer than the file", |b| {
        section(b, 0, "length", u64::MAX)
    }),
    ("has 64 bytes behind its last section", |b| {
        b.extend([0; 64]);
        add_to_total(b, 64);
    }),
];

fn configuration(parts: &mut Parts, name: &str, value: u64) {
    set(&mut parts.start, "Configuration", HEADER_LEN, name, value);
}

fn stage(parts: &mut Parts, stage: usize, name: &str, value: u64) {
    let base = HEADER_LEN + field("Configuration", &format!("stage {stage}")).0;
    set(&mut parts.start, "Stage", base, name, value);
}

fn preprocessing(parts: &mut Parts, name: &str, value: u64) {
    set(&mut parts.section(3).bytes, "Preprocessing", 0, name, value);
}

fn tensor(parts: &mut Parts, i: usize, name: &str, change: fn(u64) -> u64) {
    let (offset, len) = field("Tensor entry", name);
    let value = change(number(&parts.tensors[i][offset..offset + len]));
    put(&mut parts.tensors[i], offset, len, value);
}

/// Puts bytes into tensor `i`.
fn value(parts: &mut Parts, i: usize, at: usize, bytes: &[u8]) {
    let start = number(&parts.tensors[i][16..24]) as usize + at;
    parts.section(1).bytes[start..start + bytes.len()].copy_from_slice(bytes);
}

/// Changes of parts, put together so that all offsets, counts and lengths fit.
const PARTS: &[PartsChange] = &[
    ("has configuration flags of 4", |p| {
        configuration(p, "flags", 4)
    }),
    ("has similarity 3", |p| configuration(p, "similarity", 3)),
    ("has dispatch 4", |p| configuration(p, "dispatch", 4)),
    ("has reserved configuration bytes", |p| {
        p.start[HEADER_LEN + 63] = 7
    }),
    ("has reserved stage bytes", |p| stage(p, 3, "reserved", 7)),
    ("has no heads", |p| stage(p, 1, "heads", 0)),
    ("has 9 folds", |p| stage(p, 2, "folds", 9)),
    ("has a negative locality", |p| {
        configuration(p, "locality of pool 2", (-0.1f32).to_bits().into());
    }),
    ("has a locality that is not a number", |p| {
        configuration(p, "locality of pool 3", f32::NAN.to_bits().into());
    }),
    ("has a locality beside the dot product", |p| {
        configuration(p, "similarity", 1);
        configuration(p, "locality of pool 1", 0.5f32.to_bits().into());
    }),
    ("has labels twice", |p| {
        let labels = p.section(2).clone();
        p.sections.insert(0, labels);
    }),
    ("has an unknown section that is not optional", |p| {
        p.sections.push(Section {
            kind: 77,
            flags: 0,
            bytes: vec![1; 3],
        });
    }),
    ("has no preprocessing", |p| {
        p.sections.retain(|section| section.kind != 3)
    }),
    ("has no weights", |p| {
        p.sections.retain(|section| section.kind != 1)
    }),
    ("has interpolation 6", |p| {
        preprocessing(p, "interpolation", 6)
    }),
    ("has a crop ratio of 0", |p| {
        preprocessing(p, "crop ratio", 0)
    }),
    ("has a deviation that is not a number", |p| {
        preprocessing(p, "deviation green", f32::NAN.to_bits().into());
    }),
    ("has preprocessing of 41 bytes", |p| {
        p.section(3).bytes.push(0)
    }),
    ("has a self-test of 15 bytes", |p| {
        p.section(4).bytes.truncate(15)
    }),
    ("has provenance that is not UTF-8", |p| {
        p.section(5).bytes[3] = 0xFF
    }),
    ("has provenance of 65,537 bytes", |p| {
        p.section(5).bytes = vec![b'x'; 65_537]
    }),
    ("has a label less than classes", |p| {
        p.section(2).bytes = b"\x01a\x01b\x01c\x01d".to_vec();
    }),
    ("has a label that is not UTF-8", |p| {
        p.section(2).bytes[1] = 0xFF
    }),
    ("has a label that ends past its section", |p| {
        p.section(2).bytes = b"\x01a\x01b\x01c\x01d\x02e".to_vec();
    }),
    ("wants images of 48 x 32", |p| {
        preprocessing(p, "height", 48)
    }),
    ("tests itself with images of 4128 x 32", |p| {
        set(&mut p.section(4).bytes, "Self-test", 0, "height", 4128);
    }),
    ("has two tensors exchanged in its table", |p| {
        p.tensors.swap(0, 1)
    }),
    ("has a tensor of another width", |p| {
        tensor(p, 1, "outputs", |m| m + 1)
    }),
    ("has a vector in f16", |p| tensor(p, 1, "dtype", |_| 1)),
    ("has dtype 4", |p| tensor(p, 0, "dtype", |_| 4)),
    ("has 8-bit weights without the flag for integers", |p| {
        tensor(p, 0, "dtype", |_| 2);
        // 56 inputs and 16 outputs, each with a scale and a sum.
        tensor(p, 0, "length", |_| 16 * (56 + 8));
    }),
    ("has a tensor that begins inside another", |p| {
        tensor(p, 1, "offset", |at| at - 64)
    }),
    ("has a one between two tensors", |p| {
        // The head's 19 x 16 values of two bytes end in the middle of a line of 64.
        let head = p.tensors.len() - 3;
        value(p, head, 19 * 16 * 2, &[1]);
    }),
    ("has a NaN weight", |p| {
        value(p, 1, 2 * 4, &f32::NAN.to_le_bytes())
    }),
    ("has an infinite weight in f16", |p| {
        value(p, 0, 5 * 2, &0x7C00u16.to_le_bytes())
    }),
    ("has more weights than tensors", |p| {
        p.section(1).bytes.extend([0; 64])
    }),
];

/// Positions of the tables of stage 0 and 1 among the tensors of [`sound_integers`].
const TABLE: usize = 2 + 14;
const MODE_1: usize = TABLE + 1 + 9 + 14;

/// Changes of a network of integers.
const INTEGERS: &[PartsChange] = &[
    ("is of integers and has a vector in 8 bits", |p| {
        tensor(p, 1, "dtype", |_| 2)
    }),
    ("is of integers and has a weight of -128", |p| {
        value(p, 0, 5, &[0x80])
    }),
    ("is of integers and has a weight in the padding", |p| {
        // Eight of sixteen outputs are padding.
        value(p, 0, 8 * 4 + 3, &[1]);
    }),
    ("is of integers and has a negative scale", |p| {
        value(p, 0, 16 * 56 + 2 * 4, &(-1f32).to_le_bytes())
    }),
    ("is of integers and has a scale that is not a number", |p| {
        value(p, 0, 16 * 56 + 4, &f32::NAN.to_le_bytes())
    }),
    (
        "is of integers and has a sum that is not its weights'",
        |p| value(p, 0, 16 * 56 + 64 + 3 * 4, &i32::MIN.to_le_bytes()),
    ),
    ("is of integers and has a table without a scale", |p| {
        table(p, TABLE, "s_pre", 0)
    }),
    (
        "is of integers and has a table whose second scale is infinite",
        |p| table(p, TABLE, "s_post", f32::INFINITY.to_bits().into()),
    ),
    ("is of integers and has a table whose zero is 256", |p| {
        table(p, TABLE, "zero", 256)
    }),
    ("is of integers and has a table of mode 2", |p| {
        table(p, TABLE, "mode", 2)
    }),
    ("is of integers and has reserved table bytes", |p| {
        value(p, TABLE, 63, &[1])
    }),
    ("is of integers and has entries in a table of mode 1", |p| {
        value(p, MODE_1, 64, &[1])
    }),
];

/// Sets a field of the GELU table that is tensor `i`.
fn table(parts: &mut Parts, i: usize, name: &str, number: u64) {
    let (offset, len) = field("GELU table", name);
    value(parts, i, offset, &number.to_le_bytes()[..len]);
}

fn changed(what: &str, sound: &[u8]) -> Vec<u8> {
    if let Some((_, change)) = INTEGERS.iter().find(|(name, _)| *name == what) {
        let mut parts = Parts::of(&sound_integers());
        change(&mut parts);
        return parts.build();
    }
    if let Some((_, change)) = PARTS.iter().find(|(name, _)| *name == what) {
        let mut parts = Parts::of(sound);
        change(&mut parts);
        return parts.build();
    }
    let (_, change) = RAW
        .iter()
        .find(|(name, _)| *name == what)
        .unwrap_or_else(|| panic!("docs/FORMAT.md: nobody makes a file that {what}"));
    let mut bytes = sound.to_vec();
    change(&mut bytes);
    if !what.ends_with("checksums as they were") {
        repair(&mut bytes);
    }
    bytes
}

#[test]
fn every_documented_refusal_is_given_and_every_change_documented() {
    let sound = sound();
    assert_eq!(super::survives("the sound file", &sound), Ok(()));
    let integers = super::survives("the sound file of integers", &sound_integers());
    assert_eq!(integers, Ok(()));
    let documented = rows("Refusals");
    let mut broken = Vec::new();
    for row in &documented {
        let (what, expected) = (row[0].as_str(), row[1].trim_matches('`'));
        if what == "lies one byte off" {
            let mut shifted = vec![0];
            shifted.extend(&sound);
            let shifted = AlignedBytes::copy_of(&shifted);
            let refused = Model::from_bytes(&shifted.as_bytes()[1..]).err();
            assert_eq!(format!("{:?}", refused.expect("misaligned")), expected);
            continue;
        }
        let found = match super::survives(what, &changed(what, &sound)) {
            Ok(()) => "accepted".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        if !found.starts_with(expected) {
            broken.push(format!(
                "a file that {what}: {found}, documented is {expected}"
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(
        documented.len(),
        RAW.len() + PARTS.len() + INTEGERS.len() + 1,
        "each change has its row"
    );
}
