//! Bad input and bad output: one line, exit code 1, and the folder as it was.

use super::*;

/// Every command that reads a photo.
const READERS: [&[&str]; 3] = [
    &["classify"],
    &["map", "-o", "."],
    &["trace", "-o", "t.safetensors"],
];

/// Every reader of photos refuses this file in one line that names it and says `part`, and writes nothing.
fn check_refused(name: &str, bytes: Option<&[u8]>, part: &str) {
    let dir = folder();
    if let Some(bytes) = bytes {
        fs::write(dir.path().join(name), bytes).expect("a file");
    }
    let before = names(&dir);
    for reader in READERS {
        let run = fec_in(&dir, &[reader, &[name]].concat());
        let line = run.error(1);
        assert!(
            line.starts_with(&format!("{name}: ")) && line.contains(part),
            "{part} is missing in: {line}"
        );
        assert!(run.stdout.is_empty(), "{run}");
        assert_eq!(names(&dir), before, "{reader:?}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    check_refused("none.jpg", None, "no such file");
    check_refused("formula:x", None, "no such file");
    check_refused("empty.jpg", Some(b""), "not an image");
    check_refused(
        "text.jpg",
        Some(b"just some words\n"),
        "not an image; read are JPEG, PNG",
    );
    check_refused(
        "model.fec",
        Some(models::dense().as_slice()),
        "not an image",
    );
    let dir = folder();
    fs::create_dir(dir.path().join("photo.jpg")).expect("a folder");
    for reader in READERS {
        let run = fec_in(&dir, &[reader, &["photo.jpg"]].concat());
        assert_eq!(run.error(1), "photo.jpg: is a folder, expected a file");
        let run = fec_in(&dir, &[reader, &["photo.jpg/none/x.png"]].concat());
        assert!(run.error(1).contains("no such file"), "{run}");
    }
    assert_eq!(names(&dir), ["photo.jpg"]);
}

#[test]
fn truncated_images_are_refused() {
    for (name, bytes) in [
        ("cut.jpg", photos::jpeg(80, 60, 1)),
        ("cut.png", photos::png(80, 60, 1)),
    ] {
        check_refused(name, Some(&bytes[..bytes.len() / 2]), "truncated");
        check_refused(name, Some(&bytes[..bytes.len() * 9 / 10]), "truncated");
    }
    let jpeg = fs::read(sample("chelsea.jpg")).expect("the sample");
    check_refused("cut.jpg", Some(&jpeg[..jpeg.len() - 2]), "truncated JPEG");
}

#[test]
fn images_too_large_for_memory_are_refused_from_their_header() {
    let started = std::time::Instant::now();
    check_refused(
        "huge.png",
        Some(&photos::png_that_claims(60_000, 60_000)),
        "60000 x 60000",
    );
    check_refused(
        "huge.jpg",
        Some(&photos::jpeg_that_claims(60_000, 60_000)),
        "60000 x 60000",
    );
    check_refused(
        "huge.png",
        Some(&photos::png_that_claims(u32::MAX >> 1, u32::MAX >> 1)),
        "",
    );
    check_refused("none.png", Some(&photos::png_that_claims(0, 0)), "");
    assert!(started.elapsed().as_secs() < 30, "nothing is decoded");
}

#[test]
fn damaged_images_are_refused_or_read_but_never_a_panic() {
    let dir = folder();
    for (name, whole) in [
        ("x.jpg", photos::jpeg(40, 30, 2)),
        ("x.png", photos::png(40, 30, 2)),
    ] {
        for at in (0..whole.len()).step_by(whole.len() / 25) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x81;
            fs::write(dir.path().join(name), bytes).expect("a file");
            let run = fec_in(&dir, &["classify", name]);
            if run.code != Some(0) {
                run.error(1);
            }
        }
    }
}

#[test]
fn sizes_that_the_network_does_not_take_are_refused_with_the_nearest() {
    let dir = folder();
    fs::create_dir_all(dir.path().join("photos/cat")).expect("a folder");
    fs::write(dir.path().join("photos/cat/1.png"), photos::png(20, 20, 0)).expect("a file");
    fs::copy(
        dir.path().join("photos/cat/1.png"),
        dir.path().join("photo.png"),
    )
    .expect("a copy");
    let before = names(&dir);
    let commands: [&[&str]; 6] = [
        &["classify", "photo.png"],
        &["map", "photo.png", "-o", "out"],
        &["eval", "photos"],
        &["bench", "--runs", "1"],
        &["trace", "photo.png", "-o", "t.safetensors"],
        &["inspect"],
    ];
    let sizes = [
        ("48", "nearest is 64x64"),
        ("200x224", "nearest is 192x224"),
        ("1x1", "nearest is 32x32"),
        ("0", "1 to 4096"),
        ("64x0", "1 to 4096"),
        ("100000", "1 to 4096"),
        ("18446744073709551615", "1 to 4096"),
    ];
    for command in commands {
        for (size, part) in sizes {
            let run = fec_in(&dir, &[command, &["--size", size]].concat());
            let line = run.error(1);
            assert!(
                line.contains(part),
                "{command:?}, {size}: {part} is missing in: {line}"
            );
            assert!(run.stdout.is_empty(), "{run}");
        }
    }
    assert_eq!(names(&dir), before);
}

/// Results that cannot be written there: the arguments, and a part of what must be said.
const UNWRITABLE: [(&[&str], &str); 7] = [
    (
        &["map", "photo.png", "-o", "photo.png"],
        "is a file, expected a folder",
    ),
    (
        &["map", "photo.png", "-o", "photo.png/out"],
        "is a file, expected a folder",
    ),
    (
        &["eval", "photos", "-o", "photo.png"],
        "is a file, expected a folder",
    ),
    (
        &["eval", "photos", "-o", "photo.png/out"],
        "is a file, expected a folder",
    ),
    (
        &["trace", "photo.png", "-o", "none/t.safetensors"],
        "none: no such file or folder",
    ),
    (
        &["trace", "photo.png", "-o", "photos"],
        "photos: is a folder",
    ),
    (
        &["trace", "photo.png", "-o", "photo.png/t.safetensors"],
        "photo.png/t.safetensors",
    ),
];

/// Places that refuse even the superuser.
#[cfg(target_os = "linux")]
const REFUSED: [&[&str]; 3] = [
    &["map", "photo.png", "-o", "/proc/out"],
    &["eval", "photos", "-o", "/proc/out"],
    &["trace", "photo.png", "-o", "/proc/t.safetensors"],
];
#[cfg(not(target_os = "linux"))]
const REFUSED: [&[&str]; 0] = [];

#[test]
fn results_that_cannot_be_written_are_told_and_nothing_is_left() {
    let dir = folder();
    fs::create_dir_all(dir.path().join("photos/cat")).expect("a folder");
    fs::write(dir.path().join("photos/cat/1.png"), photos::png(20, 20, 0)).expect("a file");
    fs::copy(
        dir.path().join("photos/cat/1.png"),
        dir.path().join("photo.png"),
    )
    .expect("a copy");
    let before = names(&dir);
    // How /proc refuses is its own affair.
    let refused = REFUSED.map(|args| (args, "/proc"));
    for (args, part) in UNWRITABLE.into_iter().chain(refused) {
        let run = fec_in(&dir, args);
        let line = run.error(1);
        assert!(
            line.contains(part),
            "{args:?}: {part} is missing in: {line}"
        );
        assert!(run.stdout.is_empty(), "{run}");
        assert_eq!(names(&dir), before, "{args:?}");
    }
}
