//! The report on an integer network: where it loses what, and what keeping a layer finer would cost. Text, JSON and a page.

use fec_runtime::Config;
use fec_runtime::config::Place;
use fec_runtime::format::{DType, Role, TensorKind};
use serde::Serialize;

use crate::calibrate::LayerError;
use crate::compare::Compared;
use crate::integers::Stored;
use crate::layers::Layer;

mod page;

/// Layers that are named as the worst.
const WORST: usize = 5;
/// Products of bytes take a quarter of a float product's time where bytes have dot products, and GELU by polynomial that of 16
/// multiply-adds of floats: what estimates of time are made from.
const BYTES_PER_FLOAT: f64 = 4.0;
const GELU_COST: f64 = 16.0;

/// All of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the layers were calibrated on.
    pub calibration: Images,
    /// What they were measured and compared on.
    pub check: Images,
    /// Layers in the order of the file.
    pub layers: Vec<Row>,
    /// How layers were measured.
    pub measured: &'static str,
    /// Agreement with the float network, both running freely.
    pub agreement: Agreement,
    /// The layers with the least signal to noise, worst first, and what keeping them finer would cost.
    pub worst: Vec<Finer>,
    /// What `--max-drop` has kept finer.
    pub chosen: Vec<String>,
}

/// Where images came from.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Images {
    /// The folder; none for formula images.
    pub folder: Option<String>,
    /// Images used.
    pub images: usize,
    /// Files that could not be read.
    pub skipped: Vec<String>,
}

/// A layer.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name, as `--keep` takes it.
    pub layer: String,
    /// Storage type.
    pub dtype: &'static str,
    /// How the MLP's first layer is followed by GELU: by table or computed.
    pub gelu: Option<&'static str>,
    /// Bytes of its matrix in the file.
    pub bytes: usize,
    /// Multiply-adds of a run.
    pub multiply_adds: u64,
    /// Signal to noise in decibels.
    pub sqnr_db: f64,
    /// Cosine of the angle between the float layer's outputs and its own.
    pub cosine: f64,
    /// Output with the least signal to noise.
    pub worst_channel: usize,
    /// And how much it has.
    pub worst_channel_db: f64,
}

/// Agreement with the float network. Shares are percent.
#[derive(Clone, Debug, Serialize)]
pub struct Agreement {
    /// Images compared.
    pub images: usize,
    /// Share with the same best class; none for dense networks.
    pub same_class: Option<f64>,
    /// Top-1 of both, where classes are known.
    pub top1: Option<Top1>,
    /// Share of equal assignments, pools 1 to 3.
    pub pools: Vec<f64>,
    /// The same by block.
    pub blocks: Vec<Block>,
    /// Mean over the blocks.
    pub mixers: f64,
}

/// Top-1 of both networks, in percent.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Top1 {
    /// Images whose class is known.
    pub images: usize,
    /// The float network's.
    pub float: f64,
    /// The integer network's.
    pub integer: f64,
    /// Points lost.
    pub drop: f64,
}

/// A block's mixer.
#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// Its name.
    pub block: String,
    /// Share of equal assignments.
    pub agreement: f64,
}

/// What would make a layer finer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finer {
    /// The layer.
    pub layer: String,
    /// Value of `--keep`.
    pub keep: String,
    /// Bytes that the file grows by.
    pub bytes: usize,
    /// Time of a run, in percent of the integer network's products: estimated from multiply-adds.
    pub time_percent_estimated: f64,
}

impl Report {
    /// Puts together what was measured.
    pub fn new(
        stored: &Stored<'_, '_>,
        measured: &[LayerError],
        compared: &Compared,
        calibration: Images,
        check: Images,
        chosen: Vec<String>,
    ) -> Self {
        let total: f64 = measured
            .iter()
            .map(|error| time(&error.layer, stored))
            .sum();
        let mut worst: Vec<&LayerError> = measured.iter().collect();
        worst.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
        let worst = worst
            .into_iter()
            .filter_map(|error| finer(&error.layer, stored, total));
        Self {
            calibration,
            check,
            layers: measured
                .iter()
                .map(|error| Row::new(error, stored))
                .collect(),
            measured: "each layer by itself on the float network's inputs, on up to 64 rows of each map; \
                       the MLP's first layer with its GELU",
            agreement: Agreement::new(stored.quantiser.config(), compared),
            worst: worst.take(WORST).collect(),
            chosen,
        }
    }

    /// The report as lines of text.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("calibrated  on {}", self.calibration.text()),
            format!("compared    on {}", self.check.text()),
        ];
        lines.extend(self.agreement.lines());
        lines.push(format!("layers      {}", self.measured));
        lines.push(format!(
            "            {:<34} {:>5} {:>9} {:>9} {:>16}",
            "layer", "type", "SQNR dB", "cosine", "worst channel"
        ));
        for row in &self.layers {
            let computed = row.gelu == Some("computed");
            lines.push(format!(
                "            {:<34} {:>5} {:>9.1} {:>9.6} {:>6} {:>6.1} dB{}",
                row.layer,
                row.dtype,
                row.sqnr_db,
                row.cosine,
                row.worst_channel,
                row.worst_channel_db,
                if computed { "  GELU computed" } else { "" }
            ));
        }
        for (i, finer) in self.worst.iter().enumerate() {
            let head = if i == 0 { "finer" } else { "" };
            lines.push(format!(
                "{head:<12}--keep {}: {} bytes more, {:.1} % more time (estimated from multiply-adds)",
                finer.keep, finer.bytes, finer.time_percent_estimated
            ));
        }
        for (i, keep) in self.chosen.iter().enumerate() {
            let head = if i == 0 { "chosen" } else { "" };
            lines.push(format!("{head:<12}--keep {keep}"));
        }
        lines
    }

    /// The report as a page without outside parts; `title` names the network.
    pub fn page(&self, title: &str) -> String {
        page::page(self, title)
    }
}

