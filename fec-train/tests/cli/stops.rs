//! Runs that are stopped go on exactly where they were.

use core::time::Duration;

use super::common::{command, error_line, newest, ok, recipe, stripes, train};

/// Kills of the default test, and of the thorough one.
const KILLS: usize = 3;
const MANY_KILLS: usize = 50;

fn killed_runs_end_like_one_that_was_not(kills: usize, most: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    stripes(&dir.path().join("photos"), 16, 36);
    let mut recipe = recipe(&dir.path().join("photos"));
    recipe.push(format!("epochs={}", 15 * kills));
    recipe.push("pool-start=0.5".into());
    ok(dir.path(), &train("whole", recipe.clone()));
    let broken = dir.path().join("runs/broken");
    let mut arguments = train("broken", recipe);
    let mut done = 0;
    for kill in 0.. {
        let mut child = command(dir.path(), &arguments)
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("fec-train starts");
        // Anything from before the first checkpoint on.
        let patience = Duration::from_millis(150 + (kill as u64 * 7919) % most);
        std::thread::sleep(patience);
        if done < kills {
            child.kill().expect("a signal");
        }
        let status = child.wait().expect("an end");
        if broken.join("recipe.toml").is_file() {
            arguments = ["resume", "runs/broken"].map(String::from).to_vec();
        }
        if status.success() {
            break;
        }
        done += 1;
    }
    assert!(done >= kills, "only {done} kills: the run is too short");
    let whole = dir.path().join("runs/whole");
    assert!(
        newest(&whole) == newest(&broken),
        "{done} kills changed the result"
    );
    let weights =
        |run: &std::path::Path| std::fs::read(run.join("best.safetensors")).expect("weights");
    assert!(
        weights(&whole) == weights(&broken),
        "{done} kills changed the best weights"
    );
}

#[test]
fn a_killed_run_is_resumed_to_the_same_bits() {
    killed_runs_end_like_one_that_was_not(KILLS, 400);
}

#[test]
#[ignore = "minutes; run with --ignored"]
fn fifty_kills_change_nothing() {
    killed_runs_end_like_one_that_was_not(MANY_KILLS, 500);
}

/// Files of at most so many times 512 bytes: what a full disk does, with room for what a run begins with alone.
#[cfg(unix)]
const BLOCKS: &str = "48";

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_is_one_line_and_with_room_again_the_run_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    stripes(&dir.path().join("photos"), 8, 36);
    let recipe = recipe(&dir.path().join("photos"));
    ok(dir.path(), &train("whole", recipe.clone()));
    let shell = "trap '' XFSZ; ulimit -f \"$1\" || exit 9; shift; exec \"$@\"";
    let output = std::process::Command::new("sh")
        .current_dir(dir.path())
        .args(["-c", shell, "sh", BLOCKS, env!("CARGO_BIN_EXE_fec-train")])
        .args(train("full", recipe))
        .output()
        .expect("a shell");
    let error = error_line(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot be written"), "{error}");
    ok(dir.path(), &["resume", "runs/full"]);
    let [whole, full] = ["whole", "full"].map(|run| newest(&dir.path().join("runs").join(run)));
    assert!(whole == full, "the full disk changed the result");
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_checkpoint_and_ends_with_130() {
    let dir = tempfile::tempdir().expect("a folder");
    stripes(&dir.path().join("photos"), 16, 36);
    let mut recipe = recipe(&dir.path().join("photos"));
    recipe.push("epochs=2000".into());
    let mut child = command(dir.path(), &train("long", recipe))
        .spawn()
        .expect("fec-train starts");
    let checkpoint = dir.path().join("runs/long/last");
    for _ in 0..600 {
        if checkpoint.is_file() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let pressed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill");
    assert!(pressed.success());
    let status = child.wait().expect("an end");
    assert_eq!(status.code(), Some(130));
    assert!(!newest(&dir.path().join("runs/long")).is_empty());
}
