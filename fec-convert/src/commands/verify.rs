//! `fec-convert verify`: a .fec file in the engine against its checkpoint in the reference network, or against an ONNX graph, image by
//! image.

#[cfg(feature = "onnx")]
mod graph;

use std::path::PathBuf;

use clap::ValueHint;
use fec::output::{Exit, Output};
use fec_convert::Error;
#[cfg(not(feature = "onnx"))]
use fec_convert::error::GraphFault;
use fec_convert::fold::Tensors;
use fec_convert::read::{MAX_FILE_LEN, is_onnx};
use fec_convert::recognise::{Recognised, recognise};
use fec_convert::verify::{
    Agreement, Comparison, Tolerance, Verifier, arch_settings, first_difference,
};
use fec_runtime::{AlignedBytes, Model};
use serde::Serialize;

use super::images::Images;
use super::{checkpoint, formula_network, in_file, parse_arch, parse_number, read_file};

/// Formula images that stand in when there is no folder.
const FORMULA_IMAGES: usize = 5;

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
    /// Largest difference of a logit or feature with equal assignments [default: 1e-4, 0.02 where weights are f16, 0.5 of integer networks]; with an ONNX
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
    let mut images = match &args.images {
        Some(dir) => Images::below(dir, args.limit)?,
        None => Images::formula(FORMULA_IMAGES),
    };
    let bytes = AlignedBytes::copy_of(&read_file(&args.model, MAX_FILE_LEN)?);
    let in_model = |cause| in_file(&args.model, Error::Model(cause));
    let model = Model::from_bytes(bytes.as_bytes()).map_err(in_model)?;
    let tensors = match formula_network(&args.against, args.arch.as_deref(), args.ema) {
        Some(network) => tensors_of(args, &model, network?)?,
        None => {
            let against = read_file(&args.against, MAX_FILE_LEN)?;
            if is_onnx(&against) {
                #[cfg(feature = "onnx")]
                return graph::run(args, &model, &against, images, out);
                #[cfg(not(feature = "onnx"))]
                return Err(in_file(&args.against, GraphFault::LeftOut.into()));
            }
            read_tensors(args, &model, &against)?
        }
    };
    let mut verifier = Verifier::new(&model, &tensors)?;
    images.for_each("images", &model.preprocessing(), out, &mut |shown| {
        verifier.compare(&shown.image, &shown.normalised)
    })?;
    let comparison = verifier.comparison();
    let mut tolerance = Tolerance::of(&model);
    if let Some(difference) = args.tolerance {
        tolerance.difference = difference;
    }
    report(
        args,
        comparison,
        images.skipped.len(),
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
