//! Weights out and in: what fec-convert recognises, the runtime runs and another head accepts.

use alloc::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Device;
use fec_convert::read::{ReadOptions, read};
use fec_convert::recognise::recognise;
use fec_runtime::config::{Config, MICRO, NANO, PRESETS, Similarity};
use fec_runtime::{AlignedBytes, Image, ImageSize, Model, Session};
use fec_tests::fixtures::{changed, size};
use fec_tests::golden::waves;
use fec_train::model::{Batch, Fec, Init, Loaded, Pass, gradients, load, save, tensors};
use fec_train::optim::{Optimizer, Settings};

use crate::{batch, pixel_major, values};

fn network(config: &Config, seed: u64) -> Fec {
    let init = Init {
        seed,
        layer_scale: 0.5,
    };
    Fec::new(config, init, &Device::flex()).expect("in limits")
}

#[test]
fn names_shapes_and_order_are_the_official_ones() {
    for name in PRESETS.iter().filter(|name| !name.contains("large")) {
        let config = Config::preset(name).expect("listed");
        let fec = network(&config, 0);
        let mut official = Vec::new();
        config.official_tensors(|t| official.push((t.to_string(), t.shape().to_vec())));
        let found: Vec<_> = tensors(&fec)
            .into_iter()
            .map(|(name, shape, values)| {
                assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
                (name, shape)
            })
            .collect();
        assert_eq!(found, official, "{name}");
        let all: usize = official
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        assert_eq!(fec.num_params(), all, "{name}");
    }
}

#[test]
fn initial_values_follow_the_published_training() {
    let fec = Fec::new(
        &NANO,
        Init {
            seed: 3,
            ..Init::default()
        },
        &Device::flex(),
    )
    .expect("a preset");
    let all: BTreeMap<String, Vec<f32>> =
        tensors(&fec).into_iter().map(|(n, _, v)| (n, v)).collect();
    let largest = |name: &str| all[name].iter().fold(0.0f32, |a, v| a.max(v.abs()));
    // Convolutions: uniform up to 1 / sqrt(fan-in), bias likewise.
    assert!((0.11..=0.111_803_4).contains(&largest("patch_embed.proj.weight")));
    assert!(largest("network.1.conv_skip.bias") <= 1.0 / 12.0);
    assert!(largest("network.1.conv_skip.bias") > 0.9 / 12.0);
    let weight = &all["network.4.1.mlp.fc1.weight"];
    let deviation = (weight.iter().map(|v| v * v).sum::<f32>() / weight.len() as f32).sqrt();
    assert!((deviation - 0.02).abs() < 4e-4, "{deviation}");
    assert!((0.06..0.12).contains(&largest("network.4.1.mlp.fc1.weight")));
    assert_eq!(largest("network.4.1.mlp.fc1.bias"), 0.0);
    assert_eq!(all["network.0.0.layer_scale_1"], [1e-5; 16]);
    assert_eq!(all["network.0.0.token_mixer.sim_alpha"], [1.0]);
    assert_eq!(all["network.0.0.token_mixer.sim_beta"], [0.0]);
    assert_eq!(all["network.1.norm2.weight"], [1.0; 32]);
    assert_eq!(all["norm.bias"], [0.0; 96]);
    assert_ne!(
        all["network.4.0.mlp.fc1.weight"],
        all["network.4.1.mlp.fc1.weight"]
    );
    assert_eq!(tensors(&network(&NANO, 4)), tensors(&network(&NANO, 4)));
    assert_ne!(tensors(&network(&NANO, 4)), tensors(&network(&NANO, 5)));
}

#[test]
fn an_export_is_recognised_by_the_converter() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("weights.safetensors");
    let mut other = MICRO;
    other.similarity = Similarity::Dot;
    for (stage, heads) in other.stages.iter_mut().zip([4, 2, 1, 2]) {
        (stage.heads, stage.head_dim) = (heads, 8 / heads);
    }
    let dense = Config::preset("micro_dense").expect("a preset");
    for config in [
        NANO,
        other,
        dense,
        Config {
            classes: 37,
            ..NANO
        },
    ] {
        let fec = network(&config, 8);
        save(&fec, &file, &[("epoch", "3".to_string())]).expect("saved");
        let checkpoint = read(&file, &ReadOptions::default()).expect("read");
        let metadata: BTreeMap<_, _> = checkpoint.metadata.iter().cloned().collect();
        assert_eq!(metadata["epoch"], "3");
        let arch = metadata["arch"].as_str();
        let found = recognise(&checkpoint, Some(arch), config.similarity).expect("recognised");
        assert_eq!(found.config, config);
        let ours: BTreeMap<_, _> = tensors(&fec).into_iter().map(|(n, _, v)| (n, v)).collect();
        assert_eq!(found.tensors, ours);
    }
}

