//! Packing: a recognised network becomes the bytes of a .fec file, its self-test included.

use fec_runtime::config::Config;
use fec_runtime::format::{
    DType, FileContents, PackedTensor, Preprocessing, SelfTest, TensorKind, TensorValues,
    WriteError, write_file,
};
use fec_runtime::kernels::Kernels;
use fec_runtime::{AlignedBytes, Model, Session};

use crate::fold::{Folder, Tensors};
use crate::integers::{Calibrated, Quantiser, Stored};
use crate::keep::names;

/// What a packed file holds besides the network's weights.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Storage type of the weights.
    pub dtype: DType,
    /// Layers stored otherwise, as [`crate::keep::names`] understands names, and their types; the last that fits counts.
    pub keep: Vec<(String, DType)>,
    /// Class names, one per class, or none.
    pub labels: Vec<String>,
    /// How photos become inputs.
    pub preprocessing: Preprocessing,
    /// Where the weights came from: lines of `key: value`.
    pub provenance: String,
}

impl PackOptions {
    /// Storage type of the layer that a matrix, or the vector of its sums, belongs to.
    pub(crate) fn layer_dtype(&self, name: &str) -> DType {
        let kept = self.keep.iter().rev().find(|(layer, _)| names(layer, name));
        kept.map_or(self.dtype, |&(_, dtype)| dtype)
    }
}

/// Packs a network. The self-test is run here, on the portable kernels, and its results written into the file.
///
/// # Errors
/// [`WriteError`] when the options do not fit the network.
pub fn pack(
    config: &Config,
    tensors: &Tensors,
    options: &PackOptions,
) -> Result<Vec<u8>, WriteError> {
    if options.dtype == DType::I8 {
        let quantiser = Quantiser::new(config, tensors);
        let stored = Stored {
            quantiser: &quantiser,
            options,
            calibrated: &Calibrated::default(),
        };
        return pack_stored(&stored);
    }
    let folder = Folder::new(config, tensors);
    write(config, options, |tensor| {
        // Sums are those of the matrix as it is stored: they go by their layer's type, and are stored as f32.
        let dtype = options.layer_dtype(&tensor.id.to_string());
        let values = folder.packed(tensor, dtype);
        match (tensor.kind, dtype) {
            (TensorKind::Matrix { .. }, DType::F16) => TensorValues::F16(values),
            (TensorKind::Matrix { .. }, DType::I8 | DType::U8) => TensorValues::I8 {
                values: Vec::new(),
                scales: Vec::new(),
            },
            _ => TensorValues::F32(values),
        }
    })
}

/// Packs an integer network, its self-test likewise.
///
/// # Errors
/// [`WriteError`] when the options do not fit the network.
pub fn pack_stored(network: &Stored<'_, '_>) -> Result<Vec<u8>, WriteError> {
    let config = network.quantiser.config();
    write(config, network.options, |tensor| network.tensor(tensor))
}

/// The file of these tensors.
fn write(
    config: &Config,
    options: &PackOptions,
    mut values: impl FnMut(&PackedTensor) -> TensorValues,
) -> Result<Vec<u8>, WriteError> {
    let size = config.nearest_size(options.preprocessing.size);
    let mut contents = FileContents {
        config: *config,
        labels: &options.labels,
        preprocessing: options.preprocessing,
        self_test: SelfTest {
            size,
            output_crc: 0,
            assignments_crc: 0,
        },
        provenance: &options.provenance,
    };
    // The file is written twice, since its self-test runs on it; the weights are folded once.
    let mut folded = Vec::new();
    let draft = write_file(&contents, |tensor| {
        let values = values(tensor);
        folded.push(values.clone());
        values
    })?;
    let draft = AlignedBytes::copy_of(&draft);
    contents.self_test = run_self_test(draft.as_bytes()).map_err(WriteError::Contents)?;
    let mut folded = folded.into_iter();
    write_file(&contents, |_| {
        folded.next().unwrap_or(TensorValues::F32(Vec::new()))
    })
}

fn run_self_test(file: &[u8]) -> Result<SelfTest, fec_runtime::Error> {
    let model = Model::from_bytes(file)?;
    let plan = model.plan(model.self_test().size)?;
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    Session::with_kernels(&model, plan, arena.as_bytes_mut(), Kernels::portable())?.self_test()
}
