//! `fec trace`: every step's output and every assignment of one run, under the names of the project's golden files: `embed`,
//! `net.0` to `net.6`, `feat.0` to `feat.3`, `logits`, `assign.NAME` ([regions, N], for mixers [heads * regions, N]); and, under the
//! steps' own names, the map after each half of each block. Maps are [1, C, H, W], as PyTorch has them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fec::classifier::Classifier;
use fec::output::{Exit, Output, write_atomically};
use fec::{Error, preprocess};
use fec_runtime::config::{POOLS, STAGES};
use fec_runtime::kernels::Values;
use fec_runtime::{Config, Image, ImageSize, MapSize, Probe, Step};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::Serialize;

use super::{Common, parse_size};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Photo, `-` for standard input, or `formula:N` for the formula image of that index
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File for the tensors; `-` is standard output
    #[arg(short, long, value_name = "OUT.safetensors")]
    out: PathBuf,
    /// Size of the network's input in place of the model's: N or HEIGHTxWIDTH
    #[arg(long, value_name = "N|HxW", value_parser = parse_size)]
    size: Option<ImageSize>,
}

#[derive(Serialize)]
struct Report {
    file: String,
    out: String,
    height: usize,
    width: usize,
    tensors: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    shape: Vec<usize>,
}

pub(crate) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<Exit, Error> {
    let file = common.model_file()?;
    let model = file.model()?;
    let mut classifier = Classifier::new(&model, args.size, fec::isa::kernels()?)?;
    let plan = *classifier.plan();
    let mut trace = Trace {
        config: *model.config(),
        tensors: BTreeMap::new(),
    };
    let collect = |output: &fec_runtime::Output<'_>| assignments(model.config(), output);
    let assigned = match formula_index(&args.file) {
        Some(index) => {
            classifier.run_image(&Image::formula(plan.size(), index), &mut trace, collect)?
        }
        None => {
            let photo = common.open_photo(&args.file)?;
            let preprocessing = preprocess::Preprocessing {
                size: plan.size(),
                ..model.preprocessing()
            };
            classifier.run(
                &preprocess::apply(&preprocessing, &photo),
                &mut trace,
                collect,
            )?
        }
    };
    trace.tensors.extend(assigned);
    let views = trace
        .tensors
        .iter()
        .map(|(name, tensor)| Ok((name, tensor.view()?)));
    let views: Vec<(&String, TensorView<'_>)> = views.collect::<Result<_, Error>>()?;
    let bytes = serialize(views, None).map_err(|error| Error::Encode {
        what: "trace",
        reason: error.to_string(),
    })?;
    if args.out == Path::new("-") {
        out.write(&bytes)?;
        return Ok(Exit::Ok);
    }
    write_atomically(&args.out, &bytes)?;
    let listed = trace.tensors.iter().map(|(name, tensor)| Listed {
        name: name.clone(),
        shape: tensor.shape.clone(),
    });
    let report = Report {
        file: args.file.display().to_string(),
        out: args.out.display().to_string(),
        height: plan.size().height,
        width: plan.size().width,
        tensors: listed.collect(),
    };
    out.json(&report)?;
    out.text(format_args!(
        "{}: {} tensors at {}",
        report.out,
        report.tensors.len(),
        plan.size()
    ))?;
    Ok(Exit::Ok)
}

/// N of `formula:N`.
fn formula_index(path: &Path) -> Option<usize> {
    path.to_str()?
        .strip_prefix("formula:")?
        .parse()
        .ok()
        .filter(|&index| index < 1 << 20)
}

/// A tensor in the making.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn view(&self) -> Result<TensorView<'_>, Error> {
        let view = TensorView::new(self.dtype, self.shape.clone(), &self.bytes);
        view.map_err(|error| Error::Encode {
            what: "trace",
            reason: error.to_string(),
        })
    }
}

/// Keeps every map.
struct Trace {
    config: Config,
    tensors: BTreeMap<String, Tensor>,
}

impl Probe for Trace {
    fn end(&mut self, step: Step, values: Values<'_>, size: MapSize, channels: usize) {
        let blocks = |stage: usize| {
            self.config
                .stages
                .get(stage)
                .map_or(0, |stage| stage.blocks)
        };
        let name = match step {
            Step::PatchEmbed => "embed".to_string(),
            Step::Pool { stage } => format!("net.{}", 2 * stage + 1),
            Step::Feature { stage } => format!("feat.{stage}"),
            Step::Head => "logits".to_string(),
            Step::Mixer { .. } => step.to_string(),
            Step::Mlp { stage, block } => {
                if block + 1 == blocks(stage) {
                    self.tensors
                        .insert(format!("net.{}", 2 * stage), planar(values, size, channels));
                }
                step.to_string()
            }
        };
        let mut tensor = planar(values, size, channels);
        if step == Step::Head {
            tensor.shape = vec![1, channels];
        }
        self.tensors.insert(name, tensor);
    }

    fn watches_assignments(&self) -> bool {
        false
    }
}

/// [N, C] to [1, C, H, W].
fn planar(values: Values<'_>, size: MapSize, channels: usize) -> Tensor {
    let column = |c: usize| values.iter().skip(c).step_by(channels.max(1));
    let bytes = (0..channels)
        .flat_map(column)
        .flat_map(|v| v.to_le_bytes())
        .collect();
    Tensor {
        dtype: Dtype::F32,
        shape: vec![1, channels, size.rows, size.cols],
        bytes,
    }
}

/// Every assignment, u16.
fn assignments(config: &Config, output: &fec_runtime::Output<'_>) -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::new();
    let mut add = |name: String, rows: usize, values: Vec<u16>| {
        let shape = vec![rows, values.len() / rows.max(1)];
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensors.insert(
            format!("assign.{name}"),
            Tensor {
                dtype: Dtype::U16,
                shape,
                bytes,
            },
        );
    };
    for (i, stage) in config.stages.iter().enumerate().take(STAGES) {
        let regions = stage.folds * stage.folds;
        for block in 0..stage.blocks {
            let heads = (0..stage.heads).flat_map(|head| output.mixer_assignment(i, block, head));
            let values = heads.map(|&a| u16::from(a)).collect();
            add(
                Step::Mixer { stage: i, block }.to_string(),
                stage.heads * regions,
                values,
            );
        }
        if let (true, Some(next)) = (i < POOLS, config.stages.get(i + 1)) {
            add(
                Step::Pool { stage: i }.to_string(),
                next.folds * next.folds,
                output.assignment(i + 1).to_vec(),
            );
        }
    }
    tensors
}
