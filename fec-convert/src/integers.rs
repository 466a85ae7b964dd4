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

#[cfg(test)]
mod tests {
    use fec_runtime::ImageSize;
    use fec_runtime::config::MICRO;
    use fec_runtime::format::{Interpolation, Preprocessing};

    use super::*;
    use crate::fold::formula_tensors;
    use crate::gelu::Histogram;

    fn options(keep: &[(&str, DType)]) -> PackOptions {
        PackOptions {
            dtype: DType::I8,
            keep: keep.iter().map(|&(l, t)| (l.to_string(), t)).collect(),
            labels: Vec::new(),
            preprocessing: Preprocessing {
                size: ImageSize {
                    height: 32,
                    width: 32,
                },
                crop_ratio: 1.0,
                interpolation: Interpolation::Bicubic,
                mean: Preprocessing::IMAGENET_MEAN,
                std: Preprocessing::IMAGENET_STD,
            },
            provenance: String::new(),
        }
    }

    fn tensor(config: &Config, name: &str) -> PackedTensor {
        let mut found = None;
        packed_tensors(config, |tensor| {
            if tensor.id.to_string() == name {
                found = Some(tensor);
            }
        });
        found.unwrap_or_else(|| panic!("{name}"))
    }

    #[test]
    fn sums_are_those_of_the_stored_weights() {
        let tensors = formula_tensors(&MICRO);
        let quantiser = Quantiser::new(&MICRO, &tensors);
        let calibrated = Calibrated::default();
        let fc1 = "network.0.0.mlp.fc1";
        for dtype in [DType::I8, DType::F16, DType::F32] {
            // The tensor's full name holds for its sums as well.
            let options = options(&[("network.0.0.mlp.fc1.weight", dtype)]);
            let stored = Stored {
                quantiser: &quantiser,
                options: &options,
                calibrated: &calibrated,
            };
            let weights = tensor(quantiser.config(), &format!("{fc1}.weight"));
            let matrix = quantiser.matrix(weights.id).expect("a matrix");
            let rows = stored.weights(matrix);
            let sums = stored.vector(&tensor(quantiser.config(), &format!("{fc1}.sums")));
            assert_eq!(stored.dtype(weights.id), dtype);
            for (row, sum) in rows.chunks(matrix.inputs).zip(sums) {
                assert_eq!(row.iter().sum::<f64>() as f32, sum, "{dtype:?}");
            }
        }
    }

    #[test]
    fn a_table_moves_the_bias_and_needs_bytes_on_both_sides() {
        let tensors = formula_tensors(&MICRO);
        let quantiser = Quantiser::new(&MICRO, &tensors);
        let mut histogram = Histogram::default();
        histogram.add(&[-1.0, 7.0]);
        let table = Table::fit(&histogram);
        assert!(table.middle > 0.0);
        let mut calibrated = Calibrated::default();
        calibrated.tables.insert((0, 0), table.clone());
        let bias = tensor(quantiser.config(), "network.0.0.mlp.fc1.bias");
        let vector = |calibrated: &Calibrated, keep: &[(&str, DType)]| {
            let options = options(keep);
            let stored = Stored {
                quantiser: &quantiser,
                options: &options,
                calibrated,
            };
            (stored.vector(&bias), stored.table(bias.id.place).is_some())
        };
        let (plain, _) = vector(&Calibrated::default(), &[]);
        let (moved, has_table) = vector(&calibrated, &[]);
        assert!(has_table);
        for (plain, moved) in plain.iter().zip(&moved).take(16) {
            assert!((plain - moved - table.middle).abs() < 1e-6);
        }
        let fc2 = [("network.0.0.mlp.fc2", DType::F16)];
        assert_eq!(vector(&calibrated, &fc2), (plain.clone(), false));
        calibrated.compute_gelu("network.2");
        assert!(vector(&calibrated, &[]).1);
        calibrated.compute_gelu("mlp");
        assert_eq!(vector(&calibrated, &[]), (plain, false));
    }
}
