//! `fec map`: the files it writes, what they hold, and that the same call writes the same bytes.

use std::collections::BTreeSet;

use image::{DynamicImage, ImageReader};

use super::*;

const LEVEL: [(&str, &str); 4] = [
    ("level", "count"),
    ("clusters", "count"),
    ("labels", "string"),
    ("overlay", "string"),
];
const MAPPED: [(&str, &str); 6] = [
    ("file", "string"),
    ("height", "count"),
    ("width", "count"),
    ("top", "array"),
    ("levels", "array"),
    ("page", "string"),
];

/// Maps the cat into `out` in the folder.
fn map(dir: &TempDir, options: &[&str]) -> Value {
    let photo = sample("chelsea.jpg").display().to_string();
    let args = [&["--json", "map", &photo, "-o", "out"], options].concat();
    fec_in(dir, &args).expect(0).json()
}

fn open(dir: &TempDir, path: &Value) -> DynamicImage {
    let path = dir.path().join(path.as_str().expect("a path"));
    ImageReader::open(&path)
        .expect("a file")
        .decode()
        .expect("an image")
}

/// Labels of a label map, which must be a 16-bit grey picture of the photo's size, numbered without gaps.
fn labels(dir: &TempDir, path: &Value) -> Vec<u16> {
    let DynamicImage::ImageLuma16(map) = open(dir, path) else {
        panic!("{path} is no 16-bit grey picture");
    };
    let photo = image::image_dimensions(sample("chelsea.jpg")).expect("the sample");
    assert_eq!(map.dimensions(), photo);
    let labels = map.into_raw();
    let distinct: BTreeSet<u16> = labels.iter().copied().collect();
    assert!(
        distinct.iter().copied().eq(0..distinct.len() as u16),
        "labels without gaps"
    );
    labels
}

