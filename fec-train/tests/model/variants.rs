//! Ablations and dense variants: no golden file has their gradients, so fused and composed are held against each other, and
//! forward passes against the runtime's reference.

use alloc::collections::BTreeMap;

use burn::tensor::Device;
use fec_runtime::config::{Config, Dispatch, MICRO, Similarity};
use fec_runtime::reference::Network;
use fec_tests::fixtures::size;
use fec_tests::golden::waves;
use fec_train::model::{Fec, Init, Pass, PoolGradient, PoolTraining, tensors};

use crate::{batch, values};

/// Every similarity with every dispatch, and locality.
fn variants() -> Vec<(String, Config)> {
    let mut all = Vec::new();
    for similarity in Similarity::ALL {
        for dispatch in Dispatch::ALL {
            let config = Config {
                similarity,
                dispatch,
                ..MICRO
            };
            all.push((format!("{} {dispatch:?}", similarity.name()), config));
        }
    }
    let locality = [0.01, 0.03, 0.1];
    all.push(("locality".to_string(), Config { locality, ..MICRO }));
    let mut widths = MICRO;
    for (stage, head_dim) in widths.stages.iter_mut().zip([3, 5, 9, 12]) {
        stage.head_dim = head_dim;
    }
    all.push(("head widths per stage".to_string(), widths));
    let mut folds = Config {
        locality,
        ..Config::preset("micro_dense").expect("a preset")
    };
    for (stage, (p, f)) in folds
        .stages
        .iter_mut()
        .zip([(3, 2), (7, 2), (2, 1), (3, 1)])
    {
        (stage.proposals, stage.folds) = (p, f);
    }
    all.push(("folds".to_string(), folds));
    all
}

#[test]
fn every_variant_agrees_with_the_reference() {
    let size = size(64, 96);
    let image = waves(size, 3);
    for (name, config) in variants() {
        for composed in [false, true] {
            let fec = Fec::new(
                &config,
                Init {
                    seed: 9,
                    layer_scale: 0.5,
                },
                &Device::flex(),
            )
            .expect("in limits");
            let weights: BTreeMap<String, Vec<f32>> = tensors(&fec)
                .into_iter()
                .map(|(name, _, values)| (name, values))
                .collect();
            let network = Network::new(config, |tensor| weights[&tensor.to_string()].clone());
            let expected = network
                .expect("a network")
                .run(&image, size, None)
                .expect("an image");
            let forced = expected.clusterers.iter();
            let forced = forced.map(|c| (c.name.clone(), c.assign.clone())).collect();
            let pass = Pass {
                composed,
                forced: Some(forced),
                traced: true,
                ..Pass::default()
            };
            let output = fec.run(
                batch(core::slice::from_ref(&image), size, &Device::flex()),
                &pass,
            );
            let output = output.expect("an image");
            for clusterer in &expected.clusterers {
                let own = &output.trace.own[&clusterer.name];
                let pairs = own.iter().zip(&clusterer.own).zip(&clusterer.margin);
                let wrong = pairs
                    .filter(|((a, b), margin)| a != b && **margin > 2e-5)
                    .count();
                assert_eq!(
                    wrong, 0,
                    "{name}, composed {composed}: decisions of {}",
                    clusterer.name
                );
            }
            let found = match output.logits {
                Some(logits) => vec![values(logits)],
                None => output.features.into_iter().map(values).collect(),
            };
            let expected = match expected.features.as_slice() {
                [] => vec![expected.logits],
                features => features.iter().map(|map| map.values.clone()).collect(),
            };
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert!(
                    (found - expected).abs() < 3e-5,
                    "{name}, composed {composed}: {found} for {expected}"
                );
            }
            assert_eq!(found.len(), expected.len());
        }
    }
}

/// What [`gradients`] gives.
struct Found {
    own: BTreeMap<String, Vec<u16>>,
    gradients: Vec<(String, Vec<f32>)>,
    value: f32,
}

