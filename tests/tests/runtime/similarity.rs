//! The paper's other similarities (Table 4a) and forms of dispatch (Table 4b), against the reference.

use fec_convert::fold::formula_tensors;
use fec_runtime::config::{Dispatch, Similarity};
use fec_runtime::{Config, Error};
use fec_tests::fixtures::{config, size};

use super::network::compare;

#[test]
fn every_similarity_equals_the_reference() {
    for similarity in Similarity::ALL {
        for (name, sizes) in [
            ("micro", &[size(32, 32), size(96, 160)][..]),
            ("nano", &[size(64, 96)][..]),
            ("nano_det", &[size(64, 96)][..]),
        ] {
            let config = Config {
                similarity,
                ..config(name)
            };
            let tensors = formula_tensors(&config);
            for &size in sizes {
                let label = format!("{name}, {}", similarity.name());
                compare(&label, &config, &tensors, size);
            }
        }
    }
}

#[test]
fn the_published_network_with_every_similarity_equals_the_reference() {
    for similarity in [Similarity::Dot, Similarity::Euclidean] {
        let config = Config {
            similarity,
            ..config("small")
        };
        let label = format!("small, {}", similarity.name());
        compare(&label, &config, &formula_tensors(&config), size(96, 128));
    }
}

/// Without alpha and beta the weights are sigmoid(1 * similarity + 0), and the checkpoint has no tensors for them.
#[test]
fn every_form_of_dispatch_equals_the_reference() {
    for (similarity, dispatch) in Similarity::ALL
        .into_iter()
        .flat_map(|s| Dispatch::ALL.map(|d| (s, d)))
    {
        let config = Config {
            similarity,
            dispatch,
            ..config("micro")
        };
        let tensors = formula_tensors(&config);
        let has = |suffix: &str| tensors.keys().any(|name| name.ends_with(suffix));
        assert_eq!(has("sim_alpha"), dispatch.has_alpha(), "{dispatch:?}");
        assert_eq!(has("sim_beta"), dispatch.has_beta(), "{dispatch:?}");
        let label = format!("{}, {dispatch:?}", similarity.name());
        compare(&label, &config, &tensors, size(64, 64));
    }
}

/// A negative alpha prefers the least similar centre; large and small ones saturate for some rows and not for others.
#[test]
fn alphas_of_either_sign_equal_the_reference() {
    for similarity in [Similarity::Dot, Similarity::Euclidean] {
        let config = Config {
            similarity,
            ..config("micro")
        };
        for (alpha, beta) in [(-1.5, 0.25), (4.0, -2.0), (-6.0, 3.0), (0.5, 6.0)] {
            let mut tensors = formula_tensors(&config);
            for (name, values) in &mut tensors {
                if name.ends_with("sim_alpha") {
                    *values = vec![alpha];
                } else if name.ends_with("sim_beta") {
                    *values = vec![beta];
                }
            }
            let label = format!("{}, alpha {alpha}, beta {beta}", similarity.name());
            compare(&label, &config, &tensors, size(64, 96));
        }
    }
}

#[test]
fn a_locality_needs_the_cosine() {
    let mut config = config("micro");
    config.locality[1] = 0.03;
    assert_eq!(config.check(), Ok(()));
    for similarity in [Similarity::Dot, Similarity::Euclidean] {
        config.similarity = similarity;
        let refused = config.check();
        assert_eq!(refused, Err(Error::LocalityWithoutCosine { pool: 2 }));
    }
}
