//! `fec-convert` through its binary: checkpoints in, .fec files out; every refusal in one line, nothing half-written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fec_runtime::{AlignedBytes, Model};
use fec_tests::command::{Run, fec_convert, run, run_with_input};
use fec_tests::golden::notice;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

#[path = "convert/integers.rs"]
mod integers;
#[path = "convert/onnx.rs"]
mod onnx;
#[path = "convert/similarity.rs"]
mod similarity;
#[path = "convert/usage.rs"]
mod usage;
#[path = "convert/verify.rs"]
mod verify;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/checkpoints")
}

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared")
}

/// A checkpoint of the repository.
fn fixture(name: &str) -> PathBuf {
    let path = fixtures().join(name);
    assert!(path.exists(), "{}: no such fixture", path.display());
    path
}

/// What index.json says of the files of a kind that are there; those that are not are counted aloud.
fn checkpoints(wanted: impl Fn(&Value) -> bool) -> Vec<(String, PathBuf, Value)> {
    let index = fs::read_to_string(fixture("index.json")).expect("the index");
    let index: Value = serde_json::from_str(&index).expect("JSON");
    let files = index["files"].as_object().expect("files");
    let listed: Vec<_> = files.iter().filter(|(_, entry)| wanted(entry)).collect();
    let places = [fixtures(), shared().join("golden/checkpoints")];
    let find = |name: &str| {
        let mut paths = places.iter().map(|place| place.join(name));
        paths.find(|path| path.exists())
    };
    let found: Vec<_> = listed
        .iter()
        .filter_map(|(name, entry)| Some((name.to_string(), find(name)?, (*entry).clone())))
        .collect();
    let missing = listed.len() - found.len();
    if missing > 0 {
        notice(&format!(
            "SKIPPED {missing} of {} checkpoints: shared/golden is not there",
            listed.len()
        ));
    }
    assert!(!found.is_empty());
    found
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Names in a folder, sorted.
fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).expect("a folder");
    let name = |e: std::io::Result<fs::DirEntry>| e.expect("an entry").file_name();
    let mut names: Vec<String> = entries
        .map(|e| name(e).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Packs at 64x64 in the folder, with more options.
fn pack(dir: &TempDir, input: &Path, output: &str, options: &[&str]) -> Run {
    let mut command = fec_convert();
    command.current_dir(dir.path()).arg("pack").arg(input);
    run(command
        .args(["-o", output, "--input-size", "64"])
        .args(options))
}

/// The bytes of a pack that must work.
fn packed(dir: &TempDir, input: &Path, options: &[&str]) -> Vec<u8> {
    pack(dir, input, "packed.fec", options).expect(0);
    fs::read(dir.path().join("packed.fec")).expect("the packed file")
}

#[test]
fn every_layout_of_the_same_weights_packs_to_the_same_bytes() {
    let dir = folder();
    let mut by_weights: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
    let mut compared = 0;
    for (name, path, entry) in checkpoints(|entry| entry["expect"] == "ok") {
        let bytes = packed(&dir, &path, &[]);
        let Some(digest) = entry["sha256_f32"].as_str() else {
            continue;
        };
        let (first, expected) = by_weights
            .entry(digest.to_owned())
            .or_insert_with(|| (name.clone(), bytes.clone()));
        assert!(
            bytes == *expected,
            "{name} is packed otherwise than {first}"
        );
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(digest), "{name}: the digest of its weights");
        compared += 1;
    }
    assert!(compared >= 4, "only {compared} checkpoints were there");
}

#[test]
fn packing_again_gives_the_same_file_and_another_storage_another() {
    let dir = folder();
    let plain = fixture("plain.pth");
    let first = packed(&dir, &plain, &[]);
    assert!(first == packed(&dir, &plain, &[]));
    // The architecture that was recognised, said aloud.
    assert!(first == packed(&dir, &plain, &["--arch", "micro"]));
    let half = packed(&dir, &plain, &["--dtype", "f16"]);
    assert!(half.len() < first.len());
    assert_eq!(names(&dir), ["packed.fec"]);
}

#[test]
fn standard_input_and_output_carry_files() {
    let dir = folder();
    let plain = fixture("plain.pth");
    let expected = packed(&dir, &plain, &[]);
    let bytes = fs::read(plain).expect("the fixture");
    let mut command = fec_convert();
    command.args(["pack", "-", "-o", "-", "--input-size", "64"]);
    let run = run_with_input(command.current_dir(dir.path()), &bytes).expect(0);
    assert!(run.stdout == expected);
    assert!(run.stderr.contains("recognised  micro"), "{run}");
    assert_eq!(names(&dir), ["packed.fec"]);
}

