//! A look at everything that a training needs, before it is needed.

use fec::output::Output;
use fec_runtime::{AlignedBytes, ImageSize, Model};
use serde::Serialize;

use crate::data::Batch;
use crate::device::Place;
use crate::model::Pass;
use crate::recipe::Recipe;
use crate::train::{Images, fresh, gradient, network, size};
use crate::{Error, device, export};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub what: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, in one line.
    pub found: String,
}

/// Largest difference of a logit between training and the runtime.
const AGREEMENT: f32 = 1e-3;

/// Looks at the device, the images if the recipe names some, and takes one batch through training, packing and the runtime.
pub fn examine(recipe: &Recipe, out: &mut Output) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |what, result: Result<String, Error>| {
        checks.push(match result {
            Ok(found) => Check {
                what,
                ok: true,
                found,
            },
            Err(error) => Check {
                what,
                ok: false,
                found: error.to_string(),
            },
        });
    };
    add(
        "device",
        device::open(&recipe.device).map(|place| place.name),
    );
    if !recipe.data.is_empty() {
        add("images", images(recipe, out));
    }
    add("one batch: train, pack, run", one_batch(recipe));
    checks
}

fn images(recipe: &Recipe, out: &mut Output) -> Result<String, Error> {
    // Nothing is trained on afterwards, so that nothing is kept.
    let recipe = Recipe {
        cache: 0,
        ..recipe.clone()
    };
    let (images, _) = Images::unsplit(&recipe, out)?;
    Ok(images.lines().join("; "))
}

/// Trains one step on images from a formula, packs the network and compares the runtime's logits with the trainer's.
fn one_batch(recipe: &Recipe) -> Result<String, Error> {
    let Place {
        device, further, ..
    } = device::open(&recipe.device)?;
    let pass = Pass {
        further,
        ..Pass::default()
    };
    let classes = 10;
    // With a locality near choices differ by rounding; the chain is the same without.
    let recipe = &Recipe {
        locality: [0.0; 3],
        ..recipe.clone()
    };
    let fec = network(recipe, classes, &device)?;
    let size = size(recipe);
    let count = recipe.batch_size.min(8);
    let mut batch = Batch {
        images: (0..count).flat_map(|i| pixels(size, i)).collect(),
        targets: vec![0.0; count * classes],
        ..Batch::default()
    };
    for (i, row) in batch.targets.chunks_mut(classes).enumerate() {
        row[i % classes] = 1.0;
    }
    let first = gradient(&fec, &batch, recipe, &pass)?;
    let loss = first.loss;
    let mut weights = fresh(fec, recipe);
    let (fec, _) = weights
        .optimizer
        .step(recipe.lr, weights.fec.clone(), first.parameters);
    let after = gradient(&fec, &batch, recipe, &pass)?;
    let names: Vec<String> = (0..classes).map(|i| i.to_string()).collect();
    let file = export::pack(&fec, recipe, &names, "doctor")?;
    let logits = run(&file, size, &batch.images)?;
    let difference = logits
        .iter()
        .zip(&after.logits)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    if difference > AGREEMENT {
        return Err(Error::Panicked {
            reason: format!(
                "the runtime's logits differ from the trainer's by {difference:.1e}, more than {AGREEMENT:.0e}"
            ),
        });
    }
    Ok(format!(
        "loss {loss:.3}, then {:.3}; the runtime's logits are within {difference:.1e}",
        after.loss
    ))
}

/// Normalised pixels of a picture that a formula gives.
fn pixels(size: ImageSize, image: usize) -> impl Iterator<Item = f32> {
    (0..size.height * size.width * 3).map(move |i| {
        let (pixel, channel) = (i / 3, i % 3);
        let (y, x) = (pixel / size.width, pixel % size.width);
        let wave = (y * (3 + image) + x * (5 + channel) + 17 * image) % 64;
        wave as f32 / 16.0 - 2.0
    })
}

/// The runtime's logits of normalised images.
fn run(file: &AlignedBytes, size: ImageSize, images: &[f32]) -> Result<Vec<f32>, Error> {
    let model = Model::from_bytes(file.as_bytes())?;
    let plan = model.plan(size)?;
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let mut session = fec_runtime::Session::new(&model, plan, arena.as_bytes_mut())?;
    let mut logits = Vec::new();
    for image in images.chunks_exact(size.height * size.width * 3) {
        // The runtime's floats are official: channel after channel.
        let planes: Vec<f32> = (0..3)
            .flat_map(|channel| image.iter().skip(channel).step_by(3).copied())
            .collect();
        let image = fec_runtime::Image::f32_chw(&planes, size)?;
        logits.extend_from_slice(session.run(&image)?.logits());
    }
    Ok(logits)
}
