//! A run's folder: never overwritten, readable whatever was damaged, and on `resume` as if it had never gone further.

use std::fs;
use std::path::{Path, PathBuf};

use fec_train::run::{Best, EpochRow, Error, Folder, Name, Start, State, StepRow, Training};

const START: Start<'_> = Start {
    recipe: "model = \"fec_nano\"\n",
    split: "path,set\n",
    images: "images",
    classes: &[],
};

fn create(parent: &Path, name: &str) -> Result<Training, Error> {
    Training::create(parent, Name::Given(name), &START)
}

fn state(step: u64) -> State {
    State {
        step,
        ..State::start()
    }
}

fn payload(step: u64) -> impl FnOnce(&Path) -> std::io::Result<()> {
    move |folder| {
        fs::write(folder.join("model.bpk"), format!("model of {step}"))?;
        fs::write(folder.join("optim.bpk"), vec![step as u8; 3000])
    }
}

fn save(training: &mut Training, step: u64) -> PathBuf {
    training.save(&state(step), payload(step)).unwrap()
}

fn step_row(step: u64) -> StepRow {
    StepRow {
        step,
        epoch: step / 10,
        loss: 1.0 / step as f64,
        lr: 1e-3,
        grad_norm: Some(0.5),
        images_per_second: 100.0,
        seconds: step as f64,
    }
}

fn epoch_row(epoch: u64) -> EpochRow {
    EpochRow {
        epoch,
        step: (epoch + 1) * 10,
        train_loss: 0.1,
        eval_loss: Some(0.25),
        eval_top1: Some(62.5),
        eval_top5: None,
        lr: 1e-3,
        images_per_second: 100.0,
        seconds: 10.0,
    }
}

/// The one line that a person is shown.
fn line(error: &Error) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

#[test]
fn a_run_holds_what_it_was_begun_with_and_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let classes = ["cat".to_string(), "großer Hund, rot".to_string()];
    let start = Start {
        classes: &classes,
        ..START
    };
    let training = Training::create(dir.path(), Name::Given("first"), &start).unwrap();
    let folder = Folder::open(training.folder().path()).unwrap();
    assert_eq!(folder.name(), "first");
    assert_eq!(folder.recipe().unwrap(), START.recipe);
    assert_eq!(folder.split().unwrap(), START.split);
    assert_eq!(folder.classes().unwrap(), classes);
    drop(training);
    let error = create(dir.path(), "first").unwrap_err();
    assert!(matches!(error, Error::Taken { .. }));
    assert!(line(&error).contains("first: is there already"), "{error}");
    // An empty folder and a file are other people's too.
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    for name in ["empty", "file"] {
        assert!(matches!(create(dir.path(), name), Err(Error::Taken { .. })));
    }
}

#[test]
fn names_made_from_the_date_never_meet() {
    let dir = tempfile::tempdir().unwrap();
    let name = Name::Auto {
        model: "fec_nano",
        size: 64,
    };
    let runs: Vec<_> = (0..5)
        .map(|_| Training::create(&dir.path().join("runs"), name, &START).unwrap())
        .collect();
    let mut names: Vec<_> = runs.iter().map(|run| run.folder().name()).collect();
    assert!(
        names.iter().all(|n| n.contains("-fec_nano-64")),
        "{names:?}"
    );
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5);
}

#[test]
fn a_class_name_of_two_lines_is_refused_and_leaves_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let classes = ["a".to_string(), "b\nc".to_string()];
    let start = Start {
        classes: &classes,
        ..START
    };
    let error = Training::create(dir.path(), Name::Given("x"), &start).unwrap_err();
    assert!(line(&error).contains("one line"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_no_run_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let error = Folder::open(dir.path().join("none")).unwrap_err();
    assert!(line(&error).ends_with("no such file or folder"), "{error}");
    let error = Folder::open(dir.path()).unwrap_err();
    assert!(line(&error).contains("no recipe.toml"), "{error}");
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Folder::open(dir.path().join("file")).unwrap_err();
    assert!(line(&error).contains("expected a folder"), "{error}");
}

#[test]
fn two_trainings_of_a_run_are_one_too_many_and_a_dead_one_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = create(dir.path(), "x").unwrap();
    save(&mut training, 1);
    let folder = training.folder().clone();
    let error = Training::resume(folder.clone()).unwrap_err();
    let expected = format!("process {} is training", std::process::id());
    assert!(line(&error).contains(&expected), "{error}");
    // Reading needs no lock.
    assert_eq!(folder.last().unwrap().checkpoint.state.step, 1);
    // The lock's file stays, with a number in it that is no process's any more; the lock does not.
    drop(training);
    fs::write(folder.path().join("lock"), "4194304999\n").unwrap();
    Training::resume(folder).unwrap();
}

