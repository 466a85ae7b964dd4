//! Runs of minutes: ten thousand images. `cargo test -p fec-tests --test fec -- --ignored --nocapture`.

use std::process::Command;

use fec_tests::command::fec_convert;
use fec_tests::golden::notice;

use super::*;

/// What one long run took.
#[cfg(target_os = "linux")]
struct Cost {
    report: Value,
    stderr: String,
    peak_kib: u64,
    cores: f64,
}

/// Runs `fec eval` on a folder and watches its memory and time in /proc until it ends.
#[cfg(target_os = "linux")]
fn watched(dir: &Path) -> Cost {
    use core::time::Duration;
    use std::io::Read;
    use std::process::Stdio;
    use std::time::Instant;

    let started = Instant::now();
    let mut child = fec()
        .args(["--json", "eval"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("fec starts");
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let (mut peak_kib, mut cores) = (0, 0.0);
    let status = loop {
        // Ticks are hundredths of a second on every Linux; fields 14 and 15 count from the name's closing bracket.
        if let Ok(stat) = fs::read_to_string(proc.join("stat")) {
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap_or("")
                .split_whitespace()
                .collect();
            let ticks = |at: usize| {
                fields
                    .get(at)
                    .and_then(|f| f.parse::<f64>().ok())
                    .unwrap_or(0.0)
            };
            cores = (ticks(11) + ticks(12)) / 100.0 / started.elapsed().as_secs_f64();
        }
        if let Ok(memory) = fs::read_to_string(proc.join("status")) {
            let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
            peak_kib = peak.unwrap_or(0).max(peak_kib);
        }
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    let read = |mut from: Box<dyn Read>| {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("text");
        text
    };
    let stdout = read(Box::new(child.stdout.take().expect("a pipe")));
    Cost {
        report: serde_json::from_str(&stdout).expect("JSON"),
        stderr: read(Box::new(child.stderr.take().expect("a pipe"))),
        peak_kib,
        cores,
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "evaluates 10,000 images: half a minute"]
fn memory_stays_flat_over_ten_thousand_images_and_progress_is_shown() {
    let dir = folder();
    let (few, many) = (dir.path().join("few"), dir.path().join("many"));
    eval::generate(&few, 500);
    eval::generate(&many, 10_000);
    for i in 0..30 {
        fs::write(many.join(format!("cat/bad{i}.png")), b"no image").expect("a file");
    }
    let (few, many) = (watched(&few), watched(&many));
    let rate = many.report["images_per_second"].as_f64().expect("a number");
    notice(&format!(
        "fec eval: 500 images {} KiB at most, 10,000 images {} KiB, {rate:.0} images/s on {:.2} cores",
        few.peak_kib, many.peak_kib, many.cores
    ));
    assert_eq!(
        (&many.report["images"], &many.report["skipped"]),
        (&10_000.into(), &30.into())
    );
    // The list of files itself takes about 100 bytes each.
    assert!(
        few.peak_kib > 0 && many.peak_kib < few.peak_kib + 4096,
        "memory grows with the number of images"
    );
    let progress = |line: &&str| line.starts_with("images: ") && line.contains("of 10030, about");
    let shown = many.stderr.lines().filter(progress).count();
    let seconds = 10_000.0 / rate;
    assert!(
        shown >= 1 || seconds < 6.0,
        "no progress in {seconds:.0} s: {}",
        many.stderr
    );
    assert!(many.stderr.contains("skipped 30 files"), "{}", many.stderr);
}

/// CIFAR-10's test images where the shared data is there, laid out as `val/CLASS/*`.
fn cifar10(dir: &TempDir) -> bool {
    let script = workspace().join("../shared/data/get-data.sh");
    if !script.exists() {
        notice("SKIPPED the accuracy on CIFAR-10: shared/data is not there");
        return false;
    }
    let status = Command::new("bash")
        .arg(script)
        .arg("cifar10")
        .arg(dir.path().join("cifar10"))
        .status();
    assert!(status.expect("bash").success(), "CIFAR-10 is unpacked");
    true
}

/// Top-1 and top-5 in percent as models/README.md states them for that locality.
fn stated(locality: &str) -> [f64; 2] {
    let text = fs::read_to_string(workspace().join("models/README.md")).expect("models/README.md");
    let row = text.lines().find_map(|line| {
        let cells: Vec<&str> = line
            .split('|')
            .map(|cell| cell.trim_matches([' ', '*']))
            .collect();
        let percent = |at: usize| cells.get(at)?.strip_suffix(" %")?.parse().ok();
        (cells.get(1)? == &locality).then_some([percent(2)?, percent(3)?])
    });
    row.unwrap_or_else(|| panic!("models/README.md has no accuracy of {locality}"))
}

/// Top-1 over the 10,000 test images, which with top-5 must be what the README states, in percent. Kernels that round otherwise may
/// move a few images.
fn check_accuracy(dir: &TempDir, model: &[&str], locality: &str) -> f64 {
    let report = fec_in(dir, &[&["--json", "eval", "cifar10"], model].concat())
        .expect(0)
        .json();
    notice(&format!(
        "CIFAR-10, locality {locality}: {}",
        without(report.clone(), "per_class")
    ));
    assert_eq!(
        (&report["images"], &report["skipped"]),
        (&10_000.into(), &0.into())
    );
    let [top1, top5] = ["top1", "top5"].map(|key| report[key].as_f64().expect("a number"));
    let expected = stated(locality);
    let off = (top1 - expected[0]).abs().max((top5 - expected[1]).abs());
    assert!(
        off < 0.045,
        "{top1} % and {top5} %, stated are {expected:?}"
    );
    top1
}

#[test]
#[ignore = "unpacks 60,000 images and evaluates 20,000: a minute or two"]
fn the_default_model_is_as_good_as_its_readme_says() {
    let dir = folder();
    if !cifar10(&dir) {
        return;
    }
    let top1 = check_accuracy(&dir, &[], "0.05 (the default)");
    assert!((top1 - 86.29).abs() <= 0.10, "{top1}");
    let mut pack = fec_convert();
    pack.current_dir(dir.path())
        .arg("pack")
        .arg(workspace().join("models/cifar10-fec-nano.safetensors"));
    pack.arg("--labels")
        .arg(workspace().join("models/cifar10.labels"));
    pack.args([
        "--input-size",
        "64",
        "--crop-pct",
        "1",
        "--interpolation",
        "bicubic",
        "--locality",
        "0",
        "-o",
        "plain.fec",
    ]);
    run(&mut pack).expect(0);
    check_accuracy(&dir, &["-m", "plain.fec"], "0");
}
