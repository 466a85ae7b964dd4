//! Runs under `kill -9` and under a disk that fills up: this test binary starts itself as the process that writes.
#![cfg(unix)]

use core::time::Duration;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use fec_train::run::{Best, Folder, Name, Start, State, StepRow, Training};
use rand::{Rng, SeedableRng};

/// Where the child is to train; without it the child's test does nothing.
const RUN: &str = "FEC_TRAIN_TEST_RUN";
/// The step at which the child stops by itself.
const STEPS: &str = "FEC_TRAIN_TEST_STEPS";
const START: Start<'_> = Start {
    recipe: "model = \"fec_nano\"\n",
    split: "path,set\n",
    images: "images",
    classes: &[],
};
const MODEL_LEN: usize = 300_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// A small disk of its own for the child that fills it.
const DISK: &str = "FEC_TRAIN_TEST_DISK";

/// What the model of a step is: every byte depends on the step.
fn model(step: u64) -> Vec<u8> {
    (0..MODEL_LEN as u64)
        .map(|i| ((i % 251) * (step + 1) % 256) as u8)
        .collect()
}

/// The process that is killed: a step is a row and a checkpoint, as fast as they can be written.
#[test]
fn the_child_that_trains() {
    let Some(run) = std::env::var_os(RUN) else {
        return;
    };
    let steps = std::env::var(STEPS).ok().and_then(|s| s.parse().ok());
    let folder = Folder::open(PathBuf::from(run)).unwrap();
    if let Err(error) = train(folder, steps.unwrap_or(u64::MAX)) {
        // The last line of a full disk's child.
        fs::write("/dev/stderr", format!("error: {error}\n")).unwrap();
        std::process::exit(3);
    }
}

fn train(folder: Folder, steps: u64) -> Result<(), fec_train::run::Error> {
    let (mut training, found) = Training::resume(folder)?;
    let mut state = found.map_or(State::start(), |found| {
        let state = found.checkpoint.state;
        let read = fs::read(found.checkpoint.folder.join("model.bpk")).unwrap();
        assert!(read == model(state.step), "model of step {}", state.step);
        state
    });
    while state.step < steps {
        state.step += 1;
        let step = state.step;
        training.log_step(&row(step))?;
        if step % 3 == 0 {
            state.best = Some(Best { step, metric: 1.0 });
        }
        training.save(&state, |folder| {
            fs::write(folder.join("model.bpk"), model(step))?;
            fs::write(folder.join("optim.bpk"), model(step + 1))
        })?;
    }
    Ok(())
}

fn row(step: u64) -> StepRow {
    StepRow {
        step,
        epoch: 0,
        loss: 1.0,
        lr: 0.1,
        grad_norm: None,
        images_per_second: 1.0,
        seconds: 1.0,
    }
}

fn begin(parent: &Path) -> Folder {
    let training = Training::create(parent, Name::Given("x"), &START).unwrap();
    training.folder().clone()
}

