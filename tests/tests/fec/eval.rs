//! `fec eval` on generated folders: counts, what is skipped, and folders that are none.

use super::*;

const LABELS: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

const REPORT: [(&str, &str); 6] = [
    ("images", "count"),
    ("skipped", "count"),
    ("top1", "number"),
    ("top5", "number"),
    ("images_per_second", "number"),
    ("per_class", "array"),
];

/// `count` images of some sizes in class folders, PNG and JPEG in turn.
pub(crate) fn generate(root: &Path, count: usize) {
    for label in LABELS {
        fs::create_dir_all(root.join(label)).expect("a folder");
    }
    for i in 0..count {
        let (seed, side) = (i as u32, 24 + (i % 5) as u32);
        let (name, bytes) = match i % 2 {
            0 => (format!("{i}.png"), photos::png(side, 32, seed)),
            _ => (format!("{i}.jpg"), photos::jpeg(32, side, seed)),
        };
        fs::write(root.join(LABELS[i % LABELS.len()]).join(name), bytes).expect("a file");
    }
}

/// Three files that are no readable images.
fn spoil(root: &Path) {
    let whole = photos::jpeg(60, 40, 0);
    let bad: [(&str, &[u8]); 3] = [
        ("cat/empty.png", b""),
        ("dog/words.jpg", b"no image"),
        ("ship/cut.jpg", &whole[..whole.len() / 2]),
    ];
    for (name, bytes) in bad {
        fs::write(root.join(name), bytes).expect("a file");
    }
}

fn report(dir: &TempDir, options: &[&str]) -> Value {
    let args = [&["--json", "eval", "."], options].concat();
    let found = fec_in(dir, &args).expect(0).json();
    assert!(found["images_per_second"].as_f64() > Some(0.0), "{found}");
    found
}

#[test]
fn counts_are_those_of_classify_for_any_number_of_threads() {
    let dir = folder();
    generate(dir.path(), 60);
    let found = report(&dir, &["--threads", "1"]);
    check_keys(&found, &REPORT);
    for threads in ["2", "3", "64"] {
        let other = report(&dir, &["--threads", threads]);
        assert_eq!(
            without(found.clone(), "images_per_second"),
            without(other, "images_per_second")
        );
    }
    assert_eq!(
        (&found["images"], &found["skipped"]),
        (&60.into(), &0.into())
    );
    let files: Vec<PathBuf> = LABELS
        .iter()
        .flat_map(|label| {
            names(dir.path().join(label))
                .into_iter()
                .map(move |name| Path::new(label).join(name))
        })
        .collect();
    let run = run(fec()
        .current_dir(dir.path())
        .args(["--json", "classify"])
        .args(&files))
    .expect(0);
    let (mut first, mut five) = (0, 0);
    for (object, path) in objects(&run).iter().zip(&files) {
        let label = path.parent().expect("a folder").display().to_string();
        let top = object["top"].as_array().expect("the classes");
        first += u32::from(top[0]["label"] == label);
        five += u32::from(top.iter().any(|class| class["label"] == label));
    }
    let percent = |count: u32| Value::from(f64::from(count) * 100.0 / 60.0);
    assert_eq!(
        (&found["top1"], &found["top5"]),
        (&percent(first), &percent(five))
    );
    assert!(five > 0, "the images are no test");
    let classes = found["per_class"].as_array().expect("the classes");
    assert_eq!(classes.len(), 10);
    for (class, label) in classes.iter().zip(LABELS) {
        check_keys(
            class,
            &[
                ("class", "count"),
                ("label", "string"),
                ("images", "count"),
                ("top1", "number"),
            ],
        );
        assert_eq!(
            (&class["label"], &class["images"]),
            (&label.into(), &6.into())
        );
    }
}