/// Every gradient of a loss over all outputs, the loss, and the decisions.
fn gradients(fec: &Fec, composed: bool, pools: PoolTraining) -> Found {
    let size = size(64, 96);
    let images = batch(&[waves(size, 3), waves(size, 4)], size, &Device::flex());
    let pass = Pass {
        composed,
        traced: true,
        pools,
        ..Pass::default()
    };
    let output = fec.run(images, &pass).expect("an image");
    let maps = output
        .features
        .into_iter()
        .map(|map| map.flatten::<1>(0, 2));
    let logits = output.logits.into_iter().map(|logits| logits.flatten(0, 1));
    // Not constant along a channel: a norm's gradient of that is zero.
    let sums = maps.chain(logits).map(|x| (x.clone() * x.sin()).mean());
    let loss = sums.reduce(|a, b| a + b).expect("an output");
    let value = crate::values(loss.clone())[0];
    let loss = match output.pools {
        Some(pools) => loss + pools,
        None => loss,
    };
    let grads = burn::optim::GradientsParams::from_grads(loss.backward(), fec);
    Found {
        own: output.trace.own,
        gradients: crate::gradients::named(fec, &grads),
        value,
    }
}

fn trainable(config: &Config) -> Fec {
    let init = Init {
        seed: 9,
        layer_scale: 0.5,
    };
    Fec::new(config, init, &Device::flex().autodiff()).expect("in limits")
}

fn agree(name: &str, fused: &[(String, Vec<f32>)], composed: &[(String, Vec<f32>)]) {
    for ((tensor, found), (_, expected)) in fused.iter().zip(composed) {
        let excess = crate::gradients::excess(found, expected, 1e-6);
        assert!(
            excess <= 1.0,
            "{name}: the gradient of {tensor} is off by {excess}"
        );
    }
}

#[test]
fn gradients_of_every_variant_agree_between_fused_and_composed() {
    for (name, config) in variants() {
        let fec = trainable(&config);
        let none = PoolTraining::default();
        let (fused, composed) = (gradients(&fec, false, none), gradients(&fec, true, none));
        assert_eq!(
            fused.own, composed.own,
            "{name}: close decisions, another seed would do"
        );
        agree(&name, &fused.gradients, &composed.gradients);
    }
}

#[test]
fn pools_learn_in_every_way_and_inference_stays_the_same() {
    let locality = [0.01, 0.03, 0.1];
    let folds = variants().pop().expect("folds").1;
    let ways = [
        PoolGradient::StraightThrough { temperature: 0.1 },
        PoolGradient::Members { temperature: 0.5 },
        PoolGradient::Weighted { temperature: 0.5 },
        PoolGradient::Colours { temperature: 0.02 },
        PoolGradient::None,
    ];
    for config in [Config { locality, ..MICRO }, folds] {
        let fec = trainable(&config);
        let published = gradients(&fec, false, PoolTraining::default());
        for gradient in ways {
            for tie in [0.0, 0.3] {
                let pools = PoolTraining { gradient, tie };
                if pools == PoolTraining::default() {
                    continue;
                }
                let name = format!("{pools:?}");
                let fused = gradients(&fec, false, pools);
                let composed = gradients(&fec, true, pools);
                agree(&name, &fused.gradients, &composed.gradients);
                let keys = |all: &[(String, Vec<f32>)]| {
                    let keys = all
                        .iter()
                        .find(|(name, _)| name == "network.1.conv_f.weight");
                    keys.expect("a pool").1.clone()
                };
                assert!(
                    keys(&fused.gradients).iter().any(|g| g.abs() > 1e-6),
                    "{name} trains no keys"
                );
                assert!(keys(&published.gradients).is_empty());
                let same = !matches!(gradient, PoolGradient::Weighted { .. });
                assert_eq!(
                    (fused.value - published.value).abs() < 1e-6,
                    same,
                    "{name}: {} for {}",
                    fused.value,
                    published.value
                );
            }
        }
    }
}
