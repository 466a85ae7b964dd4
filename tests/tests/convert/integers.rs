//! `pack --dtype i8`: what is calibrated on, what the file holds, what is kept finer, and what is reported.

use fec::Photo;
use fec_tests::command::run as run_command;

use super::*;

/// A picture of 64x64 with stripes; `seed` makes each another.
fn picture(seed: u32) -> Vec<u8> {
    let value = |i: u32| {
        let (x, y, c) = (i / 3 % 64, i / 192, i % 3);
        let wave = x * (seed % 7 + 1) + y * (seed % 5 + c) + (x * y * seed) / 64;
        (wave % 256) as u8
    };
    let pixels = (0..64 * 64 * 3).map(value).collect();
    let photo = Photo::new(64, 64, pixels).expect("a photo");
    photo.to_png().expect("a PNG")
}

/// Writes pictures, each with its seed.
fn write_pictures(dir: &TempDir, files: &[(&str, u32)]) {
    for (name, seed) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, picture(*seed)).expect("written");
    }
}

const MICRO: &str = "formula:micro";

fn integers(dir: &TempDir, options: &[&str]) -> Run {
    let mut all = vec!["--dtype", "i8", "--json"];
    all.extend(options);
    pack(dir, Path::new(MICRO), "i8.fec", &all)
}

fn file(dir: &TempDir) -> Vec<u8> {
    fs::read(dir.path().join("i8.fec")).expect("packed")
}

/// Storage types of the packed file's matrices and tables, by name.
fn types(dir: &TempDir) -> BTreeMap<String, &'static str> {
    let bytes = AlignedBytes::copy_of(&file(dir));
    let model = Model::from_bytes(bytes.as_bytes()).expect("sound");
    assert!(model.config().integer);
    let mut types = BTreeMap::new();
    model.tensors(|tensor, dtype, _| {
        types.insert(tensor.id.to_string(), dtype.name());
    });
    types
}

#[test]
fn without_photos_formula_images_calibrate_and_a_warning_says_so() {
    let dir = folder();
    let run = integers(&dir, &[]).expect(0);
    assert!(run.stderr.contains("warning: calibrated on"), "{run}");
    assert!(run.stderr.contains("--calib DIR"), "{run}");
    let report = &run.json()["quantised"];
    assert_eq!(report["calibration"]["folder"], Value::Null);
    assert_eq!(report["calibration"]["images"], 8);
    let layers = report["layers"].as_array().expect("layers");
    // The patch embedding, five of each block, four of each pool, the head.
    assert_eq!(layers.len(), 1 + 5 * 4 + 4 * 3 + 1);
    for layer in layers {
        assert_eq!(layer["dtype"], "i8", "{layer}");
        assert!(layer["sqnr_db"].as_f64() > Some(15.0), "{layer}");
        assert!(layer["cosine"].as_f64() > Some(0.98), "{layer}");
        let (worst, all) = (&layer["worst_channel_db"], &layer["sqnr_db"]);
        assert!(worst.as_f64() <= all.as_f64(), "{layer}");
    }
    let agreement = &report["agreement"];
    assert_eq!(agreement["images"], 8);
    assert_eq!(agreement["pools"].as_array().map(Vec::len), Some(3));
    assert_eq!(agreement["blocks"].as_array().map(Vec::len), Some(4));
    let pools = agreement["pools"].as_array().expect("pools");
    assert!(pools.iter().all(|p| p.as_f64() > Some(50.0)), "{agreement}");
    assert_eq!(report["worst"].as_array().map(Vec::len), Some(5));
    let first = file(&dir);
    integers(&dir, &[]).expect(0);
    assert!(first == file(&dir), "packing again gives other bytes");
}

#[test]
fn every_matrix_is_bytes_and_the_self_test_is_the_integer_networks() {
    let dir = folder();
    integers(&dir, &[]).expect(0);
    for (name, dtype) in types(&dir) {
        let expected = match name.rsplit('.').next() {
            Some("table") => "u8",
            Some("back") => "i8",
            // Gains of norms are vectors.
            Some("weight") if !name.contains("norm") => "i8",
            _ => "f32",
        };
        assert_eq!(dtype, expected, "{name}");
    }
    let bytes = AlignedBytes::copy_of(&file(&dir));
    let model = Model::from_bytes(bytes.as_bytes()).expect("sound");
    let plan = model.plan(model.self_test().size).expect("a plan");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let session = fec_runtime::Session::new(&model, plan, arena.as_bytes_mut());
    let found = session.expect("a session").self_test().expect("it runs");
    assert_eq!(found, model.self_test());
}

