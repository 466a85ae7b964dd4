//! Runs that are stopped go on exactly where they were.

use core::time::Duration;

use super::common::{command, newest, ok, recipe, stripes, train};

/// Kills of the default test, and of the thorough one.
const KILLS: usize = 3;
const MANY_KILLS: usize = 50;

fn killed_runs_end_like_one_that_was_not(kills: usize, most: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    stripes(&dir.path().join("photos"), 16, 36);
    let mut recipe = recipe(&dir.path().join("photos"));
    recipe.push(format!("epochs={}", 15 * kills));
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
