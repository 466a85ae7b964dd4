//! What an output says: the best classes, evidence, cluster maps, the self-test.

use fec_runtime::kernels::Kernels;
use fec_runtime::{AlignedBytes, Error, Image, Model, Session};
use fec_tests::engine::run;
use fec_tests::fixtures::{changed, config, model, narrow_model, size};
use fec_tests::tolerance;

#[test]
fn the_best_classes_come_in_order_and_only_as_many_as_there_are() {
    let model = model("nano");
    let image = Image::formula(size(64, 64), 3);
    run(&model, Kernels::best(), &image, &mut (), |output| {
        let logits = output.logits();
        let mut order: Vec<usize> = (0..10).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let all: Vec<usize> = output.top::<32>().iter().map(|r| r.class).collect();
        assert_eq!(all, order);
        let three: Vec<usize> = output.top::<3>().iter().map(|r| r.class).collect();
        assert_eq!(three, order[..3]);
        assert!(output.top::<0>().is_empty());
        let total: f32 = output.top::<32>().iter().map(|r| r.probability).sum();
        assert!((total - 1.0).abs() < 1e-6, "{total}");
        let exact = |class: usize| {
            let exp = |l: f32| f64::from(l).exp();
            exp(logits[class]) / logits.iter().map(|&l| exp(l)).sum::<f64>()
        };
        for ranked in output.top::<10>().iter() {
            assert!((f64::from(ranked.probability) - exact(ranked.class)).abs() < 1e-6);
            assert_eq!(output.probability(ranked.class), Ok(ranked.probability));
        }
    });
}

#[test]
fn of_equal_logits_the_lower_class_comes_first() {
    let model = changed(&config("micro"), |tensors| {
        let zero = |values: &mut Vec<f32>| values.fill(0.0);
        tensors.get_mut("head.weight").map(zero);
        // Classes 1, 3 and 4 are equal and best.
        tensors.insert("head.bias".to_owned(), vec![0.0, 2.0, 1.0, 2.0, 2.0]);
    });
    run(
        &model,
        Kernels::best(),
        &Image::formula(size(32, 32), 0),
        &mut (),
        |output| {
            let classes: Vec<usize> = output.top::<5>().iter().map(|r| r.class).collect();
            assert_eq!(classes, [1, 3, 4, 2, 0]);
            let two: Vec<usize> = output.top::<2>().iter().map(|r| r.class).collect();
            assert_eq!(two, [1, 3]);
        },
    );
}

#[test]
fn evidence_adds_up_to_the_logit() {
    for model in [model("nano"), narrow_model("nano")] {
        let image = Image::formula(size(160, 64), 2);
        run(&model, Kernels::best(), &image, &mut (), |output| {
            for (class, &logit) in output.logits().iter().enumerate() {
                let mut evidence = [0.0; 5 * 2];
                output.evidence(class, &mut evidence).expect("a class");
                let sum: f64 = evidence.iter().map(|&v| f64::from(v)).sum();
                let size: f64 = evidence.iter().map(|&v| f64::from(v).abs()).sum();
                let difference = (sum - f64::from(logit)).abs();
                assert!(
                    difference <= tolerance::EVIDENCE * size.max(1.0),
                    "class {class}: {sum} of {logit}"
                );
            }
        });
    }
}

/// Eq. 8, patch by patch, from the assignments as they are handed out.
#[test]
fn cluster_maps_follow_the_assignments_within_their_folds() {
    for name in ["nano", "nano_det"] {
        let (config, model) = (config(name), model(name));
        let image = Image::formula(size(64, 128), 4);
        run(&model, Kernels::best(), &image, &mut (), |output| {
            let (rows, cols) = (16, 32);
            let follow = |patch: usize, level: usize| {
                let (mut row, mut col) = (patch / cols, patch % cols);
                for l in 1..=level {
                    let (rows, cols) = (rows >> (l - 1), cols >> (l - 1));
                    let folds = config.stages[l].folds;
                    let (high, wide) = (rows / folds, cols / folds);
                    let (top, left) = (row / high, col / wide);
                    let local = row % high * wide + col % wide;
                    let element = (top * folds + left) * high * wide + local;
                    let cell = usize::from(output.assignment(l)[element]);
                    let half = wide / 2;
                    (row, col) = (top * high / 2 + cell / half, left * half + cell % half);
                }
                row * (cols >> level) + col
            };
            for level in 1..=3 {
                let mut labels = vec![0; rows * cols];
                output.cluster_map(level, &mut labels).expect("a level");
                for (patch, &label) in labels.iter().enumerate() {
                    assert_eq!(usize::from(label), follow(patch, level), "{name} {level}");
                }
            }
        });
    }
}

#[test]
fn the_self_test_finds_the_numbers_in_the_file() {
    let models = ["micro", "nano", "nano_dense", "nano_det"].map(model);
    for bytes in models
        .into_iter()
        .chain([narrow_model("micro"), narrow_model("nano")])
    {
        let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
        let expected = model.self_test();
        let plan = model.plan(expected.size).expect("the self-test's size");
        let mut arena = AlignedBytes::zeroed(plan.arena_len());
        let mut session =
            Session::with_kernels(&model, plan, arena.as_bytes_mut(), Kernels::portable())
                .expect("a session");
        assert_eq!(session.self_test(), Ok(expected));
        let plan = model.plan(size(64, 96)).expect("a plan");
        let mut arena = AlignedBytes::zeroed(plan.arena_len());
        let mut session = Session::new(&model, plan, arena.as_bytes_mut()).expect("a session");
        let refused = session.self_test();
        assert!(
            matches!(refused, Err(Error::ImageSize { .. })),
            "{refused:?}"
        );
    }
}
