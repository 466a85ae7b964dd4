//! docs/FORMAT.md against files: offsets, panels, limits, the dump. Its table of refusals is held by `hostile.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use fec_convert::fold::formula_tensors;
use fec_convert::pack::{PackOptions, pack};
use fec_runtime::config::{Dispatch, Place, Similarity};
use fec_runtime::format::{ALIGN, DType, TensorKind, VERSION, packed_tensors};
use fec_runtime::{AlignedBytes, Config, Model, Quantity};
use fec_tests::container::{
    ENTRY_LEN, HEADER_LEN, Parts, TABLES, crc32, document, field, number, rows, structure,
};
use fec_tests::engine::pack_options;
use fec_tests::fixtures::{changed, config, integers, integers_of, model};

/// A file whose every number is another.
fn example() -> (Config, PackOptions, Vec<u8>) {
    let mut network = config("micro");
    network.locality = [0.25, 0.5, 1.0];
    let mut options = pack_options();
    options.labels = ["one", "two", "drei", "", "fünf"]
        .map(String::from)
        .to_vec();
    options.provenance = "source: formula\n".to_owned();
    options.keep = vec![("head".to_owned(), DType::F16)];
    options.preprocessing.size.height = 64;
    options.preprocessing.crop_ratio = 0.875;
    let file = pack(&network, &formula_tensors(&network), &options).expect("it packs");
    (network, options, file)
}

/// The numbers of a structure at `at`, by their names in the document.
fn read(structure_name: &str, file: &[u8], at: usize) -> BTreeMap<String, u64> {
    let (fields, _) = structure(structure_name);
    let numbers = fields
        .into_iter()
        .filter(|field| field.len <= 8)
        .map(|field| {
            let bytes = &file[at + field.offset..][..field.len];
            (field.name, number(bytes))
        });
    numbers.collect()
}

fn hold(what: &str, found: &BTreeMap<String, u64>, expected: &[(&str, u64)]) {
    for (name, value) in expected {
        assert_eq!(found.get(*name), Some(value), "{what}: {name}");
    }
}

#[test]
fn structures_are_covered_without_holes() {
    for name in [
        "Header",
        "Configuration",
        "Stage",
        "Section entry",
        "Tensor entry",
        "Preprocessing",
        "Self-test",
        "GELU table",
    ] {
        let (fields, stated) = structure(name);
        let end = fields.iter().fold(0, |at, field| {
            assert_eq!(field.offset, at, "{name}: {}", field.name);
            at + field.len
        });
        assert_eq!(end, stated, "{name}");
    }
}

#[test]
fn header_and_configuration_lie_at_the_documented_offsets() {
    let (network, _, file) = example();
    let header = read("Header", &file, 0);
    let head = header["head length"] as usize;
    assert_eq!((ALIGN, HEADER_LEN), (64, structure("Header").1));
    hold(
        "header",
        &header,
        &[
            ("magic", number(b"FEC\0")),
            ("version", VERSION.into()),
            ("header length", HEADER_LEN as u64),
            ("total length", file.len() as u64),
            (
                "head checksum",
                crc32(&[&file[..16], &[0; 4], &file[20..head]]).into(),
            ),
            ("payload checksum", crc32(&[&file[head..]]).into()),
            ("section count", 5),
        ],
    );
    assert_eq!(TABLES, HEADER_LEN + structure("Configuration").1);
    hold(
        "configuration",
        &read("Configuration", &file, HEADER_LEN),
        &[
            ("classes", 5),
            ("flags", 0),
            ("similarity", 0),
            ("dispatch", 0),
            ("locality of pool 1", 0.25f32.to_bits().into()),
            ("locality of pool 2", 0.5f32.to_bits().into()),
            ("locality of pool 3", 1f32.to_bits().into()),
        ],
    );
    for (i, stage) in network.stages.iter().enumerate() {
        let at = HEADER_LEN + field("Configuration", &format!("stage {i}")).0;
        hold(
            "stage",
            &read("Stage", &file, at),
            &[
                ("blocks", stage.blocks as u64),
                ("channels", stage.dim as u64),
                ("hidden", stage.hidden as u64),
                ("heads", stage.heads as u64),
                ("head channels", stage.head_dim as u64),
                ("proposals", stage.proposals as u64),
                ("folds", stage.folds as u64),
                ("reserved", 0),
            ],
        );
    }
    let dense = model("micro_dense");
    hold(
        "dense",
        &read("Configuration", dense.as_bytes(), HEADER_LEN),
        &[("flags", 1), ("classes", 0)],
    );
}