fn child(folder: &Folder) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_that_trains", "--quiet"])
        .env(RUN, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The run as anyone may read it at any moment; gives the last step.
fn check(folder: &Folder) -> Option<u64> {
    let folder = Folder::open(folder.path()).unwrap();
    assert_eq!(folder.recipe().unwrap(), START.recipe);
    let rows = folder.rows().unwrap().steps;
    let steps: Vec<u64> = rows.iter().map(|row| row.step).collect();
    for step in folder.steps().unwrap() {
        folder.at(step).expect("what has a name is whole");
    }
    let found = match folder.last() {
        Err(fec_train::run::Error::NoCheckpoint { .. }) => return None,
        found => found.unwrap(),
    };
    assert_eq!(found.notes, [""; 0], "a kill damages nothing");
    let state = found.checkpoint.state;
    let read = fs::read(found.checkpoint.folder.join("model.bpk")).unwrap();
    assert!(read == model(state.step), "model of step {}", state.step);
    // Each step has one row, up to the checkpoint at least.
    let expected: Vec<u64> = (1..=steps.len() as u64).collect();
    assert_eq!(steps, expected);
    assert!(steps.len() as u64 >= state.step, "{steps:?}");
    if let Ok(pointer) = fs::read_to_string(folder.path().join("last")) {
        let step = pointer.trim().rsplit('-').next().unwrap();
        let named = folder.at(step.parse().unwrap()).unwrap();
        assert!(named.state.step + 1 >= state.step);
    }
    if state.best.is_some() {
        assert_eq!(folder.best().unwrap().notes, [""; 0]);
    }
    Some(state.step)
}

/// However slow the machine is: until the child has written one more checkpoint.
fn wait_for_step_after(folder: &Folder, last: Option<u64>) {
    let began = Instant::now();
    while folder.steps().unwrap().last().copied() <= last {
        assert!(began.elapsed() < PATIENCE, "no checkpoint after {last:?}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn kill(times: usize, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path());
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (mut last, mut progressed, mut unfinished) = (None, 0, 0);
    for round in 0..times {
        let mut child = child(&folder);
        if round % 4 == 0 {
            // At any moment of its start, too.
            std::thread::sleep(Duration::from_micros(random.random_range(0..50_000)));
        } else {
            wait_for_step_after(&folder, last);
            std::thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let entries = fs::read_dir(folder.path().join("checkpoints")).unwrap();
        let tmp = |e: std::io::Result<fs::DirEntry>| e.unwrap().path().extension().is_some();
        unfinished += usize::from(entries.into_iter().any(tmp));
        let step = check(&folder);
        assert!(
            step >= last,
            "round {round}: from step {last:?} back to {step:?}"
        );
        progressed += usize::from(step > last);
        last = step;
    }
    assert!(progressed > 0, "no round came to a checkpoint");
    // A test that never kills within a write shows nothing.
    assert!(times < 20 || unfinished > 0, "no kill hit a write");
    let (_training, found) = Training::resume(folder.clone()).unwrap();
    assert_eq!(found.map(|f| f.checkpoint.state.step), last);
    let entries = fs::read_dir(folder.path().join("checkpoints")).unwrap();
    assert_eq!(entries.count(), folder.steps().unwrap().len());
}

#[test]
fn a_killed_run_is_readable_and_never_goes_back() {
    kill(6, 1);
}

#[test]
#[ignore = "takes half a minute; the six kills above are the same test"]
fn a_run_that_is_killed_fifty_times_is_readable_and_never_goes_back() {
    kill(50, 2);
}

/// Lets the child write files of at most `blocks` times 512 bytes: what a full disk does, at every place of a write in turn.
fn train_with_room(folder: &Folder, blocks: u32, steps: u64) -> (Option<i32>, String) {
    let shell = "trap '' XFSZ; ulimit -f \"$1\" || exit 9; shift; exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", shell, "sh", &blocks.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_that_trains", "--quiet"])
        .env(RUN, folder.path())
        .env(STEPS, steps.to_string())
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn a_disk_that_fills_up_is_one_line_and_the_run_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path());
    assert_eq!(
        train_with_room(&folder, 1 << 20, 4),
        (Some(0), String::new())
    );
    assert_eq!(check(&folder), Some(4));
    let before = fs::read(folder.path().join("metrics.jsonl")).unwrap();
    // No room for the metrics, for the state, for the model.
    let mut said = Vec::new();
    for blocks in [0, 1, 2, 100] {
        let (code, line) = train_with_room(&folder, blocks, 9);
        assert_eq!(code, Some(3), "{blocks}: {line}");
        assert!(
            line.starts_with("error: ") && line.lines().count() == 1,
            "{line}"
        );
        assert_eq!(check(&folder), Some(4), "{blocks}");
        said.push(line);
    }
    assert!(
        said[0].contains("metrics.jsonl: cannot be written"),
        "{said:?}"
    );
    assert!(
        said[3].contains("step-5: checkpoint cannot be written"),
        "{said:?}"
    );
    let parts = fs::read_dir(folder.path()).unwrap();
    let unfinished = |e: std::io::Result<fs::DirEntry>| {
        e.unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".fec-")
    };
    assert!(!parts.into_iter().any(unfinished));
    assert!(!folder.path().join("checkpoints/step-5.tmp").exists());
    // With room again it goes on, with the very rows.
    assert_eq!(
        train_with_room(&folder, 1 << 20, 9),
        (Some(0), String::new())
    );
    assert_eq!(check(&folder), Some(9));
    let after = fs::read(folder.path().join("metrics.jsonl")).unwrap();
    assert!(after.starts_with(&before) && after.len() > before.len());
}

/// Alone on a disk of 1,400 KiB, where two checkpoints have room.
#[test]
fn the_child_that_fills_a_disk() {
    let Some(disk) = std::env::var_os(DISK).map(PathBuf::from) else {
        return;
    };
    let folder = begin(&disk);
    let line = train(folder.clone(), 9).unwrap_err().to_string();
    assert!(
        line.contains("step-3: checkpoint cannot be written"),
        "{line}"
    );
    assert_eq!(check(&folder), Some(2));
    // Not a byte is left.
    let filler = disk.join("filler");
    let mut full = fs::File::create(&filler).unwrap();
    while full.write_all(&[1; 512]).is_ok() {}
    let before = folder.rows().unwrap();
    let line = Training::resume(folder.clone()).unwrap_err().to_string();
    assert!(
        line.contains("cannot be written") && !line.contains('\n'),
        "{line}"
    );
    let name = Name::Given("another");
    assert!(Training::create(&disk, name, &START).is_err());
    assert!(!disk.join("another").exists(), "nothing half-made");
    assert_eq!(check(&folder), Some(2));
    assert_eq!(folder.rows().unwrap(), before);
    // Rows that no longer fit: what is there stays whole lines.
    drop(full);
    fs::remove_file(&filler).unwrap();
    let (mut training, _) = Training::resume(folder.clone()).unwrap();
    let mut full = fs::File::create(&filler).unwrap();
    while full.write_all(&[1; 512]).is_ok() {}
    let failed = (3..100_000).find_map(|step| training.log_step(&row(step)).err());
    let line = failed.unwrap().to_string();
    assert!(line.contains("metrics.jsonl: cannot be written"), "{line}");
    assert_eq!(check(&folder), Some(2));
    let text = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert!(text.ends_with("}\n"), "no torn line");
}

#[test]
fn a_disk_without_a_byte_left_loses_nothing_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    // A mount that no one else sees and that ends with the process; who may not mount is told so.
    let shell = "mount -t tmpfs -o size=1400k none \"$1\" || exit 77; export FEC_TRAIN_TEST_DISK=\"$1\"; shift; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", shell, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_that_fills_a_disk", "--nocapture"])
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) => output,
        other => {
            let why = other.map_or_else(|e| e.to_string(), |o| stderr_of(&o));
            skipped("a small disk cannot be mounted", &why);
            return;
        }
    };
    let said = stderr_of(&output);
    if said.starts_with("unshare:") {
        return skipped("a small disk cannot be mounted", &said);
    }
    assert!(output.status.success(), "{said}");
}

fn stderr_of(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED: {what}: {}", why.trim());
}
