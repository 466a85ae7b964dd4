//! What lies just within the limits is accepted: every quantity at its largest, optional sections, long texts.

use fec_convert::fold::Tensors;
use fec_convert::pack::{PackOptions, pack};
use fec_runtime::config::Stage;
use fec_runtime::format::{
    FileContents, Interpolation, Preprocessing, SelfTest, TensorValues, WriteError, write_file,
};
use fec_runtime::{AlignedBytes, Config, Error, Model, Quantity};
use fec_tests::container::{Parts, Section, field, open, put};
use fec_tests::engine::pack_options;
use fec_tests::fixtures::{config, size};

use super::refusals::sound;
use super::survives;

#[test]
fn sections_may_come_in_any_order() {
    let mut parts = Parts::of(&sound());
    for _ in 0..5 {
        parts.sections.rotate_left(1);
        assert_eq!(survives("rotated sections", &parts.build()), Ok(()));
    }
    parts.sections.reverse();
    assert_eq!(survives("reversed sections", &parts.build()), Ok(()));
}

#[test]
fn unknown_optional_sections_are_skipped() {
    let mut parts = Parts::of(&sound());
    for (i, kind) in [0, 6, 77, u32::MAX].into_iter().enumerate() {
        let bytes = vec![0xEE; i * 63];
        parts.sections.insert(
            i,
            Section {
                kind,
                flags: 1,
                bytes,
            },
        );
    }
    assert_eq!(survives("optional sections", &parts.build()), Ok(()));
    // The same kind again: what is not known cannot be there once too often.
    while parts.sections.len() < 16 {
        parts.sections.push(Section {
            kind: 77,
            flags: 1,
            bytes: Vec::new(),
        });
    }
    assert_eq!(survives("16 sections", &parts.build()), Ok(()));
    parts.sections.push(Section {
        kind: 77,
        flags: 1,
        bytes: Vec::new(),
    });
    assert!(survives("17 sections", &parts.build()).is_err());
    // Known sections may say that they are optional; they are read all the same.
    let mut parts = Parts::of(&sound());
    parts
        .sections
        .iter_mut()
        .for_each(|section| section.flags = 1);
    assert_eq!(survives("optional flags", &parts.build()), Ok(()));
}

#[test]
fn texts_may_have_their_full_length() {
    let mut parts = Parts::of(&sound());
    parts.section(5).bytes = vec![b'x'; 65_536];
    parts.section(2).bytes = (0..5)
        .flat_map(|_| [255].into_iter().chain([b'y'; 255]))
        .collect();
    assert_eq!(survives("long texts", &parts.build()), Ok(()));
    parts.section(5).bytes.clear();
    parts.section(2).bytes.clear();
    assert_eq!(survives("no texts", &parts.build()), Ok(()));
}

#[test]
fn localities_reach_from_0_to_1000() {
    let (offset, len) = field("Configuration", "locality of pool 1");
    for (locality, accepted) in [
        (0.0, true),
        (-0.0, true),
        (f32::from_bits(1), true),
        (1000.0, true),
        (1000.1, false),
        (f32::INFINITY, false),
        (-f32::MIN_POSITIVE, false),
    ] {
        let mut parts = Parts::of(&sound());
        put(
            &mut parts.start,
            64 + offset,
            len,
            locality.to_bits().into(),
        );
        let expected = if accepted {
            Ok(())
        } else {
            Err(Error::Locality { pool: 1 })
        };
        assert_eq!(
            survives(&format!("locality {locality}"), &parts.build()),
            expected
        );
    }
}

/// A file of that configuration whose weights are a pattern.
fn file_of(config: &Config) -> Vec<u8> {
    let smallest = config.nearest_size(size(1, 1));
    let contents = FileContents {
        config: *config,
        labels: &[],
        preprocessing: Preprocessing {
            size: smallest,
            crop_ratio: 1.0,
            interpolation: Interpolation::Nearest,
            mean: [0.0; 3],
            std: [1.0; 3],
        },
        self_test: SelfTest {
            size: smallest,
            output_crc: 0,
            assignments_crc: 0,
        },
        provenance: "",
    };
    let values = |i: usize| ((i * 31 % 17) as f32 - 8.0) / 64.0;
    write_file(&contents, |tensor| {
        TensorValues::F32((0..tensor.kind.stored()).map(values).collect())
    })
    .expect("a configuration within its limits")
}

