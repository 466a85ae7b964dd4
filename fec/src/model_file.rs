//! Model files on a host: the embedded default, or a file that was read.

use std::io::Read;
use std::path::Path;

use fec_runtime::{AlignedBytes, Model};

use crate::error::Error;

/// Longest model file that is read, in bytes.
pub const MAX_MODEL_BYTES: u64 = 1 << 30;

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

    /// Reads a file; its contents are checked by [`ModelFile::model`]. `-` is standard input.
    ///
    /// # Errors
    /// The file cannot be read, or has more than [`MAX_MODEL_BYTES`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = if path == Path::new("-") {
            let mut bytes = Vec::new();
            let mut input = std::io::stdin().take(MAX_MODEL_BYTES + 1);
            input
                .read_to_end(&mut bytes)
                .map_err(|e| Error::from_read(path, e))?;
            AlignedBytes::copy_of(&bytes)
        } else {
            read_aligned(path)?
        };
        if bytes.as_bytes().len() as u64 > MAX_MODEL_BYTES {
            return Err(Error::FileTooLarge { path: path.into() });
        }
        Ok(Self {
            name: path.display().to_string(),
            bytes: Bytes::Read(bytes),
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
        };
        Model::from_bytes(bytes).map_err(|source| Error::Model {
            name: self.name.clone(),
            source,
        })
    }
}

/// Reads a file straight into aligned memory. A file whose length is not known beforehand (a pipe) is copied once.
fn read_aligned(path: &Path) -> Result<AlignedBytes, Error> {
    let fail = |source| Error::from_read(path, source);
    let mut file = std::fs::File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(Error::IsFolder { path: path.into() });
    }
    if metadata.len() > MAX_MODEL_BYTES {
        return Err(Error::FileTooLarge { path: path.into() });
    }
    if metadata.is_file() {
        let mut bytes = AlignedBytes::zeroed(metadata.len() as usize);
        file.read_exact(bytes.as_bytes_mut()).map_err(fail)?;
        return Ok(bytes);
    }
    let mut bytes = Vec::new();
    file.take(MAX_MODEL_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    Ok(AlignedBytes::copy_of(&bytes))
}