#[test]
fn the_report_says_what_was_read_recognised_folded_and_stored() {
    let dir = folder();
    let run = pack(&dir, &fixture("plain.pth"), "a.fec", &["--json"]).expect(0);
    let report = run.json();
    let bytes = fs::read(dir.path().join("a.fec")).expect("packed");
    assert_eq!(report["read"]["layout"], "torch zip", "{run}");
    assert_eq!(report["read"]["tensors"], 102);
    assert_eq!(report["read"]["averaged"], false);
    assert_eq!(report["read"]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(report["recognised"]["architecture"], "micro");
    assert_eq!(report["recognised"]["classes"], 5);
    assert_eq!(report["recognised"]["parameters"], 13_153);
    // Four blocks of two norms and two layer scales, the norm before the head, three pools.
    assert_eq!(report["folded"]["norms"], 9);
    assert_eq!(report["folded"]["layer_scales"], 8);
    assert_eq!(report["folded"]["pool_factors"], 3);
    assert_eq!(report["stored"]["file_bytes"], bytes.len());
    assert_eq!(report["stored"]["f16_bytes"], 0);
    assert_eq!(report["run"]["height"], 64);
    assert!(report["run"]["arena_bytes"].as_u64() > Some(0));
    assert!(report["run"]["multiply_adds"].as_u64() > Some(0));
    let bytes = AlignedBytes::copy_of(&bytes);
    let test = Model::from_bytes(bytes.as_bytes())
        .expect("sound")
        .self_test();
    assert_eq!(
        report["self_test"]["output_crc"],
        format!("{:08x}", test.output_crc)
    );
    let text = pack(&dir, &fixture("plain.pth"), "a.fec", &[])
        .expect(0)
        .text();
    for part in [
        "torch zip, 102 tensors",
        "micro: 5 classes, 13,153 parameters",
        "9 norms, 8 layer scales",
        "arena of",
        "self-test",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn parts_beside_a_backbone_and_averaged_weights_are_reported() {
    let dir = folder();
    let mut seen = 0;
    for (name, path, _) in checkpoints(|entry| entry["expect"] == "ok") {
        if name == "mmseg.pth" {
            let report = pack(&dir, &path, "a.fec", &["--json"]).expect(0).json();
            let left_out = report["read"]["left_out"].as_array().expect("a list");
            assert!(left_out.contains(&"neck".into()), "{report}");
            assert!(left_out.contains(&"decode_head".into()), "{report}");
            assert_eq!(report["read"]["stripped"][0], "backbone.");
            assert_eq!(report["recognised"]["dense"], true);
            let text = pack(&dir, &path, "a.fec", &[]).expect(0).text();
            assert!(text.contains("left out: decode_head, meta, neck"), "{text}");
            seen += 1;
        }
        if name == "timm.pth.tar" {
            let plain = packed(&dir, &path, &[]);
            let run = pack(&dir, &path, "a.fec", &["--ema", "--json"]).expect(0);
            assert_eq!(run.json()["read"]["picked"], "state_dict_ema");
            assert_eq!(run.json()["read"]["averaged"], true);
            assert!(fs::read(dir.path().join("a.fec")).expect("packed") != plain);
            seen += 1;
        }
    }
    if seen < 2 {
        notice("SKIPPED the reports of mmseg.pth and timm.pth.tar: shared/golden is not there");
    }
    let run = pack(&dir, &fixture("plain.pth"), "b.fec", &["--ema"]);
    assert!(run.error(1).contains("no averaged weights found"), "{run}");
}

#[test]
fn what_comes_with_the_weights_is_in_the_file() {
    let dir = folder();
    // Windows' ends of lines, none after the last; a label with a comma and one that is not ASCII.
    fs::write(
        dir.path().join("labels.txt"),
        "cat\r\ndog, hot\r\nKüche\r\nd\r\ne",
    )
    .expect("written");
    let options = "--labels labels.txt --crop-pct 0.875 --interpolation bilinear --mean 0.5,-0.25,0 --std 1,0.5,0.25 --locality 0.02,0,0.5 --dtype f16 --keep head=f32 --keep network.2=f32";
    let options: Vec<&str> = options.split(' ').collect();
    let file = AlignedBytes::copy_of(&packed(&dir, &fixture("plain.pth"), &options));
    let model = Model::from_bytes(file.as_bytes()).expect("a sound file");
    let labels: Vec<&str> = model.labels().collect();
    assert_eq!(labels, ["cat", "dog, hot", "Küche", "d", "e"]);
    let preprocessing = model.preprocessing();
    assert_eq!(preprocessing.size.to_string(), "64x64");
    assert_eq!(preprocessing.crop_ratio, 0.875);
    assert_eq!(preprocessing.interpolation.name(), "bilinear");
    assert_eq!(preprocessing.mean, [0.5, -0.25, 0.0]);
    assert_eq!(preprocessing.std, [1.0, 0.5, 0.25]);
    assert_eq!(model.config().locality, [0.02, 0.0, 0.5]);
    let mut types = BTreeMap::new();
    model.tensors(|tensor, dtype, _| {
        types.insert(tensor.id.to_string(), dtype.name());
    });
    assert_eq!(types["head.weight"], "f32");
    assert_eq!(types["network.2.0.mlp.fc1.weight"], "f32");
    assert_eq!(types["network.0.0.mlp.fc1.weight"], "f16");
    let provenance = model.provenance();
    for line in [
        "weights: sha256 e92713cedc9c9ae6711d3b7d4d2fe64419ef5ed3432bea6471a50dbf9e90bb8a",
        "architecture: micro",
        "dtype: f16",
        "keep: network.2=f32",
        "locality: 0.02,0,0.5",
    ] {
        assert!(
            provenance.lines().any(|l| l == line),
            "{line}\n{provenance}"
        );
    }
    assert!(!provenance.contains("plain"), "{provenance}");
}

#[test]
fn formula_weights_need_no_file() {
    let dir = folder();
    let formula = Path::new("formula:micro");
    let first = packed(&dir, formula, &[]);
    assert!(first == packed(&dir, formula, &[]));
    let run = pack(&dir, Path::new("formula:mini"), "b.fec", &[]);
    assert!(run.error(2).contains("small, base, large"), "{run}");
    let run = pack(&dir, formula, "b.fec", &["--arch", "nano"]);
    assert!(run.error(2).starts_with("--arch does not go"), "{run}");
    assert_eq!(names(&dir), ["packed.fec"]);
}

/// What the refusal of each file must say.
const REFUSALS: [(&str, &[&str]); 9] = [
    ("missing.pth", &["network.1.conv_v.weight is missing"]),
    (
        "wrong_shape.pth",
        &["network.2.0.mlp.fc1.weight", "[7, 12]", "[24, 12]"],
    ),
    ("nan.pth", &["network.4.0.token_mixer.v.weight", "NaN"]),
    ("other_network.pth", &["not a FEC network", "conv1.weight"]),
    ("whole_module.pth", &["torch.save(model.state_dict()"]),
    ("malicious.pth", &["posix.system", "nothing was run"]),
    ("malicious_zip.pth", &["posix.system", "never run"]),
    ("truncated.pth", &["truncated"]),
    ("empty.pth", &["empty"]),
];

#[test]
fn refused_checkpoints_leave_one_line_and_no_file() {
    let dir = folder();
    for (name, path, _) in checkpoints(|entry| entry["expect"] == "refused") {
        let run = pack(&dir, &path, "out.fec", &[]);
        let line = run.error(1);
        let parts = REFUSALS.iter().find(|(file, _)| *file == name);
        let (_, parts) = parts.unwrap_or_else(|| panic!("{name}: what should be said?"));
        for part in *parts {
            assert!(line.contains(part), "{name}: {part} is missing in: {line}");
        }
        assert!(line.contains(&name), "the file is not named: {line}");
        assert!(run.stdout.is_empty(), "{run}");
        // Neither an output nor the file PWNED that the malicious ones would make.
        assert!(names(&dir).is_empty(), "{name} left {:?}", names(&dir));
    }
}

#[test]
fn an_onnx_model_is_refused_with_what_to_give_instead() {
    let dir = folder();
    // ir_version 10, then producer_name "pytorch": how torch's exporter begins.
    fs::write(dir.path().join("a.onnx"), b"\x08\x0a\x12\x07pytorch").expect("written");
    let run = pack(&dir, Path::new("a.onnx"), "out.fec", &[]);
    let line = run.error(1);
    assert!(
        line.contains("ONNX") && line.contains("not read as weights yet"),
        "{line}"
    );
    assert!(line.contains("PyTorch checkpoint"), "{line}");
    assert_eq!(names(&dir), ["a.onnx"]);
}
