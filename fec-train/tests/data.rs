//! Folders of images: splits, what is refused, unreadable files, and batches that depend on nothing but the recipe and the step.

use std::path::Path;
use std::sync::Arc;

use fec::Photo;
use fec_train::data::{Batch, Budget, Dataset, Error, Loader, Split, check};
use fec_train::recipe::Recipe;
use tempfile::TempDir;

/// A photo of waves, different for every number.
fn picture(number: usize, width: usize, height: usize) -> Vec<u8> {
    let value = |i: usize| ((i * (number + 3) / 7 + number * 29) % 251) as u8;
    let pixels = (0..width * height * 3).map(value).collect();
    Photo::new(width, height, pixels).unwrap().to_png().unwrap()
}

/// A folder with these files; an image for each `.png`.
fn tree(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, file) in files.iter().enumerate() {
        write(dir.path(), file, &picture(number, 40, 30 + number % 5));
    }
    dir
}

fn write(dir: &Path, file: &str, bytes: &[u8]) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let bytes = if file.ends_with(".png") {
        bytes
    } else {
        b"text"
    };
    std::fs::write(path, bytes).unwrap();
}

fn many(classes: &[(&str, usize)]) -> TempDir {
    let files: Vec<String> = classes
        .iter()
        .flat_map(|(class, count)| (0..*count).map(move |i| format!("{class}/{i:03}.png")))
        .collect();
    tree(&files.iter().map(String::as_str).collect::<Vec<_>>())
}

fn open(dir: &Path) -> Result<Split, Error> {
    let out = tempfile::tempdir().unwrap();
    Split::open(dir, 0.2, 1, &out.path().join("split.csv"))
}

#[track_caller]
fn refused(dir: &Path, expected: &str) {
    let error = open(dir).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

fn names(samples: &[fec_train::data::Sample]) -> Vec<(String, u32)> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    samples.iter().map(|s| (name(&s.path), s.class)).collect()
}

#[test]
fn a_folder_with_a_split_is_taken_as_it_is() {
    for val in ["val", "validation", "valid", "test"] {
        let in_val = format!("{val}/dog/c.png");
        let dir = tree(&[
            "train/dog/b.png",
            "train/dog/.hidden.png",
            "train/dog/notes.txt",
            "train/cat/a.png",
            &in_val,
            "readme.txt",
        ]);
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("split.csv");
        let split = Split::open(dir.path(), 0.2, 1, &file).unwrap();
        assert_eq!(split.classes, ["cat", "dog"]);
        assert_eq!(
            names(&split.train),
            [("a.png".into(), 0), ("b.png".into(), 1)]
        );
        assert_eq!(names(&split.val), [("c.png".into(), 1)]);
        assert_eq!(split.notes[0], "no images to validate of 'cat'");
        assert_eq!(split.notes.len(), 1 + usize::from(val == "test"));
        assert!(!file.exists(), "a split that is there is not written down");
    }
}

#[test]
fn a_split_is_made_by_class_written_down_and_read_again() {
    for below in ["", "train/"] {
        let class = |name: &str| format!("{below}{name}");
        let dir = many(&[
            (&class("a"), 10),
            (&class("b, \"c\""), 2),
            (&class("d"), 25),
        ]);
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("split.csv");
        let split = Split::open(dir.path(), 0.2, 7, &file).unwrap();
        let count = |samples: &[fec_train::data::Sample]| {
            [0, 1, 2].map(|class| samples.iter().filter(|s| s.class == class).count())
        };
        assert_eq!(count(&split.val), [2, 1, 5]);
        assert_eq!(count(&split.train), [8, 1, 20]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("split,class,file\ntrain,a,"), "{text}");

        // Another seed and another share: the file counts.
        let again = Split::open(dir.path(), 0.5, 8, &file).unwrap();
        assert_eq!(again, split);
        assert_eq!(again.fingerprint(), split.fingerprint());
        // The same seed draws the same, another one does not.
        let twin = Split::open(dir.path(), 0.2, 7, &out.path().join("twin.csv")).unwrap();
        assert_eq!(twin, split);
        let other = Split::open(dir.path(), 0.2, 8, &out.path().join("other.csv")).unwrap();
        assert_ne!(other.fingerprint(), split.fingerprint());

        // A further image is left out with a note, a missing one is an error.
        write(dir.path(), &class("a/new.png"), &picture(1, 32, 32));
        let more = Split::open(dir.path(), 0.2, 7, &file).unwrap();
        assert_eq!(more.train, split.train);
        assert!(
            more.notes[0].starts_with("1 images of the folder are not in"),
            "{:?}",
            more.notes
        );
        std::fs::remove_file(&split.val[0].path).unwrap();
        let gone = Split::open(dir.path(), 0.2, 7, &file)
            .unwrap_err()
            .to_string();
        assert!(gone.contains("no such image, but"), "{gone}");
    }
}

