//! Streams and disks that end: pipes closed by their reader, full disks, interrupts.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use fec_tests::golden::notice;

use super::*;

fn write_photo(dir: &TempDir) {
    fs::write(dir.path().join("photo.png"), photos::png(20, 20, 0)).expect("a file");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let dir = folder();
    write_photo(&dir);
    for json in [&["--json"][..], &[]] {
        let mut child = fec()
            .current_dir(dir.path())
            .args(json)
            .arg("classify")
            .args(["photo.png"; 2000])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("fec starts");
        let mut line = String::new();
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        reader.read_line(&mut line).expect("a line");
        drop(reader);
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .expect("a pipe")
            .read_to_string(&mut stderr)
            .expect("text");
        assert_eq!(child.wait().expect("an end").code(), Some(0));
        assert_eq!(stderr, "");
        assert!(!line.is_empty());
    }
}

#[test]
fn a_full_standard_output_is_an_error() {
    let dir = folder();
    write_photo(&dir);
    fs::create_dir_all(dir.path().join("photos/cat")).expect("a folder");
    fs::copy(
        dir.path().join("photo.png"),
        dir.path().join("photos/cat/1.png"),
    )
    .expect("a copy");
    let commands: [&[&str]; 7] = [
        &["classify", "photo.png", "photo.png"],
        &["map", "photo.png", "-o", "out"],
        &["eval", "photos"],
        &["bench", "--runs", "1"],
        &["trace", "formula:0", "-o", "-"],
        &["inspect"],
        &["verify"],
    ];
    for command in commands {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full");
        let output = fec()
            .current_dir(dir.path())
            .args(command)
            .stdout(full)
            .output()
            .expect("fec starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {stderr}");
        let expected =
            "error: standard output: cannot be written: No space left on device (os error 28)\n";
        assert_eq!(stderr, expected, "{command:?}");
    }
}

#[test]
fn a_full_device_is_an_error_and_stays_a_device() {
    let run = run(fec().args(["trace", "formula:0", "-o", "/dev/full"]));
    assert!(
        run.error(1)
            .starts_with("/dev/full: cannot be written: No space left"),
        "{run}"
    );
    use std::os::unix::fs::FileTypeExt;
    let device = fs::metadata("/dev/full").expect("/dev/full");
    assert!(device.file_type().is_char_device());
}

/// A file system of a few bytes, until dropped.
struct TinyDisk(TempDir);

impl TinyDisk {
    fn new(size: &str) -> Option<Self> {
        let dir = folder();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path());
        let mounted = mount
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            notice("SKIPPED a full disk: this user cannot mount a small one");
        }
        mounted.then_some(Self(dir))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // A disk that stays mounted goes with the machine; the test has its answer.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_half_written_is_left() {
    let dir = folder();
    let photo = sample("chelsea.jpg").display().to_string();
    eval::generate(&dir.path().join("photos"), 10);
    for size in ["4k", "64k", "300k"] {
        let Some(disk) = TinyDisk::new(size) else {
            return;
        };
        let place = disk.0.path().display().to_string();
        let file = disk.0.path().join("t.safetensors").display().to_string();
        let map = ["map", &photo, "--level", "all", "-o", &place];
        let trace = ["trace", &photo, "--size", "256", "-o", &file];
        // A confusion matrix is small.
        let eval = ["eval", "photos", "-o", &place];
        let mut commands = vec![&map[..], &trace];
        if size == "4k" {
            commands.push(&eval);
        }
        for command in commands {
            let run = fec_in(&dir, command);
            assert!(run.error(1).contains("No space left"), "{size}: {run}");
            assert_eq!(names(&disk.0), [""; 0], "{size}: {command:?}");
        }
    }
}

#[test]
fn an_interrupt_ends_it() {
    let dir = folder();
    eval::generate(&dir.path().join("photos"), 40);
    write_photo(&dir);
    // What a shell starts in the background ignores interrupts, and so would what it starts; `env` ends that. Enough to be at work for
    // seconds.
    let mut child = Command::new("env")
        .arg("--default-signal=INT")
        .arg(fec().get_program())
        .current_dir(dir.path())
        .args([
            "eval",
            "photos",
            "--size",
            "1024",
            "--threads",
            "2",
            "-o",
            "out",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("fec starts");
    std::thread::sleep(core::time::Duration::from_millis(500));
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .expect("kill")
            .success()
    );
    let status = child.wait().expect("an end");
    // A shell reports a process that a signal ended as 128 and the signal's number.
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    assert_eq!(code, Some(130), "{status}");
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut stdout)
        .expect("text");
    assert_eq!(stdout, "");
    let left = dir.path().join("out");
    assert!(
        !left.exists() || names(left).is_empty(),
        "something half-written is left"
    );
}
