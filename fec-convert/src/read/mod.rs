//! Checkpoint readers: from the bytes of a file to named f32 tensors. Nothing in a file is ever executed.
//!
//! A file is recognised by its first bytes, never by its name. Whatever its layout, the result is the same: official
//! names, row-major f32 values, and a record of what was taken off or left out on the way.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod dtype;
mod globals;
mod machine;
mod names;
mod pickle;
mod safetensors;
mod sniff;
mod state_dict;
mod torch;
mod torch_legacy;
mod torch_zip;
mod value;

use core::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::Error;
use dtype::Dtype;

/// Longest file that is read, in bytes; the large variant with optimizer and averaged weights takes about 0.5 GB.
pub const MAX_FILE_LEN: u64 = 4 << 30;

/// What to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// The averaged weights (`state_dict_ema`, `model_ema`) in place of the plain ones.
    pub ema: bool,
}

/// How a checkpoint is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `torch.save` since 1.6: a zip of a pickle and one entry per storage.
    TorchZip,
    /// `torch.save` before 1.6: pickles in a row, then the storages.
    TorchLegacy,
    /// A JSON header and the tensors' bytes.
    Safetensors,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TorchZip => "torch zip",
            Self::TorchLegacy => "torch legacy",
            Self::Safetensors => "safetensors",
        })
    }
}

/// A tensor of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name, wrapper prefixes taken off.
    pub name: String,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its values in row-major order of the shape.
    pub values: Vec<f32>,
}

/// A checkpoint that was read.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The network's tensors, sorted by name; no name occurs twice.
    pub tensors: Vec<Tensor>,
    /// Their names in the file's order.
    pub order: Vec<String>,
    /// How the file was stored.
    pub source: Layout,
    /// What else lies in the file, sorted: keys beside the state dict (`optimizer`), parts beside the backbone
    /// (`decode_head`), counters and position buffers by their full names.
    pub left_out: Vec<String>,
    /// Prefixes that were taken off names, outermost first.
    pub stripped: Vec<String>,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
    /// The key that the state dict lay under, `a/b` when nested; None when it was the root.
    pub picked: Option<String>,
    /// The architecture's name as timm's training script records it.
    pub arch: Option<String>,
    /// The header's text entries (safetensors only), sorted by key.
    pub metadata: Vec<(String, String)>,
}

/// What a layout's reader finds; [`Checkpoint`] without the facts of the file.
struct Contents {
    tensors: Vec<Tensor>,
    order: Vec<String>,
    left_out: Vec<String>,
    stripped: Vec<String>,
    picked: Option<String>,
    arch: Option<String>,
    metadata: Vec<(String, String)>,
}

impl Checkpoint {
    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        let found = self.tensors.binary_search_by(|t| t.name.as_str().cmp(name));
        self.tensors.get(found.ok()?)
    }

    /// The first value that is NaN or infinite: its tensor's name, its row-major index, the value.
    pub fn first_non_finite(&self) -> Option<(&str, usize, f32)> {
        self.tensors.iter().find_map(|tensor| {
            let index = tensor.values.iter().position(|v| !v.is_finite())?;
            Some((tensor.name.as_str(), index, *tensor.values.get(index)?))
        })
    }
}

/// Whether a file begins as an ONNX model does, which no checkpoint does.
pub fn is_onnx(bytes: &[u8]) -> bool {
    sniff::is_onnx(bytes)
}

/// Reads the checkpoint in the file `path`; `-` is standard input.
///
/// # Errors
/// The file cannot be read, is not a checkpoint, is damaged, or holds something other than weights. The message starts
/// with the path.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Checkpoint, Error> {
    let bytes = read_file(path, MAX_FILE_LEN)?;
    read_bytes(&bytes, options).map_err(|cause| in_file(path, cause))
}

/// The bytes of a file of at most `max` bytes; `-` is standard input.
///
/// # Errors
/// The file cannot be read, or is longer. The message starts with the path.
pub fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let limit = max.saturating_add(1);
    let result = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        // Asked before reading, so that nothing of that size enters memory; a pipe has no length and is cut below.
        File::open(path).and_then(|file| match file.metadata()?.len() {
            len if len > max => Ok(usize::MAX),
            _ => file.take(limit).read_to_end(&mut bytes),
        })
    };
    let len = result.map_err(|source| Error::Unreadable {
        path: shown(path),
        source,
    })?;
    if len as u64 > max {
        return Err(in_file(path, Error::TooLarge { max }));
    }
    Ok(bytes)
}

/// An error in the contents of a file, with the file's name before it.
pub fn in_file(path: &Path, cause: Error) -> Error {
    Error::InFile {
        path: shown(path),
        cause: Box::new(cause),
    }
}

/// A path as messages show it.
fn shown(path: &Path) -> PathBuf {
    if path == Path::new("-") {
        "standard input".into()
    } else {
        path.into()
    }
}

/// Reads a checkpoint from the bytes of a file.
///
/// # Errors
/// As [`read()`], without a path in the message.
pub fn read_bytes(bytes: &[u8], options: &ReadOptions) -> Result<Checkpoint, Error> {
    if bytes.len() as u64 > MAX_FILE_LEN {
        return Err(Error::TooLarge { max: MAX_FILE_LEN });
    }
    let source = sniff::layout(bytes)?;
    let mut contents = match source {
        Layout::TorchZip => torch_zip::read(bytes, options)?,
        Layout::TorchLegacy => torch_legacy::read(bytes, options)?,
        Layout::Safetensors => safetensors::read(bytes, options)?,
    };
    contents.left_out.sort();
    contents.left_out.dedup();
    Ok(Checkpoint {
        tensors: contents.tensors,
        order: contents.order,
        source,
        left_out: contents.left_out,
        stripped: contents.stripped,
        sha256: Sha256::digest(bytes).into(),
        picked: contents.picked,
        arch: contents.arch,
        metadata: contents.metadata,
    })
}