impl Images {
    fn text(&self) -> String {
        let from = match &self.folder {
            Some(folder) => format!("{} images of {folder}", self.images),
            None => format!("{} formula images", self.images),
        };
        match self.skipped.len() {
            0 => from,
            n => format!("{from}; {n} could not be read"),
        }
    }
}

impl Row {
    fn new(error: &LayerError, stored: &Stored<'_, '_>) -> Self {
        let layer = &error.layer;
        let dtype = stored.dtype(layer.tensor.id);
        let table = stored.table(layer.place()).is_some();
        let gelu = if table { "table" } else { "computed" };
        Self {
            layer: layer.name.clone(),
            dtype: dtype.name(),
            gelu: (layer.role() == Role::Fc1Weights).then_some(gelu),
            bytes: bytes(layer, dtype),
            multiply_adds: layer.multiply_adds,
            sqnr_db: error.sqnr_db,
            cosine: error.cosine,
            worst_channel: error.worst_channel,
            worst_channel_db: error.worst_channel_db,
        }
    }
}

impl Agreement {
    fn new(config: &Config, compared: &Compared) -> Self {
        let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let blocks = compared
            .blocks
            .iter()
            .map(|&(stage, block, ref agreement)| {
                let place = Place::Block { stage, block }.to_string();
                Block {
                    block: place.trim_end_matches('.').to_string(),
                    agreement: agreement.percent(),
                }
            });
        let labelled = compared.labelled;
        Self {
            images: compared.images,
            same_class: (!config.dense).then(|| percent(compared.same_class, compared.images)),
            top1: (labelled > 0).then(|| Top1 {
                images: labelled,
                float: percent(compared.float_right, labelled),
                integer: percent(compared.right, labelled),
                drop: compared.drop(),
            }),
            pools: compared
                .levels
                .iter()
                .map(|level| level.percent())
                .collect(),
            blocks: blocks.collect(),
            mixers: compared.mixers_percent(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(same) = self.same_class {
            lines.push(format!("same class  {same:.2} % of {} images", self.images));
        }
        if let Some(top1) = self.top1 {
            lines.push(format!(
                "top-1       {:.2} %, f32 {:.2} %: {:+.2} points over {} images",
                top1.integer, top1.float, -top1.drop, top1.images
            ));
        }
        let pools: Vec<String> = self.pools.iter().map(|pool| format!("{pool:.2}")).collect();
        lines.push(format!(
            "agreement   of assignments with f32: pools {} %, mixers {:.2} %",
            pools.join(", "),
            self.mixers
        ));
        for Block { block, agreement } in &self.blocks {
            lines.push(format!("            {block:<34} {agreement:>15.2} %"));
        }
        lines
    }
}

fn bytes(layer: &Layer, dtype: DType) -> usize {
    layer.tensor.kind.stored_bytes(dtype).unwrap_or_default()
}

/// Elements of a hidden layer in a run.
fn hidden(layer: &Layer) -> f64 {
    layer.multiply_adds as f64 / layer.inputs.max(1) as f64
}

/// Time of a layer, in multiply-adds of floats.
fn time(layer: &Layer, stored: &Stored<'_, '_>) -> f64 {
    let products = layer.multiply_adds as f64;
    let bytes = layer.multiplies_bytes() && stored.dtype(layer.tensor.id) == DType::I8;
    let computed = layer.role() == Role::Fc1Weights && stored.table(layer.place()).is_none();
    let gelu = if computed {
        GELU_COST * hidden(layer)
    } else {
        0.0
    };
    gelu + if bytes {
        products / BYTES_PER_FLOAT
    } else {
        products
    }
}

/// The next finer form of a layer: GELU computed, where a table follows it; else f16. None of what is that fine already.
pub fn finer(layer: &Layer, stored: &Stored<'_, '_>, total: f64) -> Option<Finer> {
    if stored.dtype(layer.tensor.id) != DType::I8 {
        return None;
    }
    let percent = |time: f64| 100.0 * time / total.max(f64::MIN_POSITIVE);
    let place = layer.place();
    if layer.role() == Role::Fc1Weights && stored.table(place).is_some() {
        return Some(Finer {
            layer: layer.name.clone(),
            keep: format!("{place}mlp=fine"),
            bytes: 0,
            time_percent_estimated: percent(GELU_COST * hidden(layer)),
        });
    }
    let products = layer.multiply_adds as f64;
    let slower = if layer.multiplies_bytes() {
        products - products / BYTES_PER_FLOAT
    } else {
        0.0
    };
    let matrix = matches!(layer.tensor.kind, TensorKind::Matrix { .. });
    matrix.then(|| Finer {
        layer: layer.name.clone(),
        keep: format!("{}=f16", layer.name),
        bytes: bytes(layer, DType::F16).saturating_sub(bytes(layer, DType::I8)),
        time_percent_estimated: percent(slower),
    })
}
