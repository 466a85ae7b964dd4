//! The end of a run: its best weights as files to use, and the page that says how good they are.

use std::path::PathBuf;

use fec::maps::ClusterMaps;
use fec::render::{Style, overlay};
use fec::{Interpolation, Orientation, Photo};
use fec_runtime::{AlignedBytes, Model};

use crate::data::{Dataset, Sample};
use crate::report::{Command, Grouped, Mistake, ModelFile, Report, Unreadable, curves_svg};
use crate::train::{Trainer, best};
use crate::validate::{Validation, Verdict};
use crate::{Error, export};
use fec::output::Output;

/// The weights under their official names.
pub const WEIGHTS: &str = "best.safetensors";
/// The packed model.
pub const MODEL: &str = "model.fec";
/// The page.
pub const PAGE: &str = "report.html";
/// Pictures of mistakes are this wide, and maps this long on the longer side.
const THUMBNAIL: usize = 160;
const MAPPED: usize = 320;
/// Most mistakes and maps shown.
const MISTAKES: usize = 24;
const MAPS: usize = 6;

/// What a finished run left.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finished {
    /// The run's folder.
    pub run: String,
    /// The packed model.
    pub model: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The page.
    pub report: String,
    /// Validation images.
    pub images: usize,
    /// Percent of them whose likeliest class is the true one.
    pub top1: f64,
    /// Percent of them whose class is among the five likeliest.
    pub top5: f64,
    /// Seconds of training.
    pub seconds: f64,
    /// What stands out, a paragraph each.
    pub advice: Vec<String>,
}

/// Writes `best.safetensors`, `model.fec`, `curves.svg` and `report.html` into the run's folder.
///
/// # Errors
/// What packing, reading photos or the disk says.
pub fn finish(trainer: &Trainer, out: &mut Output) -> Result<Finished, Error> {
    let folder = trainer.folder();
    let classes = &trainer.split.classes;
    let (fec, _) = best(folder, out)?;
    let path = folder.path().join(WEIGHTS);
    export::save(&fec, &trainer.recipe, classes, &path)?;
    let file = export::pack(&fec, &trainer.recipe, classes, &folder.name())?;
    let model_path = folder.write(MODEL, file.as_bytes())?;
    let validation = Validation::run(&file, &trainer.val)?;
    let rows = folder.rows()?;
    folder.write("curves.svg", curves_svg(&rows).as_bytes())?;
    let parameters: usize = crate::model::tensors(&fec)
        .iter()
        .map(|(_, _, v)| v.len())
        .sum();
    let recipe = &trainer.recipe;
    let report = Report {
        name: folder.name(),
        model: format!(
            "FEC-{}, {side} x {side} pixels, {parameters} parameters",
            recipe.model,
            side = recipe.img_size
        ),
        begun_from: trainer.begun_from.clone(),
        classes: classes.clone(),
        train_images: trainer
            .found
            .classes
            .iter()
            .map(|c| c.train as u64)
            .collect(),
        confusion: validation.confusion(classes.len()),
        top5: Some(validation.within(5) as u64),
        rows,
        worst: mistakes(trainer, &validation),
        maps: grouped(&file, trainer)?,
        unreadable: unreadable(trainer),
        recipe: recipe.to_toml(),
        seconds: trainer.seconds(),
        model_file: Some(ModelFile {
            name: MODEL.into(),
            bytes: file.as_bytes().len() as u64,
        }),
        next: next_commands(&folder.path().display().to_string(), &recipe.data),
    };
    let page = folder.write(PAGE, report.to_html()?.as_bytes())?;
    Ok(Finished {
        run: folder.path().display().to_string(),
        model: model_path.display().to_string(),
        bytes: file.as_bytes().len() as u64,
        report: page.display().to_string(),
        images: validation.verdicts.len(),
        top1: validation.percent(1),
        top5: validation.percent(5),
        seconds: trainer.seconds(),
        advice: report.advice(),
    })
}