#[test]
fn the_newest_few_and_the_best_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = create(dir.path(), "x").unwrap();
    training.keep(3);
    for step in 1..=9 {
        let state = State {
            best: Some(Best {
                step: step.min(4),
                metric: 50.0,
            }),
            ..state(step)
        };
        training.save(&state, payload(step)).unwrap();
    }
    let folder = training.folder();
    assert_eq!(folder.steps().unwrap(), [4, 7, 8, 9]);
    assert_eq!(folder.best().unwrap().checkpoint.state.step, 4);
    assert_eq!(folder.last().unwrap().checkpoint.state.step, 9);
    assert_eq!(folder.at(8).unwrap().state.step, 8);
    let error = folder.at(5).unwrap_err();
    assert!(
        line(&error).contains("step 5; it has 4, 7, 8, 9"),
        "{error}"
    );
    let pointer = |name| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(pointer("last"), "checkpoints/step-9\n");
    assert_eq!(pointer("best"), "checkpoints/step-4\n");
}

/// Does one thing to a checkpoint's folder.
type Harm = fn(&Path);

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_taken() {
    let harms: [(&str, Harm); 7] = [
        ("manifest.json is missing", |c| {
            fs::remove_file(c.join("manifest.json")).unwrap();
        }),
        ("manifest.json: ", |c| {
            fs::write(c.join("manifest.json"), "{\"format\":").unwrap();
        }),
        ("optim.bpk cannot be read", |c| {
            fs::remove_file(c.join("optim.bpk")).unwrap();
        }),
        ("optim.bpk has 0 bytes, 3000 were written", |c| {
            fs::write(c.join("optim.bpk"), "").unwrap();
        }),
        ("optim.bpk is not what was written", |c| {
            let mut bytes = vec![3; 3000];
            bytes[2999] = 4;
            fs::write(c.join("optim.bpk"), bytes).unwrap();
        }),
        ("state.json is not what was written", |c| {
            let state = fs::read_to_string(c.join("state.json")).unwrap();
            fs::write(
                c.join("state.json"),
                state.replace("\"epoch\": 0", "\"epoch\": 7"),
            )
            .unwrap();
        }),
        ("is not the name of a file in it", |c| {
            let text = fs::read_to_string(c.join("manifest.json")).unwrap();
            let text = text.replace("optim.bpk", "../step-2/optim.bpk");
            fs::write(c.join("manifest.json"), text).unwrap();
        }),
    ];
    for (reason, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        let mut training = create(dir.path(), "x").unwrap();
        for step in [2, 3] {
            save(&mut training, step);
        }
        let folder = training.folder().clone();
        drop(training);
        harm(&folder.path().join("checkpoints/step-3"));
        let found = folder.last().unwrap();
        assert_eq!(found.checkpoint.state.step, 2, "{reason}");
        assert_eq!(found.notes.len(), 1);
        let note = &found.notes[0];
        assert!(note.contains(reason), "{note}");
        assert!(note.ends_with("taking that of step 2") && !note.contains('\n'));
        // Going on removes the damaged one, so that its step can be reached again.
        let (mut training, found) = Training::resume(folder.clone()).unwrap();
        assert_eq!(found.unwrap().checkpoint.state.step, 2);
        assert_eq!(folder.steps().unwrap(), [2]);
        let last = fs::read_to_string(folder.path().join("last")).unwrap();
        assert_eq!(last, "checkpoints/step-2\n");
        save(&mut training, 3);
        assert_eq!(folder.last().unwrap().checkpoint.state.step, 3);
    }
}

#[test]
fn a_run_without_one_whole_checkpoint_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = create(dir.path(), "x").unwrap();
    let folder = training.folder().clone();
    assert!(line(&folder.last().unwrap_err()).contains("no checkpoint yet"));
    save(&mut training, 1);
    drop(training);
    fs::remove_file(folder.path().join("checkpoints/step-1/model.bpk")).unwrap();
    let error = Training::resume(folder).unwrap_err();
    assert!(
        line(&error).contains("that of step 1 is damaged: model.bpk"),
        "{error}"
    );
}

#[test]
fn a_newer_versions_checkpoint_is_refused_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = create(dir.path(), "x").unwrap();
    save(&mut training, 1);
    let newest = save(&mut training, 2);
    let text = fs::read_to_string(newest.join("manifest.json")).unwrap();
    let text = text.replace("\"format\": 1", "\"format\": 2");
    fs::write(newest.join("manifest.json"), text).unwrap();
    let error = training.folder().last().unwrap_err();
    assert!(line(&error).contains("step-2: format 2"), "{error}");
}

