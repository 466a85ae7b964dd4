//! What both layouts of `torch.save` share: from a pickle and its storages to tensors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::names::{self, Entry};
use super::pickle::Pickle;
use super::value::{Storage, View};
use super::{Contents, Dtype, ReadOptions, Tensor, state_dict};
use crate::error::Error;

/// Values of f32 that a file of a given size may become, per byte. Two bytes (f16) give one value, and a tied weight
/// is stored once and named twice; views that repeat a storage more often are no checkpoint of this network.
pub(crate) const MAX_VALUES_PER_BYTE: usize = 2;

/// Where the bytes of storages lie.
pub(crate) trait Storages {
    /// The bytes of the storage `key`, exactly `len` of them.
    fn bytes(&mut self, key: &str, len: usize) -> Result<Cow<'_, [u8]>, Error>;
}

/// The network's tensors out of the pickled object of a file of `file_len` bytes.
pub(crate) fn tensors(
    pickle: &Pickle,
    storages: &mut dyn Storages,
    file_len: usize,
    options: &ReadOptions,
) -> Result<Contents, Error> {
    let found = state_dict::find(pickle, options)?;
    let named = names::settle(found.entries)?;
    let views = named.kept;

    // Grouped by storage, so that each is read once and only one lies in memory.
    let mut groups: BTreeMap<&str, Vec<&Entry<&View>>> = BTreeMap::new();
    for entry in &views {
        let key = pickle
            .values
            .str(entry.item.storage.key)
            .unwrap_or_default();
        groups.entry(key).or_default().push(entry);
    }
    check_amount(&views, &groups, file_len)?;
    let mut tensors = Vec::with_capacity(views.len());
    for (key, entries) in groups {
        let mut decoded: Option<(Dtype, Vec<f32>)> = None;
        for entry in entries {
            let View { dtype, storage, .. } = *entry.item;
            let source = match decoded.take() {
                Some((known, values)) if known == dtype => values,
                _ => {
                    let bytes = storages.bytes(key, storage_len(&storage))?;
                    dtype
                        .to_f32(&bytes)
                        .ok_or_else(|| Error::UnsupportedDtype {
                            tensor: entry.name.clone(),
                            dtype: dtype.to_string(),
                        })?
                }
            };
            tensors.push(Tensor {
                name: entry.name.clone(),
                shape: entry.item.shape.clone(),
                values: gather(&source, entry)?,
            });
            decoded = Some((dtype, source));
        }
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let mut left_out = found.left_out;
    left_out.extend(named.left_out);
    Ok(Contents {
        tensors,
        order: named.order,
        left_out,
        stripped: named.stripped,
        picked: found.picked,
        arch: found.arch,
        metadata: Vec::new(),
    })
}

/// The storage's bytes; a product that overflows is longer than any file, which [`check_amount`] refuses.
fn storage_len(storage: &Storage) -> usize {
    storage.len.saturating_mul(storage.dtype.size())
}

/// Refuses files that claim more values, or more bytes of storages, than they can hold.
fn check_amount(
    views: &[Entry<&View>],
    groups: &BTreeMap<&str, Vec<&Entry<&View>>>,
    file_len: usize,
) -> Result<(), Error> {
    let too_many = || Error::TooManyValues {
        file_len: file_len as u64,
    };
    let mut values = 0usize;
    for entry in views {
        let count = entry
            .item
            .shape
            .iter()
            .try_fold(1usize, |n, &dim| n.checked_mul(dim));
        let sum = count.and_then(|n| values.checked_add(n));
        values = sum.ok_or_else(too_many)?;
    }
    let mut bytes = 0usize;
    for entries in groups.values() {
        // A key whose uses differ in type or length is read again for each: all count.
        let mut seen = None;
        for entry in entries {
            let View {
                dtype, ref storage, ..
            } = *entry.item;
            let len = storage_len(storage);
            if seen.replace((dtype, len)) != Some((dtype, len)) {
                bytes = bytes.checked_add(len).ok_or_else(too_many)?;
            }
        }
    }
    if values > file_len.saturating_mul(MAX_VALUES_PER_BYTE) || bytes > file_len {
        return Err(too_many());
    }
    Ok(())
}

/// The view's values in row-major order of its shape.
fn gather(source: &[f32], entry: &Entry<&View>) -> Result<Vec<f32>, Error> {
    let view = entry.item;
    let outside = || Error::BadView {
        tensor: entry.name.clone(),
        stored: source.len() as u64,
    };
    let count = view
        .shape
        .iter()
        .try_fold(1usize, |n, &dim| n.checked_mul(dim));
    let count = count.ok_or_else(outside)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut last = view.offset;
    for (&dim, &stride) in view.shape.iter().zip(&view.strides) {
        let reach = dim.saturating_sub(1).checked_mul(stride);
        last = reach
            .and_then(|r| last.checked_add(r))
            .ok_or_else(outside)?;
    }
    if last >= source.len() {
        return Err(outside());
    }
    let mut values = Vec::with_capacity(count);
    let mut index = vec![0usize; view.shape.len()];
    let mut at = view.offset;
    for _ in 0..count {
        values.push(*source.get(at).ok_or_else(outside)?);
        // Counts up like an odometer, last dimension first; a dimension that wraps takes back all of its steps.
        let dims = index.iter_mut().zip(&view.shape).zip(&view.strides);
        for ((i, &dim), &stride) in dims.rev() {
            *i = i.saturating_add(1);
            if *i < dim {
                at = at.saturating_add(stride);
                break;
            }
            *i = 0;
            at = at.saturating_sub(dim.saturating_sub(1).saturating_mul(stride));
        }
    }
    Ok(values)
}
