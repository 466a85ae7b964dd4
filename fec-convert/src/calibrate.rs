//! Calibration: images run through the float network, and what its layers are given decides how an integer network stores them.
//!
//! Images come one at a time, and all statistics are whole numbers: the result depends neither on their order nor on how they are
//! batched, and memory does not grow with their number. The first pass counts what the layers before GELU give (the tables follow
//! from that), the second measures the layers' mean errors (biases are corrected by them), and a third, over the network as it will
//! be stored, measures each layer by itself for the report.

use std::collections::BTreeMap;

use fec_runtime::config::Place;
use fec_runtime::format::{Role, TensorId};
use fec_runtime::kernels::{Epilogue, Kernels, Matmul, Moments, Norm, Panels, Values, Weights};
use fec_runtime::{
    AlignedBytes, Config, Image, MapSize, Model, Output, Plan, Probe, Session, Step,
};

use crate::error::Error;
use crate::gelu::{Histogram, Table};
use crate::integers::{Quantiser, Stored};
use crate::quantise::{padded, panels};

mod measure;
mod sums;

pub use measure::{LayerError, Measurement};

/// Rows of a map whose statistics are taken together.
const TILE: usize = 28;

/// Kernels whose bits are the same on every machine: what is calibrated is.
pub(crate) fn kernels() -> &'static Kernels {
    Kernels::best().exact()
}

/// A model that runs image after image.
#[derive(Debug)]
pub(crate) struct Runner<'m> {
    model: &'m Model<'m>,
    plan: Plan,
    arena: AlignedBytes,
}

impl<'m> Runner<'m> {
    pub(crate) fn new(model: &'m Model<'m>) -> Result<Self, Error> {
        let size = model.preprocessing().size;
        let plan = model.plan(size).map_err(Error::Model)?;
        Ok(Self {
            model,
            plan,
            arena: AlignedBytes::zeroed(plan.arena_len()),
        })
    }

    pub(crate) fn config(&self) -> &'m Config {
        self.model.config()
    }

    /// Runs on an image and shows the results to `then`.
    pub(crate) fn run<R>(
        &mut self,
        image: &Image<'_>,
        probe: &mut impl Probe,
        then: impl FnOnce(&Output<'_>) -> R,
    ) -> Result<R, Error> {
        let arena = self.arena.as_bytes_mut();
        let session = Session::with_kernels(self.model, self.plan, arena, kernels());
        let mut session = session.map_err(Error::Model)?;
        let output = session.run_with(image, probe).map_err(Error::Model)?;
        Ok(then(&output))
    }
}

/// A map, [N, C], that a step is about to read.
pub(crate) struct Map<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) size: MapSize,
    pub(crate) channels: usize,
}

impl Map<'_> {
    /// Its statistics, as the norm that follows takes them.
    pub(crate) fn norm(&self) -> Norm {
        let mut moments = Moments::new();
        for tile in self.values.chunks((TILE * self.channels).max(1)) {
            kernels().moments(Values::F32(tile), &mut moments);
        }
        moments.norm()
    }
}

/// Shows each step's input: the map that the steps before it have left.
pub(crate) struct Inputs<'a> {
    config: &'a Config,
    map: Vec<f32>,
    see: &'a mut dyn FnMut(Step, &Map<'_>),
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(config: &'a Config, see: &'a mut dyn FnMut(Step, &Map<'_>)) -> Self {
        Self {
            config,
            map: Vec::new(),
            see,
        }
    }
}

impl Probe for Inputs<'_> {
    fn end(&mut self, step: Step, values: Values<'_>, size: MapSize, channels: usize) {
        // A dense output is a normalised copy: what comes after reads the map itself.
        if !matches!(step, Step::Feature { .. }) {
            self.map.clear();
            self.map.extend(values.iter());
        }
        if let Some(next) = step.next(self.config) {
            let map = Map {
                values: &self.map,
                size,
                channels,
            };
            (self.see)(next, &map);
        }
    }

    fn watches_assignments(&self) -> bool {
        false
    }
}

/// A layer's matrix and vectors as kernels take them.
#[derive(Debug)]
pub(crate) struct Product {
    inputs: usize,
    outputs: usize,
    panels: Vec<f32>,
    bias: Vec<f32>,
    sums: Vec<f32>,
}

