//! Model files on a host: the embedded default, a file that is mapped into memory, or a small one that was read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use fec_runtime::format::TensorKind;
use fec_runtime::{AlignedBytes, Model};

use crate::error::Error;
use crate::mapped::Mapped;

/// Longest model file that is read, in bytes.
pub const MAX_MODEL_BYTES: u64 = 1 << 30;
/// Length from which a file is mapped in place of read, in bytes: below it a copy costs less than a millisecond, and does not mind
/// who changes the file meanwhile.
pub const MAPPED_FROM: u64 = 1 << 20;

/// Storage types of a model's matrices, the one of the most bytes first: `f32`, or `f16+f32`.
pub fn dtypes(model: &Model<'_>) -> String {
    let mut bytes: Vec<(&'static str, usize)> = Vec::new();
    model.tensors(|tensor, dtype, length| {
        if matches!(tensor.kind, TensorKind::Matrix { .. }) {
            match bytes.iter_mut().find(|(name, _)| *name == dtype.name()) {
                Some((_, sum)) => *sum += length,
                None => bytes.push((dtype.name(), length)),
            }
        }
    });
    bytes.sort_by_key(|&(_, sum)| core::cmp::Reverse(sum));
    let names: Vec<&str> = bytes.iter().map(|&(name, _)| name).collect();
    names.join("+")
}

/// The bytes of a model and the name that messages use for it.
#[derive(Debug)]
pub struct ModelFile {
    name: String,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Embedded(&'static [u8]),
    Read(AlignedBytes),
    Mapped(Mapped),
}

impl ModelFile {
    /// The default model (models/README.md says what it is).
    pub fn embedded() -> Self {
        let bytes = fec_runtime::include_model!("../../models/default.fec");
        Self {
            name: "default model".into(),
            bytes: Bytes::Embedded(bytes),
        }
    }

    /// Opens a file; its contents are checked by [`ModelFile::model`]. `-` is standard input.
    ///
    /// # Errors
    /// The file cannot be read, or has more than [`MAX_MODEL_BYTES`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = if path == Path::new("-") {
            read_all(path, std::io::stdin())?
        } else {
            open_bytes(path)?
        };
        Ok(Self {
            name: path.display().to_string(),
            bytes,
        })
    }

    /// The name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The checked model.
    ///
    /// # Errors
    /// [`Error::Model`] says what is wrong with the file.
    pub fn model(&self) -> Result<Model<'_>, Error> {
        let bytes = match &self.bytes {
            Bytes::Embedded(bytes) => bytes,
            Bytes::Read(bytes) => bytes.as_bytes(),
            Bytes::Mapped(file) => file.as_bytes(),
        };
        Model::from_bytes(bytes).map_err(|source| Error::Model {
            name: self.name.clone(),
            source,
        })
    }
}

/// Maps a file, or reads a small one straight into aligned memory. A file whose length is not known beforehand (a pipe) is copied once.
fn open_bytes(path: &Path) -> Result<Bytes, Error> {
    let fail = |source| Error::from_read(path, source);
    let mut file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(Error::IsFolder { path: path.into() });
    }
    if metadata.len() > MAX_MODEL_BYTES {
        return Err(Error::FileTooLarge { path: path.into() });
    }
    if !metadata.is_file() {
        return read_all(path, file);
    }
    // Not every file system can map; all can read.
    if metadata.len() >= MAPPED_FROM
        && let Ok(mapped) = Mapped::new(&file)
    {
        return Ok(Bytes::Mapped(mapped));
    }
    let mut bytes = AlignedBytes::zeroed(metadata.len() as usize);
    file.read_exact(bytes.as_bytes_mut()).map_err(fail)?;
    Ok(Bytes::Read(bytes))
}

/// All that comes, up to the limit.
fn read_all(path: &Path, from: impl Read) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    from.take(MAX_MODEL_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::from_read(path, source))?;
    if bytes.len() as u64 > MAX_MODEL_BYTES {
        return Err(Error::FileTooLarge { path: path.into() });
    }
    Ok(Bytes::Read(AlignedBytes::copy_of(&bytes)))
}