#[test]
fn integers_similarity_and_dispatch_have_the_documented_numbers() {
    for (i, similarity) in Similarity::ALL.into_iter().enumerate() {
        for (j, dispatch) in Dispatch::ALL.into_iter().enumerate() {
            let network = Config {
                similarity,
                dispatch,
                ..config("micro")
            };
            let file = integers(&network);
            let found = read("Configuration", file.as_bytes(), HEADER_LEN);
            let expected = [
                ("flags", 2),
                ("similarity", i as u64),
                ("dispatch", j as u64),
            ];
            hold("network of integers", &found, &expected);
        }
    }
}

#[test]
fn sections_lie_at_the_documented_offsets() {
    let (_, options, file) = example();
    let (_, length) = structure("Section entry");
    assert_eq!(length, ENTRY_LEN);
    let mut end = read("Header", &file, 0)["head length"];
    let mut kinds = Vec::new();
    for i in 0..5 {
        let entry = read("Section entry", &file, TABLES + i * ENTRY_LEN);
        assert_eq!(entry["offset"], end.next_multiple_of(64), "section {i}");
        hold("section", &entry, &[("flags", 0), ("reserved", 0)]);
        end = entry["offset"] + entry["length"];
        kinds.push(entry["kind"].to_string());
        let at = entry["offset"] as usize;
        let bytes = &file[at..end as usize];
        match entry["kind"] {
            2 => assert_eq!(bytes, "\u{3}one\u{3}two\u{4}drei\u{0}\u{5}fünf".as_bytes()),
            3 => {
                assert_eq!(bytes.len(), structure("Preprocessing").1);
                hold(
                    "preprocessing",
                    &read("Preprocessing", &file, at),
                    &[
                        ("height", 64),
                        ("width", 32),
                        ("crop ratio", 0.875f32.to_bits().into()),
                        ("interpolation", 3),
                        ("mean red", 0.485f32.to_bits().into()),
                        ("mean blue", 0.406f32.to_bits().into()),
                        ("deviation red", 0.229f32.to_bits().into()),
                        ("deviation blue", 0.225f32.to_bits().into()),
                    ],
                );
            }
            4 => {
                let model = AlignedBytes::copy_of(&file);
                let test = Model::from_bytes(model.as_bytes())
                    .expect("sound")
                    .self_test();
                assert_eq!(bytes.len(), structure("Self-test").1);
                hold(
                    "self-test",
                    &read("Self-test", &file, at),
                    &[
                        ("height", test.size.height as u64),
                        ("width", test.size.width as u64),
                        ("output checksum", test.output_crc.into()),
                        ("assignments checksum", test.assignments_crc.into()),
                    ],
                );
            }
            5 => assert_eq!(bytes, options.provenance.as_bytes()),
            _ => {}
        }
    }
    assert_eq!(end, file.len() as u64);
    kinds.sort();
    let documented: Vec<String> = rows("Sections")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    assert_eq!(kinds, documented);
}

#[test]
fn tensors_lie_at_the_documented_offsets() {
    let (network, _, file) = example();
    let mut at = TABLES + 5 * ENTRY_LEN;
    let mut offset = None;
    packed_tensors(&network, |tensor| {
        let entry = read("Tensor entry", &file, at);
        let (inputs, outputs) = match tensor.kind {
            TensorKind::Matrix { inputs, outputs } => (inputs, outputs),
            TensorKind::Vector { length } => (0, length),
            TensorKind::Table => (0, 256),
        };
        let (stage, block) = match tensor.id.place {
            Place::Network => (255, 65_535),
            Place::Block { stage, block } => (stage, block),
            Place::Pool { stage } => (stage, 65_535),
        };
        let narrow = tensor.id.to_string() == "head.weight";
        let bytes = outputs.next_multiple_of(16) * inputs.max(1) * if narrow { 2 } else { 4 };
        hold(
            &tensor.id.to_string(),
            &entry,
            &[
                ("role", tensor.id.role as u64),
                ("stage", stage as u64),
                ("dtype", u64::from(narrow)),
                ("block", block as u64),
                ("reserved", 0),
                ("inputs", inputs as u64),
                ("outputs", outputs as u64),
                ("length", bytes as u64),
            ],
        );
        assert_eq!(entry["offset"], offset.unwrap_or(entry["offset"]));
        offset = Some((entry["offset"] + bytes as u64).next_multiple_of(64));
        at += ENTRY_LEN;
    });
    assert_eq!(
        read("Header", &file, 0)["tensor count"],
        ((at - TABLES) / ENTRY_LEN - 5) as u64
    );
}