#[test]
fn the_order_of_photos_and_their_folders_do_not_matter() {
    let dir = folder();
    write_pictures(&dir, &[("a/1.png", 1), ("a/2.png", 2), ("a/3.png", 3)]);
    write_pictures(&dir, &[("b/x/9.png", 1), ("b/1.png", 3), ("b/y/z.png", 2)]);
    let first = integers(&dir, &["--calib", "a"]).expect(0);
    let bytes = file(&dir);
    let second = integers(&dir, &["--calib", "b"]).expect(0);
    assert!(bytes == file(&dir), "the order of photos changed the file");
    let layers = |run: &Run| run.json()["quantised"]["layers"].clone();
    assert_eq!(layers(&first), layers(&second));
    assert!(!first.stderr.contains("warning"), "{first}");
    // Other photos, other tables.
    integers(&dir, &["--calib", "a", "--calib-images", "1"]).expect(0);
    assert!(bytes != file(&dir));
}

#[test]
fn files_that_cannot_be_read_are_named_once_and_counted() {
    let dir = folder();
    write_pictures(&dir, &[("photos/1.png", 1)]);
    fs::write(dir.path().join("photos/broken.png"), b"no picture").expect("written");
    let run = integers(&dir, &["--calib", "photos"]).expect(0);
    assert_eq!(run.stderr.matches("broken.png").count(), 1, "{run}");
    let calibration = &run.json()["quantised"]["calibration"];
    assert_eq!(calibration["images"], 1);
    let skipped = calibration["skipped"].as_array().expect("a list");
    assert!(
        skipped[0]
            .as_str()
            .is_some_and(|s| s.ends_with("broken.png"))
    );
    fs::remove_file(dir.path().join("photos/1.png")).expect("removed");
    let run = integers(&dir, &["--calib", "photos"]);
    let line = run.stderr.lines().last().unwrap_or_default();
    assert!(line.contains("no readable image found"), "{run}");
}

#[test]
fn folders_without_photos_are_refused() {
    let dir = folder();
    fs::create_dir(dir.path().join("empty")).expect("made");
    for calib in ["empty", "none"] {
        let run = integers(&dir, &["--calib", calib]);
        assert!(run.error(1).contains(calib), "{run}");
    }
    assert_eq!(names(&dir), ["empty"]);
}