fn next_commands(run: &str, data: &str) -> Vec<Command> {
    let command = |what: &str, line: String| Command {
        what: what.into(),
        line,
    };
    vec![
        command(
            "classify a photo",
            format!("fec classify PHOTO -m {run}/{MODEL}"),
        ),
        command(
            "see how it groups a photo",
            format!("fec map PHOTO -o maps -m {run}/{MODEL}"),
        ),
        command(
            "a quarter of the size, faster, for a board",
            format!("fec-convert pack {run}/{WEIGHTS} -o model-i8.fec --dtype i8 --calib {data}"),
        ),
    ]
}

/// A file below the data's folder.
fn below(trainer: &Trainer, sample: &Sample) -> String {
    let path = sample.path.strip_prefix(&trainer.split.root);
    path.unwrap_or(&sample.path).display().to_string()
}

/// A photo, shrunk so that its longer side is at most `most`.
fn small(photo: &Photo, most: usize) -> Photo {
    let longer = photo.width.max(photo.height);
    if longer <= most {
        return photo.clone();
    }
    let scaled = |side: usize| (side * most / longer).max(1);
    fec::preprocess::resize(
        photo,
        scaled(photo.height),
        scaled(photo.width),
        Interpolation::Bicubic,
    )
}

fn photo_of(dataset: &Dataset, index: usize) -> Option<(Photo, &Sample)> {
    let sample = dataset.samples().get(index)?;
    Some((Photo::open(&sample.path, Orientation::Apply).ok()?, sample))
}

fn mistakes(trainer: &Trainer, validation: &Validation) -> Vec<Mistake> {
    let mistake = |verdict: Verdict| {
        let (photo, sample) = photo_of(&trainer.val, verdict.index)?;
        Some(Mistake {
            picture: small(&photo, THUMBNAIL),
            file: below(trainer, sample),
            truth: verdict.truth,
            predicted: verdict.predicted,
            probability: verdict.probability,
        })
    };
    validation
        .worst(MISTAKES)
        .into_iter()
        .filter_map(mistake)
        .collect()
}

/// The maps of one validation image of each class, evenly over the classes.
fn grouped(file: &AlignedBytes, trainer: &Trainer) -> Result<Vec<Grouped>, Error> {
    let model = Model::from_bytes(file.as_bytes())?;
    let kernels = fec::isa::kernels()?;
    let classes = trainer.split.classes.len();
    let mut maps = Vec::new();
    for i in 0..classes.min(MAPS) {
        let class = i * classes / classes.min(MAPS);
        let first = trainer
            .val
            .samples()
            .iter()
            .position(|s| s.class as usize == class);
        let Some((photo, sample)) = first.and_then(|index| photo_of(&trainer.val, index)) else {
            continue;
        };
        let photo = small(&photo, MAPPED);
        let found = ClusterMaps::of(&model, &photo, None, &[], kernels)?;
        let mut pictures = vec![("photo".to_string(), photo.clone())];
        let [_, second, third] = &found.levels;
        for (what, map, style) in [
            ("level 2, mean colours", second, Style::Mean),
            ("level 3", third, Style::Boundary),
            ("level 3, mean colours", third, Style::Mean),
        ] {
            pictures.push((what.to_string(), overlay(&photo, map, style)?));
        }
        maps.push(Grouped {
            caption: below(trainer, sample),
            pictures,
        });
    }
    Ok(maps)
}

fn unreadable(trainer: &Trainer) -> Vec<Unreadable> {
    let named = |u: &crate::data::Unreadable| {
        let path: PathBuf = u
            .path
            .strip_prefix(&trainer.split.root)
            .unwrap_or(&u.path)
            .into();
        Unreadable {
            file: path.display().to_string(),
            reason: u.reason.clone(),
        }
    };
    trainer.found.unreadable.iter().map(named).collect()
}
