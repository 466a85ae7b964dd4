//! `fec inspect`: what a model file holds, and what it needs to run.

use core::fmt::Write;
use std::path::PathBuf;

use fec::Error;
use fec::model_file::dtypes;
use fec::output::{Exit, Output};
use fec_runtime::format::{PackedTensor, TensorKind};
use fec_runtime::{Config, ImageSize};
use serde::Serialize;

use super::{Common, labels, model_file, parse_size};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model file; the default model without it
    #[arg(value_name = "FILE.fec", conflicts_with = "model")]
    file: Option<PathBuf>,
    /// Image size that arena and multiply-adds are for, in place of the model's own: N or HEIGHTxWIDTH
    #[arg(long, value_name = "N|HxW", value_parser = parse_size)]
    size: Option<ImageSize>,
}

#[derive(Serialize)]
struct Report {
    file: String,
    bytes: usize,
    dtype: String,
    config: Configuration,
    labels: Vec<String>,
    preprocessing: Preprocess,
    provenance: Vec<String>,
    height: usize,
    width: usize,
    arena_bytes: usize,
    multiply_adds: u64,
    isa: &'static str,
    tensors: Vec<Tensor>,
}

#[derive(Serialize)]
struct Configuration {
    blocks: Vec<usize>,
    dims: Vec<usize>,
    hidden: Vec<usize>,
    heads: Vec<usize>,
    head_dims: Vec<usize>,
    proposals: Vec<usize>,
    folds: Vec<usize>,
    classes: usize,
    dense: bool,
    locality: [f32; 3],
    similarity: &'static str,
    learnt_alpha: bool,
    learnt_beta: bool,
    integer: bool,
}

#[derive(Serialize)]
struct Preprocess {
    height: usize,
    width: usize,
    crop_pct: f32,
    interpolation: &'static str,
    mean: [f32; 3],
    std: [f32; 3],
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: usize,
}

pub(crate) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<Exit, Error> {
    let file = model_file(args.file.as_deref().or(common.model.as_deref()))?;
    let model = file.model()?;
    let p = model.preprocessing();
    let size = args.size.unwrap_or(p.size);
    let plan = model.plan(size)?;
    let mut tensors = Vec::new();
    model.tensors(|tensor, dtype, bytes| {
        tensors.push(Tensor {
            name: tensor.id.to_string(),
            dtype: dtype.name(),
            shape: shape(&tensor),
            bytes,
        });
    });
    let report = Report {
        file: file.name().to_string(),
        bytes: model.file_len(),
        dtype: dtypes(&model),
        config: configuration(model.config()),
        labels: labels(&model),
        preprocessing: Preprocess {
            height: p.size.height,
            width: p.size.width,
            crop_pct: p.crop_ratio,
            interpolation: p.interpolation.name(),
            mean: p.mean,
            std: p.std,
        },
        provenance: model.provenance().lines().map(str::to_string).collect(),
        height: size.height,
        width: size.width,
        arena_bytes: plan.arena_len(),
        multiply_adds: plan.multiply_adds(),
        isa: fec::isa::kernels()?.isa().name(),
        tensors,
    };
    out.json(&report)?;
    out.text(text(&report))?;
    Ok(Exit::Ok)
}

fn shape(tensor: &PackedTensor) -> Vec<usize> {
    match tensor.kind {
        TensorKind::Matrix { inputs, outputs } => vec![outputs, inputs],
        TensorKind::Vector { length } => vec![length],
        TensorKind::Table => vec![256],
    }
}

fn configuration(config: &Config) -> Configuration {
    let each =
        |field: fn(&fec_runtime::config::Stage) -> usize| config.stages.iter().map(field).collect();
    Configuration {
        blocks: each(|s| s.blocks),
        dims: each(|s| s.dim),
        hidden: each(|s| s.hidden),
        heads: each(|s| s.heads),
        head_dims: each(|s| s.head_dim),
        proposals: each(|s| s.proposals),
        folds: each(|s| s.folds),
        classes: config.classes,
        dense: config.dense,
        locality: config.locality,
        similarity: config.similarity.name(),
        learnt_alpha: config.dispatch.has_alpha(),
        learnt_beta: config.dispatch.has_beta(),
        integer: config.integer,
    }
}

fn text(r: &Report) -> String {
    let mut text = format!("{}: {} bytes, {}\n", r.file, r.bytes, r.dtype);
    let c = &r.config;
    let rows = [
        ("blocks", &c.blocks),
        ("dims", &c.dims),
        ("hidden", &c.hidden),
        ("heads", &c.heads),
        ("head dims", &c.head_dims),
        ("proposals", &c.proposals),
        ("folds", &c.folds),
    ];
    for (name, values) in rows {
        let _ = writeln!(
            text,
            "  {name:14} {}",
            values
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
    let _ = writeln!(text, "  {:14} {:?}", "locality", c.locality);
    let _ = writeln!(text, "  {:14} {}", "similarity", c.similarity);
    let output = if c.dense {
        "dense: four feature maps".to_string()
    } else {
        format!("{} classes", c.classes)
    };
    let _ = writeln!(text, "  {:14} {output}", "output");
    if !r.labels.is_empty() {
        let _ = writeln!(text, "  {:14} {}", "labels", r.labels.join(", "));
    }
    let p = &r.preprocessing;
    let (h, w) = (p.height, p.width);
    let _ = writeln!(
        text,
        "  {:14} {h}x{w}, crop {}, {}, mean {:?}, std {:?}",
        "preprocessing", p.crop_pct, p.interpolation, p.mean, p.std
    );
    for line in &r.provenance {
        let _ = writeln!(text, "  {:14} {line}", "provenance");
    }
    let (h, w) = (r.height, r.width);
    let _ = writeln!(
        text,
        "  {:14} arena {} bytes, {:.2} M multiply-adds, {} kernels on this machine",
        format!("at {h}x{w}"),
        r.arena_bytes,
        r.multiply_adds as f64 / 1e6,
        r.isa
    );
    for Tensor {
        name,
        dtype,
        shape,
        bytes,
    } in &r.tensors
    {
        let _ = writeln!(
            text,
            "  {name:44} {dtype:4} {:16} {bytes:>9}",
            format!("{shape:?}")
        );
    }
    text.truncate(text.trim_end().len());
    text
}
