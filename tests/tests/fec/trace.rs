//! `fec trace` against golden: the same network, packed, on the same image, through the command and its file.

use fec_convert::pack::pack;
use fec_runtime::ImageSize;
use fec_tests::engine::pack_options;
use fec_tests::golden::Case;
use fec_tests::tolerance;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::*;

/// The case's network packed with the case's image size as the model's own.
fn model_of(case: &Case) -> Vec<u8> {
    let mut options = pack_options();
    options.preprocessing.size = case.size;
    pack(&case.config, &case.network(), &options).expect("a golden network packs")
}

fn f32s(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = tensors
        .tensor(name)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(view.dtype(), Dtype::F32, "{name}");
    let (values, _) = view.data().as_chunks::<4>();
    values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

fn u16s(tensors: &SafeTensors<'_>, name: &str) -> Vec<u16> {
    let view = tensors
        .tensor(name)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(view.dtype(), Dtype::U16, "{name}");
    let (values, _) = view.data().as_chunks::<2>();
    values
        .iter()
        .map(|bytes| u16::from_le_bytes(*bytes))
        .collect()
}

/// Every map and the logits as golden has them, and every decision that is not close.
fn check_golden(name: &str, formula: &str) {
    let case = Case::load(name).expect("a fixture");
    let dir = folder();
    fs::write(dir.path().join("m.fec"), model_of(&case)).expect("a file");
    let args = [
        "--json",
        "-m",
        "m.fec",
        "trace",
        formula,
        "-o",
        "t.safetensors",
    ];
    let report = fec_in(&dir, &args).expect(0).json();
    let keys = [
        ("file", "string"),
        ("out", "string"),
        ("height", "count"),
        ("width", "count"),
        ("tensors", "array"),
    ];
    check_keys(&report, &keys);
    let size = [case.size.height, case.size.width];
    assert_eq!(
        [&report["height"], &report["width"]],
        size.map(Value::from).each_ref()
    );
    let bytes = fs::read(dir.path().join("t.safetensors")).expect("the trace");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut listed: Vec<&str> = report["tensors"]
        .as_array()
        .expect("tensors")
        .iter()
        .filter_map(|t| t["name"].as_str())
        .collect();
    let mut held: Vec<&str> = tensors.names();
    listed.sort_unstable();
    held.sort_unstable();
    assert_eq!(listed, held);
    let maps: Vec<String> = (0..7)
        .map(|k| format!("net.{k}"))
        .chain(["embed".into(), "logits".into()])
        .collect();
    for map in &maps {
        let golden = case
            .values(map)
            .unwrap_or_else(|| panic!("golden has no {map}"));
        let found = f32s(&tensors, map);
        assert_eq!(golden.len(), found.len(), "{map}");
        let worst = golden
            .iter()
            .zip(&found)
            .map(|(a, b)| f64::from((a - b).abs()))
            .fold(0.0, f64::max);
        let allowed = if map == "logits" {
            tolerance::FREE
        } else {
            tolerance::FORCED
        };
        assert!(worst <= allowed, "{name}: {map} differs by {worst:.1e}");
    }
    for (clusterer, golden) in case.assignments() {
        let found = u16s(&tensors, &format!("assign.{clusterer}"));
        let margins = case.margins(&clusterer);
        assert_eq!(golden.len(), found.len(), "{clusterer}");
        let wrong =
            (0..golden.len()).filter(|&i| golden[i] != found[i] && margins[i] > tolerance::MARGIN);
        assert_eq!(wrong.count(), 0, "{name}: decisions of {clusterer}");
    }
}

#[test]
fn a_trace_of_formula_weights_is_goldens() {
    check_golden("d_nano_64", "formula:0");
}

#[test]
fn a_trace_of_random_weights_is_goldens() {
    check_golden("k_nano_noise_64", "formula:3");
}

#[test]
fn a_trace_of_a_photo_ends_in_the_logits_that_classify_gives() {
    let dir = folder();
    let photo = sample("chelsea.jpg").display().to_string();
    fec_in(&dir, &["trace", &photo, "-o", "t.safetensors"]).expect(0);
    let classified = fec_in(&dir, &["--json", "classify", "--logits", &photo])
        .expect(0)
        .json();
    let bytes = fs::read(dir.path().join("t.safetensors")).expect("the trace");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    // JSON has each f32 in its shortest form.
    let listed = classified["logits"].as_array().expect("logits");
    let listed: Vec<f32> = listed
        .iter()
        .map(|logit| logit.to_string().parse().expect("a number"))
        .collect();
    assert_eq!(listed, f32s(&tensors, "logits"));
}

#[test]
fn a_dense_model_traces_its_features_and_no_logits() {
    let dir = folder();
    fs::write(dir.path().join("d.fec"), models::dense()).expect("a file");
    fec_in(
        &dir,
        &[
            "-m",
            "d.fec",
            "trace",
            "formula:0",
            "--size",
            "96x64",
            "-o",
            "t.safetensors",
        ],
    )
    .expect(0);
    let bytes = fs::read(dir.path().join("t.safetensors")).expect("the trace");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let shape = |name: &str| tensors.tensor(name).map(|view| view.shape().to_vec()).ok();
    let first = ImageSize {
        height: 24,
        width: 16,
    };
    for stage in 0..4 {
        let shape = shape(&format!("feat.{stage}")).expect("a feature");
        assert_eq!(shape[2..], [first.height >> stage, first.width >> stage]);
    }
    assert_eq!(shape("logits"), None);
}

/// `-o -` once made a file named `-`.
#[test]
fn a_trace_to_standard_output_is_the_file_and_nothing_else() {
    let dir = folder();
    fec_in(&dir, &["trace", "formula:0", "-o", "t.safetensors"]).expect(0);
    let file = fs::read(dir.path().join("t.safetensors")).expect("the trace");
    for args in [
        &["trace", "formula:0", "-o", "-"][..],
        &["--json", "trace", "formula:0", "-o", "-"],
    ] {
        let piped = fec_in(&dir, args).expect(0);
        assert!(piped.stdout == file, "{args:?}");
    }
    assert_eq!(names(&dir), ["t.safetensors"]);
}