/// Packed before there were integers and other similarities: formula weights of `micro`, locality 0.02, the head in f16.
#[test]
fn files_of_version_1_stay_readable() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fec-v1/micro.fec");
    let file = AlignedBytes::copy_of(&std::fs::read(file).expect("the fixture"));
    let model = Model::from_bytes(file.as_bytes()).expect("a readable file");
    let mut network = config("micro");
    network.locality = [0.02; 3];
    assert_eq!(*model.config(), network);
    let mut options = pack_options();
    options.keep = vec![("head".to_owned(), DType::F16)];
    let now = pack(&network, &formula_tensors(&network), &options).expect("it packs");
    // The same weights lie in the same places; labels, provenance and self-test are others.
    let weights = |file: &[u8]| Parts::of(file).section(1).clone();
    assert!(weights(file.as_bytes()) == weights(&now));
}

#[test]
fn a_file_put_together_by_the_document_is_the_writers() {
    let (_, _, file) = example();
    assert!(Parts::of(&file).build() == file);
}

/// The head's norm does nothing here, so that its packed weights are the checkpoint's.
#[test]
fn panels_lie_as_in_the_worked_example() {
    let mut network = config("micro");
    network.classes = 18;
    let mut weights = Vec::new();
    let file = changed(&network, |tensors| {
        tensors.insert("norm.weight".to_owned(), vec![1.0; 20]);
        tensors.insert("norm.bias".to_owned(), vec![0.0; 20]);
        weights = tensors["head.weight"].clone();
    });
    let parts = Parts::of(file.as_bytes());
    let (entry, stored) = parts
        .tensors
        .iter()
        .map(|entry| {
            (
                entry,
                &parts.sections[4].bytes[number(&entry[16..24]) as usize..],
            )
        })
        .find(|(entry, _)| number(&entry[..2]) == 50)
        .expect("a head");
    assert_eq!((number(&entry[8..12]), number(&entry[12..16])), (20, 18));
    let value = |i: usize| f32::from_bits(number(&stored[4 * i..][..4]) as u32);
    for row in rows("Panels") {
        let [output, input, place] = [0, 1, 2].map(|i| row[i].parse::<usize>().expect("a number"));
        assert_eq!(
            value(place),
            weights[output * 20 + input],
            "output {output}, input {input}"
        );
    }
    assert_eq!(number(&entry[24..32]), 640 * 4);
    assert!(
        (0..20).all(|k| (2..16).all(|o| value((20 + k) * 16 + o) == 0.0)),
        "padding"
    );
}

