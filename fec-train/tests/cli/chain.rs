//! From images to a packed model that classifies them, and everything a run leaves.

use std::path::Path;

use fec_runtime::{AlignedBytes, Image, ImageSize, Model, Session};
use fec_train::recipe::EMBEDDED;

use super::common::{command, ok, recipe, stripes, train};

#[test]
fn a_folder_becomes_a_model_that_tells_its_classes_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    stripes(&dir.path().join("photos"), 24, 40);
    let mut recipe = recipe(&dir.path().join("photos"));
    recipe.extend(
        [
            "epochs=40",
            "lr=4e-3",
            "smoothing=0",
            "mixup=0",
            "reprob=0",
            "drop-path=0",
            "model-ema=false",
            "hflip=0",
        ]
        .map(String::from),
    );
    let mut arguments = train("first", recipe);
    arguments.push("--json".into());
    let lines = ok(dir.path(), &arguments);
    let last: serde_json::Value =
        serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert!(last["top1"].as_f64() >= Some(90.0), "{last}");

    let run = dir.path().join("runs/first");
    for file in [
        "recipe.toml",
        "split.csv",
        "classes.txt",
        "summary.csv",
        "metrics.jsonl",
        "curves.svg",
        "report.html",
        "best.safetensors",
        "model.fec",
    ] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    let first_loss = losses(&run).first().copied().expect("a row");
    let last_loss = losses(&run).last().copied().expect("a row");
    assert!(
        last_loss < first_loss / 2.0,
        "loss {first_loss} -> {last_loss}"
    );
    let page = std::fs::read_to_string(run.join("report.html")).expect("the page");
    assert!(
        page.contains("</html>") && page.contains("across"),
        "no page"
    );
    weights_are_exported(dir.path(), &run);
    let eval = ok(dir.path(), &["eval", "runs/first", "--json"]);
    let eval: serde_json::Value = serde_json::from_str(eval.trim()).expect("JSON");
    assert_eq!(eval["top1"], last["top1"]);
}

/// What `export` writes is what the run has, and the converter reads it.
fn weights_are_exported(dir: &Path, run: &Path) {
    // The run's weights are what PyTorch users read, and pack to the same network.
    ok(dir, &["export", "runs/first", "-o", "out.fec"]);
    let (exported, packed) = (read(dir.join("out.fec")), read(run.join("model.fec")));
    let (a, b) = (logits(&exported), logits(&packed));
    assert_eq!(a, b);
    ok(dir, &["export", "runs/first", "-o", "out.safetensors"]);
    let both = [dir.join("out.safetensors"), run.join("best.safetensors")]
        .map(|p| std::fs::read(p).expect("weights"));
    assert!(both[0] == both[1]);
    fec_train::export::check(&run.join("best.safetensors"))
        .expect("the converter reads the weights");
}

/// Training losses of the epochs.
fn losses(run: &std::path::Path) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    text.lines()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["train_loss"].as_f64()
        })
        .collect()
}

fn read(path: std::path::PathBuf) -> AlignedBytes {
    AlignedBytes::copy_of(&std::fs::read(path).expect("a model"))
}

/// Logits of the formula image.
fn logits(file: &AlignedBytes) -> Vec<f32> {
    let model = Model::from_bytes(file.as_bytes()).expect("a model");
    let size = ImageSize {
        height: 32,
        width: 32,
    };
    let plan = model.plan(size).expect("a plan");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let mut session = Session::new(&model, plan, arena.as_bytes_mut()).expect("a session");
    session
        .run(&Image::formula(size, 0))
        .expect("logits")
        .logits()
        .to_vec()
}

#[test]
fn pools_are_as_published_until_their_start() {
    let dir = tempfile::tempdir().expect("a folder");
    stripes(&dir.path().join("photos"), 16, 36);
    let mut trained = Vec::new();
    for (name, options) in [
        ("late", &["pool-start=0.5"][..]),
        ("published", &["locality=0", "pool-gradient=none"]),
        ("early", &[]),
    ] {
        let mut recipe = recipe(&dir.path().join("photos"));
        recipe.push("epochs=4".into());
        recipe.extend(options.iter().map(|option| option.to_string()));
        ok(dir.path(), &train(name, recipe));
        trained.push(dir.path().join("runs").join(name));
    }
    let [late, published, early] = [0, 1, 2].map(|run| losses(&trained[run]));
    assert_eq!(late[..2], published[..2]);
    assert_ne!(late[..2], early[..2]);
    assert_ne!(late[2..], published[2..]);
    let file = read(trained[0].join("model.fec"));
    let model = Model::from_bytes(file.as_bytes()).expect("a model");
    assert_eq!(model.config().locality, [0.05; 3]);
}

#[test]
fn doctor_finds_the_runtime_in_agreement() {
    let dir = tempfile::tempdir().expect("a folder");
    stripes(&dir.path().join("photos"), 4, 40);
    let text = ok(dir.path(), &["doctor", "photos", "--device", "cpu"]);
    assert!(text.contains("ok   one batch"), "{text}");
    assert!(text.contains("ok   images"), "{text}");
    #[cfg(target_os = "linux")]
    assert!(
        text.contains("a batch of 32 takes about") && text.contains("; decoded images take"),
        "{text}"
    );
}

/// On a batch with a pattern, whose places look alike, rounding decided between centres, and the doctor said that of the paper's recipe
/// the runtime and the trainer disagreed.
#[test]
fn doctor_is_content_with_every_recipe_of_the_program() {
    for (recipe, _) in EMBEDDED {
        let text = ok(
            Path::new("."),
            &["doctor", "--recipe", recipe, "--device", "cpu"],
        );
        assert!(text.contains("ok   one batch"), "{recipe}: {text}");
    }
}

#[cfg(unix)]
#[test]
fn doctor_names_the_gpus_that_a_driver_lists() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().expect("a folder");
    let program = dir.path().join("nvidia-smi");
    let script = "#!/bin/sh\necho '0, NVIDIA H200, 570.133.20, 142905, 143771'\n";
    std::fs::write(&program, script).expect("a program");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a program");
    let output = command(dir.path(), &["doctor", "--device", "cpu"])
        .env("PATH", dir.path())
        .output()
        .expect("fec-train starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = "ok   GPUs: 0: NVIDIA H200, 150 GB of 151 GB free, driver 570.133.20";
    assert!(text.contains(expected), "{text}");
}
