//! Mistakes in the call: the exit code, the one line, and that nothing is written.

use super::*;

/// Calls with mistakes that the command line alone shows, and a part of what must be said.
const USAGE: [(&[&str], &str); 14] = [
    (&["pack"], "--output <OUT.fec>"),
    (&["pack", "IN"], "--output <OUT.fec>"),
    (
        &["pack", "IN", "-o", "out.fec", "--arch", "medium"],
        "small, base, large, compact, nano",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--dtype", "i4"],
        "expected f32, f16 or i8",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--dtypo", "f16"],
        "'--dtypo'",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--keep", "head"],
        "LAYER=TYPE",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--keep", "head=i4"],
        "expected f32, f16, i8 or, for an MLP, fine",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--input-size", "big"],
        "HEIGHTxWIDTH",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--crop-pct", "1.5"],
        "at most 1",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--interpolation", "cubic"],
        "bicubic",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--mean", "1,2"],
        "three numbers",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--std", "1,1,0"],
        "three numbers",
    ),
    (
        &["pack", "IN", "-o", "out.fec", "--locality", "-1"],
        "expected one number from 0 to 1000",
    ),
    (&["unpack"], "'unpack'"),
];

#[test]
fn mistakes_in_the_call_exit_with_2_and_one_line() {
    let dir = folder();
    let plain = fixture("plain.pth");
    for (args, part) in USAGE {
        let mut command = fec_convert();
        command.current_dir(dir.path());
        for arg in args {
            match *arg {
                "IN" => command.arg(&plain),
                arg => command.arg(arg),
            };
        }
        let run = run(&mut command);
        let line = run.error(2);
        assert!(line.contains(part), "{part} is missing in: {line}");
        assert!(run.stdout.is_empty(), "{run}");
    }
    assert!(names(&dir).is_empty());
}

#[test]
fn help_and_version_are_no_mistakes() {
    let help = run(fec_convert().args(["pack", "--help"])).expect(0).text();
    for option in [
        "--arch",
        "--dtype",
        "--keep",
        "--labels",
        "--locality",
        "--similarity",
        "--ema",
        "--input-size",
        "--crop-pct",
        "--interpolation",
        "--mean",
        "--std",
        "--json",
        "--output",
    ] {
        assert!(help.contains(option), "{option} is missing in\n{help}");
    }
    let version = run(fec_convert().arg("--version")).expect(0).text();
    assert!(version.starts_with("fec-convert "), "{version}");
}

/// Options that do not fit the checkpoint, and parts of what must be said.
const MISFITS: [(&[&str], &[&str]); 8] = [
    (
        &["--input-size", "48"],
        &["--input-size", "nearest is 64x64"],
    ),
    (&["--input-size", "200x224"], &["nearest is 192x224"]),
    (&["--input-size", "0"], &["--input-size", "1 to 4096"]),
    (&["--input-size", "99999"], &["--input-size", "1 to 4096"]),
    (
        &["--keep", "network.1.conv_w=f16"],
        &["network.1.conv_w", "nearest name is network.1.conv_"],
    ),
    // Vectors are f32 always: a layer without weights cannot be kept.
    (&["--keep", "network.1.norm2=f16"], &["network.1.norm2"]),
    (&["--arch", "nano"], &["shape", "--arch"]),
    (&["--arch", "heads=3"], &["heads=3", "divide"]),
];

#[test]
fn options_that_do_not_fit_the_checkpoint_exit_with_1_and_one_line() {
    let dir = folder();
    let plain = fixture("plain.pth");
    for (options, parts) in MISFITS {
        let mut command = fec_convert();
        command.current_dir(dir.path()).arg("pack").arg(&plain);
        let run = run(command.args(["-o", "out.fec"]).args(options));
        let line = run.error(1);
        for part in parts {
            assert!(line.contains(part), "{part} is missing in: {line}");
        }
    }
    assert!(names(&dir).is_empty());
}

#[test]
fn labels_must_be_text_and_one_per_class() {
    let dir = folder();
    let cases: [(&[u8], &[&str]); 5] = [
        (b"a\nb\nc\nd\n", &["labels.txt", "4 labels for 5 classes"]),
        (b"", &["0 labels for 5 classes"]),
        (b"a\nb\nc\nd\ne\n\n", &["6 labels for 5 classes"]),
        (b"a\nb\n\xff\nd\ne\n", &["line 3", "UTF-8"]),
        (&[b'x'; 300], &["1 labels for 5 classes"]),
    ];
    for (labels, parts) in cases {
        fs::write(dir.path().join("labels.txt"), labels).expect("written");
        let run = pack(
            &dir,
            &fixture("plain.pth"),
            "out.fec",
            &["--labels", "labels.txt"],
        );
        let line = run.error(1);
        for part in parts {
            assert!(line.contains(part), "{part} is missing in: {line}");
        }
    }
    let long = format!("a\nb\n{}\nd\ne\n", "x".repeat(256));
    fs::write(dir.path().join("labels.txt"), long).expect("written");
    let run = pack(
        &dir,
        &fixture("plain.pth"),
        "out.fec",
        &["--labels", "labels.txt"],
    );
    assert!(run.error(1).contains("label 2 is longer than 255"), "{run}");
    assert_eq!(names(&dir), ["labels.txt"]);
    let run = pack(
        &dir,
        &fixture("plain.pth"),
        "out.fec",
        &["--labels", "none.txt"],
    );
    assert!(run.error(1).starts_with("none.txt: "), "{run}");
}

#[test]
fn missing_input_and_folders_are_refused() {
    let dir = folder();
    let run = pack(&dir, Path::new("none.pth"), "out.fec", &[]);
    assert!(run.error(1).starts_with("none.pth: "), "{run}");
    let run = pack(&dir, dir.path(), "out.fec", &[]);
    assert!(run.error(1).contains("cannot be read"), "{run}");
    assert!(names(&dir).is_empty());
}

#[test]
fn an_output_that_cannot_be_written_is_refused_and_the_old_one_stays() {
    let dir = folder();
    let plain = fixture("plain.pth");
    let run = pack(&dir, &plain, "none/out.fec", &[]);
    assert!(run.error(1).starts_with("none: "), "{run}");
    fs::create_dir(dir.path().join("folder")).expect("made");
    let run = pack(&dir, &plain, "folder", &[]);
    assert!(run.error(1).contains("is a folder"), "{run}");
    assert_eq!(names(&dir), ["folder"]);

    fs::write(dir.path().join("out.fec"), "old").expect("written");
    pack(&dir, &fixture("whole_module.pth"), "out.fec", &[]).error(1);
    assert_eq!(fs::read(dir.path().join("out.fec")).expect("there"), b"old");
    pack(&dir, &plain, "out.fec", &[]).expect(0);
    assert_ne!(fs::read(dir.path().join("out.fec")).expect("there"), b"old");
    assert_eq!(names(&dir), ["folder", "out.fec"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let dir = folder();
    let run = pack(&dir, &fixture("plain.pth"), "/dev/full", &[]);
    assert!(run.error(1).contains("No space left"), "{run}");
    assert!(run.stdout.is_empty(), "{run}");
    // The file is written, and its report cannot be.
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("a device");
    let mut command = fec_convert();
    command
        .arg("pack")
        .arg(fixture("plain.pth"))
        .args(["-o", "out.fec"]);
    let output = command
        .current_dir(dir.path())
        .stdout(full)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8_lossy(&output.stderr);
    assert!(line.starts_with("error: standard output: "), "{line}");
    assert_eq!(line.lines().count(), 1);
}
