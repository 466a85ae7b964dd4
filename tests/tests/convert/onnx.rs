//! `fec-convert verify --against` an ONNX graph: what it reports, what it finds, what it refuses.

use super::*;

/// The graphs of nano with formula weights at 64x64 that PyTorch exported: scatter-add, and one-hot matrices.
const GRAPHS: [&str; 2] = ["nano_64_scatter.onnx", "nano_64_onehot.onnx"];

/// The graphs that are there; those that are not are counted aloud.
fn graphs() -> Vec<PathBuf> {
    let paths = GRAPHS.map(|name| shared().join("onnx").join(name));
    let found: Vec<PathBuf> = paths.into_iter().filter(|path| path.exists()).collect();
    let missing = GRAPHS.len() - found.len();
    if missing > 0 {
        notice(&format!(
            "SKIPPED {missing} of {} ONNX graphs: shared/onnx is not there",
            GRAPHS.len()
        ));
    }
    found
}

/// A message of protobuf, written field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u8, value: u8) -> Self {
        self.0.extend([field << 3, value]);
        self
    }

    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        let len = bytes.len();
        self.0.extend([
            field << 3 | 2,
            (len & 127) as u8 | 128,
            u8::try_from(len >> 7).expect("a short message"),
        ]);
        self.0.extend(bytes);
        self
    }
}

/// A value's name, element type (1: f32, 7: i64) and dimensions; those of 0 are left open.
fn value(name: &str, elements: u8, dims: &[u8]) -> Vec<u8> {
    let shape = dims.iter().fold(Message::default(), |shape, &dim| {
        let dim = match dim {
            0 => Message::default().bytes(2, b"open"),
            dim => Message::default().number(1, dim),
        };
        shape.bytes(1, &dim.0)
    });
    let tensor = Message::default().number(1, elements).bytes(2, &shape.0);
    let kind = Message::default().bytes(1, &tensor.0);
    Message::default()
        .bytes(1, name.as_bytes())
        .bytes(2, &kind.0)
        .0
}

/// A graph of one operator, from `x` to `y`.
fn graph(operator: &str, input: &[u8]) -> Message {
    let node = Message::default()
        .bytes(1, b"x")
        .bytes(2, b"y")
        .bytes(3, b"the_node")
        .bytes(4, operator.as_bytes());
    Message::default()
        .bytes(1, &node.0)
        .bytes(2, b"graph")
        .bytes(11, input)
        .bytes(12, &value("y", 1, &[0, 0]))
}

/// A model of opset 18 as torch's exporter begins one.
fn model(graph: &Message) -> Vec<u8> {
    let opset = Message::default().bytes(1, b"").number(2, 18);
    let model = Message::default().number(1, 10).bytes(2, b"pytorch");
    model.bytes(7, &graph.0).bytes(8, &opset.0).0
}

fn verify(dir: &TempDir, against: &Path, options: &[&str]) -> Run {
    let mut command = fec_convert();
    command
        .current_dir(dir.path())
        .args(["verify", "packed.fec"]);
    run(command.arg("--against").arg(against).args(options))
}

#[test]
fn a_packed_model_equals_both_forms_of_its_graph() {
    let dir = folder();
    for (options, tolerance, bound) in [
        (&["--dtype", "f32"][..], 1e-3, 2e-5),
        (&["--dtype", "f16"], 1e-1, 5e-2),
    ] {
        packed(&dir, Path::new("formula:nano"), options);
        for path in graphs() {
            let report = verify(&dir, &path, &["--json"]).expect(0).json();
            let number = |key: &str| report[key].as_f64().expect("a number");
            assert_eq!(report["ok"], true);
            assert_eq!(report["images"], 5);
            assert_eq!(report["same_top1"], 5);
            assert_eq!((number("height"), number("width")), (64.0, 64.0));
            assert!(number("largest_difference") <= bound, "{report}");
            assert!(number("relative_difference") > 0.0, "{report}");
            assert!((number("tolerance") - tolerance).abs() < 1e-6, "{report}");
            let images = report["per_image"].as_array().expect("a list");
            assert_eq!(images.len(), 5);
            assert_eq!(images[4]["image"], "formula image 4");
            assert_eq!(images[4]["same_top1"], true);
            // A graph tells nothing of its assignments.
            assert_eq!(report["levels"], Value::Null);
            let text = verify(&dir, &path, &[]).expect(0);
            assert!(text.text().ends_with("\nok\n"), "{text}");
        }
    }
}

