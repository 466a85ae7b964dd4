//! What the runtime refuses after a model was accepted: sizes, images, plans, indices. Every message is one line.

use fec_runtime::{AlignedBytes, Error, Image, Model, Session};
use fec_tests::fixtures::{config, model, size};

fn one_line(error: Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{text}");
}

#[test]
fn other_sizes_are_refused_with_the_nearest_named() {
    let bytes = model("micro");
    let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
    for (given, nearest) in [
        (size(24, 64), size(32, 64)),
        (size(48, 32), size(64, 32)),
        (size(225, 223), size(224, 224)),
        (size(1, 1), size(32, 32)),
        (size(4095, 33), size(4096, 32)),
    ] {
        let refused = model.plan(given).expect_err("no multiple of 32");
        let multiple = 32;
        assert_eq!(
            refused,
            Error::Size {
                given,
                nearest,
                multiple
            }
        );
        assert!(
            refused.to_string().contains(&nearest.to_string()),
            "{refused}"
        );
        one_line(refused);
    }
    for (given, found) in [
        (size(0, 32), 0),
        (size(32, 0), 0),
        (size(4097, 32), 4097),
        (size(32, usize::MAX), usize::MAX),
    ] {
        let refused = model.plan(given).expect_err("past the limit");
        assert!(
            matches!(refused, Error::Limit { found: f, .. } if f == found),
            "{refused}"
        );
        one_line(refused);
    }
    // More centres in the first pool than 16 bits can name.
    assert!(model.plan(size(2048, 2048)).is_ok());
    let refused = model.plan(size(2080, 2048)).expect_err("too many centres");
    assert!(
        matches!(refused, Error::Limit { found: 66_560, .. }),
        "{refused}"
    );
}

#[test]
fn the_nearest_size_is_itself_accepted() {
    // Three folds: multiples of 96, of which 4128 lies past the limit.
    let mut folded = config("micro_dense");
    folded.stages.iter_mut().for_each(|stage| stage.folds = 3);
    assert_eq!(folded.granularity(), 96);
    for side in [0, 1, 47, 49, 1000, 4090, 4096, 5000, usize::MAX] {
        for network in [folded, config("nano"), config("nano_det")] {
            let nearest = network.nearest_size(size(side, 96));
            assert_eq!(network.check_size(nearest), Ok(()), "{side}: {nearest}");
        }
    }
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let bytes = model("micro");
    let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
    let planned = size(32, 64);
    let plan = model.plan(planned).expect("a plan");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let mut session = Session::new(&model, plan, arena.as_bytes_mut()).expect("a session");
    for given in [size(64, 32), size(32, 32), size(1 << 40, 1 << 40)] {
        let refused = session.run(&Image::formula(given, 0)).err();
        assert_eq!(refused, Some(Error::ImageSize { planned, given }));
        refused.into_iter().for_each(one_line);
    }
    let needed = 32 * 64 * 3;
    for given in [0, needed - 1, needed + 1] {
        let pixels = vec![0u8; given];
        let refused = Image::rgb8(&pixels, planned).expect_err("another length");
        assert_eq!(refused, Error::PixelCount { needed, given });
        let values = vec![0f32; given];
        let refused = Image::f32_chw(&values, planned).expect_err("another length");
        assert_eq!(refused, Error::PixelCount { needed, given });
        one_line(refused);
    }
    let refused = Image::rgb8(&[], size(usize::MAX, 2)).expect_err("no such buffer");
    assert!(
        matches!(refused, Error::PixelCount { given: 0, .. }),
        "{refused}"
    );
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for index in [0, needed / 2, needed - 1] {
            let mut values = vec![0.5; needed];
            values[index] = bad;
            let refused = Image::f32_chw(&values, planned).expect_err("not finite");
            assert_eq!(refused, Error::PixelNotFinite { index });
            one_line(refused);
        }
    }
}

