//! Draws of augmentations: distributed as timm's (fixtures/timm.json), and depending on their key alone.

mod timm;

use fec::Photo;
use fec_train::augment::affine::Resample;
use fec_train::augment::crop::{self, Region};
use fec_train::augment::erase::{Erasing, Fill};
use fec_train::augment::mix::{Mix, Mixing};
use fec_train::augment::rand_augment::{Operation, RandAugment};
use fec_train::augment::{Augmentation, Colours, Crop};
use fec_train::random::{Keyed, Purpose};

use timm::{expected, number, whole};

fn keyed(index: u64) -> Keyed {
    Keyed::new(11, Purpose::Augment, 0, index)
}

#[test]
fn regions_are_distributed_as_timms() {
    const DRAWS: u64 = 50_000;
    let expected = expected();
    for name in ["square", "wide"] {
        let case = &expected["distributions"][name];
        let (width, height) = (whole(&case["size"][0]), whole(&case["size"][1]));
        let pair = |key: &str| [number(&case[key][0]), number(&case[key][1])];
        let mut sums = [0.0; 5];
        for index in 0..DRAWS {
            let size = (height, width);
            let r = crop::draw_resized_crop(&mut keyed(index), size, pair("scale"), pair("ratio"));
            assert!(r.top + r.height <= height && r.left + r.width <= width);
            let values = [r.top, r.left, r.height, r.width, r.area()];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value as f64 / DRAWS as f64;
            }
        }
        for (key, ours) in ["top", "left", "height", "width", "area"].iter().zip(sums) {
            let theirs = number(&case[*key]);
            assert!(
                (ours - theirs).abs() < 0.01 * theirs + 0.02,
                "{name} {key}: {ours}, {theirs}"
            );
        }
    }
}

#[test]
fn erased_rectangles_are_distributed_as_timms() {
    const DRAWS: u64 = 40_000;
    let expected = &expected()["distributions"]["erasing"];
    let erasing = Erasing {
        probability: 0.25,
        fill: Fill::Const,
        count: 1,
    };
    let (mut images, mut share) = (0.0, 0.0);
    for index in 0..DRAWS {
        if let [region] = erasing.draw(&mut keyed(index), 64, 64)[..] {
            images += 1.0;
            share += region.area() as f64 / 4096.0;
        }
    }
    let (rate, share) = (images / DRAWS as f64, share / images);
    assert!((rate - number(&expected["images"])).abs() < 0.01, "{rate}");
    assert!(
        (share - number(&expected["share"])).abs() < 0.005,
        "{share}"
    );
}

#[test]
fn erasing_fills_its_rectangle_and_nothing_else() {
    let region = Region {
        top: 2,
        left: 1,
        height: 3,
        width: 4,
    };
    for fill in [Fill::Const, Fill::Rand, Fill::Pixel] {
        let erasing = Erasing {
            probability: 1.0,
            fill,
            count: 1,
        };
        let mut image = vec![9.0f32; 6 * 7 * 3];
        erasing.erase(&mut image, 7, region, &mut keyed(5));
        let inside = |i: usize| (2..5).contains(&(i / 21)) && (1..5).contains(&(i / 3 % 7));
        assert!(
            (0..image.len()).all(|i| (image[i] == 9.0) != inside(i)),
            "{fill:?}"
        );
        let mut new: Vec<f32> = (0..image.len())
            .filter(|&i| inside(i))
            .map(|i| image[i])
            .collect();
        new.sort_by(f32::total_cmp);
        new.dedup();
        let distinct = match fill {
            Fill::Const => 1,
            Fill::Rand => 3,
            Fill::Pixel => 36,
        };
        assert_eq!(new.len(), distinct, "{fill:?}");
    }
}

#[test]
fn mixing_is_drawn_as_often_as_asked() {
    const DRAWS: u64 = 20_000;
    let mixing = Mixing {
        mixup: 0.8,
        cutmix: 1.0,
        probability: 0.75,
        switch: 0.4,
        off_epoch: 9,
    };
    let (mut none, mut cut) = (0.0, 0.0);
    for index in 0..DRAWS {
        match mixing.draw(&mut keyed(index), 8, 32, 32) {
            Mix::None => none += 1.0,
            Mix::Cutmix { region, keep } => {
                cut += 1.0;
                assert!(region.top + region.height <= 32 && region.left + region.width <= 32);
                assert!((keep - (1.0 - region.area() as f32 / 1024.0)).abs() < 1e-6);
            }
            Mix::Mixup { keep } => assert!((0.0..=1.0).contains(&keep)),
        }
        assert_eq!(mixing.draw(&mut keyed(index), 9, 32, 32), Mix::None);
    }
    assert!((none / DRAWS as f64 - 0.25).abs() < 0.01, "{none}");
    assert!((cut / (DRAWS as f64 - none) - 0.4).abs() < 0.012, "{cut}");
}

