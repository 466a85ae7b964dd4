//! Augmentations and targets against what Pillow and timm computed (fixtures/timm.*, made by tools/make_timm_fixtures.py), byte for byte
//! where the result is 8-bit.

mod timm;

use fec::Photo;
use fec::image::Orientation;
use fec_train::augment::affine::Resample;
use fec_train::augment::crop::{self, Region};
use fec_train::augment::mix::{self, Mix};
use fec_train::augment::rand_augment::{Kind, Operation, RandAugment};
use fec_train::augment::resize;
use serde_json::Value;

use timm::{expected, fixture, number, whole};

/// Values of mixed batches: sums of two products in f32, in another order than torch's.
const MIXED: f32 = 1e-6;

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn floats(value: &Value) -> Vec<f32> {
    list(value).iter().map(|v| number(v) as f32).collect()
}

fn resample(value: &Value) -> Resample {
    match value.as_str() {
        Some("bilinear") => Resample::Bilinear,
        _ => Resample::Bicubic,
    }
}

/// The results, which lie below each other in one picture.
struct Sheet(Photo);

impl Sheet {
    fn open() -> Sheet {
        Sheet(Photo::open(fixture("timm.png"), Orientation::Ignore).unwrap())
    }

    fn part(&self, at: usize, height: usize, width: usize) -> Photo {
        let rows = self
            .0
            .pixels
            .chunks_exact(self.0.width * 3)
            .skip(at)
            .take(height);
        let pixels = rows.flat_map(|row| &row[..width * 3]).copied().collect();
        Photo::new(width, height, pixels).unwrap()
    }
}

fn operation(case: &Value) -> Operation {
    let value = number(&case["value"]);
    match case["name"].as_str().unwrap() {
        "AutoContrast" => Operation::AutoContrast,
        "Equalize" => Operation::Equalize,
        "Invert" => Operation::Invert,
        "Rotate" => Operation::Rotate(value),
        "Posterize" => Operation::Posterize(value as u8),
        "Solarize" => Operation::Solarize(value as u16),
        "SolarizeAdd" => Operation::SolarizeAdd(value as u8),
        "Color" => Operation::Color(value),
        "Contrast" => Operation::Contrast(value),
        "Brightness" => Operation::Brightness(value),
        "Sharpness" => Operation::Sharpness(value),
        "ShearX" => Operation::ShearX(value),
        "ShearY" => Operation::ShearY(value),
        "TranslateX" => Operation::TranslateX(value),
        "TranslateY" => Operation::TranslateY(value),
        "GaussianBlur" => Operation::GaussianBlur(value),
        name => panic!("{name}"),
    }
}

