//! Networks with formula weights, packed: what tests of the runtime run.

use std::collections::BTreeMap;

use fec_convert::fold::{Folder, formula_tensors};
use fec_convert::pack::{PackOptions, pack};
use fec_runtime::config::Place;
use fec_runtime::format::{
    DType, FileContents, Preprocessing, SelfTest, TensorKind, TensorValues, write_file,
};
use fec_runtime::{AlignedBytes, Config, ImageSize};

use crate::engine::{pack_options, packed};

/// The preset of that name.
pub fn config(preset: &str) -> Config {
    Config::preset(preset).unwrap_or_else(|| panic!("{preset} is no preset"))
}

/// The preset's formula network in f32.
pub fn model(preset: &str) -> AlignedBytes {
    let config = config(preset);
    packed(&config, &formula_tensors(&config))
}

/// The preset's formula network in f16.
pub fn narrow_model(preset: &str) -> AlignedBytes {
    let config = config(preset);
    let options = PackOptions {
        dtype: DType::F16,
        ..pack_options()
    };
    let file = pack(&config, &formula_tensors(&config), &options).expect("a preset packs");
    AlignedBytes::copy_of(&file)
}

/// A network whose tensors `change` has had a look at.
pub fn changed(
    config: &Config,
    change: impl FnOnce(&mut BTreeMap<String, Vec<f32>>),
) -> AlignedBytes {
    let mut tensors = formula_tensors(config);
    change(&mut tensors);
    packed(config, &tensors)
}

/// A network of integers with formula weights, rounded plainly; in every other stage GELU goes by an arbitrary table. For tests of
/// files: its results mean nothing, and it has no self-test.
pub fn integers(config: &Config) -> AlignedBytes {
    integers_of(config, |_| ())
}

/// The same, whose tensors `change` has had a look at.
pub fn integers_of(
    config: &Config,
    change: impl FnOnce(&mut BTreeMap<String, Vec<f32>>),
) -> AlignedBytes {
    let config = Config {
        integer: true,
        ..*config
    };
    let mut tensors = formula_tensors(&config);
    change(&mut tensors);
    let folder = Folder::new(&config, &tensors);
    let size = config.nearest_size(size(32, 32));
    let contents = FileContents {
        config,
        labels: &[],
        preprocessing: Preprocessing {
            size,
            ..pack_options().preprocessing
        },
        self_test: SelfTest {
            size,
            output_crc: 0,
            assignments_crc: 0,
        },
        provenance: "source: formula\n",
    };
    let file = write_file(&contents, |tensor| match (tensor.kind, tensor.id.place) {
        (TensorKind::Matrix { inputs, .. }, _) => quantised(&folder.folded(tensor), inputs),
        (TensorKind::Vector { .. }, _) => TensorValues::F32(folder.packed(tensor, DType::F32)),
        (TensorKind::Table, Place::Block { stage: 0 | 2, .. }) => TensorValues::Gelu {
            pre: 0.05,
            post: 0.03,
            zero: 6,
            table: Box::new(core::array::from_fn(|i| (i * 89 % 251) as u8)),
        },
        (TensorKind::Table, _) => TensorValues::GeluComputed,
    });
    AlignedBytes::copy_of(&file.expect("a network of integers is written"))
}

/// Rows of weights, each with the scale that takes its largest to 127.
fn quantised(weights: &[f64], inputs: usize) -> TensorValues {
    let rows = weights.chunks_exact(inputs);
    let scales: Vec<f64> = rows
        .clone()
        .map(|row| row.iter().fold(0.0, |most: f64, w| most.max(w.abs())) / 127.0)
        .collect();
    let values = rows.zip(&scales).flat_map(|(row, scale)| {
        row.iter()
            .map(move |w| (w / scale.max(f64::MIN_POSITIVE)).round_ties_even() as i8)
    });
    TensorValues::I8 {
        values: values.collect(),
        scales: scales.iter().map(|&scale| scale as f32).collect(),
    }
}

/// Short for tests.
pub fn size(height: usize, width: usize) -> ImageSize {
    ImageSize { height, width }
}

/// A photo of no meaning: every byte value at every phase of a prime period.
pub fn photo(size: ImageSize) -> Vec<u8> {
    (0..size.height * size.width * 3)
        .map(|i| (i * 89 % 251) as u8)
        .collect()
}
