//! Forward parity, by the same body that the runtime is held to.

use burn::tensor::Device;
use fec_runtime::MapSize;
use fec_runtime::reference::Map;
use fec_tests::golden::{Assignments, Case, LARGE_CASES, SMALL_CASES, load, notice};
use fec_tests::parity::{Outcome, Subject, check};
use fec_train::model::{Fec, Pass};

use crate::{batch, values};

/// The network, on the CPU.
struct Burn {
    composed: bool,
}

impl Subject for Burn {
    fn name(&self) -> &'static str {
        if self.composed {
            "burn, composed"
        } else {
            "burn, fused"
        }
    }

    fn run(&mut self, case: &Case, forced: Option<&Assignments>) -> Outcome {
        let device = Device::flex();
        let fec = Fec::with(&case.config, &device, |tensor| case.weights(tensor)).expect("a case");
        let pass = Pass {
            composed: self.composed,
            forced: forced.cloned(),
            traced: true,
            ..Pass::default()
        };
        let images = batch(&[case.image()], case.size, &device);
        let output = fec.run(images, &pass).expect("a case's image");
        let features = output.features.into_iter().enumerate();
        let features = features.map(|(i, map)| (format!("feat.{i}"), map));
        let maps = output.trace.maps.into_iter().chain(features);
        let maps = maps.map(|(name, x)| {
            let [_, elements, channels] = x.dims();
            let size = MapSize {
                rows: elements,
                cols: 1,
            };
            let map = Map {
                size,
                channels,
                values: values(x),
            };
            (name, map)
        });
        Outcome {
            maps: maps.collect(),
            logits: output.logits.map(values).unwrap_or_default(),
            own: output.trace.own,
        }
    }
}

fn agree(names: &[&str], composed: bool) {
    let mut failures = Vec::new();
    for case in load(names) {
        let report = check(&mut Burn { composed }, &case);
        notice(&report.summary);
        failures.extend(report.failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn small_networks_agree_with_pytorch() {
    agree(&SMALL_CASES, false);
}

#[test]
fn small_networks_composed_of_burns_operations_agree_with_pytorch() {
    agree(&SMALL_CASES, true);
}

#[test]
fn published_networks_agree_with_pytorch() {
    agree(&LARGE_CASES, false);
}

#[test]
#[ignore = "three seconds; run with --ignored after a change of the model"]
fn published_networks_composed_of_burns_operations_agree_with_pytorch() {
    agree(&LARGE_CASES, true);
}
