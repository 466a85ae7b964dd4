//! Finds the network's state dict in a pickled object.

use super::ReadOptions;
use super::names::Entry;
use super::pickle::Pickle;
use super::value::{Id, Value, Values, View};
use crate::error::Error;

/// Keys under which training scripts keep the state dict, the preferred first.
const KEYS: [&str; 3] = ["state_dict", "model", "module"];
/// The same for the averaged weights (EMA).
const EMA_KEYS: [&str; 2] = ["state_dict_ema", "model_ema"];
/// Most dictionaries that may lie around the state dict.
const MAX_NESTING: usize = 4;
/// Most keys that an error message lists.
const MAX_KEYS_SHOWN: usize = 8;
/// Longest name of a tensor, in characters.
const MAX_NAME_LEN: usize = 256;

/// A state dict's tensors, and what lay beside it.
#[derive(Debug)]
pub(crate) struct Found<'p> {
    pub(crate) entries: Vec<Entry<&'p View>>,
    /// The key it lay under, `a/b` when nested; None when the root itself is the state dict.
    pub(crate) picked: Option<String>,
    pub(crate) left_out: Vec<String>,
    /// timm's name of the architecture, where the file has one.
    pub(crate) arch: Option<String>,
}

/// Finds the state dict that `options` ask for.
pub(crate) fn find<'p>(pickle: &'p Pickle, options: &ReadOptions) -> Result<Found<'p>, Error> {
    let values = &pickle.values;
    let mut pairs = dict(values, pickle.root, "the file's root")?;
    let mut picked: Option<String> = None;
    let mut left_out = Vec::new();
    let mut arch = None;
    // The averaged weights are asked for once, at the outermost dictionary that has them.
    let mut ema = options.ema;
    for _ in 0..MAX_NESTING {
        if arch.is_none() {
            arch = lookup(values, pairs, "arch")
                .and_then(|id| values.str(id))
                .map(str::to_string);
        }
        let keys: &[&str] = if ema { &EMA_KEYS } else { &KEYS };
        let hit = keys
            .iter()
            .find_map(|key| Some((*key, lookup(values, pairs, key)?)));
        let Some((key, id)) = hit else {
            break;
        };
        ema = false;
        let beside = pairs.iter().filter(|(k, _)| values.str(*k) != Some(key));
        left_out.extend(beside.map(|(k, _)| shown_key(values, *k)));
        let path = picked.map_or_else(|| key.to_string(), |outer| format!("{outer}/{key}"));
        pairs = dict(values, id, &path)?;
        picked = Some(path);
    }
    if ema {
        return Err(Error::NoAveragedWeights);
    }
    if picked.is_none()
        && !pairs
            .iter()
            .any(|(_, v)| matches!(values.get(*v), Value::Tensor(_)))
    {
        return Err(no_state_dict(values, pairs));
    }
    let entries = entries(values, pairs)?;
    Ok(Found {
        entries,
        picked,
        left_out,
        arch,
    })
}

fn entries<'p>(values: &'p Values, pairs: &[(Id, Id)]) -> Result<Vec<Entry<&'p View>>, Error> {
    let entry = |(key, value): &(Id, Id)| {
        let name = shown_key(values, *key);
        if values.str(*key).is_some_and(|key| key.len() > name.len()) {
            return Err(Error::NameTooLong {
                start: name.chars().take(32).collect(),
                max: MAX_NAME_LEN,
            });
        }
        match values.get(*value) {
            Value::Tensor(view) => Ok(Entry {
                name,
                dtype: view.dtype,
                item: &**view,
            }),
            other => Err(unexpected(values, other, &name)),
        }
    };
    pairs.iter().map(entry).collect()
}

/// The entries of the dictionary `id`; anything else in its place is refused by name.
fn dict<'p>(values: &'p Values, id: Id, place: &str) -> Result<&'p [(Id, Id)], Error> {
    match values.get(id) {
        Value::Dict(pairs) => Ok(pairs),
        Value::Object { class } => Err(Error::WholeModule {
            class: values.name_of(*class).to_string(),
        }),
        other => Err(unexpected(values, other, place)),
    }
}

fn unexpected(values: &Values, value: &Value, place: &str) -> Error {
    let place = place.to_string();
    match value {
        Value::Called { function: id } | Value::Object { class: id } => Error::NotAllowed {
            place,
            global: values.name_of(*id).to_string(),
        },
        Value::Global(name) => Error::NotAllowed {
            place,
            global: name.clone(),
        },
        other => Error::NotATensor {
            place,
            found: kind(other),
        },
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "a boolean",
        Value::Int(_) => "an integer",
        Value::Str(_) => "text",
        Value::List(_) => "a list",
        Value::Tuple(_) => "a tuple",
        Value::Dict(_) => "a dictionary",
        Value::Global(_) => "a global",
        Value::Storage(_) => "a bare storage",
        Value::Tensor(_) => "a single tensor",
        Value::Object { .. } | Value::Called { .. } => "an object",
        Value::Other(kind) => kind,
    }
}

fn lookup(values: &Values, pairs: &[(Id, Id)], key: &str) -> Option<Id> {
    // The last one counts, as it does in Python.
    let hit = pairs
        .iter()
        .rev()
        .find(|(k, _)| values.str(*k) == Some(key));
    let id = hit.map(|(_, v)| *v)?;
    // A tensor under such a name belongs to a state dict whose module happens to be called so.
    (!matches!(values.get(id), Value::Tensor(_))).then_some(id)
}

/// A key as text, cut to [`MAX_NAME_LEN`]: one long text may be the key of many entries.
fn shown_key(values: &Values, id: Id) -> String {
    match values.get(id) {
        Value::Str(text) => text.chars().take(MAX_NAME_LEN).collect(),
        Value::Int(n) => n.to_string(),
        other => kind(other).to_string(),
    }
}

fn no_state_dict(values: &Values, pairs: &[(Id, Id)]) -> Error {
    let has_ema = EMA_KEYS
        .iter()
        .any(|key| lookup(values, pairs, key).is_some());
    if has_ema {
        return Error::OnlyAveragedWeights;
    }
    Error::NoStateDict {
        keys: pairs
            .iter()
            .take(MAX_KEYS_SHOWN)
            .map(|(k, _)| shown_key(values, *k))
            .collect(),
    }
}
