//! `fec-convert verify`: a .fec file in the engine against its checkpoint in the reference network, or against an ONNX graph, image by
//! image.

#[cfg(feature = "onnx")]
mod graph;

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueHint;
use fec::dataset::is_image;
use fec::output::{Exit, Output};
use fec::{Orientation, Photo, preprocess};
use fec_convert::Error;
#[cfg(not(feature = "onnx"))]
use fec_convert::error::GraphFault;
use fec_convert::fold::Tensors;
use fec_convert::read::{MAX_FILE_LEN, is_onnx};
use fec_convert::recognise::{Recognised, recognise};
use fec_convert::verify::{
    Agreement, Comparison, Tolerance, Verifier, arch_settings, first_difference, formula_image,
};
use fec_runtime::format::Preprocessing;
use fec_runtime::{AlignedBytes, Image, Model};
use serde::Serialize;

use super::{checkpoint, formula_network, in_file, parse_arch, parse_number, read_file};

/// Formula images that stand in when there is no folder.
const FORMULA_IMAGES: usize = 5;
/// Folders within folders that are searched for images.
const MAX_DEPTH: usize = 16;

/// Options of `verify`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Packed model
    #[arg(value_name = "IN.fec", value_hint = ValueHint::FilePath)]
    model: PathBuf,
    /// Checkpoint it was packed from, an ONNX graph of the same network, `-` for standard input, or formula:PRESET
    #[arg(long, value_name = "CHECKPOINT|ONNX", value_hint = ValueHint::FilePath)]
    against: PathBuf,
    /// Folder of images, searched with all folders inside it [default: five formula images]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    images: Option<PathBuf>,
    /// Most images that are compared, spread evenly over those found
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Architecture of the checkpoint [default: the packed model's]
    #[arg(long, value_name = "NAME", value_parser = parse_arch)]
    arch: Option<String>,
    /// Compare with the averaged weights (state_dict_ema, model_ema)
    #[arg(long)]
    ema: bool,
    /// Largest difference of a logit or feature with equal assignments [default: 1e-4, or 0.02 where weights are f16]; with an ONNX
    /// graph, whose assignments cannot be held equal, of a logit [default: 1e-3, or 0.1]
    #[arg(long, value_name = "F", allow_negative_numbers = true, value_parser = parse_tolerance)]
    tolerance: Option<f32>,
    /// Report as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

fn parse_tolerance(text: &str) -> Result<f32, String> {
    parse_number(text, 0.0, f32::MAX).ok_or_else(|| "expected a number of at least 0".to_string())
}

#[derive(Serialize)]
struct Report {
    file: String,
    against: String,
    ok: bool,
    images: usize,
    skipped: usize,
    largest_difference: f32,
    relative_difference: f32,
    /// None for dense models.
    same_top1: Option<usize>,
    levels: Vec<Level>,
    mixers: Share,
    forced_difference: f32,
    tolerance: f32,
    forced_margin: f32,
    margin_tolerance: f32,
}

#[derive(Serialize)]
struct Level {
    level: usize,
    #[serde(flatten)]
    share: Share,
}

#[derive(Serialize)]
struct Share {
    assignments: usize,
    different: usize,
    /// Percent.
    agreement: f64,
}

impl From<&Agreement> for Share {
    fn from(agreement: &Agreement) -> Self {
        Self {
            assignments: agreement.elements,
            different: agreement.different,
            agreement: agreement.percent(),
        }
    }
}

pub(super) fn run(args: &Args, out: &mut Output) -> Result<Exit, Error> {
    let images = args.images.as_deref().map(|dir| find(dir, args.limit));
    let images = images.transpose()?;
    let bytes = AlignedBytes::copy_of(&read_file(&args.model, MAX_FILE_LEN)?);
    let in_model = |cause| in_file(&args.model, Error::Model(cause));
    let model = Model::from_bytes(bytes.as_bytes()).map_err(in_model)?;
    let tensors = match formula_network(&args.against, args.arch.as_deref(), args.ema) {
        Some(network) => tensors_of(args, &model, network?)?,
        None => {
            let against = read_file(&args.against, MAX_FILE_LEN)?;
            if is_onnx(&against) {
                #[cfg(feature = "onnx")]
                return graph::run(args, &model, &against, images.as_deref(), out);
                #[cfg(not(feature = "onnx"))]
                return Err(in_file(&args.against, GraphFault::LeftOut.into()));
            }
            read_tensors(args, &model, &against)?
        }
    };
    let mut verifier = Verifier::new(&model, &tensors)?;
    let skipped = for_each_image(
        images.as_deref(),
        &model.preprocessing(),
        out,
        &mut |_, image, normalised| verifier.compare(image, normalised),
    )?;
    let comparison = verifier.comparison();
    some_image(args, comparison.images)?;
    let mut tolerance = Tolerance::of(&model);
    if let Some(difference) = args.tolerance {
        tolerance.difference = difference;
    }
    report(
        args,
        comparison,
        skipped,
        &tolerance,
        model.config().dense,
        out,
    )?;
    comparison
        .check(&tolerance)
        .map_err(|cause| in_file(&args.model, cause))?;
    Ok(Exit::Ok)
}

/// The tensors of a checkpoint's bytes, if they are those of the model's network.
fn read_tensors(args: &Args, model: &Model<'_>, bytes: &[u8]) -> Result<Tensors, Error> {
    let checkpoint = checkpoint(&args.against, bytes, args.ema)?;
    let arch = match &args.arch {
        Some(arch) => arch.clone(),
        None => arch_settings(model.config()),
    };
    let network = recognise(&checkpoint, Some(&arch), model.config().similarity)
        .map_err(|cause| in_file(&args.against, Error::Network(cause)))?;
    tensors_of(args, model, network)
}

/// A network's tensors, if it is the model's network.
fn tensors_of(args: &Args, model: &Model<'_>, network: Recognised) -> Result<Tensors, Error> {
    match first_difference(&network.config, model.config()) {
        Some(difference) => Err(in_file(&args.against, difference)),
        None => Ok(network.tensors),
    }
}

/// A comparison on one image: its name, as the engine takes it, and normalised, [3, H, W].
type Compare<'a> = dyn FnMut(&str, &Image<'_>, &[f32]) -> Result<(), Error> + 'a;