fn distinct(labels: &[u16]) -> usize {
    labels.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn a_map_is_an_overlay_a_label_map_and_a_page() {
    let dir = folder();
    let found = map(&dir, &[]);
    check_keys(&found, &MAPPED);
    let expected = [
        "chelsea.html",
        "chelsea.level3.labels.png",
        "chelsea.level3.png",
    ];
    assert_eq!(names(dir.path().join("out")), expected);
    assert_eq!(found["top"][0]["label"], "cat");
    let levels = found["levels"].as_array().expect("levels");
    assert_eq!(levels.len(), 1);
    check_keys(&levels[0], &LEVEL);
    assert_eq!(levels[0]["level"], 3);
    let clusters = distinct(&labels(&dir, &levels[0]["labels"]));
    assert_eq!(levels[0]["clusters"], clusters);
    let photo = image::open(sample("chelsea.jpg"))
        .expect("the sample")
        .into_rgb8();
    let overlay = open(&dir, &levels[0]["overlay"]).into_rgb8();
    assert_eq!(overlay.dimensions(), photo.dimensions());
    // Thin lines over the slightly softened photo: most pixels are nearly the photo's own.
    let distance = |(a, b): (&image::Rgb<u8>, &image::Rgb<u8>)| {
        let channels = a.0.iter().zip(b.0);
        channels.map(|(&a, b)| a.abs_diff(b)).max()
    };
    let pairs = photo.pixels().zip(overlay.pixels());
    let near = pairs.filter(|&pair| distance(pair) <= Some(24)).count();
    assert!(
        near * 2 > photo.pixels().len(),
        "{near} pixels are near the photo's"
    );
    assert_ne!(photo, overlay);
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let dir = folder();
    let found = map(&dir, &["--clusters", "4"]);
    let page = fs::read_to_string(dir.path().join(found["page"].as_str().expect("a path")))
        .expect("UTF-8");
    for mark in ["http:", "https:", "src=\"//", "<link", "@import", "file:"] {
        assert!(!page.contains(mark), "{mark} in the page");
    }
    for part in [
        "<!doctype html>",
        "</html>",
        "data:image/",
        "cat",
        "chelsea.jpg",
    ] {
        assert!(page.to_lowercase().contains(part), "no {part} in the page");
    }
}

#[test]
fn levels_are_the_ones_asked_for_and_grow_coarser() {
    let dir = folder();
    for level in ["1", "2", "3"] {
        let found = map(&dir, &["--level", level]);
        let levels = found["levels"].as_array().expect("levels");
        assert_eq!(levels.len(), 1);
        assert_eq!(levels[0]["level"].to_string(), level);
    }
    let found = map(&dir, &["--level", "all"]);
    let levels = found["levels"].as_array().expect("levels");
    let maps: Vec<Vec<u16>> = levels
        .iter()
        .map(|level| labels(&dir, &level["labels"]))
        .collect();
    let counts: Vec<usize> = maps.iter().map(|map| distinct(map)).collect();
    assert_eq!(counts.len(), 3);
    assert!(counts[0] > counts[1] && counts[1] > counts[2], "{counts:?}");
    // Eq. 8: a cluster lies whole in one of the next level.
    for pair in maps.windows(2) {
        let links: BTreeSet<(u16, u16)> = pair[0]
            .iter()
            .copied()
            .zip(pair[1].iter().copied())
            .collect();
        assert_eq!(links.len(), distinct(&pair[0]));
    }
}

#[test]
fn clusters_are_grouped_and_the_inertia_is_told() {
    let dir = folder();
    let mut last = f64::INFINITY;
    for k in [1, 2, 5] {
        let found = map(&dir, &["--clusters", &k.to_string()]);
        let keys = [("k", "count"), ("inertia", "number"), ("groups", "object")];
        check_keys(&found, &[&MAPPED[..], &keys].concat());
        assert_eq!(found["k"], k);
        let inertia = found["inertia"].as_f64().expect("a number");
        assert!(inertia < last, "k = {k}: {inertia}, before {last}");
        last = inertia;
        check_keys(
            &found["groups"],
            &[("labels", "string"), ("overlay", "string")],
        );
        assert!(distinct(&labels(&dir, &found["groups"]["labels"])) <= k);
        assert!(dir.path().join(format!("out/chelsea.k{k}.png")).exists());
    }
}

#[test]
fn styles_look_different_over_the_same_labels() {
    let dir = folder();
    let mut seen = BTreeSet::new();
    let mut maps = BTreeSet::new();
    for style in ["boundary", "fill", "mean"] {
        let found = map(&dir, &["--style", style]);
        let level = &found["levels"][0];
        seen.insert(open(&dir, &level["overlay"]).into_bytes());
        maps.insert(labels(&dir, &level["labels"]));
    }
    assert_eq!((seen.len(), maps.len()), (3, 1));
}

#[test]
fn the_network_sees_the_photos_shape_or_the_size_asked_for() {
    let dir = folder();
    let found = map(&dir, &[]);
    assert_eq!(
        (&found["height"], &found["width"]),
        (&288.into(), &448.into())
    );
    let found = map(&dir, &["--size", "96x128"]);
    assert_eq!(
        (&found["height"], &found["width"]),
        (&96.into(), &128.into())
    );
    labels(&dir, &found["levels"][0]["labels"]);
}

#[test]
fn the_same_call_writes_the_same_bytes() {
    let (a, b) = (folder(), folder());
    let options = ["--level", "all", "--clusters", "6", "--style", "fill"];
    assert_eq!(map(&a, &options), map(&b, &options));
    let files = names(a.path().join("out"));
    assert_eq!(files.len(), 9);
    for file in files {
        let [first, second] = [&a, &b].map(|dir| fs::read(dir.path().join("out").join(&file)));
        assert!(
            first.expect("a file") == second.expect("a file"),
            "{file} differs"
        );
    }
}

#[test]
fn a_bad_photo_does_not_keep_the_others_from_being_mapped() {
    let dir = folder();
    fs::write(dir.path().join("bad.jpg"), b"no image").expect("a file");
    for name in ["chelsea.jpg", "coffee.jpg"] {
        fs::copy(sample(name), dir.path().join(name)).expect("a copy");
    }
    let run = fec_in(
        &dir,
        &[
            "--json",
            "map",
            "-o",
            "out",
            "chelsea.jpg",
            "bad.jpg",
            "coffee.jpg",
        ],
    );
    assert!(run.error(1).starts_with("bad.jpg: not an image"), "{run}");
    let files: Vec<Value> = objects(&run)
        .into_iter()
        .map(|object| object["file"].clone())
        .collect();
    assert_eq!(files, ["chelsea.jpg", "coffee.jpg"]);
    assert_eq!(names(dir.path().join("out")).len(), 6);
}

/// `a/photo.png` and `b/photo.png` would write the same files: the second would silently take the first one's place.
#[test]
fn two_photos_of_one_name_do_not_share_files() {
    let dir = folder();
    for (name, seed) in [("a/photo.png", 1), ("b/photo.png", 2), ("photo.jpg", 3)] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, photos::png(40, 30, seed)).expect("a file");
    }
    fec_in(&dir, &["map", "-o", "alone", "a/photo.png"]).expect(0);
    let run = fec_in(
        &dir,
        &["--json", "map", "-o", "out", "a/photo.png", "b/photo.png"],
    );
    assert!(
        run.error(1).contains("the name of two photos is 'photo'"),
        "{run}"
    );
    let read =
        |folder: &str| fs::read(dir.path().join(folder).join("photo.level3.png")).expect("a file");
    assert!(read("alone") == read("out"), "the first photo's map");
    assert_eq!(run.json()["file"], "a/photo.png");
}

#[test]
fn without_a_folder_the_files_lie_where_the_command_runs() {
    let dir = folder();
    fs::create_dir(dir.path().join("in")).expect("a folder");
    fs::write(dir.path().join("in/p.png"), photos::png(40, 30, 0)).expect("a file");
    fec_in(&dir, &["map", "in/p.png"]).expect(0);
    assert_eq!(
        names(&dir),
        ["in", "p.html", "p.level3.labels.png", "p.level3.png"]
    );
    assert_eq!(names(dir.path().join("in")), ["p.png"]);
}
