//! Networks to be timed: with formula weights (SPEC 11), packed here, so that every machine has the same ones; or files.

use std::path::Path;

use fec_convert::fold::formula_tensors;
use fec_convert::pack::{PackOptions, pack};
use fec_runtime::format::{DType, Interpolation, Preprocessing};
use fec_runtime::formula;
use fec_runtime::{AlignedBytes, Config, ImageSize, Model};

/// A packed network.
#[derive(Debug)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Size of the images that it runs on.
    pub size: ImageSize,
    /// The formula image of that size, [3, H, W]: evaluating the formula is no part of a run.
    pub image: Vec<f32>,
    /// The bytes of its file.
    file: AlignedBytes,
}

impl Network {
    /// Packs a preset for images of `side` x `side`, its weights as the type named `dtype`.
    ///
    /// # Errors
    /// There is no such preset or type, or the network does not take the size.
    pub fn packed(preset: &str, side: usize, dtype: &str) -> crate::Result<Self> {
        let config = Config::preset(preset).ok_or_else(|| {
            let known = fec_runtime::config::PRESETS.join(", ");
            format!("no preset is named {preset:?}; known are {known}")
        })?;
        let dtype = [DType::F32, DType::F16]
            .into_iter()
            .find(|known| known.name() == dtype)
            .ok_or_else(|| format!("weights cannot be {dtype:?} here; they can be f32 or f16, or come from a file with --model"))?;
        let size = ImageSize {
            height: side,
            width: side,
        };
        config.check_size(size)?;
        let options = PackOptions {
            dtype,
            keep: Vec::new(),
            labels: Vec::new(),
            preprocessing: Preprocessing {
                size,
                crop_ratio: 1.0,
                interpolation: Interpolation::Bicubic,
                mean: Preprocessing::IMAGENET_MEAN,
                std: Preprocessing::IMAGENET_STD,
            },
            provenance: String::new(),
        };
        let file = pack(&config, &formula_tensors(&config), &options)?;
        Ok(Self {
            name: preset.to_string(),
            size,
            image: formula::image(size, 0),
            file: AlignedBytes::copy_of(&file),
        })
    }

    /// Reads a file; its images have the size that it was packed for.
    ///
    /// # Errors
    /// The file cannot be read, or is no model.
    pub fn read(path: &Path) -> crate::Result<Self> {
        let named = |e: &dyn core::fmt::Display| format!("{}: {e}", path.display());
        let bytes = std::fs::read(path).map_err(|e| named(&e))?;
        let file = AlignedBytes::copy_of(&bytes);
        let size = Model::from_bytes(file.as_bytes())
            .map_err(|e| named(&e))?
            .preprocessing()
            .size;
        let stem = path.file_stem().unwrap_or_default();
        Ok(Self {
            name: stem.to_string_lossy().into_owned(),
            size,
            image: formula::image(size, 0),
            file,
        })
    }

    /// The checked model.
    ///
    /// # Errors
    /// The file is no model.
    pub fn model(&self) -> crate::Result<Model<'_>> {
        Ok(Model::from_bytes(self.file.as_bytes())?)
    }
}

/// A preset and the side of its images, written as in `small@224`.
///
/// # Errors
/// It is not written so.
pub fn parse(text: &str) -> crate::Result<(&str, usize)> {
    let parts = text.split_once('@');
    let parsed = parts.and_then(|(preset, side)| Some((preset, side.parse().ok()?)));
    parsed.ok_or_else(|| format!("{text:?} is no network; write it as in small@224").into())
}