#[test]
fn layers_are_kept_finer_by_name_by_word_and_by_table() {
    let dir = folder();
    let keep = "--keep head=f32 --keep network.2.0.mlp.fc1.weight=f16 --keep conv_f=f16 --keep network.4.0.mlp=fine";
    let keep: Vec<&str> = keep.split(' ').collect();
    let run = integers(&dir, &keep).expect(0);
    let types = types(&dir);
    assert_eq!(types["head.weight"], "f32");
    assert_eq!(types["network.2.0.mlp.fc1.weight"], "f16");
    for pool in [1, 3, 5] {
        assert_eq!(types[&format!("network.{pool}.conv_f.weight")], "f16");
        assert_eq!(types[&format!("network.{pool}.conv_f.back")], "f16");
    }
    assert_eq!(types["network.0.0.mlp.fc1.weight"], "i8");
    let bytes = AlignedBytes::copy_of(&file(&dir));
    let model = Model::from_bytes(bytes.as_bytes()).expect("sound");
    let has_table = |stage| {
        let place = fec_runtime::config::Place::Block { stage, block: 0 };
        model.gelu_table(place).is_some()
    };
    // A table needs bytes on both sides.
    assert_eq!([0, 1, 2, 3].map(has_table), [true, false, false, true]);
    let gelu: Vec<Value> = run.json()["quantised"]["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .map(|layer| layer["gelu"].clone())
        .filter(|gelu| !gelu.is_null())
        .collect();
    assert_eq!(gelu, ["table", "computed", "computed", "table"]);
    integers(&dir, &["--keep", "mlp=fine"]).expect(0);
    let bytes = AlignedBytes::copy_of(&file(&dir));
    let model = Model::from_bytes(bytes.as_bytes()).expect("sound");
    let place = fec_runtime::config::Place::Block { stage: 0, block: 0 };
    assert!(model.gelu_table(place).is_none());
}

#[test]
fn a_tensors_full_name_rounds_its_sums_as_well() {
    let dir = folder();
    let plain = fixture("plain.pth");
    let by_layer = packed(&dir, &plain, &["--keep", "network.0.0.mlp.fc1=f16"]);
    let by_tensor = packed(&dir, &plain, &["--keep", "network.0.0.mlp.fc1.weight=f16"]);
    assert!(by_layer == by_tensor);
}

#[test]
fn mistyped_layers_are_refused_with_the_nearest_name() {
    let dir = folder();
    for (keep, nearest) in [
        ("mpl=fine", "mlp"),
        ("network.0.0.mlp.fc3=f16", "network.0.0.mlp.fc1"),
        ("hed=f32", "head"),
        ("head=fine", "mlp"),
    ] {
        let run = integers(&dir, &["--keep", keep]);
        let line = run.error(1);
        assert!(
            line.ends_with(&format!("nearest name is {nearest}")),
            "{keep}: {line}"
        );
    }
    assert!(names(&dir).is_empty());
}

#[test]
fn options_of_integer_networks_are_refused_elsewhere() {
    let dir = folder();
    for options in [
        &["--calib", "x"][..],
        &["--max-drop", "1"],
        &["--report", "a.html"],
        &["--keep", "mlp=fine"],
        &["--keep", "head=i8"],
        &["--check", "x"],
    ] {
        let run = pack(&dir, Path::new(MICRO), "out.fec", options);
        let line = run.error(2);
        assert!(
            line.contains(options[0]) && line.contains("--dtype i8"),
            "{line}"
        );
    }
    assert!(names(&dir).is_empty());
}

/// Five class folders, as the formula network has classes.
fn labelled(dir: &TempDir) {
    for class in 0..5 {
        for image in 0..3 {
            let name = format!("classes/{class}/{image}.png");
            write_pictures(dir, &[(&name, 10 * class + image)]);
        }
    }
}

#[test]
fn top1_is_compared_where_classes_are_known() {
    let dir = folder();
    labelled(&dir);
    let run = integers(&dir, &["--calib", "classes", "--max-drop", "100"]).expect(0);
    let report = &run.json()["quantised"];
    assert_eq!(report["agreement"]["top1"]["images"], 15, "{run}");
    assert_eq!(report["chosen"].as_array().map(Vec::len), Some(0));
    assert!(run.stderr.contains("0 layers finer: top-1"), "{run}");
}

#[test]
fn a_limit_on_the_drop_needs_classes() {
    let dir = folder();
    write_pictures(
        &dir,
        &[("flat/1.png", 1), ("two/a/1.png", 1), ("two/b/2.png", 2)],
    );
    for calib in [&["--calib", "flat"][..], &["--calib", "two"], &[]] {
        let options = [&["--max-drop", "1"], calib].concat();
        let run = integers(&dir, &options);
        assert!(
            run.error(1)
                .contains("--max-drop needs images in class folders"),
            "{run}"
        );
    }
    let run = integers(&dir, &["--max-drop", "-1"]);
    assert!(run.error(2).contains("from 0 to 100"), "{run}");
}

#[test]
fn the_page_stands_alone_and_names_every_layer() {
    let dir = folder();
    let run = integers(&dir, &["--report", "report.html"]).expect(0);
    let page = fs::read_to_string(dir.path().join("report.html")).expect("a page");
    for layer in run.json()["quantised"]["layers"]
        .as_array()
        .expect("layers")
    {
        let name = layer["layer"].as_str().expect("a name");
        assert!(page.contains(&format!("<th>{name}</th>")), "{name}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    for outside in ["http", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.len() < 64_000, "{} bytes", page.len());
    let run = integers(&dir, &["--report", "none/report.html"]);
    assert!(run.error(1).starts_with("none: "), "{run}");
}

#[test]
fn the_text_report_says_the_same() {
    let dir = folder();
    let mut command = fec_convert();
    command
        .current_dir(dir.path())
        .args(["pack", MICRO, "-o", "i8.fec"]);
    let run = run_command(command.args(["--dtype", "i8", "--input-size", "64"])).expect(0);
    let text = run.text();
    for part in [
        "calibrated  on 8 formula images",
        "agreement   of assignments with f32: pools ",
        "network.0.0.mlp.fc1",
        "finer       --keep network.",
        "estimated from multiply-adds",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}
