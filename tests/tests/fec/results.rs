//! What the commands write: the keys of the contract (DESIGN 8), and that nothing but the photo and the model decides.

use fec_tests::command::run_with_input;

use super::*;

const CLASSIFIED: [(&str, &str); 3] = [("file", "string"), ("top", "array"), ("ms", "object")];

fn chelsea() -> String {
    sample("chelsea.jpg").display().to_string()
}

/// `fec --json ARGS`, one object.
fn json(args: &[&str]) -> Value {
    let dir = folder();
    fec_in(&dir, &[&["--json"], args].concat()).expect(0).json()
}

#[test]
fn the_default_model_sees_a_cat() {
    let found = json(&["classify", &chelsea()]);
    check_keys(&found, &CLASSIFIED);
    assert_eq!(found["file"], chelsea());
    let top = found["top"].as_array().expect("the classes");
    assert_eq!(top.len(), 5);
    for class in top {
        let keys = [
            ("class", "count"),
            ("label", "string"),
            ("probability", "number"),
        ];
        check_keys(class, &keys);
    }
    assert_eq!(top[0]["label"], "cat");
    assert_eq!(top[0]["class"], 3);
    let of = |class: &Value| class["probability"].as_f64().expect("a number");
    assert!(
        top.windows(2).all(|pair| of(&pair[0]) >= of(&pair[1])),
        "{found}"
    );
    let times = [
        ("decode", "number"),
        ("preprocess", "number"),
        ("network", "number"),
    ];
    check_keys(&found["ms"], &times);
    let text = run(fec().args(["classify", &chelsea()])).expect(0).text();
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(
        text.lines()
            .next()
            .is_some_and(|line| line.ends_with("%  cat")),
        "{text}"
    );
}

#[test]
fn logits_are_those_of_every_class_and_give_the_probabilities() {
    let found = json(&["classify", "--logits", "--top", "3", &chelsea()]);
    check_keys(&found, &[&CLASSIFIED[..], &[("logits", "array")]].concat());
    let logits: Vec<f64> = found["logits"]
        .as_array()
        .expect("logits")
        .iter()
        .map(|v| v.as_f64().expect("a number"))
        .collect();
    assert_eq!(logits.len(), 10);
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    let top = found["top"].as_array().expect("the classes");
    assert_eq!(top.len(), 3);
    for class in top {
        let index = class["class"].as_u64().expect("a count") as usize;
        let expected = logits[index].exp() / sum;
        let probability = class["probability"].as_f64().expect("a number");
        assert!(
            (probability - expected).abs() < 1e-6,
            "{class}: expected {expected}"
        );
    }
}

#[test]
fn there_are_never_more_classes_than_the_model_has() {
    let found = json(&["classify", "--top", "1000", &chelsea()]);
    assert_eq!(found["top"].as_array().map(Vec::len), Some(10));
}

#[test]
fn several_photos_are_an_object_each_in_the_order_of_the_call() {
    let files: Vec<String> = [
        "rocket.jpg",
        "chelsea.jpg",
        "coffee.jpg",
        "astronaut.jpg",
        "chelsea.jpg",
    ]
    .map(|name| sample(name).display().to_string())
    .to_vec();
    let run = |threads: &str| {
        let mut command = fec();
        command.args(["--json", "classify", "--logits", "--threads", threads]);
        let run = fec_tests::command::run(command.args(&files)).expect(0);
        let found = objects(&run);
        let named: Vec<&str> = found
            .iter()
            .filter_map(|object| object["file"].as_str())
            .collect();
        assert_eq!(named, files);
        found
            .into_iter()
            .map(|object| without(object, "ms"))
            .collect::<Vec<_>>()
    };
    let one = run("1");
    assert_eq!(one, run("2"));
    assert_eq!(one, run("3"));
}

#[test]
fn standard_input_is_a_file_like_any_other() {
    let bytes = fs::read(sample("chelsea.jpg")).expect("the sample");
    let found = run_with_input(fec().args(["--json", "classify", "--logits", "-"]), &bytes)
        .expect(0)
        .json();
    assert_eq!(found["file"], "-");
    let named = json(&["classify", "--logits", &chelsea()]);
    assert_eq!(found["logits"], named["logits"]);
    let model = fs::read(workspace().join("models/default.fec")).expect("the default model");
    let found = run_with_input(
        fec().args(["--json", "-m", "-", "classify", "--logits", &chelsea()]),
        &model,
    )
    .expect(0)
    .json();
    assert_eq!(found["logits"], named["logits"]);
    let nothing = run_with_input(fec().args(["classify", "-"]), b"");
    assert!(nothing.error(1).starts_with("-: not an image"), "{nothing}");
}