#[test]
fn operations_are_drawn_as_often_as_timm_draws_them() {
    const DRAWS: u64 = 30_000;
    let rand = RandAugment::parse("rand-m9-mstd0.5-inc1").unwrap();
    let filters = [Resample::Bilinear, Resample::Bicubic];
    let (mut count, mut rotations, mut turned, mut strength, mut linear) =
        (0.0, 0.0, 0.0, 0.0, 0.0);
    for index in 0..DRAWS {
        for (operation, filter) in rand.draw(&mut keyed(index), &filters) {
            count += 1.0;
            linear += f64::from(u8::from(filter == Resample::Bilinear));
            if let Operation::Rotate(degrees) = operation {
                rotations += 1.0;
                turned += f64::from(u8::from(degrees < 0.0));
                strength += degrees.abs();
                assert!(degrees.abs() <= 30.0);
            }
        }
    }
    let near = |found: f64, expected: f64, allowed: f64| {
        assert!((found - expected).abs() < allowed, "{found} {expected}")
    };
    near(count / DRAWS as f64, 1.0, 0.02); // two, each with probability ½
    near(rotations / count, 1.0 / 15.0, 0.005);
    near(turned / rotations, 0.5, 0.04);
    // 3 degrees a level, N(9, 0.5) cut at 10: 27 - 0.013.
    near(strength / rotations, 26.99, 0.15);
    near(linear / count, 0.5, 0.02);
}

#[test]
fn a_weighted_set_draws_no_operation_twice() {
    let rand = RandAugment::parse("rand-n3-p1-tweights").unwrap();
    for index in 0..2_000 {
        let drawn = rand.draw(&mut keyed(index), &[Resample::Bicubic]);
        let mut kinds: Vec<_> = drawn
            .iter()
            .map(|(op, _)| core::mem::discriminant(op))
            .collect();
        assert_eq!(kinds.len(), 3);
        kinds.dedup();
        assert_eq!(kinds.len(), 3, "{drawn:?}");
    }
}

fn augmentation(crop: Crop, colours: Colours) -> Augmentation {
    Augmentation {
        side: 32,
        crop,
        resample: vec![Resample::Bilinear, Resample::Bicubic],
        hflip: 0.5,
        vflip: 0.25,
        colours,
        fill: [124, 116, 104],
    }
}

#[test]
fn augmentation_depends_on_its_key_alone_and_takes_photos_of_any_shape() {
    let crops = [
        Crop::Resized {
            scale: [0.08, 1.0],
            ratio: [0.75, 4.0 / 3.0],
        },
        Crop::Padded(4),
    ];
    let strings = ["rand-m9-mstd0.5-inc1", "rand-m10-n5-p1", "rand-t3a-p1"];
    for crop in crops {
        for (i, text) in strings.iter().enumerate() {
            let augmentation = augmentation(crop, Colours::Rand(RandAugment::parse(text).unwrap()));
            for (width, height) in [(1, 1), (1, 50), (50, 1), (2, 3), (33, 47), (0, 0)] {
                let pixels = (0..width * height * 3)
                    .map(|v| (v * 37 % 251) as u8)
                    .collect();
                let photo = Photo::new(width, height, pixels).unwrap();
                for index in 0..20 {
                    let once = || {
                        let drawn =
                            augmentation.draw(&mut keyed(index + i as u64), (height, width));
                        augmentation.apply(&photo, &drawn)
                    };
                    let photo = once();
                    assert_eq!(
                        photo.pixels.len(),
                        32 * 32 * 3,
                        "{width} x {height} {crop:?}"
                    );
                    assert_eq!(photo, once());
                }
            }
        }
    }
}

#[test]
fn colour_jitter_uses_three_factors_within_its_strength_in_every_order() {
    let augmentation = augmentation(Crop::Padded(0), Colours::Jitter(0.4));
    let mut first = [0; 3];
    for index in 0..3_000 {
        let drawn = augmentation.draw(&mut keyed(index), (32, 32));
        assert_eq!(drawn.operations.len(), 3);
        for (place, (operation, _)) in drawn.operations.iter().enumerate() {
            let (which, factor) = match *operation {
                Operation::Brightness(factor) => (0, factor),
                Operation::Contrast(factor) => (1, factor),
                Operation::Color(factor) => (2, factor),
                other => panic!("{other:?}"),
            };
            assert!((0.6..=1.4).contains(&factor));
            first[which] += usize::from(place == 0);
        }
    }
    assert!(first.iter().all(|n| (900..1_100).contains(n)), "{first:?}");
}
