//! A look at everything that a training needs, before it is needed.

use fec::output::Output;
use fec_runtime::{AlignedBytes, ImageSize, Model};
use serde::Serialize;

use crate::data::Batch;
use crate::device::Place;
use crate::memory::{self, Memory};
use crate::model::Pass;
use crate::random::{Keyed, Purpose};
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
/// Classes of the network that is tried.
const CLASSES: usize = 10;

/// Looks at the device, the images if the recipe names some, and the memory, and takes one batch through training, packing and
/// the runtime.
pub fn examine(recipe: &Recipe, out: &mut Output) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |what, result: Result<String, String>| {
        let ok = result.is_ok();
        let (Ok(found) | Err(found)) = result;
        checks.push(Check { what, ok, found });
    };
    let place = device::open(&recipe.device).map_err(|error| error.to_string());
    add(
        "device",
        place
            .as_ref()
            .map(|p| p.name.clone())
            .map_err(String::clone),
    );
    if let Some(gpus) = gpus() {
        add("GPUs", Ok(gpus));
    }
    // First of all that takes memory: only the most that was ever held is known.
    let step = place
        .as_ref()
        .ok()
        .and_then(|place| bytes_of_a_step(recipe, place));
    let batch = place
        .map_err(|_| "not tried: there is no device".to_owned())
        .and_then(|place| one_batch(recipe, place));
    let mut decoded = 0;
    if !recipe.data.is_empty() {
        let found = images(recipe, out).map_err(|error| error.to_string());
        add(
            "images",
            found.map(|(found, bytes)| {
                decoded = bytes;
                found
            }),
        );
    }
    if let Some(memory) = memory::of_the_machine() {
        add("memory", enough(recipe, memory, step, decoded));
    }
    add("one batch: train, pack, run", batch);
    checks
}

/// The GPUs that a driver lists, in one line.
fn gpus() -> Option<String> {
    let mut lines = memory::gpus();
    if lines.is_empty() {
        return None;
    }
    if cfg!(not(feature = "cuda")) {
        lines.push("this build trains on the CPU alone, one with --features cuda on these".into());
    }
    Some(lines.join("; "))
}

/// What was found of the images, and what they take in memory.
fn images(recipe: &Recipe, out: &mut Output) -> Result<(String, u64), Error> {
    // Nothing is trained on afterwards, so that nothing is kept.
    let recipe = Recipe {
        cache: 0,
        ..recipe.clone()
    };
    let (images, _) = Images::unsplit(&recipe, out)?;
    Ok((in_one_line(&images.lines()), images.decoded_bytes()))
}

/// Lines and what is listed below them, indented.
fn in_one_line(lines: &[String]) -> String {
    let mut joined = String::new();
    for line in lines {
        let listed = line.trim_start();
        joined += match (joined.chars().last(), listed.len() < line.len()) {
            (None, _) => "",
            (Some(':'), _) => " ",
            (_, true) => ", ",
            (_, false) => "; ",
        };
        joined += listed;
    }
    joined
}

/// About what the recipe's batches take on the CPU, from two smaller ones; `None` on a GPU, and where the system does not tell.
fn bytes_of_a_step(recipe: &Recipe, place: &Place) -> Option<u64> {
    const MORE: usize = 32;
    if !place.gpus.is_empty() {
        return None;
    }
    let before = memory::peak()?;
    let fec = network(recipe, CLASSES, &place.device).ok()?;
    let grown = |images: usize| {
        gradient(&fec, &noise(recipe, images), recipe, &Pass::default()).ok()?;
        memory::peak()?.checked_sub(before)
    };
    let [few, more] = [images_tried(recipe), recipe.batch_size.clamp(1, MORE)];
    let [of_few, of_more] = [grown(few)?, grown(more)?];
    let each = (of_more - of_few).checked_div((more - few) as u64);
    let further = (recipe.batch_size - more) as u64;
    Some(of_more.saturating_add(each.unwrap_or(0).saturating_mul(further)))
}

