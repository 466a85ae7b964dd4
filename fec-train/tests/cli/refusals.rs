//! What cannot work is said in one line, before anything is left behind.

use std::path::Path;

use super::common::{error_line, recipe, run, stripes, train};

/// Runs `train`, which must fail with one line of an error that has `words`; no run may be left.
fn refused(folder: &Path, recipe: Vec<String>, words: &[&str]) {
    let output = run(folder, &train("none", recipe));
    let error = error_line(&output);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{error}");
    for word in words {
        assert!(error.contains(word), "'{word}' is not in: {error}");
    }
    assert!(!folder.join("runs/none").exists(), "a run is left");
}

#[test]
fn bad_folders_and_recipes_are_one_line_each() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path();
    let photos = at.join("photos");
    stripes(&photos, 3, 36);
    let with = |data: &Path, more: &str| {
        let mut recipe = recipe(data);
        recipe.push(more.to_string());
        recipe
    };
    std::fs::create_dir(at.join("empty")).expect("a folder");
    refused(at, with(&at.join("empty"), "epochs=1"), &["empty"]);
    refused(at, with(&at.join("nowhere"), "epochs=1"), &["nowhere"]);
    refused(at, with(&photos, "epochz=1"), &["epochz", "epochs"]);
    refused(at, with(&photos, "img-size=50"), &["img-size", "64"]);
    refused(at, with(&photos, "device=cuda:7"), &["device"]);
    refused(at, with(&photos, "model=nani"), &["nani", "nano"]);
    refused(
        at,
        with(&photos, "initial-checkpoint=default"),
        &["default", "model"],
    );
    refused(
        at,
        with(&photos, "initial-checkpoint=gone.safetensors"),
        &["gone.safetensors"],
    );

    let one = at.join("one");
    std::fs::create_dir_all(one.join("lonely")).expect("a folder");
    std::fs::copy(photos.join("down/0.png"), one.join("lonely/0.png")).expect("a copy");
    refused(at, with(&one, "epochs=1"), &["lonely"]);

    let broken = at.join("broken");
    for class in ["a", "b"] {
        std::fs::create_dir_all(broken.join(class)).expect("a folder");
        for i in 0..3 {
            std::fs::write(broken.join(class).join(format!("{i}.jpg")), b"no picture")
                .expect("a file");
        }
    }
    refused(at, with(&broken, "epochs=1"), &["can be read", "a/0.jpg"]);
}

#[test]
fn a_run_is_never_overwritten() {
    let dir = tempfile::tempdir().expect("a folder");
    stripes(&dir.path().join("photos"), 6, 36);
    std::fs::create_dir_all(dir.path().join("runs/taken")).expect("a folder");
    let output = run(
        dir.path(),
        &train("taken", recipe(&dir.path().join("photos"))),
    );
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("never overwritten"), "{text}");
}