#[test]
fn the_graph_decides_the_size_and_photos_are_compared_at_it() {
    let dir = folder();
    let Some(path) = graphs().pop() else { return };
    let formula = Path::new("formula:nano");
    pack(&dir, formula, "packed.fec", &["--labels", "none.txt"]).error(1);
    let mut command = fec_convert();
    command.current_dir(dir.path()).args(["pack"]).arg(formula);
    run(command.args(["-o", "packed.fec", "--input-size", "96"])).expect(0);
    let photos = dir.path().join("photos");
    fs::create_dir(&photos).expect("made");
    let photo = image::RgbImage::from_fn(90, 70, |x, y| image::Rgb([x as u8, y as u8, 99]));
    photo.save(photos.join("a.png")).expect("saved");
    fs::write(photos.join("b.jpg"), "no photo").expect("written");
    let run = verify(&dir, &path, &["--images", "photos", "--json"]).expect(0);
    let report = run.json();
    assert_eq!(
        (&report["images"], &report["skipped"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        (&report["height"], &report["width"]),
        (&64.into(), &64.into())
    );
    assert!(run.stderr.contains("b.jpg: not an image"), "{run}");
    fs::remove_file(photos.join("a.png")).expect("removed");
    let run = verify(&dir, &path, &["--images", "photos"]);
    let last = run.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("no readable image"), "{run}");
    assert_eq!(run.code, Some(1), "{run}");
}

#[test]
fn other_weights_are_found() {
    let dir = folder();
    let Some(path) = graphs().pop() else { return };
    // A float of the graph's last weights with its exponent changed: the graph still runs, and gives other logits.
    let sound = fs::read(&path).expect("the graph");
    packed(&dir, Path::new("formula:nano"), &[]);
    let name = b"head.bias";
    let mut other = sound.clone();
    let at = initializer(&sound, name).expect("the head's bias");
    other[at..at + 4].copy_from_slice(&3.5f32.to_le_bytes());
    fs::write(dir.path().join("other.onnx"), &other).expect("written");
    let run = verify(&dir, Path::new("other.onnx"), &[]);
    let line = run.error(1);
    assert!(line.contains("differ from the ONNX graph's"), "{line}");
    assert!(line.contains("on 5 of 5 images"), "{line}");
    assert!(line.contains("a close choice of a centre"), "{line}");
    assert!(run.text().ends_with("\nFAILED\n"), "{run}");
    let run = verify(&dir, Path::new("other.onnx"), &["--json"]);
    run.error(1);
    assert_eq!(run.json()["ok"], false);
    verify(&dir, Path::new("other.onnx"), &["--tolerance", "9"]).expect(0);
}

/// Where the raw data of the tensor called `name` begin: its field 9 lies beside its field 8, the name.
fn initializer(model: &[u8], name: &[u8]) -> Option<usize> {
    let field = |at: usize| model.get(at..at + 2 + name.len());
    let named: Vec<u8> = [&[8 << 3 | 2, name.len() as u8], name].concat();
    let at = (0..model.len()).find(|&at| field(at) == Some(&named))?;
    let raw = at + named.len();
    // Ten floats: a tag, a length of one byte, 40 bytes.
    (model.get(raw..raw + 2) == Some(&[9 << 3 | 2, 40])).then_some(raw + 2)
}

#[test]
fn models_that_no_graph_describes_are_refused_before_the_graph_is_read() {
    let dir = folder();
    let image = value("x", 1, &[1, 3, 64, 64]);
    fs::write(dir.path().join("a.onnx"), model(&graph("Relu", &image))).expect("written");
    for (preset, options, part) in [
        ("formula:nano", &["--locality", "0.02"][..], "--locality"),
        ("formula:nano_dense", &[], "dense"),
    ] {
        packed(&dir, Path::new(preset), options);
        let run = verify(&dir, Path::new("a.onnx"), &[]);
        let line = run.error(1);
        assert!(line.starts_with("packed.fec: "), "{line}");
        assert!(line.contains(part), "{part} is missing in: {line}");
    }
    for (option, value) in [("--arch", Some("nano")), ("--ema", None)] {
        let options: Vec<&str> = [option].into_iter().chain(value).collect();
        let run = verify(&dir, Path::new("a.onnx"), &options);
        assert!(run.error(1).contains(option), "{run}");
    }
}

#[test]
fn graphs_of_something_else_are_refused_in_one_line() {
    let dir = folder();
    packed(&dir, Path::new("formula:nano"), &[]);
    let image = value("x", 1, &[1, 3, 64, 64]);
    let two = graph("Relu", &image).bytes(11, &value("z", 1, &[1]));
    let external = Message::default().bytes(8, b"a.weight").number(14, 1);
    let bare = Message::default().number(1, 10).bytes(2, b"pytorch").0;
    let cases: [(&str, Vec<u8>, &str); 12] = [
        (
            "operator",
            model(&graph("Reluu", &image)),
            "operator Reluu of node the_node",
        ),
        ("inputs", model(&two), "2 inputs"),
        (
            "external",
            model(&graph("Relu", &image).bytes(5, &external.0)),
            "keeps a.weight",
        ),
        (
            "batch",
            model(&graph("Relu", &value("x", 1, &[2, 3, 64, 64]))),
            "[1, 3, height, width]",
        ),
        (
            "grey",
            model(&graph("Relu", &value("x", 1, &[1, 1, 64, 64]))),
            "[1, 3, height, width]",
        ),
        (
            "open size",
            model(&graph("Relu", &value("x", 1, &[1, 3, 0, 64]))),
            "in numbers",
        ),
        (
            "integers",
            model(&graph("Relu", &value("x", 7, &[1, 3, 64, 64]))),
            "image of f32",
        ),
        (
            "no logits",
            model(&graph("Relu", &image)),
            "one row of logits",
        ),
        (
            "classes",
            model(&graph("Flatten", &value("x", 1, &[0, 3, 32, 32]))),
            "classes 3072, the model has 10",
        ),
        ("no graph", bare, "damaged ONNX model: it holds no graph"),
        (
            "cut off",
            b"\x08\x0a\x12\x07pyt".to_vec(),
            "damaged ONNX model",
        ),
        (
            "padded",
            [&model(&graph("Relu", &image))[..], &[0xff; 9]].concat(),
            "damaged ONNX model",
        ),
    ];
    for (what, bytes, part) in cases {
        fs::write(dir.path().join("a.onnx"), bytes).expect("written");
        let run = verify(&dir, Path::new("a.onnx"), &[]);
        let line = run.error(1);
        assert!(line.starts_with("a.onnx: "), "{what}: {line}");
        assert!(line.contains(part), "{what}: {part} is missing in: {line}");
        assert!(run.stdout.is_empty(), "{what}: {run}");
    }
}

/// What a damaged graph does is one line or a comparison, never a panic: tract's own are caught.
#[test]
fn damaged_graphs_are_one_line_or_a_comparison() {
    let dir = folder();
    let Some(path) = graphs().first().cloned() else {
        return;
    };
    packed(&dir, Path::new("formula:nano"), &[]);
    let sound = fs::read(path).expect("the graph");
    let cuts = (1..16).map(|i| sound[..sound.len() * i / 16].to_vec());
    // Weights are most of a file, and any weight is as good as another: the flips fall on the structure at its end and between names.
    let flips = (0..24).map(|i| {
        let mut bytes = sound.clone();
        let from_end = 1 + i * 2003;
        let at = bytes.len() - from_end;
        bytes[at] ^= 1 << (i % 8);
        bytes
    });
    for (i, bytes) in cuts.chain(flips).enumerate() {
        fs::write(dir.path().join("a.onnx"), &bytes).expect("written");
        let run = verify(&dir, Path::new("a.onnx"), &[]);
        if run.code != Some(0) {
            let line = run.error(1);
            assert!(line.len() < 600, "{i}: {line}");
        }
    }
}
