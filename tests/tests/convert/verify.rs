//! `fec-convert verify`: what it reports, and what it finds.

use super::*;

fn verify(dir: &TempDir, model: &str, against: &Path, options: &[&str]) -> Run {
    let mut command = fec_convert();
    command.current_dir(dir.path()).args(["verify", model]);
    run(command.arg("--against").arg(against).args(options))
}

/// Writes the plain fixture's tensors with those called `name` changed.
fn changed(dir: &TempDir, name: &str, change: impl Fn(usize, f32) -> f32) -> PathBuf {
    let bytes = fs::read(fixture("plain.safetensors")).expect("the fixture");
    let file = SafeTensors::deserialize(&bytes).expect("sound");
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = file
        .iter()
        .map(|(name, t)| (name.to_owned(), (t.shape().to_vec(), t.data().to_vec())))
        .collect();
    let (_, data) = tensors.get_mut(name).expect("a tensor of that name");
    for (i, value) in data.chunks_exact_mut(4).enumerate() {
        let old = f32::from_le_bytes([value[0], value[1], value[2], value[3]]);
        value.copy_from_slice(&change(i, old).to_le_bytes());
    }
    let views = tensors.iter().map(|(name, (shape, data))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data).expect("fits");
        (name.as_str(), view)
    });
    let path = dir.path().join("changed.safetensors");
    fs::write(&path, safetensors::serialize(views, None).expect("bytes")).expect("written");
    path
}

#[test]
fn a_packed_model_equals_its_checkpoint() {
    let dir = folder();
    for (options, bound) in [
        (&["--dtype", "f32"][..], 1e-4),
        (&["--locality", "0.02"], 1e-4),
        (&["--dtype", "f16"], 0.02),
    ] {
        packed(&dir, &fixture("plain.pth"), options);
        // Another layout of the same weights.
        let run = verify(&dir, "packed.fec", &fixture("legacy.pth"), &["--json"]).expect(0);
        let report = run.json();
        assert_eq!(report["ok"], true);
        assert_eq!(report["images"], 5);
        assert_eq!(report["skipped"], 0);
        let number = |key: &str| report[key].as_f64().expect("a number");
        assert!(number("forced_difference") <= bound, "{report}");
        assert!(number("relative_difference") >= 0.0);
        assert!((number("tolerance") - bound).abs() < 1e-6);
        let levels = report["levels"].as_array().expect("levels");
        assert_eq!(levels.len(), 3);
        // Five images of 64x64: 256, 64 and 16 elements choose a centre.
        for (level, elements) in levels.iter().zip([1280, 320, 80]) {
            assert_eq!(level["assignments"], elements, "{report}");
            assert!(level["agreement"].as_f64() > Some(95.0), "{report}");
        }
        assert!(report["mixers"]["agreement"].as_f64() > Some(95.0));
    }
    let text = verify(&dir, "packed.fec", &fixture("plain.pth"), &[]).expect(0);
    assert!(text.text().ends_with("\nok\n"), "{text}");
}

#[test]
fn folds_and_dense_outputs_are_compared_too() {
    let dir = folder();
    let formula = Path::new("formula:nano_det");
    packed(&dir, formula, &[]);
    let run = verify(&dir, "packed.fec", formula, &["--json"]).expect(0);
    assert_eq!(run.json()["same_top1"], Value::Null);
    assert_eq!(run.json()["ok"], true);
}

