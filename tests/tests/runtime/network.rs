//! Whole networks where golden files have none: other shapes, folds and storage types, against the reference.

use std::collections::BTreeMap;

use fec_convert::fold::formula_tensors;
use fec_runtime::kernels::Kernels;
use fec_runtime::reference::Network;
use fec_runtime::{AlignedBytes, Clusterer, Config, Image, ImageSize, Probe};
use fec_tests::engine::{kept, packed, run};
use fec_tests::fixtures::{changed, config, model, narrow_model, size};
use fec_tests::golden::{notice, waves};
use fec_tests::tolerance;

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences = a
        .iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    differences
        .map(|d| if d.is_nan() { f64::INFINITY } else { d })
        .fold(0.0, f64::max)
}

/// Runs engine and reference on the same image, the reference with the engine's decisions; its own must differ only where close.
pub(crate) fn compare(
    label: &str,
    config: &Config,
    tensors: &BTreeMap<String, Vec<f32>>,
    size: ImageSize,
) {
    let values = waves(size, 1);
    let image = Image::f32_chw(&values, size).expect("an image");
    let model = packed(config, tensors);
    let (logits, features, assignments) = run(&model, Kernels::best(), &image, &mut (), |output| {
        let features: Vec<Vec<f32>> = (0..4).map(|k| output.feature(k).to_vec()).collect();
        (output.logits().to_vec(), features, kept(config, output))
    });
    let network = Network::new(*config, |tensor| tensors[&tensor.to_string()].clone())
        .expect("the same network");
    let trace = network
        .run(&values, size, Some(&assignments))
        .expect("the same image");
    let mut worst = largest_difference(&logits, &trace.logits);
    for (found, expected) in features.iter().zip(&trace.features) {
        worst = worst.max(largest_difference(found, &expected.values));
    }
    let (mut close, mut wrong) = (0, 0);
    for clusterer in &trace.clusterers {
        let engine = &assignments[&clusterer.name];
        for ((own, engine), margin) in clusterer.own.iter().zip(engine).zip(&clusterer.margin) {
            close += usize::from(own != engine && *margin <= tolerance::MARGIN);
            wrong += usize::from(own != engine && *margin > tolerance::MARGIN);
        }
    }
    notice(&format!(
        "{label} {size}: {worst:.1e}, {wrong} decisions wrong, {close} close ones otherwise"
    ));
    assert!(worst <= tolerance::FORCED, "{label} {size}: {worst:.1e}");
    assert_eq!(wrong, 0, "{label} {size}: decisions with a clear margin");
}

#[test]
fn shapes_without_golden_files_equal_the_reference() {
    for (name, sizes) in [
        ("micro", &[size(32, 32), size(32, 160), size(96, 32)][..]),
        ("nano", &[size(128, 32), size(64, 224)][..]),
        ("nano_dense", &[size(96, 32)][..]),
        ("nano_seg", &[size(64, 96)][..]),
        ("nano_det", &[size(64, 96), size(128, 32), size(32, 32)][..]),
    ] {
        let config = config(name);
        let tensors = formula_tensors(&config);
        for &size in sizes {
            compare(name, &config, &tensors, size);
        }
    }
}

#[test]
fn the_published_detector_equals_the_reference() {
    let config = config("small_det");
    compare(
        "small_det",
        &config,
        &formula_tensors(&config),
        size(256, 320),
    );
}

/// Three regions per side, widths that fill no panel, heads that begin inside one, and a locality per pool.
#[test]
fn odd_widths_and_folds_equal_the_reference() {
    let mut config = config("micro_dense");
    for (stage, (dim, heads, head_dim, proposals, folds)) in config.stages.iter_mut().zip([
        (7, 3, 5, 3, 3),
        (19, 1, 17, 1, 1),
        (33, 5, 1, 16, 3),
        (10, 2, 31, 2, 1),
    ]) {
        (stage.dim, stage.hidden) = (dim, 3 * dim + 1);
        (stage.heads, stage.head_dim) = (heads, head_dim);
        (stage.proposals, stage.folds) = (proposals, folds);
    }
    for locality in [[0.0; 3], [0.03, 0.5, 2.0]] {
        config.locality = locality;
        let tensors = formula_tensors(&config);
        compare(
            &format!("odd, locality {locality:?}"),
            &config,
            &tensors,
            size(96, 192),
        );
    }
}