#[test]
fn another_size_is_another_input() {
    let own = json(&["classify", "--logits", &chelsea()]);
    assert_eq!(
        own["logits"],
        json(&["classify", "--logits", "--size", "64", &chelsea()])["logits"]
    );
    assert_eq!(
        own["logits"],
        json(&["classify", "--logits", "--size", "64x64", &chelsea()])["logits"]
    );
    assert_ne!(
        own["logits"],
        json(&["classify", "--logits", "--size", "96x64", &chelsea()])["logits"]
    );
}

const BENCH: [(&str, &str); 11] = [
    ("model", "string"),
    ("height", "count"),
    ("width", "count"),
    ("dtype", "string"),
    ("isa", "string"),
    ("threads", "count"),
    ("runs", "count"),
    ("ms", "object"),
    ("multiply_adds", "count"),
    ("arena_bytes", "count"),
    ("output_crc", "string"),
];

#[test]
fn bench_measures_and_says_what() {
    let found = json(&["bench", "--runs", "3", "--isa", "portable"]);
    check_keys(&found, &BENCH);
    let times = [("min", "number"), ("median", "number"), ("p95", "number")];
    check_keys(&found["ms"], &times);
    let [min, median, p95] = times.map(|(key, _)| found["ms"][key].as_f64().expect("a number"));
    assert!(0.0 < min && min <= median && median <= p95, "{found}");
    for (key, value) in [("height", 64), ("width", 64), ("threads", 1), ("runs", 3)] {
        assert_eq!(found[key], value, "{key}");
    }
    assert_eq!(
        (&found["isa"], &found["dtype"]),
        (&"portable".into(), &"f32".into())
    );
    // The image is the self-test's, so the result is the one in the file.
    assert_eq!(found["output_crc"], json(&["verify"])["expected"]["output"]);
    let inspected = json(&["inspect"]);
    for key in ["multiply_adds", "arena_bytes"] {
        assert_eq!(found[key], inspected[key], "{key}");
    }
}

