//! A look at everything that a training needs, before it is needed.

use fec::output::Output;
use fec_runtime::config::Config;
use fec_runtime::{AlignedBytes, ImageSize, Model};
use serde::Serialize;

use crate::data::{self, Budget, Dataset, Split};
use crate::model::{self, Fec, Init, Pass};
use crate::recipe::Recipe;
use crate::train::{fresh, size};
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
    add("device", device::open(&recipe.device).map(|(_, name)| name));
    if !recipe.data.is_empty() {
        add("images", images(recipe, out));
    }
    add("one batch: train, pack, run", one_batch(recipe));
    checks
}

fn images(recipe: &Recipe, out: &mut Output) -> Result<String, Error> {
    let scratch = tempfile::tempdir().map_err(|source| {
        Error::Host(fec::Error::Write {
            path: std::env::temp_dir(),
            source,
        })
    })?;
    let split_file = scratch.path().join("split.csv");
    let split = Split::open(
        recipe.data_folder()?,
        recipe.val_split,
        recipe.seed,
        &split_file,
    )?;
    let budget = Budget::megabytes(0);
    let val = Dataset::eval(split.val.clone(), recipe, &budget);
    let train = Dataset::train(split.train.clone(), recipe, &budget);
    let mut bar = out.progress("images read", (train.len() + val.len()) as u64);
    let mut shown = 0;
    let threads = rayon::current_num_threads();
    let found = data::check(&split, &train, &val, recipe.img_size, threads, |done, _| {
        bar.advance(out, (done as u64).saturating_sub(shown));
        shown = done as u64;
    })?;
    bar.finish();
    Ok(split
        .notes
        .into_iter()
        .chain(found.lines())
        .collect::<Vec<_>>()
        .join("; "))
}

/// Trains one step on images from a formula, packs the network and compares the runtime's logits with the trainer's.
fn one_batch(recipe: &Recipe) -> Result<String, Error> {
    let (device, _) = device::open(&recipe.device)?;
    let classes = 10;
    let mut config: Config = recipe.config(classes)?;
    // With a locality near choices differ by rounding; the chain is the same without.
    config.locality = [0.0; 3];
    let init = Init {
        seed: recipe.seed,
        layer_scale: recipe.layer_scale as f32,
    };
    let fec = Fec::new(&config, init, &device)?;
    let size = size(recipe);
    let count = recipe.batch_size.min(8);
    let images: Vec<f32> = (0..count).flat_map(|i| pixels(size, i)).collect();
    let mut targets = vec![0.0; count * classes];
    for (i, row) in targets.chunks_mut(classes).enumerate() {
        row[i % classes] = 1.0;
    }
    let batch = model::Batch {
        images: &images,
        targets: &targets,
        size,
    };
    let gradient = model::gradients(&fec, batch, &Pass::default())?;
    let loss = gradient.loss;
    let mut weights = fresh(fec, recipe);
    let (fec, _) = weights
        .optimizer
        .step(recipe.lr, weights.fec.clone(), gradient.parameters);
    let after = model::gradients(&fec, batch, &Pass::default())?;
    let names: Vec<String> = (0..classes).map(|i| i.to_string()).collect();
    let file = export::pack(&fec, recipe, &names, "doctor")?;
    let logits = run(&file, size, &images)?;
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
