//! `verify --against` an ONNX graph: both run freely, and their logits are compared.

use fec::output::{Exit, Output};
use fec_convert::Error;
use fec_convert::onnx::{
    Graph, GraphComparison, GraphVerifier, ImageDifference, comparable, default_tolerance,
};
use fec_runtime::Model;
use fec_runtime::format::Preprocessing;
use serde::Serialize;

use super::{Args, Images, in_file};

/// The checkpoint's report, less what a graph does not tell: its assignments.
#[derive(Serialize)]
struct Report {
    file: String,
    against: String,
    ok: bool,
    images: usize,
    skipped: usize,
    height: usize,
    width: usize,
    largest_difference: f32,
    relative_difference: f32,
    same_top1: usize,
    tolerance: f32,
    per_image: Vec<PerImage>,
}

#[derive(Serialize)]
struct PerImage {
    image: String,
    largest_difference: f32,
    relative_difference: f32,
    same_top1: bool,
}

/// Compares with the graph of these bytes, at the graph's size of image.
pub(super) fn run(
    args: &Args,
    model: &Model<'_>,
    bytes: &[u8],
    mut images: Images,
    out: &mut Output,
) -> Result<Exit, Error> {
    let used = [("--arch", args.arch.is_some()), ("--ema", args.ema)];
    if let Some((option, _)) = used.into_iter().find(|(_, used)| *used) {
        return Err(in_file(&args.against, Error::GraphOption { option }));
    }
    comparable(model).map_err(|cause| in_file(&args.model, cause))?;
    let in_graph = |cause| in_file(&args.against, cause);
    let graph = Graph::from_bytes(bytes).map_err(in_graph)?;
    let mut verifier = GraphVerifier::new(model, graph).map_err(in_graph)?;
    let preprocessing = Preprocessing {
        size: verifier.size(),
        ..model.preprocessing()
    };
    let mut names = Vec::new();
    images.for_each("images", &preprocessing, out, &mut |shown| {
        names.push(shown.name.clone());
        let compared = verifier.compare(&shown.image, &shown.normalised);
        compared.map_err(in_graph)
    })?;
    let comparison = verifier.comparison();
    let tolerance = args.tolerance.unwrap_or_else(|| default_tolerance(model));
    let overall = comparison.overall();
    let report = Report {
        file: args.model.display().to_string(),
        against: args.against.display().to_string(),
        ok: comparison.check(tolerance).is_ok(),
        images: comparison.images.len(),
        skipped: images.skipped.len(),
        height: preprocessing.size.height,
        width: preprocessing.size.width,
        largest_difference: overall.difference,
        relative_difference: overall.relative(),
        same_top1: comparison.same_top1(),
        tolerance,
        per_image: per_image(names, comparison),
    };
    write(&report, out)?;
    comparison
        .check(tolerance)
        .map_err(|cause| in_file(&args.model, cause))?;
    Ok(Exit::Ok)
}

fn per_image(names: Vec<String>, comparison: &GraphComparison) -> Vec<PerImage> {
    let entry = |(image, found): (String, &ImageDifference)| PerImage {
        image,
        largest_difference: found.difference,
        relative_difference: found.relative(),
        same_top1: found.same_top1,
    };
    let images = names.into_iter().zip(&comparison.images);
    images.map(entry).collect()
}

fn write(report: &Report, out: &mut Output) -> Result<(), Error> {
    out.json(report)?;
    out.text(format_args!(
        "images        {} of {}x{}, {} skipped",
        report.images, report.height, report.width, report.skipped
    ))?;
    out.text(format_args!(
        "same class    {} of {}",
        report.same_top1, report.images
    ))?;
    for image in &report.per_image {
        out.text(format_args!(
            "  {:.3e} of {}{}",
            image.largest_difference,
            image.image,
            if image.same_top1 {
                ""
            } else {
                ", another class"
            }
        ))?;
    }
    out.text(format_args!(
        "difference    {:.3e} in a logit at most, {:.3e} of the largest, allowed {:e}",
        report.largest_difference, report.relative_difference, report.tolerance
    ))?;
    out.text(if report.ok { "ok" } else { "FAILED" })?;
    Ok(())
}