/// Whether the machine has the memory for a step, as far as that is known, and the decoded images.
fn enough(
    recipe: &Recipe,
    memory: Memory,
    step: Option<u64>,
    decoded: u64,
) -> Result<String, String> {
    let kept = decoded.min(recipe.cache.saturating_mul(1 << 20));
    let [free, total] = [memory.free, memory.total].map(memory::readable);
    let mut found = format!("{free} of {total} free");
    if let Some(step) = step {
        let batch = recipe.batch_size;
        found += &format!(
            "; a batch of {batch} takes about {}",
            memory::readable(step)
        );
    }
    if kept > 0 {
        found += &format!("; decoded images take {}", memory::readable(kept));
    }
    if kept < decoded {
        let all = memory::readable(decoded);
        found += &format!(
            " of {all} (cache={}), the rest is decoded again each epoch",
            recipe.cache
        );
    }
    if step.unwrap_or(0).saturating_add(kept) > memory.free {
        return Err(format!(
            "{found}: too little; a smaller batch-size (with grad-accum-steps) or cache needs less"
        ));
    }
    Ok(found)
}

/// Images of the batch that is tried.
fn images_tried(recipe: &Recipe) -> usize {
    recipe.batch_size.clamp(1, 8)
}

/// Trains one step on noise, packs the network and compares the runtime's logits with the trainer's.
fn one_batch(recipe: &Recipe, place: Place) -> Result<String, String> {
    let (losses, difference) = agreement(recipe, place).map_err(|error| error.to_string())?;
    if difference > AGREEMENT {
        return Err(format!(
            "the runtime's logits differ from the trainer's by {difference:.1e}, more than {AGREEMENT:.0e}"
        ));
    }
    let [first, after] = losses;
    Ok(format!(
        "loss {first:.3}, then {after:.3}; the runtime's logits are within {difference:.1e}"
    ))
}

/// The losses before and after a step, and the largest difference of a logit after it.
fn agreement(recipe: &Recipe, place: Place) -> Result<([f32; 2], f32), Error> {
    let Place {
        device, further, ..
    } = place;
    let pass = Pass {
        further,
        ..Pass::default()
    };
    // With a locality near choices differ by rounding; the chain is the same without.
    let recipe = &Recipe {
        locality: [0.0; 3],
        ..recipe.clone()
    };
    let fec = network(recipe, CLASSES, &device)?;
    let size = size(recipe);
    let batch = noise(recipe, images_tried(recipe));
    let first = gradient(&fec, &batch, recipe, &pass)?;
    let loss = first.loss;
    let mut weights = fresh(fec, recipe);
    let (fec, _) = weights
        .optimizer
        .step(recipe.lr, weights.fec.clone(), first.parameters);
    let after = gradient(&fec, &batch, recipe, &pass)?;
    let names: Vec<String> = (0..CLASSES).map(|i| i.to_string()).collect();
    let file = export::pack(&fec, recipe, &names, "doctor")?;
    let logits = run(&file, size, &batch.images)?;
    let difference = logits
        .iter()
        .zip(&after.logits)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    Ok(([loss, after.loss], difference))
}

/// A batch of noise: no two places look alike, so that few choices of a centre are near ones.
fn noise(recipe: &Recipe, images: usize) -> Batch {
    let size = size(recipe);
    let mut random = Keyed::new(0, Purpose::Augment, 0, 0);
    let mut pixel = |_| random.uniform(-2.0, 2.0) as f32;
    let mut batch = Batch {
        images: (0..images * size.height * size.width * 3)
            .map(&mut pixel)
            .collect(),
        targets: vec![0.0; images * CLASSES],
        ..Batch::default()
    };
    for (i, row) in batch.targets.chunks_mut(CLASSES).enumerate() {
        row[i % CLASSES] = 1.0;
    }
    batch
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_stand_in_one_line() {
        let lines = [
            "8 images",
            "2 cannot be read:",
            "  a.jpg",
            "  b.jpg",
            "unbalanced",
        ];
        let joined = in_one_line(&lines.map(String::from));
        assert_eq!(
            joined,
            "8 images; 2 cannot be read: a.jpg, b.jpg; unbalanced"
        );
    }

    #[test]
    fn a_machine_with_too_little_memory_is_told_what_needs_less() {
        let memory = Memory {
            free: 900 << 20,
            total: 1 << 30,
        };
        let recipe = Recipe {
            cache: 500,
            ..Recipe::default()
        };
        let small = enough(&recipe, memory, Some(300 << 20), 400 << 20).unwrap();
        assert!(small.ends_with("decoded images take 419 MB"), "{small}");
        let capped = enough(&recipe, memory, Some(300 << 20), 9 << 30).unwrap();
        assert!(
            capped.contains("take 524 MB of 9.7 GB (cache=500)"),
            "{capped}"
        );
        let error = enough(&recipe, memory, Some(600 << 20), 9 << 30).unwrap_err();
        assert!(
            error.contains("too little; a smaller batch-size"),
            "{error}"
        );
    }
}
