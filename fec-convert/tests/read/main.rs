//! The checkpoint readers: every layout gives the same tensors, everything else one line, and nothing is executed.

mod hostile;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fec_convert::read::{Checkpoint, Layout, MAX_FILE_LEN, ReadOptions, read, read_bytes};
use sha2::{Digest, Sha256};

const PLAIN: ReadOptions = ReadOptions { ema: false };
const EMA: ReadOptions = ReadOptions { ema: true };

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints")
}

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared")
}

/// The file among the fixtures, else among the shared golden files, if those are there.
fn find(name: &str) -> Option<PathBuf> {
    let places = [fixtures(), shared().join("golden/checkpoints")];
    places
        .map(|place| place.join(name))
        .into_iter()
        .find(|path| path.exists())
}

#[expect(clippy::print_stderr, reason = "a skipped case must be seen")]
fn report_skipped(what: &str, count: usize) {
    if count > 0 {
        eprintln!("SKIPPED {count} {what}: ../shared is not beside this checkout");
    }
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(fixtures().join(name)).unwrap()
}

fn index() -> serde_json::Value {
    serde_json::from_slice(&fixture("index.json")).unwrap()
}

/// The digest of index.json: little-endian f32 of all tensors, names sorted.
fn digest(checkpoint: &Checkpoint) -> String {
    let mut hash = Sha256::new();
    for value in checkpoint.tensors.iter().flat_map(|t| &t.values) {
        hash.update(value.to_le_bytes());
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Runs `check` on each of the files that is there, and says how many are not.
fn for_each(names: &[&str], check: impl Fn(&str, &Path)) {
    let (found, missing): (Vec<_>, Vec<_>) = names.iter().partition(|name| find(name).is_some());
    for name in found {
        check(name, &find(name).unwrap());
    }
    report_skipped("checkpoints", missing.len());
}

fn refusal(bytes: &[u8]) -> String {
    match read_bytes(bytes, &PLAIN) {
        Ok(checkpoint) => panic!("{} tensors were read", checkpoint.tensors.len()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_readable_layout_gives_the_expected_tensors() {
    let index = index();
    let names: Vec<&str> = index["digest"]["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap())
        .collect();
    let files = index["files"].as_object().unwrap();
    let readable: Vec<&str> = files
        .iter()
        .filter(|(_, f)| f["sha256_f32"].is_string())
        .map(|(n, _)| n.as_str())
        .collect();
    assert_eq!(readable.len(), 17);
    for_each(&readable, |name, path| {
        let checkpoint = read(path, &PLAIN).unwrap();
        assert!(
            checkpoint
                .tensors
                .iter()
                .map(|t| t.name.as_str())
                .eq(names.iter().copied()),
            "{name}"
        );
        assert_eq!(
            digest(&checkpoint),
            files[name]["sha256_f32"].as_str().unwrap(),
            "{name}"
        );
        let expected = match name {
            _ if name.ends_with(".safetensors") => Layout::Safetensors,
            "legacy.pth" | "timm_legacy.pth.tar" => Layout::TorchLegacy,
            _ => Layout::TorchZip,
        };
        assert_eq!(checkpoint.source, expected, "{name}");
        assert_eq!(
            checkpoint.sha256,
            <[u8; 32]>::from(Sha256::digest(fs::read(path).unwrap())),
            "{name}"
        );
        assert_eq!(checkpoint.first_non_finite(), None, "{name}");
        for tensor in &checkpoint.tensors {
            assert_eq!(
                tensor.values.len(),
                tensor.shape.iter().product::<usize>(),
                "{name} {}",
                tensor.name
            );
        }
    });
}

#[test]
fn shapes_are_the_same_in_every_layout() {
    let plain = read(&fixtures().join("plain.pth"), &PLAIN).unwrap();
    for other in ["legacy.pth", "plain.safetensors", "strided.pth"] {
        let other = read(&fixtures().join(other), &PLAIN).unwrap();
        assert_eq!(plain.tensors, other.tensors);
    }
    assert_eq!(
        plain.tensor("patch_embed.proj.weight").unwrap().shape,
        [8, 5, 4, 4]
    );
    assert_eq!(
        plain
            .tensor("network.0.0.token_mixer.sim_alpha")
            .unwrap()
            .shape,
        [1]
    );
    assert_eq!(plain.tensor("no.such"), None);
    assert_eq!((plain.picked, plain.arch), (None, None));
    assert!(plain.left_out.is_empty() && plain.stripped.is_empty() && plain.metadata.is_empty());
}

#[test]
fn wrappers_are_recorded() {
    let cases: [(&str, Option<&str>, &[&str]); 4] = [
        ("state_dict_key.pth.tar", Some("state_dict"), &[]),
        ("model_key.pth", Some("model"), &[]),
        ("ddp.pth", Some("state_dict"), &["module."]),
        ("compiled.pth", None, &["_orig_mod."]),
    ];
    for_each(&cases.map(|c| c.0), |name, path| {
        let checkpoint = read(path, &PLAIN).unwrap();
        let (_, picked, stripped) = cases.into_iter().find(|c| c.0 == name).unwrap();
        assert_eq!(checkpoint.picked.as_deref(), picked, "{name}");
        assert_eq!(checkpoint.stripped, stripped, "{name}");
    });
}

#[test]
fn averaged_weights_come_on_request() {
    for_each(&["timm.pth.tar", "timm_legacy.pth.tar"], |name, path| {
        let plain = read(path, &PLAIN).unwrap();
        let ema = read(path, &EMA).unwrap();
        assert_eq!(plain.picked.as_deref(), Some("state_dict"));
        assert_eq!(ema.picked.as_deref(), Some("state_dict_ema"));
        assert_eq!(plain.arch.as_deref(), Some("fec_micro"));
        let names = |c: &Checkpoint| c.tensors.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&plain), names(&ema), "{name}");
        assert_ne!(digest(&plain), digest(&ema), "{name}");
        for key in ["optimizer", "args", "epoch", "state_dict_ema"] {
            assert!(
                plain.left_out.iter().any(|k| k == key),
                "{name}: {key} in {:?}",
                plain.left_out
            );
        }
    });
    let error = read_bytes(&fixture("plain.pth"), &EMA).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no averaged weights found; expected the key state_dict_ema or model_ema; read the plain ones instead"
    );
}

#[test]
fn a_segmenter_gives_its_backbone() {
    for_each(&["mmseg.pth"], |_, path| {
        let checkpoint = read(path, &PLAIN).unwrap();
        assert_eq!(checkpoint.stripped, ["backbone."]);
        assert_eq!(checkpoint.left_out, ["decode_head", "meta", "neck"]);
        assert!(
            checkpoint.tensor("norm0.weight").is_some()
                && checkpoint.tensor("norm6.bias").is_some()
        );
        assert!(
            checkpoint
                .tensors
                .iter()
                .all(|t| !t.name.starts_with("backbone"))
        );
    });
}

/// Files whose fault lies in the network, not in the layout: they are read, so that later steps can name the tensor.
#[test]
fn faults_of_the_network_are_left_to_see() {
    for_each(
        &[
            "missing.pth",
            "wrong_shape.pth",
            "nan.pth",
            "other_network.pth",
        ],
        |name, path| {
            let checkpoint = read(path, &PLAIN).unwrap();
            match name {
                "missing.pth" => assert_eq!(checkpoint.tensor("network.1.conv_v.weight"), None),
                "wrong_shape.pth" => {
                    assert_eq!(
                        checkpoint
                            .tensor("network.2.0.mlp.fc1.weight")
                            .unwrap()
                            .shape,
                        [7, 12]
                    );
                }
                "nan.pth" => {
                    let (tensor, index, value) = checkpoint.first_non_finite().unwrap();
                    assert_eq!(tensor, "network.4.0.token_mixer.v.weight");
                    assert!(value.is_nan());
                    assert!(checkpoint.tensor(tensor).unwrap().values[index].is_nan());
                }
                _ => assert!(checkpoint.tensor("conv1.weight").is_some()),
            }
        },
    );
}

#[test]
fn refusals_say_what_to_do_and_run_nothing() {
    let cases = BTreeMap::from([
        (
            "whole_module.pth",
            "a whole module of class __main__.WholeModule was pickled, which only its own Python code can load; save its weights instead: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            "malicious.pth",
            "a bare pickle that torch.save did not write, and loading it would call posix.system (nothing was run); expected torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            "malicious_zip.pth",
            "state_dict would be made by Python's posix.system, which is never run; expected tensors: torch.save(model.state_dict(), \"model.pth\")",
        ),
        (
            "truncated.pth",
            "truncated: a zip whose directory, at its end, is missing after 20000 bytes; copy or download the file again",
        ),
        (
            "empty.pth",
            "the file is empty; expected a checkpoint; copy or download the file again",
        ),
    ]);
    for_each(&cases.keys().copied().collect::<Vec<_>>(), |name, path| {
        let message = read(path, &PLAIN).unwrap_err().to_string();
        assert_eq!(message, format!("{}: {}", path.display(), cases[name]));
        for folder in [Path::new("."), path.parent().unwrap()] {
            assert!(!folder.join("PWNED").exists(), "{name} was executed");
        }
    });
}

#[test]
fn a_missing_file_and_a_folder_are_refused() {
    let missing = fixtures().join("no_such.pth");
    let message = read(&missing, &PLAIN).unwrap_err().to_string();
    assert!(
        message.starts_with(&format!(
            "{}: cannot be read: No such file",
            missing.display()
        )),
        "{message}"
    );
    let message = read(&fixtures(), &PLAIN).unwrap_err().to_string();
    assert!(message.contains(": cannot be read: "), "{message}");
}

#[test]
fn a_file_too_large_is_refused_unread() {
    let path =
        std::env::temp_dir().join(format!("fec-convert-too-large-{}.pth", std::process::id()));
    // A hole, which takes no room on the disk.
    fs::File::create(&path)
        .unwrap()
        .set_len(MAX_FILE_LEN + 1)
        .unwrap();
    let message = read(&path, &PLAIN).unwrap_err().to_string();
    fs::remove_file(&path).unwrap();
    assert_eq!(
        message,
        format!(
            "{}: the file has more than 4294967296 bytes, more than any checkpoint of this network; save the weights alone: torch.save(model.state_dict(), \"model.pth\")",
            path.display()
        )
    );
}

#[test]
fn the_trained_checkpoint_is_the_same_in_both_layouts() {
    let stem = shared().join("models/cifar10-fec-nano");
    if !stem.with_extension("pth").exists() {
        report_skipped("trained checkpoints", 2);
        return;
    }
    let torch = read(&stem.with_extension("pth"), &PLAIN).unwrap();
    let safe = read(&stem.with_extension("safetensors"), &PLAIN).unwrap();
    assert_eq!(torch.tensors, safe.tensors);
    assert_eq!(torch.picked.as_deref(), Some("state_dict"));
    assert_eq!(
        torch.tensors.iter().map(|t| t.values.len()).sum::<usize>(),
        300_068
    );
}
