//! safetensors: the length of a JSON header as 64 bits, the header, the tensors' bytes.

use ::safetensors::Dtype as Stored;
use ::safetensors::tensor::{Metadata, TensorInfo};

use super::names::{self, Entry};
use super::{Contents, Dtype, ReadOptions, Tensor};
use crate::error::Error;

/// Longest header that is read, in bytes; a tensor takes about 100.
pub(crate) const MAX_HEADER_LEN: usize = 16 << 20;

pub(crate) fn read(bytes: &[u8], options: &ReadOptions) -> Result<Contents, Error> {
    // The layout is flat: there is no second dictionary for averaged weights.
    if options.ema {
        return Err(Error::NoAveragedWeights);
    }
    let (header, data) = split(bytes)?;
    let header: Metadata = serde_json::from_slice(header).map_err(bad)?;
    // The crate's own `deserialize` adds these lengths unchecked, so they are compared here first, and it is not called.
    let needed = header.data_len();
    if needed > data.len() {
        return Err(Error::Truncated {
            what: "the tensors' data".to_string(),
            needed: needed as u64,
            given: data.len() as u64,
        });
    }
    if needed < data.len() {
        return Err(bad("bytes that belong to no tensor follow the data"));
    }
    let infos = header.tensors();
    let entries = infos.into_iter().map(|(name, info)| Entry {
        name,
        dtype: dtype(info.dtype),
        item: info,
    });
    let named = names::settle(entries.collect())?;
    let tensors = named
        .kept
        .into_iter()
        .map(|e| tensor(e, data))
        .collect::<Result<Vec<_>, _>>()?;
    let mut metadata: Vec<(String, String)> = header
        .metadata()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    metadata.sort();
    Ok(Contents {
        tensors,
        order: named.order,
        left_out: named.left_out,
        stripped: named.stripped,
        picked: None,
        arch: None,
        metadata,
    })
}

/// Header and data; [`super::sniff`] has seen that the header is not too long and lies within the file.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let cut = bytes.split_first_chunk::<8>().and_then(|(len, rest)| {
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        rest.split_at_checked(len)
    });
    cut.ok_or_else(|| bad("its length lies outside the file"))
}

fn tensor(entry: Entry<&TensorInfo>, data: &[u8]) -> Result<Tensor, Error> {
    let Entry { name, dtype, item } = entry;
    let (start, end) = item.data_offsets;
    let bytes = data
        .get(start..end)
        .ok_or_else(|| bad("a tensor lies outside the data"))?;
    match dtype.to_f32(bytes) {
        Some(values) => Ok(Tensor {
            name,
            shape: item.shape.clone(),
            values,
        }),
        None => Err(Error::UnsupportedDtype {
            tensor: name,
            dtype: item.dtype.to_string(),
        }),
    }
}

fn dtype(stored: Stored) -> Dtype {
    match stored {
        Stored::F64 => Dtype::F64,
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::Bf16,
        Stored::I64 | Stored::U64 => Dtype::Integer(8),
        Stored::I32 | Stored::U32 => Dtype::Integer(4),
        Stored::I16 | Stored::U16 => Dtype::Integer(2),
        Stored::I8 | Stored::U8 | Stored::BOOL => Dtype::Integer(1),
        // Four, six and eight bit floats, complex numbers and whatever comes: refused by name if it is a weight.
        _ => Dtype::Untyped,
    }
}

fn bad(detail: impl core::fmt::Display) -> Error {
    Error::BadSafetensors {
        detail: detail.to_string(),
    }
}
