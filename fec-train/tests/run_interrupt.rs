//! Ctrl-C in a process of its own: this test binary starts itself as the one that is interrupted.
#![cfg(unix)]

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

use fec_train::interrupt::Interrupt;

/// Folder in which the child says how far it is; without it the child's test does nothing.
const FOLDER: &str = "FEC_TRAIN_TEST_INTERRUPT";
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_child_that_is_interrupted() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let interrupt = Interrupt::listen().unwrap();
    assert!(!interrupt.pressed());
    assert!(Interrupt::listen().is_err(), "twice in one process");
    fs::write(folder.join("listening"), "").unwrap();
    let began = Instant::now();
    while !interrupt.pressed() && began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(2));
    }
    fs::write(folder.join("pressed"), "").unwrap();
    // A long step, at whose end it would exit by itself.
    sleep(PATIENCE);
    std::process::exit(0);
}

fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < PATIENCE, "{} never came", path.display());
        sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn the_first_press_is_a_flag_and_the_second_ends_with_130() {
    for signals in [["INT", "INT"], ["TERM", "INT"]] {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child_that_is_interrupted", "--quiet"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for(&dir.path().join("listening"));
        signal(&child, signals[0]);
        wait_for(&dir.path().join("pressed"));
        let began = Instant::now();
        signal(&child, signals[1]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        assert!(
            began.elapsed() < PATIENCE / 2,
            "it waited for the step's end"
        );
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("stopping after this step") && said.lines().count() == 1,
            "{said}"
        );
    }
}
