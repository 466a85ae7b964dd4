//! The report of `pack`: one object for `--json`, the same facts as text for people.

use fec::output::{Format, Output};
use fec_convert::read::Checkpoint;
use fec_runtime::config::Config;
use fec_runtime::format::DType;
use fec_runtime::{Model, Plan};
use serde::Serialize;

use super::{grouped, hex};

/// What was read, recognised, folded and stored.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) file: String,
    pub(super) output: String,
    /// None for formula weights, which come from no file.
    pub(super) read: Option<Read>,
    pub(super) recognised: Recognised,
    pub(super) folded: Folded,
    pub(super) stored: Stored,
    pub(super) run: Run,
    pub(super) self_test: SelfTest,
    /// Of integer networks.
    pub(super) quantised: Option<fec_convert::report::Report>,
}

#[derive(Serialize)]
pub(super) struct Read {
    layout: String,
    tensors: usize,
    picked: Option<String>,
    stripped: Vec<String>,
    left_out: Vec<String>,
    averaged: bool,
    sha256: String,
}

#[derive(Serialize)]
pub(super) struct Recognised {
    architecture: String,
    classes: usize,
    dense: bool,
    parameters: usize,
    notes: Vec<String>,
}

/// How many of the network's parts went into others.
#[derive(Serialize)]
pub(super) struct Folded {
    norms: usize,
    layer_scales: usize,
    position_channels: usize,
    pool_factors: usize,
}

#[derive(Serialize)]
pub(super) struct Stored {
    tensors: usize,
    f32_bytes: usize,
    f16_bytes: usize,
    i8_bytes: usize,
    file_bytes: usize,
    weights_sha256: String,
}

#[derive(Serialize)]
pub(super) struct Run {
    height: usize,
    width: usize,
    arena_bytes: usize,
    multiply_adds: u64,
}

#[derive(Serialize)]
pub(super) struct SelfTest {
    height: usize,
    width: usize,
    output_crc: String,
    assignments_crc: String,
}

impl Read {
    pub(super) fn new(checkpoint: &Checkpoint, averaged: bool) -> Self {
        Self {
            layout: checkpoint.source.to_string(),
            tensors: checkpoint.tensors.len(),
            picked: checkpoint.picked.clone(),
            stripped: checkpoint.stripped.clone(),
            left_out: checkpoint.left_out.clone(),
            averaged,
            sha256: hex(&checkpoint.sha256),
        }
    }
}

impl Recognised {
    pub(super) fn new(network: &fec_convert::recognise::Recognised) -> Self {
        Self {
            architecture: network.name.clone(),
            classes: network.config.classes,
            dense: network.config.dense,
            parameters: network.tensors.values().map(Vec::len).sum(),
            notes: network.notes.clone(),
        }
    }
}

impl Folded {
    pub(super) fn new(config: &Config) -> Self {
        let blocks: usize = config.stages.iter().map(|stage| stage.blocks).sum();
        Self {
            // Both norms of each block, and the one before the head; those of dense outputs and pools stay.
            norms: 2 * blocks + usize::from(!config.dense),
            layer_scales: 2 * blocks,
            position_channels: 2,
            pool_factors: fec_runtime::config::POOLS,
        }
    }
}

impl Stored {
    pub(super) fn new(model: &Model<'_>, weights_sha256: String) -> Self {
        let (mut tensors, mut f32_bytes, mut f16_bytes, mut i8_bytes) = (0, 0, 0, 0);
        model.tensors(|_, dtype, bytes| {
            tensors += 1;
            match dtype {
                DType::F32 => f32_bytes += bytes,
                DType::F16 => f16_bytes += bytes,
                DType::I8 | DType::U8 => i8_bytes += bytes,
            }
        });
        Self {
            tensors,
            f32_bytes,
            f16_bytes,
            i8_bytes,
            file_bytes: model.file_len(),
            weights_sha256,
        }
    }
}

impl Run {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            height: plan.size().height,
            width: plan.size().width,
            arena_bytes: plan.arena_len(),
            multiply_adds: plan.multiply_adds(),
        }
    }
}

impl SelfTest {
    pub(super) fn new(test: &fec_runtime::format::SelfTest) -> Self {
        Self {
            height: test.size.height,
            width: test.size.width,
            output_crc: format!("{:08x}", test.output_crc),
            assignments_crc: format!("{:08x}", test.assignments_crc),
        }
    }
}

impl Report {
    pub(super) fn show(&self, out: &mut Output) -> Result<(), fec::Error> {
        if out.format() == Format::Json {
            return out.json(self);
        }
        self.lines().into_iter().try_for_each(|line| out.text(line))
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = match &self.read {
            Some(read) => read.lines(&self.file),
            None => vec![format!("read        {}", self.file)],
        };
        let network = &self.recognised;
        let outputs = if network.dense {
            "dense, four feature maps".to_string()
        } else {
            format!("{} classes", grouped(network.classes))
        };
        lines.push(format!(
            "recognised  {}: {outputs}, {} parameters",
            network.architecture,
            grouped(network.parameters)
        ));
        lines.extend(
            network
                .notes
                .iter()
                .map(|note| format!("            {note}")),
        );
        let Folded {
            norms,
            layer_scales,
            position_channels,
            pool_factors,
        } = &self.folded;
        lines.push(format!(
            "folded      {norms} norms, {layer_scales} layer scales, {position_channels} position channels; {pool_factors} pools' keys factored"
        ));
        let stored = &self.stored;
        lines.push(format!(
            "stored      {}: {} bytes; {} tensors: {} bytes of f32, {} of f16, {} of 8 bits",
            self.output,
            grouped(stored.file_bytes),
            stored.tensors,
            grouped(stored.f32_bytes),
            grouped(stored.f16_bytes),
            grouped(stored.i8_bytes)
        ));
        lines.push(format!(
            "            weights sha256 {}",
            stored.weights_sha256
        ));
        let run = &self.run;
        lines.push(format!(
            "runs        at {}x{}: arena of {} bytes, {:.1} million multiply-adds",
            run.height,
            run.width,
            grouped(run.arena_bytes),
            run.multiply_adds as f64 / 1e6
        ));
        let test = &self.self_test;
        lines.push(format!(
            "self-test   at {}x{}: output {}, assignments {}",
            test.height, test.width, test.output_crc, test.assignments_crc
        ));
        lines.extend(self.quantised.iter().flat_map(|report| report.lines()));
        lines
    }
}

impl Read {
    fn lines(&self, file: &str) -> Vec<String> {
        let mut line = format!(
            "read        {file}: {}, {} tensors",
            self.layout, self.tensors
        );
        if let Some(key) = &self.picked {
            line += &format!(" under {key}");
        }
        if self.averaged {
            line += ", averaged";
        }
        let mut lines = vec![line, format!("            sha256 {}", self.sha256)];
        if !self.stripped.is_empty() {
            let prefixes = self.stripped.join(", ");
            lines.push(format!("            prefixes taken off: {prefixes}"));
        }
        if !self.left_out.is_empty() {
            let names = self.left_out.join(", ");
            lines.push(format!("            left out: {names}"));
        }
        // Names come from the file: control characters must not reach the terminal.
        lines
            .iter()
            .map(|line| {
                line.chars()
                    .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                    .collect()
            })
            .collect()
    }
}