#[test]
fn split_files_that_are_not_ours_are_refused() {
    let dir = many(&[("a", 3), ("b", 3)]);
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("split.csv");
    for (text, expected) in [
        ("", "line 1: expected the heading"),
        (
            "split,class,file\n",
            "lists no images of one of train and val",
        ),
        (
            "split,class,file\ntrain,a\n",
            "line 2: expected three fields",
        ),
        (
            "split,class,file\ntest,a,a/000.png\n",
            "line 2: expected train or val first",
        ),
        (
            "split,class,file\ntrain,a,../x.png\n",
            "line 2: expected a file inside the folder",
        ),
        (
            "split,class,file\ntrain,a,/etc/x.png\n",
            "line 2: expected a file inside the folder",
        ),
        ("split,class,file\ntrain,a,\"a/000.png\n", "lists no images"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Split::open(dir.path(), 0.2, 1, &file)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected) && !error.contains('\n'),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn folders_that_cannot_be_trained_on_are_one_line_each() {
    refused(Path::new("no/such/folder"), "no such file or folder");
    let dir = tree(&[]);
    refused(dir.path(), "no class folders");
    refused(tree(&["a.png", "b.png"]).path(), "no class folders");
    refused(many(&[("cat", 5)]).path(), "a single class, 'cat'");
    refused(
        tree(&["a/x.txt", "b/x.txt"]).path(),
        "no images in its class folders",
    );
    refused(
        tree(&["val/a/1.png", "test/b/2.png"]).path(),
        "has val/ but no train/",
    );
    refused(
        tree(&["train/cat/1.png", "train/dog/2.png", "val/dgo/3.png"]).path(),
        "class 'dgo' has no folder with images in train/; the nearest is 'dog'",
    );
    refused(
        many(&[("a", 1), ("b", 1)]).path(),
        "no class has a second image",
    );
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    refused(&file, "is a file, expected a folder");
    let nowhere = Split::open(
        many(&[("a", 3), ("b", 3)]).path(),
        0.2,
        1,
        &dir.path().join("no/split.csv"),
    );
    assert!(matches!(nowhere, Err(Error::File(_))));
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_one_line() {
    use std::os::unix::fs::PermissionsExt;
    let dir = many(&[("a", 3), ("b", 3)]);
    let locked = dir.path().join("b");
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o000)).unwrap();
    // The superuser reads everything.
    if std::fs::read_dir(&locked).is_err() {
        refused(dir.path(), "b: cannot be read");
    }
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_class_with_one_image_is_trained_on_and_said() {
    let dir = many(&[("a", 5), ("b", 1)]);
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let split = open(dir.path()).unwrap();
    assert_eq!(split.classes, ["a", "b"]);
    assert!(split.train.iter().any(|s| s.class == 1));
    assert!(
        split.notes[0].contains("no images in 'empty': left out"),
        "{:?}",
        split.notes
    );
    assert!(
        split.notes[1].starts_with("a single image of 'b'"),
        "{:?}",
        split.notes
    );
}

fn recipe(text: &str) -> Recipe {
    let base = "img-size = 32\nbatch-size = 4\nreprob = 0.5\nmixup = 0.8\ncutmix = 1.0\naa = \"rand-m9-mstd0.5-inc1\"";
    let overrides: Vec<&str> = text.split_whitespace().collect();
    Recipe::parse("test", base, &overrides).unwrap()
}

fn loader(split: &Split, recipe: &Recipe) -> Loader {
    let budget = Budget::megabytes(recipe.cache);
    let dataset = Dataset::train(split.train.clone(), recipe, &budget);
    Loader::train(Arc::new(dataset), recipe, split.classes.len())
}

fn batches(loader: &Loader, steps: core::ops::Range<u64>) -> Vec<Batch> {
    loader.batches(steps).unwrap().map(Result::unwrap).collect()
}

#[test]
fn batches_depend_on_neither_workers_nor_cache_nor_where_a_run_began() {
    for options in ["", "pad-crop=4"] {
        let dir = many(&[("a", 9), ("b", 9)]);
        let split = open(dir.path()).unwrap();
        let base = loader(&split, &recipe(&format!("workers=1 {options}")));
        assert_eq!(base.steps_per_epoch(), 3);
        let expected = batches(&base, 0..10);
        assert_eq!(expected.len(), 10);
        for workers in ["workers=3", "workers=2 cache=0", "workers=7"] {
            let other = loader(&split, &recipe(&format!("{workers} {options}")));
            assert_eq!(batches(&other, 0..10), expected, "{workers}");
            assert_eq!(batches(&other, 5..10), expected[5..], "{workers}");
        }
        let seed = loader(&split, &recipe(&format!("seed=5 {options}")));
        assert_ne!(batches(&seed, 0..1), expected[..1]);
        // Every epoch has its own order, and no image twice.
        let order = |epoch: usize| -> Vec<u32> {
            expected[epoch * 3..epoch * 3 + 3]
                .iter()
                .flat_map(|b| b.indices.clone())
                .collect()
        };
        let mut first = order(0);
        assert_ne!(first, order(1));
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 12);
        for batch in &expected {
            assert_eq!(batch.images.len(), 4 * 32 * 32 * 3);
            assert_eq!(batch.targets.len(), 4 * 2);
            assert!(batch.images.iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn a_set_smaller_than_a_batch_is_repeated_in_new_orders() {
    let dir = many(&[("a", 3), ("b", 3)]);
    let split = open(dir.path()).unwrap();
    assert_eq!(split.train.len(), 4);
    let loader = loader(&split, &recipe("batch-size=11 mixup=0 cutmix=0"));
    assert_eq!(loader.steps_per_epoch(), 1);
    let batches = batches(&loader, 0..2);
    for batch in &batches {
        assert_eq!(batch.indices.len(), 11);
        let count = |i: u32| batch.indices.iter().filter(|&&j| j == i).count();
        assert!(
            (0..4).all(|i| (2..=3).contains(&count(i))),
            "{:?}",
            batch.indices
        );
        // The same image comes in different forms.
        let same: Vec<usize> = (0..11)
            .filter(|&i| batch.indices[i] == batch.indices[0])
            .collect();
        let image = |i: usize| &batch.images[i * 3072..(i + 1) * 3072];
        assert_ne!(image(same[0]), image(same[1]));
    }
    assert_ne!(batches[0].indices, batches[1].indices);
}

#[test]
fn validation_sees_what_fec_eval_sees() {
    let dir = many(&[("a", 12), ("b", 13)]);
    let split = open(dir.path()).unwrap();
    for cache in ["cache=0", "cache=100"] {
        let recipe = recipe(&format!("{cache} validation-batch-size=2 crop-pct=0.8"));
        let budget = Budget::megabytes(recipe.cache);
        let dataset = Arc::new(Dataset::eval(split.val.clone(), &recipe, &budget));
        let loader = Loader::eval(Arc::clone(&dataset), &recipe, 2);
        assert_eq!(loader.steps_per_epoch(), 3);
        for _ in 0..2 {
            let batches = batches(&loader, 0..3);
            assert_eq!(batches[2].labels.len(), 1);
            let indices: Vec<u32> = batches.iter().flat_map(|b| b.indices.clone()).collect();
            assert_eq!(indices, [0, 1, 2, 3, 4]);
            let photo = Photo::open(&split.val[3].path, Default::default()).unwrap();
            let p = recipe.preprocessing();
            let expected = fec::preprocess::apply(&p, &photo);
            let (scale, offset) = p.scale_and_offset();
            for (i, (value, pixel)) in batches[1].images[3072..]
                .iter()
                .zip(&expected.pixels)
                .enumerate()
            {
                assert_eq!(*value, f32::from(*pixel) * scale[i % 3] + offset[i % 3]);
            }
            assert_eq!(batches[1].targets, [0.0, 1.0, 0.0, 1.0]);
            assert_eq!(batches[1].labels, [1, 1]);
        }
    }
}

#[test]
fn unreadable_images_are_skipped_and_named() {
    let dir = many(&[("a", 8), ("b", 8)]);
    let split = open(dir.path()).unwrap();
    let (bad_train, bad_val) = (&split.train[2].path, &split.val[1].path);
    std::fs::write(bad_train, b"no image").unwrap();
    let png = picture(1, 30, 30);
    std::fs::write(bad_val, &png[..png.len() / 2]).unwrap();
    let recipe = recipe("mixup=0 cutmix=0");
    let budget = Budget::megabytes(10);
    let train = Arc::new(Dataset::train(split.train.clone(), &recipe, &budget));
    let val = Arc::new(Dataset::eval(split.val.clone(), &recipe, &budget));

    let loader = Loader::train(Arc::clone(&train), &recipe, 2);
    for batch in batches(&loader, 0..6) {
        assert_eq!(
            batch.indices.len(),
            4,
            "the place is taken by another image"
        );
        assert!(!batch.indices.contains(&2));
    }
    let evaluated = batches(&Loader::eval(Arc::clone(&val), &recipe, 2), 0..1);
    assert!(!evaluated[0].indices.contains(&1));
    assert_eq!(evaluated[0].indices.len(), split.val.len() - 1);
    assert_eq!(train.unreadable().len(), 1);
    assert_eq!(train.unreadable()[0].path, *bad_train);
    assert!(
        train.unreadable()[0].reason.contains("not an image"),
        "{:?}",
        train.unreadable()
    );

    // The same by looking beforehand.
    let (train, val) = (
        Dataset::train(split.train.clone(), &recipe, &budget),
        Dataset::eval(split.val.clone(), &recipe, &budget),
    );
    let mut told = 0;
    let report = check(&split, &train, &val, 32, 2, |done, total| {
        told += 1;
        assert!(done == told && total == 16);
    })
    .unwrap();
    assert_eq!(told, 16);
    assert_eq!(report.unreadable.len(), 2);
    let lines = report.lines();
    assert!(
        lines.contains(&"2 files cannot be read and are skipped:".into()),
        "{lines:#?}"
    );
    assert!(lines.iter().all(|l| !l.contains('\n')));
}

#[test]
fn a_set_of_which_nothing_can_be_read_is_an_error() {
    let dir = many(&[("a", 3), ("b", 3)]);
    let split = open(dir.path()).unwrap();
    split
        .train
        .iter()
        .for_each(|s| std::fs::write(&s.path, b"x").unwrap());
    let recipe = recipe("");
    let budget = Budget::megabytes(10);
    let train = Arc::new(Dataset::train(split.train.clone(), &recipe, &budget));
    let val = Dataset::eval(split.val.clone(), &recipe, &budget);
    let mut batches = Loader::train(Arc::clone(&train), &recipe, 2)
        .batches(0..9)
        .unwrap();
    let error = batches.next().unwrap().unwrap_err().to_string();
    assert!(
        error.starts_with("none of the 4 images can be read; the first: "),
        "{error}"
    );
    assert!(batches.next().is_none());
    let report = check(&split, &train, &val, 32, 1, |_, _| {});
    assert!(matches!(
        report,
        Err(Error::NothingReadable { images: 4, .. })
    ));
}

#[test]
fn the_report_tells_of_imbalance_copies_and_small_images() {
    let dir = many(&[("a", 20), ("b", 4)]);
    let split = open(dir.path()).unwrap();
    let copy = std::fs::read(&split.train[0].path).unwrap();
    std::fs::write(&split.val[0].path, &copy).unwrap();
    std::fs::write(&split.train.last().unwrap().path, &copy).unwrap();
    let recipe = recipe("");
    let budget = Budget::megabytes(10);
    let (train, val) = (
        Dataset::train(split.train.clone(), &recipe, &budget),
        Dataset::eval(split.val.clone(), &recipe, &budget),
    );
    let report = check(&split, &train, &val, 33, 2, |_, _| {}).unwrap();
    assert_eq!((report.classes[0].train, report.classes[1].train), (16, 3));
    assert_eq!((report.copies.len(), report.ambiguous.len()), (1, 1));
    assert_eq!(report.short_sides[0], 30);
    assert!(report.small > 0);
    let lines = report.lines().join("\n");
    for part in [
        "19 images to train on, 5 to validate, 2 classes",
        "unbalanced: 'a' has 16 training images, 'b' has 3",
        "smaller than the network's 33",
    ] {
        assert!(lines.contains(part), "{lines}");
    }
}

#[test]
fn leaving_early_ends_the_workers() {
    let dir = many(&[("a", 9), ("b", 9)]);
    let split = open(dir.path()).unwrap();
    let loader = loader(&split, &recipe("workers=4"));
    let mut batches = loader.batches(0..u64::MAX).unwrap();
    assert!(batches.next().unwrap().is_ok());
    drop(batches);
}