#[test]
fn unreadable_files_are_counted_and_named_at_the_end() {
    let dir = folder();
    generate(dir.path(), 20);
    let sound = report(&dir, &[]);
    spoil(dir.path());
    for threads in ["1", "3"] {
        let run = fec_in(&dir, &["--json", "eval", ".", "--threads", threads]).expect(0);
        let found = run.json();
        assert_eq!(
            (&found["images"], &found["skipped"]),
            (&20.into(), &3.into())
        );
        assert_eq!(
            (&found["top1"], &found["top5"]),
            (&sound["top1"], &sound["top5"])
        );
        for part in [
            "skipped 3 files",
            "cat/empty.png: not an image",
            "dog/words.jpg: not an image",
            "ship/cut.jpg: truncated",
        ] {
            assert!(run.stderr.contains(part), "{part} is missing: {run}");
        }
    }
    let text = fec_in(&dir, &["eval", "."]).expect(0).text();
    let last = text.lines().last().expect("a line");
    assert!(last.starts_with("20 images, 3 skipped: top-1 "), "{last}");
}

#[test]
fn of_thousands_of_unreadable_files_some_are_named() {
    let dir = folder();
    generate(dir.path(), 10);
    for i in 0..50 {
        fs::write(dir.path().join(format!("cat/bad{i}.png")), b"").expect("a file");
    }
    let run = fec_in(&dir, &["--json", "eval", "."]).expect(0);
    assert_eq!(run.json()["skipped"], 50);
    assert_eq!(
        run.stderr
            .lines()
            .filter(|line| line.contains("not an image"))
            .count(),
        20
    );
    assert!(run.stderr.contains("and 30 more"), "{run}");
}

#[test]
fn a_folder_without_a_readable_image_is_no_result() {
    let dir = folder();
    fs::create_dir(dir.path().join("cat")).expect("a folder");
    fs::write(dir.path().join("cat/1.png"), b"").expect("a file");
    let run = fec_in(&dir, &["--json", "eval", "."]).expect(1);
    assert_eq!(
        (&run.json()["images"], &run.json()["skipped"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn the_limit_takes_images_from_every_class() {
    let dir = folder();
    generate(dir.path(), 60);
    let found = report(&dir, &["--limit", "20"]);
    assert_eq!(found["images"], 20);
    assert_eq!(found["per_class"].as_array().map(Vec::len), Some(10));
    assert_eq!(report(&dir, &["--limit", "1000"])["images"], 60);
    assert_eq!(report(&dir, &["--limit", "1"])["images"], 1);
}

#[test]
fn the_confusion_matrix_is_a_picture() {
    let dir = folder();
    generate(dir.path(), 20);
    let found = report(&dir, &["-o", "out"]);
    check_keys(&found, &[&REPORT[..], &[("confusion", "string")]].concat());
    assert_eq!(found["confusion"], "out/confusion.png");
    assert_eq!(names(dir.path().join("out")), ["confusion.png"]);
    image::open(dir.path().join("out/confusion.png")).expect("a PNG");
}

#[test]
fn a_split_inside_is_used_and_told() {
    let dir = folder();
    generate(&dir.path().join("val"), 10);
    generate(&dir.path().join("train"), 30);
    let run = fec_in(&dir, &["--json", "eval", "."]).expect(0);
    assert_eq!(run.json()["images"], 10);
    assert!(run.stderr.contains("val"), "{run}");
}

#[test]
fn folders_that_are_none_of_the_models_are_refused() {
    let dir = folder();
    let refused = |path: &str, part: &str| {
        let run = fec_in(&dir, &["--json", "eval", path, "-o", "out"]);
        let line = run.error(1);
        assert!(
            line.starts_with(path) && line.contains(part),
            "{part} is missing in: {line}"
        );
        assert!(run.stdout.is_empty(), "{run}");
    };
    refused("none", "no such file or folder");
    fs::create_dir(dir.path().join("empty")).expect("a folder");
    refused("empty", "no class folders");
    fs::create_dir_all(dir.path().join("hollow/cat")).expect("a folder");
    refused("hollow", "no images");
    generate(&dir.path().join("typo"), 10);
    fs::rename(
        dir.path().join("typo/horse"),
        dir.path().join("typo/hoarse"),
    )
    .expect("a move");
    refused("typo", "folder 'hoarse' is none of the model's 10 labels");
    refused("typo", "nearest label is 'horse'");
    generate(&dir.path().join("double"), 10);
    fs::create_dir(dir.path().join("double/Cat")).expect("a folder");
    refused("double", "two folders mean the label 'cat'");
    fs::write(dir.path().join("file"), b"").expect("a file");
    refused("file", "is a file, expected a folder");
    assert!(!dir.path().join("out").exists());
}
