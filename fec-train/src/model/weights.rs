//! Weights out and in, under the checkpoints' names and shapes.

use alloc::collections::BTreeMap;
use core::fmt;
use std::io;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use fec_runtime::config::{Config, PRESETS};
use safetensors::tensor::{Dtype, TensorView};

use super::Fec;
use super::names::{Mapper, Replace, Visit, Visitor};

/// All tensors: name, shape and values, in the order of [`Config::official_tensors`].
pub fn tensors(fec: &Fec) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut visitor = Visitor::new(Collect::default());
    fec.visit(&mut visitor);
    let mut found = visitor.visit.0;
    let mut tensors = Vec::new();
    fec.config().official_tensors(|tensor| {
        let name = tensor.to_string();
        // A test holds the modules' names to be those of the list.
        if let Some(values) = found.remove(&name) {
            tensors.push((name, tensor.shape().to_vec(), values));
        }
    });
    tensors
}

#[derive(Default)]
struct Collect(BTreeMap<String, Vec<f32>>);

impl Visit for Collect {
    fn param<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
        let values = param.val().into_data().iter::<f32>().collect();
        self.0.insert(name, values);
    }
}

/// What loading did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Every tensor came from the file.
    All,
    /// The file's head is for another number of classes: the network keeps its own, everything else came from the file.
    AllButHead {
        /// The file's classes.
        classes: usize,
    },
}

/// A tensor that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It is not there.
    Missing {
        /// Its name.
        tensor: String,
    },
    /// It has another shape.
    Shape {
        /// Its name.
        tensor: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape in the network.
        expected: Vec<usize>,
    },
    /// The file has a tensor that the network has not.
    Unknown {
        /// Its name.
        tensor: String,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { tensor } => write!(
                f,
                "the weights have no {tensor}: they are of another network; set model to theirs"
            ),
            Self::Shape {
                tensor,
                found,
                expected,
            } => write!(
                f,
                "{tensor} has shape {found:?}, the network wants {expected:?}: set model to the weights' network"
            ),
            Self::Unknown { tensor } => write!(
                f,
                "the weights have {}, which the network has not: set model to the weights' network",
                tensor.escape_debug()
            ),
        }
    }
}

impl core::error::Error for Misfit {}

/// Puts official tensors into a network. A head for another number of classes is left out: the network keeps its own.
///
/// # Errors
/// [`Misfit`] names the first tensor that does not fit; the network is gone then.
pub fn load(
    fec: Fec,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
) -> Result<(Fec, Loaded), Misfit> {
    let mut given: BTreeMap<String, (Vec<usize>, Vec<f32>)> = tensors
        .into_iter()
        .map(|(name, shape, values)| (name, (shape, values)))
        .collect();
    let mut loaded = Loaded::All;
    let head = given.get("head.weight").map(|(shape, _)| shape.clone());
    if let (Some(&[classes, _]), false) = (head.as_deref(), fec.config().dense)
        && classes != fec.config().classes
    {
        given.remove("head.weight");
        given.remove("head.bias");
        loaded = Loaded::AllButHead { classes };
    }
    let mut kept = BTreeMap::new();
    let mut misfit = None;
    fec.config().official_tensors(|tensor| {
        let name = tensor.to_string();
        let own = name.starts_with("head.") && loaded != Loaded::All;
        match given.remove(&name) {
            _ if own => {}
            Some((shape, values))
                if shape == tensor.shape() && values.len() == tensor.elements() =>
            {
                kept.insert(name, values);
            }
            found => {
                misfit.get_or_insert_with(|| match found {
                    None => Misfit::Missing { tensor: name },
                    Some((found, _)) => Misfit::Shape {
                        tensor: name,
                        found,
                        expected: tensor.shape().to_vec(),
                    },
                });
            }
        }
    });
    if let Some(misfit) = misfit {
        return Err(misfit);
    }
    if let Some(tensor) = given.into_keys().next() {
        return Err(Misfit::Unknown { tensor });
    }
    Ok((fec.map(&mut Mapper::new(Fill(kept))), loaded))
}

/// The given values in place of those of the same name.
struct Fill(BTreeMap<String, Vec<f32>>);

impl Replace for Fill {
    fn tensor<const D: usize>(&mut self, name: String, tensor: Tensor<D>) -> Tensor<D> {
        match self.0.remove(&name) {
            Some(values) => {
                Tensor::from_data(TensorData::new(values, tensor.shape()), &tensor.device())
            }
            None => tensor,
        }
    }
}

/// Writes a safetensors file that fec-convert and PyTorch read. Its metadata hold the configuration: `arch` as `fec-convert --arch`
/// takes it, `similarity`, `locality` and what `more` has. The file is there whole or not at all.
///
/// # Errors
/// What writing, or giving the file its name, came to.
pub fn save(fec: &Fec, path: &Path, more: &[(&str, String)]) -> io::Result<()> {
    let tensors = tensors(fec);
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            view.map(|view| (name.clone(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;
    let mut metadata = metadata(fec.config());
    metadata.extend(
        more.iter()
            .map(|(key, value)| (key.to_string(), value.clone())),
    );
    let all = with_metadata(
        &safetensors::serialize(views, None).map_err(io::Error::other)?,
        &metadata,
    )?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, &all)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A safetensors file with metadata in their order, so that the same weights give the same bytes: the library takes them from a map
/// whose order is another one in every process. Offsets count from the end of the header, which may grow.
fn with_metadata(file: &[u8], metadata: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
    let (length, rest) = file.split_at_checked(8).ok_or(io::ErrorKind::InvalidData)?;
    let length = length.try_into().map(u64::from_le_bytes).unwrap_or(0) as usize;
    let (header, data) = rest
        .split_at_checked(length)
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut all = br#"{"__metadata__":"#.to_vec();
    all.extend(serde_json::to_vec(metadata)?);
    if header.trim_ascii() != b"{}" {
        all.push(b',');
    }
    all.extend(header.trim_ascii().strip_prefix(b"{").unwrap_or_default());
    all.resize(all.len().next_multiple_of(8), b' ');
    Ok([&(all.len() as u64).to_le_bytes()[..], &all, data].concat())
}

/// What the tensors' shapes do not say.
fn metadata(config: &Config) -> BTreeMap<String, String> {
    let alike = |other: &Config| {
        let mut other = *other;
        (other.classes, other.locality) = (config.classes, config.locality);
        (other.similarity, other.dispatch) = (config.similarity, config.dispatch);
        other.integer = config.integer;
        other == *config
    };
    let mut presets = PRESETS.iter();
    let preset = presets.find(|name| Config::preset(name).is_some_and(|preset| alike(&preset)));
    let each = |of: fn(&fec_runtime::config::Stage) -> usize| {
        let values: Vec<String> = config
            .stages
            .iter()
            .map(|stage| of(stage).to_string())
            .collect();
        values.join(",")
    };
    let arch = match preset {
        Some(name) => name.to_string(),
        None => format!(
            "heads={} proposals={} folds={}",
            each(|stage| stage.heads),
            each(|stage| stage.proposals),
            each(|stage| stage.folds)
        ),
    };
    let locality: Vec<String> = config.locality.iter().map(f32::to_string).collect();
    [
        ("format", "pt".to_string()),
        ("arch", arch),
        ("similarity", config.similarity.name().to_string()),
        ("locality", locality.join(",")),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .into()
}
