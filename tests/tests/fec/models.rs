//! Model files that are wrong, and models that do something else.

use fec_tests::container::{field, put, repair};
use fec_tests::fixtures;

use super::*;

/// A nano network with feature maps in place of classes.
pub(crate) fn dense() -> Vec<u8> {
    fixtures::model("nano_dense").as_bytes().to_vec()
}

fn nano() -> Vec<u8> {
    fixtures::model("nano").as_bytes().to_vec()
}

/// Every command that opens a model, given `-m m.fec`.
const COMMANDS: [&[&str]; 7] = [
    &["classify", "photo.png"],
    &["map", "photo.png", "-o", "out"],
    &["eval", "photos"],
    &["bench", "--runs", "1"],
    &["trace", "photo.png", "-o", "t.safetensors"],
    &["inspect"],
    &["verify"],
];

/// A folder with a photo, a class folder, and this model if any.
fn place(model: Option<&[u8]>) -> TempDir {
    let dir = folder();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).expect("a file");
    fs::create_dir_all(dir.path().join("photos/cat")).expect("a folder");
    write("photo.png", &photos::png(20, 20, 0));
    write("photos/cat/1.png", &photos::png(20, 20, 0));
    if let Some(model) = model {
        write("m.fec", model);
    }
    dir
}

/// Every command refuses this model in one line that names it and says `part`, and writes nothing.
fn check_refused(model: Option<&[u8]>, part: &str) {
    let dir = place(model);
    let before = names(&dir);
    for command in COMMANDS {
        let run = fec_in(&dir, &[&["-m", "m.fec"], command].concat());
        let line = run.error(1);
        assert!(
            line.starts_with("m.fec: ") && line.contains(part),
            "{part} is missing in: {line}"
        );
        assert!(run.stdout.is_empty(), "{run}");
        assert_eq!(names(&dir), before, "{command:?}");
    }
}

#[test]
fn a_missing_model_is_refused() {
    check_refused(None, "no such file");
}

#[test]
fn a_truncated_model_is_refused() {
    let model = nano();
    check_refused(Some(&model[..model.len() / 2]), "");
}

#[test]
fn a_model_of_another_version_is_refused() {
    let mut model = nano();
    let (at, len) = field("Header", "version");
    put(&mut model, at, len, 99);
    repair(&mut model);
    check_refused(Some(&model), "99");
}

#[test]
fn what_is_no_model_is_refused() {
    check_refused(Some(&photos::png(90, 90, 0)), "");
    check_refused(Some(b""), "");
}

#[test]
fn a_folder_in_place_of_a_model_is_refused() {
    let dir = place(None);
    fs::create_dir(dir.path().join("m.fec")).expect("a folder");
    for command in COMMANDS {
        let run = fec_in(&dir, &[&["-m", "m.fec"], command].concat());
        assert_eq!(run.error(1), "m.fec: is a folder, expected a file");
    }
}

#[test]
fn every_cut_and_every_flipped_byte_is_noticed() {
    let model = nano();
    let dir = folder();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(dir.path().join("m.fec"), bytes).expect("a file");
        let run = fec_in(&dir, &["verify", "m.fec"]);
        assert!(run.error(1).starts_with("m.fec: "), "{what}: {run}");
    };
    let step = model.len() / 40;
    for at in (0..model.len())
        .step_by(step)
        .chain([1, 4, 20, 63, 100, model.len() - 1])
    {
        refused(&model[..at], &format!("cut at {at}"));
        let mut flipped = model.clone();
        flipped[at] ^= 0x10;
        refused(&flipped, &format!("flipped byte {at}"));
    }
    refused(&[&model[..], &[0]].concat(), "one byte more");
}

/// Weights that pass every check of the reader but are not those of the self-test.
#[test]
fn a_failed_self_test_says_so_and_exits_with_1() {
    let mut model = nano();
    let middle = model.len() / 2;
    // The sign bits of a thousand weights.
    for byte in model[middle..middle + 4096]
        .iter_mut()
        .skip(3 - middle % 4)
        .step_by(4)
    {
        *byte ^= 0x80;
    }
    repair(&mut model);
    let dir = folder();
    fs::write(dir.path().join("m.fec"), model).expect("a file");
    let run = fec_in(&dir, &["--json", "verify", "m.fec"]).expect(1);
    let found = run.json();
    assert_eq!(found["ok"], false);
    assert_ne!(found["expected"], found["found"]);
    let text = fec_in(&dir, &["verify", "m.fec"]).expect(1).text();
    assert!(text.starts_with("m.fec: FAILED"), "{text}");
}

#[test]
fn a_dense_model_is_mapped_but_has_no_classes() {
    let dir = place(Some(&dense()));
    for command in [COMMANDS[0], COMMANDS[2]] {
        let run = fec_in(&dir, &[&["-m", "m.fec"], command].concat());
        let line = run.error(1);
        assert!(
            line.contains("dense model") && line.contains("fec map"),
            "{line}"
        );
    }
    for command in [
        COMMANDS[1],
        COMMANDS[3],
        COMMANDS[4],
        COMMANDS[5],
        COMMANDS[6],
    ] {
        fec_in(&dir, &[&["-m", "m.fec"], command].concat()).expect(0);
    }
    let args = [
        "--json",
        "-m",
        "m.fec",
        "map",
        "photo.png",
        "-o",
        "out",
        "--clusters",
        "2",
    ];
    let mapped = fec_in(&dir, &args).expect(0).json();
    assert_eq!(mapped["top"], serde_json::json!([]));
    assert!(dir.path().join("out/photo.html").exists());
}

#[test]
fn a_model_without_labels_shows_numbers() {
    let dir = place(Some(&nano()));
    let found = fec_in(&dir, &["--json", "-m", "m.fec", "classify", "photo.png"])
        .expect(0)
        .json();
    for class in found["top"].as_array().expect("the classes") {
        let label = class["label"].as_str().expect("a text");
        assert!(label.contains(&class["class"].to_string()), "{class}");
    }
    fec_in(&dir, &["-m", "m.fec", "map", "photo.png", "-o", "out"]).expect(0);
    let report = fec_in(&dir, &["--json", "-m", "m.fec", "eval", "photos"])
        .expect(0)
        .json();
    assert_eq!(report["images"], 1);
}

/// From a mebibyte on a file is mapped into memory: it must be checked like one that is read.
#[test]
fn a_mapped_model_is_the_one_that_is_read() {
    let model = fs::read(workspace().join("models/default.fec")).expect("the default model");
    assert!(model.len() as u64 >= fec::model_file::MAPPED_FROM);
    let dir = folder();
    let path = dir.path().join("m.fec");
    fs::write(&path, &model).expect("a file");
    fec_in(&dir, &["verify", "m.fec"]).expect(0);
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a file");
        let run = fec_in(&dir, &["verify", "m.fec"]);
        assert!(run.error(1).starts_with("m.fec: "), "{run}");
    };
    refused(&model[..model.len() - 1]);
    refused(&[&model[..], &[0]].concat());
    let mut flipped = model.clone();
    flipped[model.len() / 2] ^= 1;
    refused(&flipped);
}