#[test]
fn every_operation_crop_and_flip_is_pillows_byte_for_byte() {
    let (expected, sheet) = (expected(), Sheet::open());
    let source = sheet.part(0, whole(&expected["height"]), whole(&expected["width"]));
    let fill = [0, 1, 2].map(|c| whole(&expected["fill"][c]) as u8);
    let mut broken = Vec::new();
    for case in list(&expected["pictures"]) {
        let theirs = sheet.part(
            whole(&case["at"]),
            whole(&case["height"]),
            whole(&case["width"]),
        );
        let mut ours = source.clone();
        match case["kind"].as_str().unwrap() {
            "operation" => {
                let mut scratch = Photo::default();
                operation(case).apply(&mut ours, resample(&case["resample"]), fill, &mut scratch);
            }
            "crop" => {
                let [top, left, height, width] = [0, 1, 2, 3].map(|i| whole(&case["region"][i]));
                let region = Region {
                    top,
                    left,
                    height,
                    width,
                };
                let side = whole(&case["side"]);
                ours =
                    resize::resize_region(&source, region, side, side, resample(&case["resample"]));
            }
            "padded" => {
                let corner = ["top", "left"].map(|k| case[k].as_i64().unwrap() as isize);
                let (height, width) = (source.height, source.width);
                ours = crop::reflected_crop(&source, (corner[0], corner[1]), height, width);
            }
            "hflip" => crop::flip_horizontally(&mut ours),
            "vflip" => crop::flip_vertically(&mut ours),
            kind => panic!("{kind}"),
        }
        assert_eq!(
            (ours.width, ours.height),
            (theirs.width, theirs.height),
            "{case}"
        );
        let different = ours
            .pixels
            .iter()
            .zip(&theirs.pixels)
            .filter(|(a, b)| a != b);
        let most = different.clone().map(|(a, b)| a.abs_diff(*b)).max();
        if let Some(most) = most {
            broken.push(format!(
                "{} values by up to {most}: {case}",
                different.count()
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(list(&expected["pictures"]).len() > 80);
}

fn kind(name: &str) -> Kind {
    let all = rand_kinds();
    *all.iter()
        .find(|k| format!("{k:?}") == name)
        .unwrap_or_else(|| panic!("{name}"))
}

fn rand_kinds() -> Vec<Kind> {
    let sets = ["rand", "rand-inc1", "rand-t3a", "rand-tweights"];
    sets.iter()
        .flat_map(|text| RandAugment::parse(text).unwrap().kinds)
        .collect()
}

#[test]
fn levels_mean_what_they_mean_in_timm() {
    let expected = expected();
    for case in list(&expected["levels"]) {
        let name = case["name"].as_str().unwrap();
        let negate = case["negate"] == true;
        let ours = kind(name).at_level(number(&case["level"]), negate);
        let theirs = list(&case["arguments"]).first().map(number);
        let value = match ours {
            Operation::AutoContrast | Operation::Equalize | Operation::Invert => None,
            Operation::Posterize(bits) => Some(f64::from(bits)),
            Operation::Solarize(threshold) => Some(f64::from(threshold)),
            Operation::SolarizeAdd(add) => Some(f64::from(add)),
            // timm hands on how much colour is taken away.
            Operation::Color(factor) if name == "Desaturate" => Some(1.0 - factor),
            Operation::Rotate(v)
            | Operation::Color(v)
            | Operation::Contrast(v)
            | Operation::Brightness(v)
            | Operation::Sharpness(v)
            | Operation::ShearX(v)
            | Operation::ShearY(v)
            | Operation::TranslateX(v)
            | Operation::TranslateY(v)
            | Operation::GaussianBlur(v) => Some(v),
        };
        let close = match (value, theirs) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-12,
            (a, b) => a == b,
        };
        assert!(close, "{case}: {ours:?}");
    }
}

#[test]
fn option_strings_mean_what_they_mean_in_timm() {
    for (text, case) in expected()["sets"].as_object().unwrap() {
        let ours = RandAugment::parse(text).unwrap();
        let names: Vec<String> = ours.kinds.iter().map(|k| format!("{k:?}")).collect();
        let theirs: Vec<&str> = list(&case["ops"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(names, theirs, "{text}");
        assert_eq!(ours.layers, whole(&case["layers"]));
        assert_eq!(ours.magnitude, number(&case["magnitude"]));
        assert_eq!(
            ours.magnitude_std,
            case["std"].as_f64().unwrap_or(f64::INFINITY)
        );
        assert_eq!(ours.magnitude_max, number(&case["max"]));
        assert_eq!(ours.probability, number(&case["probability"]));
        let sum: f64 = ours.weights.iter().sum();
        for (weight, theirs) in ours.weights.iter().zip(list(&case["weights"])) {
            assert!((weight / sum - number(theirs)).abs() < 1e-12, "{text}");
        }
        assert_eq!(ours.weights.len(), list(&case["weights"]).len());
    }
}

#[test]
fn unknown_parts_of_an_option_string_are_named() {
    for (text, part) in [
        ("rand-m9-x3", "x3"),
        ("rand-m", "m"),
        ("rand-mx", "mx"),
        ("augmix-m5", "augmix"),
        ("", ""),
        ("rand-", ""),
        ("rand-n0", "n0"),
        ("rand-n9999999999", "n9999999999"),
        ("rand-inc2", "inc2"),
        ("rand-w0", "w0"),
        ("rand-p1.5", "p1.5"),
        ("rand-m1e999", "m1e999"),
        ("rand-tfoo", "tfoo"),
    ] {
        let error = RandAugment::parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("has the unknown part '{part}'")),
            "{error}"
        );
        assert!(!error.contains('\n'));
    }
}

#[test]
fn mixed_batches_and_their_targets_are_timms() {
    let expected = expected();
    let mixes = &expected["mixes"];
    let (height, width) = (whole(&mixes["height"]), whole(&mixes["width"]));
    let labels: Vec<u32> = list(&mixes["labels"])
        .iter()
        .map(|l| whole(l) as u32)
        .collect();
    for case in list(&mixes["cases"]) {
        let lambda = number(&case["lam"]);
        let mix = if lambda == 1.0 {
            Mix::None
        } else if case["cut"] == true {
            let centre = (whole(&case["centre"][0]), whole(&case["centre"][1]));
            mix::cutmix(lambda, centre, height, width)
        } else {
            Mix::Mixup {
                keep: lambda as f32,
            }
        };
        let mut images = floats(&mixes["images"]);
        mix.apply(&mut images, height * width * 3, width);
        let targets = mix::targets(&labels, whole(&mixes["classes"]), 0.1, mix.keep());
        for (ours, theirs) in [
            (images, floats(&case["images"])),
            (targets, floats(&case["targets"])),
        ] {
            assert_eq!(ours.len(), theirs.len());
            let worst = ours
                .iter()
                .zip(&theirs)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst <= MIXED, "lambda {lambda}, {mix:?}: {worst}");
        }
    }
}

#[test]
fn targets_of_every_image_add_up_to_one() {
    let targets = mix::targets(&[0, 4, 2], 5, 0.1, 0.7);
    for row in targets.chunks(5) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
    // The image in the middle of an odd batch is its own partner.
    assert!((targets[9] - 0.92).abs() < 1e-6, "{targets:?}");
}

#[test]
fn the_middle_of_an_odd_batch_stays_as_it_is() {
    let mut images: Vec<f32> = (0..9).map(|v| v as f32).collect();
    Mix::Mixup { keep: 0.25 }.apply(&mut images, 3, 1);
    assert_eq!(images, [4.5, 5.5, 6.5, 3.0, 4.0, 5.0, 1.5, 2.5, 3.5]);
}
