//! Packing: a recognised network becomes the bytes of a .fec file, its self-test included.

use fec_runtime::config::Config;
use fec_runtime::format::{
    DType, FileContents, PackedTensor, Preprocessing, SelfTest, TensorKind, TensorValues,
    WriteError, write_file,
};
use fec_runtime::kernels::Kernels;
use fec_runtime::{AlignedBytes, Model, Session};

use crate::fold::{Folder, Tensors};

/// What a packed file holds besides the network's weights.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Storage type of the weights.
    pub dtype: DType,
    /// Layers stored otherwise: a layer's name or the start of it, and its type; the last that fits counts.
    pub keep: Vec<(String, DType)>,
    /// Class names, one per class, or none.
    pub labels: Vec<String>,
    /// How photos become inputs.
    pub preprocessing: Preprocessing,
    /// Where the weights came from: lines of `key: value`.
    pub provenance: String,
}

impl PackOptions {
    /// Storage type of a tensor: vectors are always f32.
    fn dtype(&self, tensor: &PackedTensor) -> DType {
        match tensor.kind {
            TensorKind::Vector { .. } => DType::F32,
            TensorKind::Matrix { .. } => self.layer_dtype(&tensor.id.to_string()),
            TensorKind::Table => DType::U8,
        }
    }

    /// Storage type of the layer that a tensor's name begins with.
    fn layer_dtype(&self, name: &str) -> DType {
        let fits = |layer: &str| {
            name.strip_prefix(layer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.keep
            .iter()
            .rev()
            .find(|(layer, _)| fits(layer))
            .map_or(self.dtype, |&(_, dtype)| dtype)
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
    let folder = Folder::new(config, tensors);
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
        // Sums are those of the matrix as it is stored: they go by their layer's type, and are stored as f32.
        let values = folder.packed(tensor, options.layer_dtype(&tensor.id.to_string()));
        let values = stored(options.dtype(tensor), values);
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

fn stored(dtype: DType, values: Vec<f32>) -> TensorValues {
    match dtype {
        DType::F32 => TensorValues::F32(values),
        DType::F16 => TensorValues::F16(values),
        // The writer refuses these in a network that is not of integers.
        DType::I8 | DType::U8 => TensorValues::I8 {
            values: Vec::new(),
            scales: Vec::new(),
        },
    }
}

fn run_self_test(file: &[u8]) -> Result<SelfTest, fec_runtime::Error> {
    let model = Model::from_bytes(file)?;
    let plan = model.plan(model.self_test().size)?;
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    Session::with_kernels(&model, plan, arena.as_bytes_mut(), Kernels::portable())?.self_test()
}
