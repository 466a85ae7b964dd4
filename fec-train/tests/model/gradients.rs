//! Gradients and five steps of AdamW against PyTorch's, and what must not change them.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use fec_runtime::Error;
use fec_runtime::config::NANO;
use fec_runtime::formula::TensorFormula;
use fec_tests::fixtures::size;
use fec_tests::golden::{Tensors, notice, waves};
use fec_train::model::{Batch, DropPath, Fec, Gradient, Init, Pass, gradients, tensors};
use fec_train::optim::{Accumulator, Optimizer, Settings, State};

use crate::pixel_major;

const SIDE: usize = 64;
/// At 64 px every element of the last stage is its own centre: its cosine is 1 whatever the key, the key's gradient pure rounding
/// noise, and Adam makes steps of full size of noise.
const NOISE: &str = "network.6.0.token_mixer.f.";

fn formula(device: &Device) -> Fec {
    Fec::with(&NANO, device, |tensor| {
        let formula = TensorFormula::new(tensor);
        (0..tensor.elements()).map(|i| formula.value(i)).collect()
    })
    .expect("nano is a preset")
}

fn images(count: usize) -> Vec<f32> {
    (0..count)
        .flat_map(|j| pixel_major(&waves(size(SIDE, SIDE), j)))
        .collect()
}

fn batch<'a>(images: &'a [f32], targets: &'a [f32]) -> Batch<'a> {
    Batch {
        images,
        targets,
        size: size(SIDE, SIDE),
    }
}

/// Every parameter's gradient, in the order and under the names of `tensors`; empty where there is none.
pub(crate) fn named(fec: &Fec, grads: &GradientsParams) -> Vec<(String, Vec<f32>)> {
    struct Collect<'a> {
        grads: &'a GradientsParams,
        found: Vec<(String, Vec<f32>)>,
        path: Vec<String>,
    }
    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            if !container.starts_with("Enum:") {
                self.path.push(name.to_string());
            }
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            if !container.starts_with("Enum:") {
                self.path.pop();
            }
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let grad = self.grads.get::<D>(param.id).map(crate::values);
            self.found
                .push((self.path.join("."), grad.unwrap_or_default()));
        }
    }
    let mut collect = Collect {
        grads,
        found: Vec::new(),
        path: Vec::new(),
    };
    fec.visit(&mut collect);
    collect.found
}

/// Largest difference beyond 1e-6 plus 1e-5 of the largest expected value, as a share of that; NaN counts as wrong.
pub(crate) fn excess(found: &[f32], expected: &[f32], absolute: f32) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0.0f32, |largest, v| largest.max(v.abs()));
    let allowed = absolute + 1e-5 * largest;
    let shares = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs() / allowed);
    shares.fold(0.0, |worst, v| if v <= worst { worst } else { v })
}

fn agrees_with_pytorch(name: &str, pass: &Pass) {
    let Some(golden) = Tensors::load(name) else {
        notice(&format!("SKIPPED {name}: shared/golden is not there"));
        return;
    };
    let device = Device::flex().autodiff();
    let mut fec = formula(&device);
    let images = images(2);
    let targets = if name.contains("soft") {
        golden.f32("target").expect("soft targets")
    } else {
        let mut hard = vec![0.0; 20];
        (hard[3], hard[17]) = (1.0, 1.0);
        hard
    };
    let losses = golden.f64("losses").expect("five losses");
    let mut optimizer = Optimizer::new(&fec, Settings::default());
    for (step, expected) in losses.iter().enumerate() {
        let found = gradients(&fec, batch(&images, &targets), pass).expect("a batch");
        assert!(
            (f64::from(found.loss) - expected).abs() < 2e-6,
            "loss {step}: {}",
            found.loss
        );
        if step == 0 {
            for (name, grad) in named(&fec, &found.parameters) {
                // The pools' keys enter an argmax alone (SPEC 3.4).
                assert_eq!(grad.is_empty(), name.contains("conv_f"), "{name}");
                if grad.is_empty() {
                    continue;
                }
                let expected = golden.f32(&format!("grad.{name}")).expect("every gradient");
                let excess = excess(&grad, &expected, 1e-6);
                assert!(
                    excess <= 1.0,
                    "the gradient of {name} is off by {excess} times what is allowed"
                );
            }
        }
        fec = optimizer.step(1e-3, fec, found.parameters).0;
    }
    for (name, _, values) in tensors(&fec) {
        let expected = golden.f32(&format!("after5.{name}")).expect("every tensor");
        let worst = values.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let worst = worst.fold(0.0, f32::max);
        let allowed = if name.starts_with(NOISE) { 5e-3 } else { 1e-4 };
        assert!(
            worst <= allowed,
            "{name} is off by {worst} after five steps"
        );
    }
}

#[test]
fn gradients_and_five_steps_agree_with_pytorch() {
    agrees_with_pytorch("j_nano_grad_64x64_batch2", &Pass::default());
    agrees_with_pytorch("j2_nano_grad_soft_64x64_batch2", &Pass::default());
}

