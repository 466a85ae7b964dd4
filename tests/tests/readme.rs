//! What the documents tell people to type works as it stands there, and gives what they say.

use std::path::{Path, PathBuf};

use fec_tests::command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A folder in which the documents' relative paths lead where they should, and `out` is its own.
fn playground() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["samples", "models"] {
        let target = root()
            .join(name)
            .canonicalize()
            .expect("part of the project");
        std::os::unix::fs::symlink(target, folder.path().join(name)).expect("a link");
    }
    // Class folders of photos, as the README's training has them: parts of the samples.
    for (class, name) in [("cats", "chelsea.jpg"), ("cups", "coffee.jpg")] {
        let photos = folder.path().join("photos").join(class);
        std::fs::create_dir_all(&photos).expect("a folder");
        let photo = image::open(root().join("samples").join(name)).expect("a sample");
        for i in 0..8 {
            let part = photo.crop_imm(20 * i, 10 * i, 200, 200);
            part.save(photos.join(format!("{i}.jpg"))).expect("a part");
        }
    }
    folder
}

/// The lines of a document's code blocks that call one of our programs, as words: the program's name first.
fn commands(document: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join(document)).expect("part of the project");
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        inside ^= line.starts_with("```");
        let line = line.split(" #").next().unwrap_or_default();
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        if inside && words.first().is_some_and(|word| word == "cargo") {
            commands.push(words[1..].to_vec());
        }
    }
    commands
}

fn run(words: &[String], folder: &Path) -> command::Run {
    let mut program = match words[0].as_str() {
        "fec" => command::fec(),
        "fec-convert" => command::fec_convert(),
        "fec-train" => command::fec_train(),
        other => panic!("cargo {other}: no program of ours"),
    };
    command::run(program.args(&words[1..]).current_dir(folder))
}

#[test]
fn every_command_in_the_readme_works() {
    let folder = playground();
    let ours = |words: &Vec<String>| words[0].starts_with("fec");
    let commands: Vec<_> = commands("README.md").into_iter().filter(ours).collect();
    assert!(commands.len() >= 9, "the README lists {commands:?}");
    for words in &commands {
        run(words, folder.path()).expect(0);
    }
    for file in [
        "chelsea.html",
        "chelsea.level3.png",
        "coffee.k6.png",
        "trace.safetensors",
        "model.fec",
    ] {
        assert!(
            folder.path().join("out").join(file).is_file(),
            "out/{file} was not written"
        );
    }
}

#[test]
fn the_default_model_is_what_its_document_says_it_was_made_with() {
    let folder = playground();
    let commands = commands("models/README.md");
    let [words] = &commands[..] else {
        panic!("models/README.md should hold one command, not {commands:?}")
    };
    let output = words
        .iter()
        .position(|word| word == "-o")
        .expect("an output")
        + 1;
    let mut words = words.clone();
    assert_eq!(words[output], "models/default.fec");
    words[output] = "again.fec".to_string();
    run(&words, folder.path()).expect(0);
    let read = |path: PathBuf| std::fs::read(path).expect("written");
    let (again, default) = (
        read(folder.path().join("again.fec")),
        read(root().join("models/default.fec")),
    );
    assert!(
        again == default,
        "models/default.fec is not what {words:?} makes: pack it again"
    );
}
