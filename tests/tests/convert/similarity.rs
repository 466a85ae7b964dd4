//! Networks that compare otherwise than by cosine, or learnt no alpha or beta.

use super::*;
use fec_runtime::config::{Dispatch, Similarity};

fn verify(dir: &TempDir, against: &Path) -> Run {
    let mut command = fec_convert();
    command
        .current_dir(dir.path())
        .args(["verify", "packed.fec"]);
    run(command.arg("--against").arg(against).arg("--json"))
}

fn config(bytes: &[u8]) -> fec_runtime::Config {
    let bytes = AlignedBytes::copy_of(bytes);
    *Model::from_bytes(bytes.as_bytes())
        .expect("a sound file")
        .config()
}

#[test]
fn the_similarity_is_said_and_kept() {
    let dir = folder();
    for (name, similarity) in [
        ("cosine", Similarity::Cosine),
        ("dot", Similarity::Dot),
        ("euclidean", Similarity::Euclidean),
    ] {
        let input = fixture("plain.pth");
        let bytes = packed(&dir, &input, &["--similarity", name]);
        assert_eq!(config(&bytes).similarity, similarity);
        let line = format!("similarity: {name}\n");
        let said = String::from_utf8_lossy(&bytes).contains(&line);
        assert_eq!(said, name != "cosine", "the provenance of {name}");
        let report = verify(&dir, &input).expect(0).json();
        assert_eq!(report["ok"], true, "{name}: {report}");
    }
    let formula = Path::new("formula:nano");
    let bytes = packed(&dir, formula, &["--similarity", "dot"]);
    assert_eq!(config(&bytes).similarity, Similarity::Dot);
    assert_eq!(verify(&dir, formula).expect(0).json()["ok"], true);
}

#[test]
fn an_unknown_similarity_and_a_locality_beside_another_are_refused() {
    let dir = folder();
    let formula = Path::new("formula:micro");
    let run = pack(&dir, formula, "out.fec", &["--similarity", "manhattan"]);
    let line = run.error(2);
    assert!(line.contains("expected cosine, dot or euclidean"), "{line}");
    let options = ["--similarity", "dot", "--locality", "0,0.1,0"];
    let run = pack(&dir, formula, "out.fec", &options);
    let line = run.error(1);
    assert!(line.contains("pool 2 needs the cosine"), "{line}");
    assert!(names(&dir).is_empty());
}

/// The plain fixture without the tensors whose names end so.
fn without(dir: &TempDir, ends: &[&str]) -> PathBuf {
    let bytes = fs::read(fixture("plain.safetensors")).expect("the fixture");
    let file = SafeTensors::deserialize(&bytes).expect("sound");
    let kept = file
        .iter()
        .filter(|(name, _)| !ends.iter().any(|end| name.ends_with(end)));
    let path = dir.path().join("without.safetensors");
    fs::write(&path, safetensors::serialize(kept, None).expect("bytes")).expect("written");
    path
}

#[test]
fn checkpoints_without_alpha_or_beta_are_packed_and_verified() {
    let dir = folder();
    for (ends, dispatch) in [
        (&["sim_beta"][..], Dispatch::Alpha),
        (&["sim_alpha"], Dispatch::Beta),
        (&["sim_alpha", "sim_beta"], Dispatch::Plain),
    ] {
        let input = without(&dir, ends);
        let run = pack(&dir, &input, "packed.fec", &["--json"]).expect(0);
        let notes = run.json()["recognised"]["notes"].to_string();
        assert!(notes.contains("is not there"), "{notes}");
        let bytes = fs::read(dir.path().join("packed.fec")).expect("the packed file");
        assert_eq!(config(&bytes).dispatch, dispatch);
        assert_eq!(verify(&dir, &input).expect(0).json()["ok"], true);
        // Another network than the one that learnt both.
        let run = verify(&dir, &fixture("plain.pth"));
        let line = run.error(1);
        assert!(line.contains("learnt sim_"), "{line}");
    }
}

#[test]
fn one_block_without_alpha_is_a_checkpoint_that_misses_a_tensor() {
    let dir = folder();
    let input = without(&dir, &["network.2.0.token_mixer.sim_alpha"]);
    let run = pack(&dir, &input, "packed.fec", &[]);
    let line = run.error(1);
    assert!(line.contains("network.2.0.token_mixer.sim_alpha"), "{line}");
}