impl Product {
    /// A matrix, [outputs, inputs], with the sums of its weights.
    fn new(weights: &[f64], inputs: usize, outputs: usize, bias: Vec<f32>) -> Self {
        let row_sum = |row: &[f64]| row.iter().map(|&w| f64::from(w as f32)).sum();
        let sums: Vec<f64> = weights.chunks(inputs.max(1)).map(row_sum).collect();
        Self {
            inputs,
            outputs,
            panels: panels(weights, inputs, outputs),
            bias,
            sums: padded(&sums),
        }
    }

    /// The unrounded layer of a matrix.
    pub(crate) fn exact(quantiser: &Quantiser<'_>, id: TensorId, bias: Vec<f32>) -> Option<Self> {
        let matrix = quantiser.matrix(id)?;
        let (inputs, outputs) = (matrix.inputs, matrix.outputs);
        Some(Self::new(&matrix.exact, inputs, outputs, bias))
    }

    /// The layer as it is stored.
    pub(crate) fn stored(stored: &Stored<'_, '_>, id: TensorId, bias: Vec<f32>) -> Option<Self> {
        let matrix = stored.quantiser.matrix(id)?;
        let (inputs, outputs) = (matrix.inputs, matrix.outputs);
        Some(Self::new(&stored.weights(matrix), inputs, outputs, bias))
    }

    /// Its outputs for dense rows; `norm` is the one that was folded into it.
    pub(crate) fn of(&self, x: &[f32], norm: Option<Norm>) -> Vec<f32> {
        let rows = x.len() / self.inputs.max(1);
        let mut out = vec![0.0; rows * self.outputs];
        let weights = Weights {
            panels: Panels::F32(&self.panels),
            inputs: self.inputs,
            outputs: self.outputs,
        };
        let epilogue = match norm {
            Some(norm) => Epilogue::Norm {
                bias: &self.bias,
                sums: &self.sums,
                norm,
            },
            None => Epilogue::Bias(&self.bias),
        };
        kernels().matmul(&Matmul::dense(x, rows, weights, epilogue), &mut out);
        out
    }
}

/// The first pass: counts what is given to each block's GELU.
#[derive(Debug)]
pub struct Calibration<'m> {
    runner: Runner<'m>,
    /// By stage and block.
    blocks: BTreeMap<(usize, usize), (Product, Histogram)>,
}

impl<'m> Calibration<'m> {
    /// Calibrates on the float network `model`, which holds what `quantiser` quantises.
    ///
    /// # Errors
    /// [`Error::Model`] when the model's size is not possible.
    pub fn new(model: &'m Model<'m>, quantiser: &Quantiser<'_>) -> Result<Self, Error> {
        let runner = Runner::new(model)?;
        let mut blocks = BTreeMap::new();
        for (stage, shape) in runner.config().stages.iter().enumerate() {
            for block in 0..shape.blocks {
                let place = Place::Block { stage, block };
                let bias = vector(
                    quantiser,
                    TensorId {
                        role: Role::Fc1Bias,
                        place,
                    },
                );
                let id = TensorId {
                    role: Role::Fc1Weights,
                    place,
                };
                if let Some(product) = Product::exact(quantiser, id, bias) {
                    blocks.insert((stage, block), (product, Histogram::default()));
                }
            }
        }
        Ok(Self { runner, blocks })
    }

    /// Takes in one image.
    ///
    /// # Errors
    /// [`Error::Model`] when the image does not fit the model.
    pub fn add(&mut self, image: &Image<'_>) -> Result<(), Error> {
        let blocks = &mut self.blocks;
        let config = self.runner.config();
        let mut see = |step: Step, map: &Map<'_>| {
            let Step::Mlp { stage, block } = step else {
                return;
            };
            if let Some((fc1, histogram)) = blocks.get_mut(&(stage, block)) {
                histogram.add(&fc1.of(map.values, Some(map.norm())));
            }
        };
        self.runner
            .run(image, &mut Inputs::new(config, &mut see), |_| ())
    }

    /// The tables that fit what was counted.
    pub fn tables(&self) -> BTreeMap<(usize, usize), Table> {
        let fitted = self
            .blocks
            .iter()
            .map(|(place, (_, histogram))| (*place, Table::fit(histogram)));
        fitted.collect()
    }
}

/// A vector of the float network, padded.
pub(crate) fn vector(quantiser: &Quantiser<'_>, id: TensorId) -> Vec<f32> {
    let mut found = Vec::new();
    fec_runtime::format::packed_tensors(quantiser.config(), |tensor| {
        if tensor.id == id {
            found = padded(&quantiser.folder().folded(&tensor));
        }
    });
    found
}
