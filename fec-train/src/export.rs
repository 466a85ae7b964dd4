//! From the trained network to files: official weights for PyTorch and fec-convert, and the packed file that the runtime runs.

use std::path::Path;

use fec_convert::fold::Tensors;
use fec_convert::pack::{PackOptions, pack as pack_floats};
use fec_convert::read::{ReadOptions, read, read_bytes};
use fec_convert::recognise::recognise;
use fec_runtime::AlignedBytes;
use fec_runtime::format::DType;

use crate::Error;
use crate::model::{self, Fec, Loaded};
use crate::recipe::Recipe;

/// The weights of the default model, for fine-tuning.
const DEFAULT: &[u8] = include_bytes!("../../models/cifar10-fec-nano.safetensors");
/// What a recipe calls them.
pub const DEFAULT_NAME: &str = "default";

/// The network as a packed file of 32-bit floats.
///
/// # Errors
/// [`Error::NotFinite`] names the first tensor that cannot be packed.
pub fn pack(
    fec: &Fec,
    recipe: &Recipe,
    classes: &[String],
    run: &str,
) -> Result<AlignedBytes, Error> {
    let mut tensors = Tensors::new();
    for (name, _, values) in model::tensors(fec) {
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::NotFinite { tensor: name });
        }
        tensors.insert(name, values);
    }
    let options = PackOptions {
        dtype: DType::F32,
        keep: Vec::new(),
        labels: classes.to_vec(),
        preprocessing: recipe.preprocessing(),
        provenance: format!(
            "tool: fec-train {}\nrun: {run}\nmodel: {}\n",
            env!("CARGO_PKG_VERSION"),
            recipe.model
        ),
    };
    let file = pack_floats(fec.config(), &tensors, &options)
        .map_err(|error| Error::Convert(fec_convert::Error::Packing(error)))?;
    Ok(AlignedBytes::copy_of(&file))
}

/// Writes the weights under their official names, with the classes and the input in the file's metadata.
///
/// # Errors
/// [`Error::Host`] names the file that cannot be written.
pub fn save(fec: &Fec, recipe: &Recipe, classes: &[String], path: &Path) -> Result<(), Error> {
    let more = [
        ("labels", classes.join("\n")),
        ("input-size", recipe.img_size.to_string()),
        ("crop-pct", recipe.crop_pct.to_string()),
        ("interpolation", recipe.interpolation.clone()),
    ];
    model::save(fec, path, &more).map_err(|source| {
        Error::Host(fec::Error::Write {
            path: path.into(),
            source,
        })
    })
}

/// Puts the weights that a recipe names into the network: `default`, or a file that fec-convert reads. Says what they were.
///
/// # Errors
/// [`Error::Weights`] names the first tensor that does not fit.
pub fn initialise(fec: Fec, name: &str) -> Result<(Fec, String), Error> {
    if name == "none" {
        return Ok((fec, "random weights".into()));
    }
    let options = ReadOptions::default();
    let (checkpoint, from) = if name == DEFAULT_NAME {
        (
            read_bytes(DEFAULT, &options)?,
            "the default model".to_string(),
        )
    } else {
        (read(Path::new(name), &options)?, name.to_string())
    };
    let tensors = checkpoint
        .tensors
        .into_iter()
        .map(|tensor| (tensor.name, tensor.shape, tensor.values))
        .collect();
    let (fec, loaded) = model::load(fec, tensors).map_err(|misfit| Error::Weights {
        file: from.clone(),
        misfit,
    })?;
    Ok(match loaded {
        Loaded::All => (fec, format!("the weights of {from}")),
        Loaded::AllButHead { classes } => (
            fec,
            format!("the weights of {from}, with a new head in place of its {classes} classes"),
        ),
    })
}

/// The same file read back by the converter: what users do with it next must work.
///
/// # Errors
/// [`Error::Convert`] with what the converter says.
pub fn check(path: &Path) -> Result<(), Error> {
    let checkpoint = read(path, &ReadOptions::default())?;
    recognise(&checkpoint, None, fec_runtime::config::Similarity::Cosine)
        .map_err(|cause| Error::Convert(fec_convert::Error::Network(cause)))?;
    Ok(())
}
