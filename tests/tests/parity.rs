//! Golden parity: the reference and the engine against PyTorch.

use fec_runtime::kernels::Kernels;
use fec_runtime::reference::Network;
use fec_tests::engine::{self, Engine};
use fec_tests::golden::{self, Assignments, Case, LARGE_CASES, SMALL_CASES, Tensors};
use fec_tests::parity::{Outcome, Subject, check};

/// The network written straight from the specification.
struct Reference;

impl Subject for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn run(&mut self, case: &Case, forced: Option<&Assignments>) -> Outcome {
        let network =
            Network::new(case.config, |tensor| case.weights(tensor)).expect("a golden network");
        let trace = network
            .run(&case.image(), case.size, forced)
            .expect("a golden image");
        let mut maps = vec![("embed".to_owned(), trace.embed)];
        maps.extend(
            trace
                .net
                .into_iter()
                .enumerate()
                .map(|(k, map)| (format!("net.{k}"), map)),
        );
        maps.extend(
            trace
                .features
                .into_iter()
                .enumerate()
                .map(|(k, map)| (format!("feat.{k}"), map)),
        );
        let own = trace
            .clusterers
            .into_iter()
            .map(|clusterer| (clusterer.name, clusterer.own))
            .collect();
        Outcome {
            maps,
            logits: trace.logits,
            own,
        }
    }
}

/// Runs all cases before it judges, so that one failure does not hide the next.
fn check_all(subject: &mut dyn Subject, names: &[&str]) {
    let mut failures = Vec::new();
    for case in golden::load(names) {
        let report = check(subject, &case);
        golden::notice(&report.summary);
        failures.extend(report.failures);
    }
    assert!(
        failures.is_empty(),
        "{} is not golden:\n{}",
        subject.name(),
        failures.join("\n")
    );
}

#[test]
fn reference_equals_golden() {
    check_all(&mut Reference, &SMALL_CASES);
}

#[test]
fn reference_equals_golden_on_published_networks() {
    check_all(&mut Reference, &LARGE_CASES);
}

#[test]
fn engine_equals_golden() {
    for kernels in Kernels::available() {
        check_all(&mut Engine::new(kernels), &SMALL_CASES);
        check_all(&mut Engine::new(kernels.exact()), &SMALL_CASES);
    }
}

#[test]
fn engine_equals_golden_on_published_networks() {
    for kernels in Kernels::available() {
        check_all(&mut Engine::new(kernels), &LARGE_CASES);
    }
}

/// All keys of this mixer are equal (its weights are zero), and so are all cosines.
#[test]
fn equal_cosines_go_to_the_lowest_index() {
    let [case] = &golden::load(&["i_nano_ties_64"])[..] else {
        panic!("a fixture")
    };
    let engines = Kernels::available().map(|kernels| Box::new(Engine::new(kernels)) as Box<_>);
    let subjects = core::iter::once(Box::new(Reference) as Box<dyn Subject>).chain(engines);
    for mut subject in subjects {
        let own = subject.run(case, None).own;
        assert!(
            own["network.4.0.token_mixer"].iter().all(|&a| a == 0),
            "{}",
            subject.name()
        );
    }
}

#[test]
fn cluster_maps_equal_golden_on_golden_assignments() {
    for case in golden::load(&["d_nano_64", "k_nano_noise_64", "a_small_224"]) {
        let expected =
            Tensors::load(&format!("{}.clustermap", case.name)).expect("beside the case");
        let cols = case.size.width / 4;
        let patches = |pixels: Vec<u16>| -> Vec<u16> {
            let patch = |i: usize| pixels[i / cols * 4 * case.size.width + i % cols * 4];
            let patches: Vec<u16> = (0..pixels.len() / 16).map(patch).collect();
            let repeated =
                |i: usize| patches[i / case.size.width / 4 * cols + i % case.size.width / 4];
            assert!(
                (0..pixels.len()).all(|i| pixels[i] == repeated(i)),
                "a patch has one label"
            );
            patches
        };
        let maps = engine::cluster_maps(&case);
        for (level, map) in (1..).zip(&maps) {
            assert!(
                *map == patches(expected.u16(&format!("level_{level}"))),
                "{} level {level}",
                case.name
            );
        }
        // Empty clusters of level 3 removed, the others numbered in ascending order.
        let used: std::collections::BTreeSet<u16> = maps[2].iter().copied().collect();
        assert!(
            used.iter().copied().eq(expected.u16("clusters")),
            "{}",
            case.name
        );
        let rank = |label: &u16| used.range(..label).count() as u16;
        let numbered: Vec<u16> = maps[2].iter().map(rank).collect();
        assert!(numbered == patches(expected.u16("k_none")), "{}", case.name);
    }
}