#[test]
fn composed_gradients_and_five_steps_agree_with_pytorch() {
    let pass = Pass {
        composed: true,
        ..Pass::default()
    };
    agrees_with_pytorch("j_nano_grad_64x64_batch2", &pass);
    agrees_with_pytorch("j2_nano_grad_soft_64x64_batch2", &pass);
}

/// A batch that is cut into three parts, with targets that differ.
fn many() -> (Vec<f32>, Vec<f32>) {
    let targets = (0..40 * 10).map(|i| ((i * 7 % 23) as f32) / 110.0);
    (images(40), targets.collect())
}

fn gradient(fec: &Fec, pass: &Pass, range: core::ops::Range<usize>) -> Gradient {
    let (images, targets) = many();
    let pixels = SIDE * SIDE * 3;
    let images = &images[range.start * pixels..range.end * pixels];
    gradients(
        fec,
        batch(images, &targets[range.start * 10..range.end * 10]),
        pass,
    )
    .expect("a batch")
}

fn bits(fec: &Fec, gradient: &Gradient) -> Vec<Vec<u32>> {
    let named = named(fec, &gradient.parameters).into_iter();
    let logits = gradient.logits.iter().map(|v| v.to_bits()).collect();
    named
        .map(|(_, values)| values.iter().map(|v| v.to_bits()).collect())
        .chain([vec![gradient.loss.to_bits()], logits])
        .collect()
}

/// The CPU stands for each of several devices.
#[test]
fn devices_that_share_a_batch_find_its_gradient() {
    let device = || Device::flex().autodiff();
    let pass = Pass {
        further: vec![device()],
        ..Pass::default()
    };
    agrees_with_pytorch("j_nano_grad_64x64_batch2", &pass);
    // 14, 14 and 12 images.
    let fec = formula(&device());
    let alone = Pass {
        drop_path: Some(DropPath::draw(0.5, fec.blocks(), 40, 1, 2)),
        ..Pass::default()
    };
    let together = Pass {
        further: vec![device(), device()],
        ..alone.clone()
    };
    let [alone, together] = [alone, together].map(|pass| gradient(&fec, &pass, 0..40));
    assert_eq!(alone.logits, together.logits);
    assert!((alone.loss - together.loss).abs() < 1e-5);
    let [alone, together] = [alone, together].map(|found| named(&fec, &found.parameters));
    for ((name, alone), (_, together)) in alone.iter().zip(&together) {
        let excess = excess(together, alone, 1e-6);
        assert!(
            excess <= 1.0,
            "{name} is off by {excess} times what is allowed"
        );
    }
    // More devices than images.
    let many = Pass {
        further: vec![device(), device(), device()],
        ..Pass::default()
    };
    assert_eq!(gradient(&fec, &many, 0..2).logits.len(), 20);
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let fec = formula(&Device::flex().autodiff());
    let pass = Pass {
        drop_path: Some(DropPath::draw(0.5, fec.blocks(), 40, 1, 2)),
        ..Pass::default()
    };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let found = pool
            .expect("threads")
            .install(|| gradient(&fec, &pass, 0..40));
        bits(&fec, &found)
    };
    let one = with(1);
    assert_eq!(one, with(2));
    assert_eq!(one, with(3));
}

#[test]
fn fused_and_composed_agree_under_drop_path() {
    let fec = formula(&Device::flex().autodiff());
    let pass = |composed| Pass {
        drop_path: Some(DropPath::draw(0.6, fec.blocks(), 40, 1, 2)),
        composed,
        ..Pass::default()
    };
    let (fused, composed) = (
        gradient(&fec, &pass(false), 0..40),
        gradient(&fec, &pass(true), 0..40),
    );
    assert!((fused.loss - composed.loss).abs() < 1e-6);
    let expected = named(&fec, &composed.parameters);
    for ((name, found), (_, expected)) in named(&fec, &fused.parameters).iter().zip(&expected) {
        assert!(excess(found, expected, 2e-6) <= 1.0, "{name}");
    }
    let without = gradient(&fec, &Pass::default(), 0..40);
    assert!(
        (fused.loss - without.loss).abs() > 1e-4,
        "drop path dropped nothing"
    );
}

#[test]
fn accumulated_batches_equal_the_whole() {
    let fec = formula(&Device::flex().autodiff());
    let whole = gradient(&fec, &Pass::default(), 0..40);
    let mut accumulator = Accumulator::default();
    for range in [0..8, 8..32, 32..40] {
        let images = range.len();
        accumulator.add(&fec, gradient(&fec, &Pass::default(), range), images);
    }
    let sum = accumulator.take().expect("three batches");
    assert!(accumulator.take().is_none());
    assert!((sum.loss - whole.loss).abs() < 1e-6);
    let expected = named(&fec, &whole.parameters);
    for ((name, found), (_, expected)) in named(&fec, &sum.parameters).iter().zip(&expected) {
        assert!(excess(found, expected, 1e-6) <= 1.0, "{name}");
    }
}