#[test]
fn weights_of_other_classes_keep_the_networks_own_head() {
    let from = network(&NANO, 1);
    let to = network(&Config { classes: 3, ..NANO }, 2);
    let head = tensors(&to).into_iter().rev().take(2).collect::<Vec<_>>();
    let (loaded, what) = load(to, tensors(&from)).expect("all but the head fits");
    assert_eq!(what, Loaded::AllButHead { classes: 10 });
    let loaded = tensors(&loaded);
    assert_eq!(
        loaded.iter().rev().take(2).cloned().collect::<Vec<_>>(),
        head
    );
    assert_eq!(loaded[..118], tensors(&from)[..118]);
    let (loaded, what) = load(network(&NANO, 2), tensors(&from)).expect("fits");
    assert_eq!((tensors(&loaded), what), (tensors(&from), Loaded::All));
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let given = || tensors(&network(&NANO, 1));
    let refused = |given| {
        load(network(&NANO, 2), given)
            .expect_err("refused")
            .to_string()
    };
    let mut missing = given();
    missing.remove(7);
    assert_eq!(
        refused(missing),
        "the weights have no network.0.0.token_mixer.v.bias: they are of another network; set model to theirs"
    );
    let mut shape = given();
    shape[0].1 = vec![16, 5, 16];
    assert_eq!(
        refused(shape),
        "patch_embed.proj.weight has shape [16, 5, 16], the network wants [16, 5, 4, 4]: set model to the weights' network"
    );
    let mut unknown = given();
    unknown.push(("conv1.weight".to_string(), vec![1], vec![0.0]));
    assert!(
        refused(unknown).starts_with("the weights have conv1.weight, which the network has not")
    );
}

/// The chain: training until the loss halves, export, pack, classify.
#[test]
fn a_trained_network_classifies_in_the_runtime_as_it_does_here() {
    const COUNT: usize = 6;
    let size = size(64, 64);
    let photos: Vec<Vec<f32>> = (0..COUNT).map(|i| waves(size, 5 * i)).collect();
    let images: Vec<f32> = photos.iter().flat_map(|image| pixel_major(image)).collect();
    let config = Config { classes: 3, ..NANO };
    let targets: Vec<f32> = (0..COUNT * 3)
        .map(|i| f32::from(i % 3 == i / 3 % 3))
        .collect();
    let init = Init {
        seed: 1,
        layer_scale: 0.1,
    };
    let mut fec = Fec::new(&config, init, &Device::flex().autodiff()).expect("in limits");
    let mut optimizer = Optimizer::new(&fec, Settings::default());
    let mut losses = Vec::new();
    for _ in 0..30 {
        let given = Batch {
            images: &images,
            targets: &targets,
            size,
        };
        let found = gradients(&fec, given, &Pass::default()).expect("a batch");
        losses.push(found.loss);
        fec = optimizer.step(2e-3, fec, found.parameters).0;
    }
    assert!(losses[29] < 0.5 * losses[0], "{losses:?}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("weights.safetensors");
    save(&fec, &file, &[]).expect("saved");
    let checkpoint = read(&file, &ReadOptions::default()).expect("read");
    let found = recognise(&checkpoint, None, Similarity::Cosine).expect("recognised");
    let packed = changed(&found.config, |tensors| *tensors = found.tensors);
    let model = Model::from_bytes(packed.as_bytes()).expect("a model");
    let here = fec.valid().forward(batch(&photos, size, &Device::flex()));
    let here = values(here.expect("images"));
    for (photo, expected) in photos.iter().zip(here.chunks(3)) {
        let found = classify(&model, photo, size);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
        }
    }
}

fn classify(model: &Model, photo: &[f32], size: ImageSize) -> Vec<f32> {
    let plan = model.plan(size).expect("a size");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let mut session = Session::new(model, plan, arena.as_bytes_mut()).expect("a session");
    let image = Image::f32_chw(photo, size).expect("an image");
    let output = session.run(&image).expect("a run");
    output.logits().to_vec()
}
