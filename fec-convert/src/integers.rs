//! The tensors of an integer network: every matrix in 8 bits but those that are kept finer, biases corrected, a GELU table per block.

use std::collections::BTreeMap;

use fec_runtime::Config;
use fec_runtime::config::Place;
use fec_runtime::format::{
    DType, LANES, PackedTensor, Role, TensorId, TensorKind, TensorValues, packed_tensors,
};

use crate::fold::{Folder, Tensors};
use crate::gelu::Table;
use crate::keep::names;
use crate::layers::summed;
use crate::pack::PackOptions;
use crate::quantise::{Quantised, quantise};

/// What calibration has found.
#[derive(Clone, Debug, Default)]
pub struct Calibrated {
    /// GELU by stage and block; a block without a table computes it.
    pub tables: BTreeMap<(usize, usize), Table>,
    /// What is added to biases, by tensor name: the layers' mean errors.
    pub corrections: BTreeMap<String, Vec<f64>>,
}

impl Calibrated {
    /// Takes the tables from the blocks whose MLP `layer` names ([`crate::keep::names`]): their GELU is computed, the finer form.
    pub fn compute_gelu(&mut self, layer: &str) {
        self.tables.retain(|&(stage, block), _| {
            let place = Place::Block { stage, block };
            !names(layer, &format!("{place}mlp"))
        });
    }
}

/// A network's matrices, folded and quantised once.
#[derive(Debug)]
pub struct Quantiser<'a> {
    config: Config,
    folder: Folder<'a>,
    /// By tensor name.
    matrices: BTreeMap<String, Matrix>,
}

/// A matrix in all forms it may be stored in.
#[derive(Debug)]
pub(crate) struct Matrix {
    tensor: PackedTensor,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// [outputs, inputs], unrounded.
    pub(crate) exact: Vec<f64>,
    quantised: Quantised,
}

impl<'a> Quantiser<'a> {
    /// Folds and quantises a network; see [`Folder`] for what must be in `tensors`.
    pub fn new(config: &'a Config, tensors: &'a Tensors) -> Self {
        let folder = Folder::new(config, tensors);
        let config = Config {
            integer: true,
            ..*config
        };
        let mut matrices = BTreeMap::new();
        packed_tensors(&config, |tensor| {
            if let TensorKind::Matrix { inputs, outputs } = tensor.kind {
                let exact = folder.folded(&tensor);
                let matrix = Matrix {
                    tensor,
                    inputs,
                    outputs,
                    quantised: quantise(&exact, inputs, &[]),
                    exact,
                };
                matrices.insert(tensor.id.to_string(), matrix);
            }
        });
        Self {
            config,
            folder,
            matrices,
        }
    }

    /// The network's configuration, that of an integer network.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn folder(&self) -> &Folder<'a> {
        &self.folder
    }

    pub(crate) fn matrix(&self, id: TensorId) -> Option<&Matrix> {
        self.matrices.get(&id.to_string())
    }
}

/// A network as options and calibration would store it.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'q, 'a> {
    /// Its matrices.
    pub quantiser: &'q Quantiser<'a>,
    /// Types of its layers.
    pub options: &'q PackOptions,
    /// Tables and corrections.
    pub calibrated: &'q Calibrated,
}

impl Stored<'_, '_> {
    /// A tensor as it is written.
    pub(crate) fn tensor(&self, tensor: &PackedTensor) -> TensorValues {
        match tensor.kind {
            TensorKind::Matrix { .. } => self.matrix(tensor),
            TensorKind::Vector { .. } => TensorValues::F32(self.vector(tensor)),
            TensorKind::Table => self
                .table(tensor.id.place)
                .map_or(TensorValues::GeluComputed, Table::values),
        }
    }

    /// Type of a matrix.
    pub(crate) fn dtype(&self, matrix: TensorId) -> DType {
        self.options.layer_dtype(&matrix.to_string())
    }

    fn matrix(&self, tensor: &PackedTensor) -> TensorValues {
        let dtype = self.dtype(tensor.id);
        match (dtype, self.quantiser.matrix(tensor.id)) {
            (DType::I8, Some(matrix)) => TensorValues::I8 {
                values: matrix.quantised.values.clone(),
                scales: matrix.quantised.scales.clone(),
            },
            (DType::F16, _) => TensorValues::F16(self.quantiser.folder.packed(tensor, dtype)),
            _ => TensorValues::F32(self.quantiser.folder.packed(tensor, dtype)),
        }
    }

    /// The weights that a matrix's stored form stands for, [outputs, inputs].
    pub(crate) fn weights(&self, matrix: &Matrix) -> Vec<f64> {
        match self.dtype(matrix.tensor.id) {
            DType::I8 => matrix.quantised.weights(matrix.inputs),
            DType::F16 => {
                let rounded = |&w: &f64| half::f16::from_f32(w as f32).to_f64();
                matrix.exact.iter().map(rounded).collect()
            }
            _ => matrix.exact.iter().map(|&w| f64::from(w as f32)).collect(),
        }
    }

    /// A vector as it is stored, padded: sums are those of the stored weights, biases are corrected, and the middle of a table's index
    /// is taken from the bias before it.
    pub(crate) fn vector(&self, tensor: &PackedTensor) -> Vec<f32> {
        let TensorId { role, place } = tensor.id;
        if let Some(role) = summed(role) {
            let id = TensorId { role, place };
            let dtype = self.dtype(id);
            return match (dtype, self.quantiser.matrix(id)) {
                (DType::I8, Some(matrix)) => {
                    crate::quantise::padded(&matrix.quantised.sums(matrix.inputs))
                }
                _ => self.quantiser.folder.packed(tensor, dtype),
            };
        }
        let mut values = self.quantiser.folder.folded(tensor);
        if let Some(correction) = self.calibrated.corrections.get(&tensor.id.to_string()) {
            values.iter_mut().zip(correction).for_each(|(v, c)| *v += c);
        }
        if let (Role::Fc1Bias, Some(table)) = (role, self.table(place)) {
            let middle = f64::from(table.middle);
            values.iter_mut().for_each(|v| *v -= middle);
        }
        let mut values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        values.resize(values.len().next_multiple_of(LANES), 0.0);
        values
    }

    /// The table of a block whose MLP goes by one: it has one, and both its layers are bytes.
    pub(crate) fn table(&self, place: Place) -> Option<&Table> {
        let Place::Block { stage, block } = place else {
            return None;
        };
        let bytes = [Role::Fc1Weights, Role::Fc2Weights]
            .into_iter()
            .all(|role| self.dtype(TensorId { role, place }) == DType::I8);
        let table = self.calibrated.tables.get(&(stage, block));
        table.filter(|_| bytes)
    }
}
