//! Recognises a file by its first bytes.

use super::Layout;
use super::pickle;
use super::safetensors::MAX_HEADER_LEN;
use super::value::Value;
use crate::error::Error;

/// The number at the start of a file in torch's legacy layout.
pub(crate) const LEGACY_MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// Bytes in which the text of a page or a pointer must show itself.
const TEXT_LEN: usize = 512;

/// The layout of a checkpoint, or a refusal that says what the bytes are instead.
pub(crate) fn layout(bytes: &[u8]) -> Result<Layout, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    if let Some(header) = safetensors_header(bytes) {
        let given = (bytes.len() as u64).saturating_sub(8);
        if header > given {
            return Err(Error::Truncated {
                what: "the safetensors header".to_string(),
                needed: header,
                given,
            });
        }
        return Ok(Layout::Safetensors);
    }
    if bytes.starts_with(b"PK") {
        return Ok(Layout::TorchZip);
    }
    // Protocol 0 and 1 have no opcode for the protocol, and the number stands in decimal.
    if bytes.starts_with(b"\x80") || bytes.starts_with(b"L119547037146038801333356L\n") {
        return pickled(bytes);
    }
    if let Some(found) = other_binary(bytes).or_else(|| text(bytes)) {
        return Err(Error::NotACheckpoint { found });
    }
    Err(Error::Unknown {
        start: bytes.iter().take(8).copied().collect(),
    })
}

/// The header's length if the bytes look like safetensors: a length, then a JSON object. Asked first, since the length
/// may begin like a pickle; its upper bytes, all zero, are what no other kind of file has there.
fn safetensors_header(bytes: &[u8]) -> Option<u64> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let len = u64::from_le_bytes(*len);
    (rest.first() == Some(&b'{') && len <= MAX_HEADER_LEN as u64).then_some(len)
}

/// A pickle: torch's legacy layout if it is the magic number, else something that torch did not write.
fn pickled(bytes: &[u8]) -> Result<Layout, Error> {
    let first = pickle::load(bytes)?;
    if matches!(first.values.get(first.root), Value::Int(LEGACY_MAGIC)) {
        return Ok(Layout::TorchLegacy);
    }
    let calls = first.values.iter().find_map(|value| match value {
        Value::Called { function: id } | Value::Object { class: id } => {
            Some(first.values.name_of(*id).to_string())
        }
        _ => None,
    });
    Err(Error::BarePickle { calls })
}

fn other_binary(bytes: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 5] = [
        (b"FEC\0", "a packed .fec file already; use it as it is"),
        (
            b"\x93NUMPY",
            "a numpy array; expected a file of torch.save or a .safetensors file",
        ),
        (
            b"\x89HDF\r\n",
            "an HDF5 file; expected a file of torch.save or a .safetensors file",
        ),
        (b"\x1f\x8b", "a gzip file; unpack it first"),
        (b"\xfd7zXZ\0", "an xz file; unpack it first"),
    ];
    if let Some((_, found)) = STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(found);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some(
            "a tar archive (torch.save before 0.1.10, or a folder packed by hand); unpack it, or load it in PyTorch and save it again",
        );
    }
    is_onnx(bytes).then_some(
        "an ONNX model, which is not read as weights yet; pack the PyTorch checkpoint it was exported from",
    )
}

/// An ONNX model is a protobuf message: field 1 is its version as a small number, then comes another field of ModelProto.
pub(crate) fn is_onnx(bytes: &[u8]) -> bool {
    let [0x08, version, field, ..] = *bytes else {
        return false;
    };
    (1..=32).contains(&version) && matches!(field, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42)
}

fn text(bytes: &[u8]) -> Option<&'static str> {
    let start = bytes.get(..TEXT_LEN).unwrap_or(bytes);
    let start = start
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(start)
        .trim_ascii_start();
    if start.starts_with(b"version https://git-lfs") {
        return Some("a git-lfs pointer to one; run `git lfs pull` to get the file itself");
    }
    let lower = start.to_ascii_lowercase();
    let is_html = [&b"<!doctype html"[..], b"<html", b"<head"]
        .iter()
        .any(|tag| lower.starts_with(tag));
    is_html.then_some("an HTML page, as a download that failed or asks for a login leaves; download the file itself")
}