/// Values no photo has: sums overflow, and every comparison with NaN is false.
#[test]
fn finite_but_absurd_inputs_do_not_panic() {
    for name in ["micro", "nano_det"] {
        let bytes = model(name);
        let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
        let size = size(64, 64);
        let plan = model.plan(size).expect("a plan");
        let mut arena = AlignedBytes::zeroed(plan.arena_len());
        let mut session = Session::new(&model, plan, arena.as_bytes_mut()).expect("a session");
        for value in [f32::MAX, f32::MIN, 1e30, f32::MIN_POSITIVE, 1e-45, 0.0] {
            let mut values = vec![value; 64 * 64 * 3];
            for (i, v) in values.iter_mut().enumerate() {
                *v *= [1.0, -0.5, 0.25][i % 3];
            }
            let image = Image::f32_chw(&values, size).expect("finite");
            let output = session.run(&image).expect("a run");
            let mut labels = vec![0; output.patches().elements()];
            output.cluster_map(3, &mut labels).expect("level 3");
            let clusters = output.clusters(3).elements();
            assert!(labels.iter().all(|&label| usize::from(label) < clusters));
            let _ = output.top::<3>();
        }
    }
}

#[test]
fn the_plan_of_another_model_is_refused() {
    let (micro, nano) = (model("micro"), model("nano"));
    let micro = Model::from_bytes(micro.as_bytes()).expect("a model");
    let nano = Model::from_bytes(nano.as_bytes()).expect("a model");
    let plan = nano.plan(size(32, 32)).expect("a plan");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let refused = Session::new(&micro, plan, arena.as_bytes_mut()).expect_err("nano's plan");
    assert_eq!(refused, Error::PlanOfAnotherModel);
    one_line(refused);
}

#[test]
fn indices_out_of_range_are_refused() {
    let bytes = model("micro");
    let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
    let size = size(32, 64);
    let plan = model.plan(size).expect("a plan");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let mut session = Session::new(&model, plan, arena.as_bytes_mut()).expect("a session");
    let output = session.run(&Image::formula(size, 0)).expect("a run");
    for given in [5, 6, usize::MAX] {
        let refused = Error::OutOfRange { given, limit: 5 };
        assert_eq!(output.probability(given), Err(refused));
        assert_eq!(output.evidence(given, &mut [0.0; 2]), Err(refused));
        one_line(refused);
    }
    assert_eq!(
        output.evidence(0, &mut [0.0; 3]),
        Err(Error::PixelCount {
            needed: 2,
            given: 3
        })
    );
    let mut labels = [0; 8 * 16];
    for given in [0, 4, usize::MAX] {
        let refused = Error::OutOfRange { given, limit: 4 };
        assert_eq!(output.cluster_map(given, &mut labels), Err(refused));
    }
    let refused = Error::PixelCount {
        needed: 128,
        given: 127,
    };
    assert_eq!(output.cluster_map(1, &mut labels[1..]), Err(refused));
    assert!(output.assignment(0).is_empty() && output.assignment(4).is_empty());
    assert!(output.mixer_assignment(4, 0, 0).is_empty());
    assert!(output.mixer_assignment(0, 1, 0).is_empty());
    assert!(output.mixer_assignment(0, 0, 2).is_empty());
    assert!(output.feature(0).is_empty() && output.feature(usize::MAX).is_empty());
}

/// Labels are 16 bits wide; a folded pool can have more cells than that, though no region has.
#[test]
fn a_cluster_map_of_more_clusters_than_labels_is_refused() {
    let mut wide = config("micro_dense");
    wide.stages
        .iter_mut()
        .for_each(|stage| (stage.dim, stage.folds) = (1, 2));
    let bytes = fec_tests::fixtures::changed(&wide, |_| {});
    let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
    let size = size(2112, 2048);
    let plan = model.plan(size).expect("a plan");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let session = Session::new(&model, plan, arena.as_bytes_mut()).expect("a session");
    let mut labels = vec![0; 528 * 512];
    let refused = session
        .output()
        .cluster_map(1, &mut labels)
        .expect_err("67,584 clusters");
    assert_eq!(
        refused,
        Error::OutOfRange {
            given: 264 * 256,
            limit: 65_536 + 1
        }
    );
    one_line(refused);
}