/// SPEC 4: the lowest index of the largest weight wins, where weights are equal in f32 though their cosines are not: alpha near 0,
/// and sigmoids near 1 or below the smallest normal number.
#[test]
fn weights_that_tie_go_to_the_lowest_index() {
    let config = config("micro");
    for (alpha, beta) in [
        (0.0, 0.3),
        (1e-7, 0.0),
        (-1e-6, 0.5),
        (10.0, 8.0),
        (-20.0, 30.0),
        (10.0, -95.0),
        (3.0, -90.0),
        (-2.0, -104.0),
    ] {
        let mut tensors = formula_tensors(&config);
        for block in ["network.0.0", "network.4.0"] {
            tensors.insert(format!("{block}.token_mixer.sim_alpha"), vec![alpha]);
            tensors.insert(format!("{block}.token_mixer.sim_beta"), vec![beta]);
        }
        let image = waves(size(64, 64), 0);
        let input = Image::f32_chw(&image, size(64, 64)).expect("an image");
        let model = packed(&config, &tensors);
        let found = run(&model, Kernels::best(), &input, &mut (), |output| {
            kept(&config, output)
        });
        let network = Network::new(config, |tensor| tensors[&tensor.to_string()].clone());
        let trace = network
            .expect("the same network")
            .run(&image, size(64, 64), Some(&found))
            .expect("the same image");
        for clusterer in trace.clusterers.iter().take(1) {
            let engine = &found[&clusterer.name];
            let wrong = engine.iter().zip(&clusterer.own).filter(|(a, b)| a != b);
            // Two exponential functions may round a weight differently: a few of 512 stand on such an edge.
            let wrong = wrong.count();
            notice(&format!(
                "alpha {alpha}, beta {beta}: {wrong} of {} differ",
                engine.len()
            ));
            assert!(
                wrong * 50 <= engine.len(),
                "alpha {alpha}, beta {beta}: {wrong}"
            );
        }
    }
}

/// A pool whose keys are all zero: every cosine is 0 (SPEC 3.3), so that with a locality each element joins its own cell, and
/// without one all join the first centre.
#[test]
fn keys_of_zeros_leave_the_choice_to_the_locality() {
    for locality in [0.0, 1e-4, 0.03, 100.0] {
        let mut config = config("micro");
        config.locality = [locality; 3];
        let model = changed(&config, |tensors| {
            for (name, values) in tensors.iter_mut() {
                if name.contains("conv_f") {
                    values.fill(0.0);
                }
            }
        });
        run(
            &model,
            Kernels::best(),
            &Image::formula(size(64, 96), 0),
            &mut (),
            |output| {
                for (level, cols) in [(1, 24), (2, 12), (3, 6)] {
                    for (n, &cell) in output.assignment(level).iter().enumerate() {
                        let own = n / cols / 2 * (cols / 2) + n % cols / 2;
                        let expected = if locality > 0.0 { own } else { 0 };
                        assert_eq!(
                            usize::from(cell),
                            expected,
                            "locality {locality}, level {level}"
                        );
                    }
                }
            },
        );
    }
}

/// Keeps a run's assignments, or puts kept ones in place.
#[derive(Default)]
struct Tape {
    kept: Vec<Vec<u16>>,
    next: Option<usize>,
}

impl Probe for Tape {
    fn assign(&mut self, _: Clusterer, _: usize, assignments: &mut [u16]) {
        match &mut self.next {
            None => self.kept.push(assignments.to_vec()),
            Some(next) => {
                assignments.copy_from_slice(&self.kept[*next]);
                *next += 1;
            }
        }
    }
}

#[test]
fn f16_storage_stays_within_its_bound() {
    for name in ["micro", "nano", "compact"] {
        let image = Image::formula(size(96, 96), 1);
        let mut tape = Tape::default();
        let logits = |model: &AlignedBytes, tape: &mut Tape| {
            run(model, Kernels::best(), &image, tape, |output| {
                output.logits().to_vec()
            })
        };
        let wide = logits(&model(name), &mut tape);
        tape.next = Some(0);
        let narrow = logits(&narrow_model(name), &mut tape);
        let size = wide
            .iter()
            .fold(0.0, |size: f64, &l| size.max(f64::from(l).abs()));
        let worst = largest_difference(&wide, &narrow) / size;
        notice(&format!("{name} in f16: {worst:.1e} of the largest logit"));
        assert!(
            worst > 0.0 && worst <= tolerance::F16_STORAGE,
            "{name}: {worst:.1e}"
        );
    }
}