/// Compares on photos, brought to the model's size as the file says, or on formula images where there is no folder of them; gives the
/// number of photos that could not be read.
fn for_each_image(
    photos: Option<&[PathBuf]>,
    preprocessing: &Preprocessing,
    out: &mut Output,
    compare: &mut Compare<'_>,
) -> Result<usize, Error> {
    let size = preprocessing.size;
    let Some(photos) = photos else {
        let mut progress = out.progress("images", FORMULA_IMAGES as u64);
        for index in 0..FORMULA_IMAGES {
            let name = format!("formula image {index}");
            let normalised = formula_image(size, index);
            compare(&name, &Image::formula(size, index), &normalised)?;
            progress.advance(out, 1);
        }
        progress.finish();
        return Ok(0);
    };
    let mut skipped = 0;
    let mut progress = out.progress("images", photos.len() as u64);
    for path in photos {
        match Photo::open(path, Orientation::Apply) {
            Ok(photo) => {
                let photo = preprocess::apply(preprocessing, &photo);
                let image = Image::rgb8(&photo.pixels, size).map_err(Error::Model)?;
                let name = path.display().to_string();
                compare(&name, &image, &normalised(preprocessing, &photo))?;
            }
            Err(error) => {
                skipped += 1;
                progress.message(out, format_args!("skipped: {error}"));
            }
        }
        progress.advance(out, 1);
    }
    progress.finish();
    Ok(skipped)
}

/// A comparison on no image shows nothing.
fn some_image(args: &Args, images: usize) -> Result<(), Error> {
    if images > 0 {
        return Ok(());
    }
    let folder = args.images.as_deref().unwrap_or(Path::new("."));
    Err(in_file(folder, Error::NoImages))
}

/// [3, H, W] as PyTorch has it: (v / 255 - mean) / std.
fn normalised(preprocessing: &Preprocessing, photo: &Photo) -> Vec<f32> {
    let mut values = Vec::with_capacity(photo.pixels.len());
    for (c, (mean, std)) in preprocessing
        .mean
        .iter()
        .zip(&preprocessing.std)
        .enumerate()
    {
        let channel = photo.pixels.iter().skip(c).step_by(3);
        values.extend(channel.map(|&v| (f32::from(v) / 255.0 - mean) / std));
    }
    values
}

/// At most `limit` images below `dir`, spread evenly over all there are, by name.
fn find(dir: &Path, limit: u32) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    walk(dir, MAX_DEPTH, &mut found)?;
    if found.is_empty() {
        return Err(in_file(dir, Error::NoImages));
    }
    let (all, wanted) = (found.len(), found.len().min(limit as usize));
    let picked = (0..wanted).filter_map(|i| found.get(i * all / wanted).cloned());
    Ok(picked.collect())
}

fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let unreadable = |source| Error::Unreadable {
        path: dir.into(),
        source,
    };
    let mut entries = fs::read_dir(dir)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable)?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, found)?;
            }
        } else if is_image(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn report(
    args: &Args,
    comparison: &Comparison,
    skipped: usize,
    tolerance: &Tolerance,
    dense: bool,
    out: &mut Output,
) -> Result<(), Error> {
    let levels = comparison.levels.iter().enumerate();
    let report = Report {
        file: args.model.display().to_string(),
        against: args.against.display().to_string(),
        ok: comparison.check(tolerance).is_ok(),
        images: comparison.images,
        skipped,
        largest_difference: comparison.difference,
        relative_difference: comparison.relative_difference(),
        same_top1: (!dense).then_some(comparison.same_top1),
        levels: levels
            .map(|(i, agreement)| Level {
                level: i + 1,
                share: agreement.into(),
            })
            .collect(),
        mixers: (&comparison.mixers).into(),
        forced_difference: comparison.forced_difference,
        tolerance: tolerance.difference,
        forced_margin: comparison.forced_margin,
        margin_tolerance: tolerance.margin,
    };
    out.json(&report)?;
    let what = if dense { "feature" } else { "logit" };
    out.text(format_args!(
        "images        {}, {skipped} skipped",
        report.images
    ))?;
    if let Some(same) = report.same_top1 {
        out.text(format_args!("same class    {same} of {}", report.images))?;
    }
    for Level { level, share } in &report.levels {
        out.text(format_args!("level {level}       {}", share.line()))?;
    }
    out.text(format_args!("mixers        {}", report.mixers.line()))?;
    out.text(format_args!(
        "difference    {:.3e} in a {what} at most, {:.3e} of the largest",
        report.largest_difference, report.relative_difference
    ))?;
    out.text("with the checkpoint's assignments:")?;
    out.text(format_args!(
        "difference    {:.3e} in a {what} at most, allowed {:e}",
        report.forced_difference, report.tolerance
    ))?;
    out.text(format_args!(
        "pools         differ by margins of {:.3e} at most, allowed {:e}",
        report.forced_margin, report.margin_tolerance
    ))?;
    out.text(if report.ok { "ok" } else { "FAILED" })?;
    Ok(())
}

impl Share {
    fn line(&self) -> String {
        format!(
            "{:.3} % of {} assignments equal, {} different",
            self.agreement,
            super::grouped(self.assignments),
            super::grouped(self.different)
        )
    }
}