/// The norm before the head does nothing; the weights are whole numbers, the largest 127, so that every scale is 1.
#[test]
fn panels_of_8_bits_lie_as_in_the_worked_example() {
    let mut network = config("micro");
    (network.stages[3].dim, network.stages[3].hidden) = (19, 38);
    network.classes = 18;
    let weight = |o: usize, k: usize| match k {
        0 => 127,
        _ => ((o * 19 + k) * 37 % 255) as i8 as i32,
    };
    let weight = |o: usize, k: usize| weight(o, k).max(-127);
    let file = integers_of(&network, |tensors| {
        tensors.insert("norm.weight".to_owned(), vec![1.0; 19]);
        tensors.insert("norm.bias".to_owned(), vec![0.0; 19]);
        let weights = (0..18 * 19).map(|i| weight(i / 19, i % 19) as f32);
        tensors.insert("head.weight".to_owned(), weights.collect());
    });
    let parts = Parts::of(file.as_bytes());
    let entry = parts
        .tensors
        .iter()
        .find(|entry| number(&entry[..2]) == 50)
        .expect("a head");
    let [start, len] = [16, 24].map(|at| number(&entry[at..at + 8]) as usize);
    assert_eq!((entry[3], len), (2, 896));
    let stored = &parts.sections[4].bytes[start..start + len];
    for row in rows("Panels in 8 bits") {
        let [output, input, place] = [0, 1, 2].map(|i| row[i].parse::<usize>().expect("a number"));
        let found = i32::from(stored[place] as i8);
        assert_eq!(
            found,
            weight(output, input),
            "output {output}, input {input}"
        );
    }
    for o in 0..32 {
        let used = if o < 18 { 0..19 } else { 0..0 };
        let sum: i32 = used.map(|k| weight(o, k)).sum();
        let scale = if o < 18 { 1f32 } else { 0.0 };
        assert_eq!(stored[640 + 4 * o..][..4], scale.to_le_bytes(), "scale {o}");
        assert_eq!(stored[768 + 4 * o..][..4], sum.to_le_bytes(), "sum {o}");
    }
}

#[test]
fn tables_lie_at_the_documented_offsets() {
    let file = integers(&config("micro"));
    let parts = Parts::of(file.as_bytes());
    let mut modes = Vec::new();
    for entry in parts.tensors.iter().filter(|e| number(&e[..2]) == 26) {
        let [start, len] = [16, 24].map(|at| number(&entry[at..at + 8]) as usize);
        assert_eq!((entry[3], len), (3, structure("GELU table").1));
        let bytes = &parts.sections[4].bytes[start..start + len];
        let table = read("GELU table", bytes, 0);
        modes.push(table["mode"]);
        let place = Place::Block {
            stage: entry[2].into(),
            block: 0,
        };
        let model = Model::from_bytes(file.as_bytes()).expect("sound");
        let Some(found) = model.gelu_table(place) else {
            assert_eq!(table["mode"], 1);
            continue;
        };
        let expected = [
            ("s_pre", found.pre.to_bits().into()),
            ("s_post", found.post.to_bits().into()),
            ("zero", found.zero.into()),
        ];
        hold("table", &table, &expected);
        assert_eq!(bytes[field("GELU table", "entries").0..], found.table[..]);
    }
    assert_eq!(modes, [0, 1, 0, 1]);
}

#[test]
fn limits_are_the_documented_ones() {
    use Quantity as Q;
    let all = [
        Q::Blocks,
        Q::Channels,
        Q::Hidden,
        Q::Heads,
        Q::HeadChannels,
        Q::Proposals,
        Q::Folds,
        Q::Classes,
        Q::DenseClasses,
        Q::Side,
        Q::Centres,
    ];
    let documented = rows("Limits");
    assert_eq!(documented.len(), all.len());
    for (row, quantity) in documented.iter().zip(all) {
        let (low, high) = quantity.limits();
        assert_eq!(
            row[..],
            [quantity.to_string(), low.to_string(), high.to_string()]
        );
    }
}

/// All but the two checksums, which the last bits of the self-test decide.
#[test]
fn the_dump_is_that_of_a_real_head() {
    let text = document();
    let dump: Vec<u8> = text
        .lines()
        .skip_while(|line| *line != "## A real head")
        .skip_while(|line| !line.starts_with("```"))
        .skip(1)
        .take_while(|line| !line.starts_with("```"))
        .flat_map(|line| line.split_whitespace().skip(1))
        .map(|byte| u8::from_str_radix(byte, 16).expect("a byte"))
        .collect();
    let file = model("micro");
    let head = &file.as_bytes()[..160];
    let lines: Vec<String> = head
        .chunks(16)
        .enumerate()
        .map(|(i, line)| {
            let bytes: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
            format!("{:08x}  {}", i * 16, bytes.join(" "))
        })
        .collect();
    assert!(
        dump.len() == 160 && dump[..16] == head[..16] && dump[24..] == head[24..],
        "docs/FORMAT.md should show:\n{}",
        lines.join("\n")
    );
}