#[test]
fn photos_are_compared_and_bad_ones_named() {
    let dir = folder();
    packed(&dir, &fixture("plain.pth"), &[]);
    let photos = dir.path().join("photos/cats");
    fs::create_dir_all(&photos).expect("made");
    for (name, side) in [("a.png", 50), ("b.png", 90), ("c.PNG", 64)] {
        let pixel = |x: u32, y: u32| image::Rgb([(x * 5) as u8, (y * 3) as u8, (x * y) as u8]);
        let photo = image::RgbImage::from_fn(side, 70, pixel);
        photo
            .save_with_format(photos.join(name), image::ImageFormat::Png)
            .expect("saved");
    }
    fs::write(photos.join("d.jpg"), "no photo").expect("written");
    fs::write(photos.join("notes.txt"), "no photo").expect("written");
    let options = ["--images", "photos", "--json"];
    let run = verify(&dir, "packed.fec", &fixture("plain.pth"), &options).expect(0);
    assert_eq!(run.json()["images"], 3, "{run}");
    assert_eq!(run.json()["skipped"], 1);
    assert_eq!(run.json()["same_top1"], 3);
    assert!(run.stderr.contains("d.jpg: not an image"), "{run}");
    let options = ["--images", "photos", "--json", "--limit", "2"];
    let run = verify(&dir, "packed.fec", &fixture("plain.pth"), &options).expect(0);
    assert_eq!(run.json()["images"], 2, "{run}");

    fs::create_dir(dir.path().join("empty")).expect("made");
    let run = verify(
        &dir,
        "packed.fec",
        &fixture("plain.pth"),
        &["--images", "empty"],
    );
    assert!(run.error(1).contains("no readable image"), "{run}");
    let run = verify(
        &dir,
        "packed.fec",
        &fixture("plain.pth"),
        &["--images", "none"],
    );
    assert!(run.error(1).starts_with("none: "), "{run}");
}

#[test]
fn other_weights_are_found() {
    let dir = folder();
    packed(&dir, &fixture("plain.pth"), &[]);
    // The head's bias moves one logit by a thousandth.
    let other = changed(&dir, "head.bias", |i, v| if i == 2 { v + 1e-3 } else { v });
    let run = verify(&dir, "packed.fec", &other, &[]);
    assert!(
        run.error(1).contains("differ from the checkpoint's"),
        "{run}"
    );
    assert!(run.text().ends_with("\nFAILED\n"), "{run}");
    verify(&dir, "packed.fec", &other, &["--tolerance", "0.01"]).expect(0);
    let run = verify(&dir, "packed.fec", &other, &["--json"]);
    run.error(1);
    assert_eq!(run.json()["ok"], false);
    // A pool's keys enter nothing but its argmax: with assignments forced, no output shows them.
    let other = changed(&dir, "network.1.conv_f.weight", |i, v| {
        if i % 8 == 3 { -v } else { v }
    });
    let run = verify(&dir, "packed.fec", &other, &[]);
    assert!(
        run.error(1).contains("the pools choose other centres"),
        "{run}"
    );
}

#[test]
fn another_network_is_refused_by_its_first_number() {
    let dir = folder();
    packed(&dir, Path::new("formula:nano"), &[]);
    let run = verify(&dir, "packed.fec", &fixture("plain.pth"), &[]);
    assert!(
        run.error(1).contains("classes 5, the model has 10"),
        "{run}"
    );
    let run = verify(&dir, "packed.fec", Path::new("formula:nano_dense"), &[]);
    assert!(run.error(1).contains("another network"), "{run}");
    let run = verify(&dir, "packed.fec", &fixture("whole_module.pth"), &[]);
    assert!(run.error(1).contains("whole module"), "{run}");
}

#[test]
fn a_damaged_model_is_refused_with_its_name() {
    let dir = folder();
    let plain = fixture("plain.pth");
    let sound = packed(&dir, &plain, &[]);
    let cases: [(&[u8], &str); 4] = [
        (b"", "packed.fec: "),
        (b"FEC\0", "packed.fec: "),
        (&sound[..sound.len() - 1], "cut off"),
        (
            b"not a model at all, but long enough to look at: more than the header's 64 bytes",
            "not a .fec file",
        ),
    ];
    for (bytes, part) in cases {
        fs::write(dir.path().join("packed.fec"), bytes).expect("written");
        let run = verify(&dir, "packed.fec", &plain, &[]);
        assert!(run.error(1).contains(part), "{part}: {run}");
    }
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    fs::write(dir.path().join("packed.fec"), flipped).expect("written");
    let run = verify(&dir, "packed.fec", &plain, &[]);
    assert!(run.error(1).contains("damaged"), "{run}");
    let run = verify(&dir, "none.fec", &plain, &[]);
    assert!(run.error(1).starts_with("none.fec: "), "{run}");
    let run = run_without_against(&dir);
    assert!(run.error(2).contains("--against"), "{run}");
}

fn run_without_against(dir: &TempDir) -> Run {
    run(fec_convert()
        .current_dir(dir.path())
        .args(["verify", "packed.fec"]))
}