/// A number of a stage, its name in docs/FORMAT.md, and how it is set.
type StageField = (Quantity, &'static str, fn(&mut Stage, usize));
const STAGE_FIELDS: [StageField; 7] = [
    (Quantity::Blocks, "blocks", |stage, n| stage.blocks = n),
    (Quantity::Channels, "channels", |stage, n| stage.dim = n),
    (Quantity::Hidden, "hidden", |stage, n| stage.hidden = n),
    (Quantity::Heads, "heads", |stage, n| stage.heads = n),
    (Quantity::HeadChannels, "head channels", |stage, n| {
        stage.head_dim = n
    }),
    (Quantity::Proposals, "proposals", |stage, n| {
        stage.proposals = n
    }),
    (Quantity::Folds, "folds", |stage, n| stage.folds = n),
];

#[test]
fn every_number_works_at_its_limits_and_is_refused_past_them() {
    for (quantity, name, set) in STAGE_FIELDS {
        for at in 0..4 {
            let (low, high) = quantity.limits();
            for value in [low, high] {
                let mut network = config(if at % 2 == 0 { "micro" } else { "micro_dense" });
                set(&mut network.stages[at], value);
                let file = file_of(&network);
                let what = format!("{value} {quantity} {at}");
                assert_eq!(survives(&what, &file), Ok(()), "{what}");
                plans_or_refuses(&what, &file);
            }
            for found in [low - 1, high + 1, u32::MAX as usize] {
                let mut network = config("micro");
                set(&mut network.stages[at], found);
                let refused = Err(Error::Limit { quantity, found });
                assert_eq!(network.check(), refused);
                let mut parts = Parts::of(&sound());
                let base = 64 + field("Configuration", &format!("stage {at}")).0;
                let (offset, len) = field("Stage", name);
                put(&mut parts.start, base + offset, len, found as u64);
                assert_eq!(open(&parts.build()), refused, "{name} {found}");
            }
        }
    }
    let mut network = config("micro");
    for (classes, fits) in [(0, false), (1, true), (65_536, true), (65_537, false)] {
        network.classes = classes;
        assert_eq!(network.check().is_ok(), fits);
        if fits {
            assert_eq!(survives("classes", &file_of(&network)), Ok(()));
        }
    }
    let mut network = config("micro_dense");
    network.classes = 1;
    assert!(network.check().is_err());
}

/// No size makes planning panic, the largest included.
fn plans_or_refuses(what: &str, file: &[u8]) {
    let bytes = AlignedBytes::copy_of(file);
    let model = Model::from_bytes(bytes.as_bytes()).expect("opened before");
    for height in [32, 2048, 4096] {
        for width in [32, 256, 2048, 4096] {
            let size = model.config().nearest_size(size(height, width));
            match model.plan(size) {
                Ok(plan) => assert!(plan.arena_len() > 0 && plan.multiply_adds() > 0, "{what}"),
                Err(Error::ArenaTooLarge { needed }) => {
                    assert!(needed > i32::MAX as u64, "{what}: {needed}");
                }
                Err(Error::Limit {
                    quantity: Quantity::Centres,
                    ..
                }) => {}
                Err(error) => panic!("{what} {size}: {error}"),
            }
        }
    }
}

/// What a file cannot hold is not written either.
#[test]
fn packing_refuses_what_the_reader_would() {
    let mut network = config("micro");
    network.stages[0].folds = 9;
    let refused = pack(&network, &Tensors::new(), &pack_options()).expect_err("nine folds");
    let quantity = Quantity::Folds;
    assert_eq!(
        refused,
        WriteError::Contents(Error::Limit { quantity, found: 9 })
    );
    let network = config("micro");
    for (given, error) in [
        (
            vec![String::new(); 4],
            WriteError::Labels {
                given: 4,
                classes: 5,
            },
        ),
        (
            vec!["x".repeat(256); 5],
            WriteError::LabelTooLong { index: 0 },
        ),
    ] {
        let options = PackOptions {
            labels: given,
            ..pack_options()
        };
        assert_eq!(pack(&network, &Tensors::new(), &options), Err(error));
    }
    let provenance = "x".repeat(65_537);
    let options = PackOptions {
        provenance,
        ..pack_options()
    };
    let refused = pack(&network, &Tensors::new(), &options);
    assert_eq!(refused, Err(WriteError::ProvenanceTooLong));
}