#[test]
fn clipping_scales_the_norm_of_all_gradients_together() {
    let fec = formula(&Device::flex().autodiff());
    let grads = || gradient(&fec, &Pass::default(), 0..2);
    let norm = fec_train::optim::norm(&fec, &grads().parameters).map(crate::values);
    let squares = named(&fec, &grads().parameters).into_iter();
    let squares = squares
        .flat_map(|(_, values)| values)
        .map(|v| f64::from(v) * f64::from(v));
    let expected = squares.sum::<f64>().sqrt();
    let norm = norm.expect("gradients")[0];
    assert!((f64::from(norm) - expected).abs() < 1e-5 * expected);
    // The first step of Adam does not depend on the gradients' scale but for epsilon: the moments show it.
    let settings = Settings {
        clip_grad: Some(expected / 2.0),
        epsilon: 1e3,
        weight_decay: 0.0,
        ..Settings::default()
    };
    let step = |settings| {
        let mut optimizer = Optimizer::new(&fec, settings);
        let after = tensors(&optimizer.step(1e3, fec.clone(), grads().parameters).0);
        let moved = after.into_iter().zip(tensors(&fec));
        let of_head = moved.filter(|(after, _)| after.0 == "head.bias");
        let mut moved = of_head.map(|(after, before)| after.2[0] - before.2[0]);
        moved.next().expect("a head")
    };
    let (clipped, free) = (
        step(settings),
        step(Settings {
            clip_grad: None,
            ..settings
        }),
    );
    assert!((clipped / free - 0.5).abs() < 1e-3, "{clipped} of {free}");
}

#[test]
fn three_steps_and_three_after_loading_equal_six() {
    let device = Device::flex().autodiff();
    let settings = Settings {
        clip_grad: Some(1.0),
        ..Settings::default()
    };
    let step = |state: State, number: u64| {
        let State {
            fec,
            mut optimizer,
            average,
        } = state;
        let pass = Pass {
            drop_path: Some(DropPath::draw(0.2, fec.blocks(), 4, 3, number)),
            ..Pass::default()
        };
        let found = gradient(&fec, &pass, 0..4);
        let fec = optimizer.step(1e-3, fec, found.parameters).0;
        let mut average = average.expect("an average");
        average.update(&fec);
        State {
            fec,
            optimizer,
            average: Some(average),
        }
    };
    let init = Init {
        seed: 5,
        layer_scale: 0.1,
    };
    let fec = Fec::new(&NANO, init, &device).expect("a preset");
    let mut state = State {
        optimizer: Optimizer::new(&fec, settings),
        average: Some(fec_train::optim::Average::new(&fec, 0.9)),
        fec,
    };
    for number in 0..3 {
        state = step(state, number);
    }
    let folder = tempfile::tempdir().expect("a folder");
    state.save(folder.path()).expect("saved");
    let other = Init { seed: 6, ..init };
    let fresh = Fec::new(&NANO, other, &device).expect("a preset");
    let mut loaded = State::load(folder.path(), fresh, settings, Some(0.9)).expect("loaded");
    for number in 3..6 {
        state = step(state, number);
        loaded = step(loaded, number);
    }
    assert_eq!(tensors(&state.fec), tensors(&loaded.fec));
    let average = |state: &State| tensors(&state.average.as_ref().expect("an average").fec);
    assert_eq!(average(&state), average(&loaded));
    assert_ne!(average(&state), tensors(&state.fec));
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let fec = formula(&Device::flex().autodiff());
    let (images, targets) = (images(2), vec![0.1; 20]);
    let refused = |images: &[f32], targets: &[f32], pass: &Pass| {
        gradients(&fec, batch(images, targets), pass).expect_err("refused")
    };
    let pass = Pass::default();
    assert_eq!(
        refused(&images[3..], &targets, &pass),
        Error::PixelCount {
            needed: 24_576,
            given: 24_573
        }
    );
    assert_eq!(
        refused(&images, &targets[1..], &pass),
        Error::PixelCount {
            needed: 12_288,
            given: 24_576
        }
    );
    assert_eq!(
        refused(&[], &[], &pass),
        Error::PixelCount {
            needed: 0,
            given: 0
        }
    );
    let drop_path = Pass {
        drop_path: Some(DropPath::draw(0.1, fec.blocks(), 3, 0, 0)),
        ..Pass::default()
    };
    assert_eq!(
        refused(&images, &targets, &drop_path),
        Error::OutOfRange { given: 3, limit: 2 }
    );
    let odd = Batch {
        images: &images,
        targets: &targets,
        size: size(64 * 2, 32),
    };
    assert!(gradients(&fec, odd, &pass).is_ok());
    let odd = Batch {
        images: &images[..2 * 48 * 48 * 3],
        targets: &targets,
        size: size(48, 48),
    };
    assert!(matches!(
        gradients(&fec, odd, &pass),
        Err(Error::Size { .. })
    ));
}
