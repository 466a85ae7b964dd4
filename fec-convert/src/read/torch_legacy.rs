//! The layout of `torch.save` before 1.6: five pickles in a row (magic number, protocol, system, object, keys), then
//! for each key the number of its elements as 64 bits and the elements.

use std::borrow::Cow;
use std::collections::HashMap;

use super::pickle::{self, Pickle};
use super::torch::{self, Storages};
use super::value::{Value, Values};
use super::{Contents, ReadOptions};
use crate::error::Error;

/// The only protocol of this layout that was ever written.
const PROTOCOL: i128 = 1001;

pub(crate) fn read(bytes: &[u8], options: &ReadOptions) -> Result<Contents, Error> {
    let mut rest = bytes;
    // sniff::layout has looked at the magic number.
    next(&mut rest)?;
    let protocol = next(&mut rest)?;
    if !matches!(protocol.values.get(protocol.root), Value::Int(PROTOCOL)) {
        return Err(Error::BadPickle {
            at: 0,
            what: "a legacy file whose protocol is not 1001",
        });
    }
    let system = next(&mut rest)?;
    if is_big_endian(&system) {
        return Err(Error::BigEndian);
    }
    let object = next(&mut rest)?;
    let keys = next(&mut rest)?;
    let mut storages = Region(HashMap::new());
    if let Value::List(ids) = keys.values.get(keys.root) {
        let sizes = element_sizes(&object.values);
        for key in ids.iter().filter_map(|&id| keys.values.str(id)) {
            storages.0.insert(key, storage(&mut rest, key, &sizes)?);
        }
    }
    torch::tensors(&object, &mut storages, bytes.len(), options)
}

fn next(rest: &mut &[u8]) -> Result<Pickle, Error> {
    let pickle = pickle::load(rest)?;
    *rest = rest.get(pickle.len..).unwrap_or_default();
    Ok(pickle)
}

fn is_big_endian(system: &Pickle) -> bool {
    let Value::Dict(pairs) = system.values.get(system.root) else {
        return false;
    };
    let little = pairs
        .iter()
        .find(|(k, _)| system.values.str(*k) == Some("little_endian"));
    little.is_some_and(|(_, v)| matches!(system.values.get(*v), Value::Bool(false)))
}

/// Bytes per element of each storage that the object refers to.
fn element_sizes(values: &Values) -> HashMap<&str, usize> {
    let sizes = values.iter().filter_map(|value| match value {
        Value::Storage(storage) => Some((values.str(storage.key)?, storage.dtype.size())),
        _ => None,
    });
    sizes.collect()
}

/// Takes one storage off the start of `rest`.
fn storage<'a>(
    rest: &mut &'a [u8],
    key: &str,
    sizes: &HashMap<&str, usize>,
) -> Result<&'a [u8], Error> {
    let truncated = |needed: u64, given: usize| Error::Truncated {
        what: format!("storage {key}"),
        needed,
        given: given as u64,
    };
    let Some(&size) = sizes.get(key) else {
        return Err(Error::BadPickle {
            at: 0,
            what: "a storage whose type the object does not tell",
        });
    };
    let (head, body) = rest
        .split_first_chunk::<8>()
        .ok_or_else(|| truncated(8, rest.len()))?;
    let len = u64::from_le_bytes(*head).saturating_mul(size as u64);
    let cut = usize::try_from(len)
        .ok()
        .and_then(|len| body.split_at_checked(len));
    let (bytes, after) = cut.ok_or_else(|| truncated(len, body.len()))?;
    *rest = after;
    Ok(bytes)
}

/// The storages' bytes by key.
struct Region<'a>(HashMap<&'a str, &'a [u8]>);

impl Storages for Region<'_> {
    fn bytes(&mut self, key: &str, len: usize) -> Result<Cow<'_, [u8]>, Error> {
        let stored = self.0.get(key).copied().unwrap_or_default();
        match stored.get(..len) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => Err(Error::Truncated {
                what: format!("storage {key}"),
                needed: len as u64,
                given: stored.len() as u64,
            }),
        }
    }
}
