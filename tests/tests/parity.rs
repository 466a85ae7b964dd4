//! Golden parity: the reference and the engine against PyTorch.

use fec_runtime::reference::Network;
use fec_tests::golden::{self, Assignments, Case, LARGE_CASES, SMALL_CASES};
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