#[test]
fn bench_profiles_every_step_in_order() {
    let found = json(&["bench", "--runs", "2", "--profile", "--size", "96x64"]);
    let besides = [("peak", "object"), ("steps", "array")];
    check_keys(&found, &[&BENCH[..], &besides].concat());
    check_keys(&found["peak"], &[("f32", "number"), ("i8", "number")]);
    assert_eq!(
        (&found["height"], &found["width"]),
        (&96.into(), &64.into())
    );
    let steps = found["steps"].as_array().expect("steps");
    for step in steps {
        let keys = [
            ("step", "string"),
            ("ms", "number"),
            ("multiply_adds", "count"),
            ("share_of_peak", "number"),
            ("isa", "string"),
            ("dtype", "string"),
            ("arithmetic", "string"),
        ];
        check_keys(step, &keys);
        assert_eq!(step["isa"], found["isa"]);
        assert_eq!(step["arithmetic"], "f32");
    }
    let sum: u64 = steps
        .iter()
        .filter_map(|step| step["multiply_adds"].as_u64())
        .sum();
    assert_eq!(found["multiply_adds"], sum);
    let names: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect();
    assert_eq!(names.first(), Some(&"patch_embed"));
    assert_eq!(names.last(), Some(&"head"));
    for name in ["network.0.0.token_mixer", "network.1", "network.4.1.mlp"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
}

/// `fec` with a choice of kernels in the environment.
fn with_isa(name: &str, args: &[&str]) -> Run {
    run(fec().env("FEC_ISA", name).args(args))
}

#[test]
fn the_environment_chooses_the_kernels_of_every_command() {
    let dir = folder();
    let target = dir.path().join("out").display().to_string();
    let chelsea = chelsea();
    let commands: [&[&str]; 5] = [
        &["classify", &chelsea, &chelsea],
        &["map", &chelsea, &chelsea, "-o", &target],
        &["eval", &target],
        &["bench", "--runs", "1"],
        &["trace", "formula:0", "-o", &target],
    ];
    fs::create_dir_all(dir.path().join("out/cat")).expect("a folder");
    fs::copy(&chelsea, dir.path().join("out/cat/1.jpg")).expect("a photo");
    for args in commands {
        for name in ["", "sse9", "AVX2"] {
            let refused = with_isa(name, args);
            let line = refused.error(1);
            let start = format!("FEC_ISA is '{name}': unknown; available are portable");
            assert!(
                line.starts_with(&start) && line.contains("neon"),
                "{args:?}: {line}"
            );
            assert!(refused.stdout.is_empty(), "{refused}");
        }
    }
    assert_eq!(names(dir.path().join("out")), ["cat"]);
    let isa = |run: Run| run.expect(0).json()["isa"].clone();
    let bench = ["--json", "bench", "--runs", "1"];
    assert_eq!(isa(with_isa("portable", &bench)), "portable");
    // What the call itself says counts more.
    let named = [&bench[..], &["--isa", "portable"]].concat();
    assert_eq!(isa(with_isa("sse9", &named)), "portable");
}

#[test]
fn every_instruction_set_is_run_or_refused_with_those_there_are() {
    for isa in fec_runtime::kernels::Isa::ALL {
        let args = ["--json", "bench", "--runs", "1", "--isa", isa.name()];
        let run = run(fec().args(args));
        if fec_runtime::kernels::Kernels::get(isa).is_some() {
            assert_eq!(run.expect(0).json()["isa"], isa.name());
        } else {
            let line = run.error(2);
            assert!(
                line.contains("does not have it; available are portable"),
                "{line}"
            );
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let of = |threads: &str| json(&["bench", "--runs", "2", "--threads", threads]);
    let one = of("1");
    for threads in ["2", "3", "7"] {
        let found = of(threads);
        assert_eq!(found["output_crc"], one["output_crc"], "{threads} threads");
        assert_eq!(found["threads"].to_string(), threads);
    }
    let logits = |threads: &str| {
        json(&["classify", "--logits", "--threads", threads, &chelsea()])["logits"].clone()
    };
    assert_eq!(logits("1"), logits("2"));
    assert_eq!(logits("1"), logits("7"));
}

#[test]
fn inspect_shows_what_the_file_holds() {
    let found = json(&["inspect"]);
    let keys = [
        ("file", "string"),
        ("bytes", "count"),
        ("dtype", "string"),
        ("config", "object"),
        ("labels", "array"),
        ("preprocessing", "object"),
        ("provenance", "array"),
        ("height", "count"),
        ("width", "count"),
        ("arena_bytes", "count"),
        ("multiply_adds", "count"),
        ("isa", "string"),
        ("tensors", "array"),
    ];
    check_keys(&found, &keys);
    let file = workspace().join("models/default.fec");
    let length = fs::metadata(&file).expect("the default model").len();
    assert_eq!(found["bytes"], length);
    let labels = fs::read_to_string(workspace().join("models/cifar10.labels")).expect("labels");
    assert_eq!(
        found["labels"],
        Value::from(labels.lines().collect::<Vec<_>>())
    );
    assert_eq!(found["config"]["classes"], 10);
    assert_eq!(found["config"]["dims"].as_array().map(Vec::len), Some(4));
    let preprocessing = [
        ("height", "count"),
        ("width", "count"),
        ("crop_pct", "number"),
        ("interpolation", "string"),
        ("mean", "array"),
        ("std", "array"),
    ];
    check_keys(&found["preprocessing"], &preprocessing);
    let tensors = found["tensors"].as_array().expect("tensors");
    for tensor in tensors {
        let keys = [
            ("name", "string"),
            ("dtype", "string"),
            ("shape", "array"),
            ("bytes", "count"),
        ];
        check_keys(tensor, &keys);
    }
    let sum: u64 = tensors
        .iter()
        .filter_map(|tensor| tensor["bytes"].as_u64())
        .sum();
    assert!(sum < length, "{sum} bytes of tensors in {length}");
    // A file given by name, in either way, is the same as the embedded one.
    let path = file.display().to_string();
    let named = json(&["inspect", &path]);
    assert_eq!(without(named.clone(), "file"), without(found, "file"));
    assert_eq!(named, json(&["inspect", "-m", &path]));
    let larger = json(&["inspect", "--size", "128x96"]);
    assert_eq!(
        (&larger["height"], &larger["width"]),
        (&128.into(), &96.into())
    );
    assert!(larger["arena_bytes"].as_u64() > named["arena_bytes"].as_u64());
}

#[test]
fn verify_runs_the_self_test() {
    let found = json(&["verify"]);
    let keys = [
        ("file", "string"),
        ("ok", "bool"),
        ("expected", "object"),
        ("found", "object"),
    ];
    check_keys(&found, &keys);
    assert_eq!(found["ok"], true);
    for side in ["expected", "found"] {
        check_keys(
            &found[side],
            &[("output", "string"), ("assignments", "string")],
        );
    }
    assert_eq!(found["expected"], found["found"]);
    let text = run(fec().arg("verify")).expect(0).text();
    assert!(text.starts_with("default model: ok"), "{text}");
}
