//! Names of tensors: which are the network's, and what wrappers put before them.

use super::Dtype;
use crate::error::Error;

/// Prefixes of wrappers: data parallel training, `torch.compile`, Lightning.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];
/// The prefix of the network inside a detector or segmenter; its neighbours are other parts of that model.
const BACKBONE: &str = "backbone.";
/// Most prefixes that are taken off one name.
const MAX_PREFIXES: usize = 8;
/// A buffer of older checkpoints of the code this network grew from: positions, which can be computed.
const POSITION_BUFFER: &str = "fea_pos";

/// A stored tensor under the name it has so far.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) item: T,
}

/// The outcome of [`settle`].
#[derive(Debug)]
pub(crate) struct Named<T> {
    /// The network's tensors, sorted by their official names.
    pub(crate) kept: Vec<Entry<T>>,
    /// Their names in the file's order.
    pub(crate) order: Vec<String>,
    pub(crate) left_out: Vec<String>,
    pub(crate) stripped: Vec<String>,
}

/// Takes prefixes off and leaves out what is not the network's: counters, position buffers, neighbours of a backbone.
pub(crate) fn settle<T>(entries: Vec<Entry<T>>) -> Result<Named<T>, Error> {
    let mut left_out = Vec::new();
    let mut stripped = Vec::new();
    let (mut kept, dropped): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| {
        let last = e.name.rsplit('.').next();
        !e.dtype.is_integer() && last != Some(POSITION_BUFFER)
    });
    left_out.extend(dropped.into_iter().map(|e| e.name));
    for _ in 0..MAX_PREFIXES {
        let common = WRAPPERS.into_iter().find(|p| is_common(p, &kept));
        if let Some(prefix) = common {
            strip(prefix, &mut kept);
            stripped.push(prefix.to_string());
        } else if kept.iter().any(|e| e.name.starts_with(BACKBONE)) {
            let (ours, others): (Vec<_>, Vec<_>) =
                kept.into_iter().partition(|e| e.name.starts_with(BACKBONE));
            kept = ours;
            left_out.extend(others.into_iter().map(|e| first_part(&e.name)));
            strip(BACKBONE, &mut kept);
            stripped.push(BACKBONE.to_string());
        } else {
            break;
        }
    }
    if kept.is_empty() {
        return Err(Error::NoTensors);
    }
    let order = kept.iter().map(|e| e.name.clone()).collect();
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    for pair in kept.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            return Err(Error::DuplicateTensor {
                tensor: a.name.clone(),
            });
        }
    }
    Ok(Named {
        kept,
        order,
        left_out,
        stripped,
    })
}

/// Whether more than half of the names carry the prefix; a loss or an averaging counter beside the wrapped network has none.
fn is_common<T>(prefix: &str, entries: &[Entry<T>]) -> bool {
    let carrying = entries
        .iter()
        .filter(|e| e.name.starts_with(prefix))
        .count();
    carrying > entries.len() / 2
}

fn strip<T>(prefix: &str, entries: &mut [Entry<T>]) {
    for entry in entries {
        if let Some(rest) = entry.name.strip_prefix(prefix) {
            entry.name = rest.to_string();
        }
    }
}

fn first_part(name: &str) -> String {
    name.split('.').next().unwrap_or(name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(names: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let entry = |name: &&str| Entry {
            name: (*name).to_string(),
            dtype: if name.ends_with("batches") {
                Dtype::Integer(8)
            } else {
                Dtype::F32
            },
            item: (),
        };
        let named = settle(names.iter().map(entry).collect()).unwrap();
        let kept = named.kept.into_iter().map(|e| e.name).collect();
        (kept, named.left_out, named.stripped)
    }

    #[test]
    fn nested_prefixes_come_off_in_any_order() {
        for prefix in [
            "module.",
            "_orig_mod.module.",
            "module._orig_mod.backbone.",
            "backbone.module.",
            "model.",
        ] {
            let names = ["norm.weight", "head.bias"].map(|n| format!("{prefix}{n}"));
            let (kept, left_out, stripped) = settled(&[&names[0], &names[1]]);
            assert_eq!(kept, ["head.bias", "norm.weight"], "{prefix}");
            assert_eq!(stripped.concat(), prefix);
            assert!(left_out.is_empty());
        }
    }

    #[test]
    fn neighbours_counters_and_positions_are_left_out() {
        let (kept, left_out, stripped) = settled(&[
            "backbone.norm0.bias",
            "decode_head.conv.weight",
            "neck.a.num_batches",
            "backbone.fea_pos",
        ]);
        assert_eq!(kept, ["norm0.bias"]);
        assert_eq!(
            left_out,
            ["neck.a.num_batches", "backbone.fea_pos", "decode_head"]
        );
        assert_eq!(stripped, ["backbone."]);
    }

    #[test]
    fn one_name_twice_is_refused() {
        let names = ["module.a", "module.b", "a"];
        let entry = |name: &str| Entry {
            name: name.to_string(),
            dtype: Dtype::F32,
            item: (),
        };
        let error = settle(names.map(entry).into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "two tensors are called a (wrapper prefixes taken off); keep the one that belongs to the network"
        );
    }
}