#[test]
fn what_the_payload_says_is_told_and_nothing_of_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = create(dir.path(), "x").unwrap();
    save(&mut training, 1);
    let failing = |folder: &Path| -> std::io::Result<()> {
        fs::write(folder.join("model.bpk"), "half")?;
        Err(std::io::ErrorKind::StorageFull.into())
    };
    let error = training.save(&state(2), failing).unwrap_err();
    assert!(
        line(&error).contains("no storage space; the last one stays"),
        "{error}"
    );
    let odd = State {
        seconds: f64::NAN,
        ..state(3)
    };
    let error = training.save(&odd, payload(3)).unwrap_err();
    assert!(matches!(error, Error::State { step: 3, .. }), "{error}");
    let error = training.save(&state(0), payload(0)).unwrap_err();
    assert!(line(&error).contains("there is a later one"), "{error}");
    let folder = training.folder();
    let checkpoints = fs::read_dir(folder.path().join("checkpoints")).unwrap();
    assert_eq!(checkpoints.count(), 1);
    assert_eq!(folder.last().unwrap().checkpoint.state.step, 1);
}

#[test]
fn the_same_step_again_keeps_its_tensors_and_takes_the_new_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = create(dir.path(), "x").unwrap();
    save(&mut training, 1);
    let never = |_: &Path| -> Result<(), String> { panic!("written twice") };
    training.save(&state(1), never).unwrap();
    // It was validated after it was saved, and is the best.
    let best = State {
        best: Some(Best {
            step: 1,
            metric: 100.0 / 3.0,
        }),
        seconds: 0.1 + 0.2,
        ..state(1)
    };
    training.save(&best, never).unwrap();
    let folder = training.folder();
    assert_eq!(folder.last().unwrap().checkpoint.state, best);
    assert_eq!(folder.best().unwrap().notes, [""; 0]);
    let pointer = fs::read_to_string(folder.path().join("best")).unwrap();
    assert_eq!(pointer, "checkpoints/step-1\n");
}

#[test]
fn rows_beyond_the_checkpoint_are_cut_off_on_resume() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = create(dir.path(), "x").unwrap();
    let run_to = |training: &mut Training, from: u64, to: u64| {
        for step in from..=to {
            training.log_step(&step_row(step)).unwrap();
            if step % 10 == 0 {
                training.log_epoch(&epoch_row(step / 10 - 1)).unwrap();
            }
        }
    };
    run_to(&mut training, 1, 15);
    save(&mut training, 15);
    run_to(&mut training, 16, 24);
    let folder = training.folder().clone();
    drop(training);
    let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
    // A process that was killed within a line.
    let torn = read("metrics.jsonl") + "{\"kind\":\"step\",\"step\":25,\"ep";
    fs::write(folder.path().join("metrics.jsonl"), torn).unwrap();
    fs::write(
        folder.path().join("summary.csv"),
        read("summary.csv") + "2,3",
    )
    .unwrap();
    assert_eq!(folder.rows().unwrap().steps.len(), 24);
    let (mut training, _) = Training::resume(folder.clone()).unwrap();
    run_to(&mut training, 16, 30);
    let rows = folder.rows().unwrap();
    let expected: Vec<StepRow> = (1..=30).map(step_row).collect();
    assert_eq!(rows.steps, expected);
    assert_eq!(rows.epochs, [epoch_row(0), epoch_row(1), epoch_row(2)]);
    assert_eq!(
        read("summary.csv"),
        "epoch,step,train_loss,eval_loss,eval_top1,eval_top5,lr,images_per_second,seconds\n\
         0,10,0.1,0.25,62.5,,0.001,100.0,10.0\n\
         1,20,0.1,0.25,62.5,,0.001,100.0,10.0\n\
         2,30,0.1,0.25,62.5,,0.001,100.0,10.0\n"
    );
    assert!(read("metrics.jsonl").lines().all(|l| l.ends_with('}')));
}

#[test]
fn a_loss_that_is_not_a_number_stays_one_row() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = create(dir.path(), "x").unwrap();
    let row = StepRow {
        loss: f64::NAN,
        ..step_row(1)
    };
    training.log_step(&row).unwrap();
    let rows = training.folder().rows().unwrap();
    assert!(rows.steps[0].loss.is_nan());
}

#[test]
fn a_run_that_was_stopped_before_its_first_checkpoint_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = create(dir.path(), "x").unwrap();
    training.log_step(&step_row(1)).unwrap();
    let folder = training.folder().clone();
    drop(training);
    fs::create_dir(folder.path().join("checkpoints/step-1.tmp")).unwrap();
    fs::write(folder.path().join(".fec-123.part"), "x").unwrap();
    let (_training, found) = Training::resume(folder.clone()).unwrap();
    assert!(found.is_none());
    assert_eq!(folder.rows().unwrap().steps, []);
    assert!(!folder.path().join("checkpoints/step-1.tmp").exists());
    assert!(!folder.path().join(".fec-123.part").exists());
}
