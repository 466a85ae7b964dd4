//! Networks with formula weights, packed: what tests of the runtime run.

use std::collections::BTreeMap;

use fec_convert::fold::formula_tensors;
use fec_convert::pack::{PackOptions, pack};
use fec_runtime::format::DType;
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
