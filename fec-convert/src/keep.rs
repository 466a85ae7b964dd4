//! Which layers are stored otherwise than the rest: what `--keep` names, and what its names mean.

use fec_runtime::Config;
use fec_runtime::config::Place;
use fec_runtime::format::{TensorKind, packed_tensors};

/// Characters of a mistyped layer that are compared with the right names.
const MAX_COMPARED: usize = 100;

/// Whether `layer` names the tensor of that name, or what it belongs to: it is the name, the start of it, or a word inside it and
/// what follows, in whole parts between dots (`network.2`, `network.2.0.mlp.fc1`, `mlp`). A tensor's own `.weight` may be given; what
/// is said of it holds for all that goes with it.
pub fn names(layer: &str, tensor: &str) -> bool {
    let layer = layer.strip_suffix(".weight").unwrap_or(layer);
    let starts = |name: &str| {
        name.strip_prefix(layer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    // Numbers alone would name a block of every stage.
    let word = layer.starts_with(|c: char| !c.is_ascii_digit());
    let mut inside = tensor.match_indices('.');
    starts(tensor) || word && inside.any(|(at, _)| tensor.get(at + 1..).is_some_and(starts))
}

/// The names that a layer may be given by: every whole part of a name from its start on, and the layers' last words.
pub fn known(config: &Config) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    packed_tensors(config, |tensor| {
        if matches!(tensor.kind, TensorKind::Matrix { .. }) {
            let name = tensor.id.to_string();
            let layer = name.strip_suffix(".weight").unwrap_or(&name);
            let starts = name.match_indices('.').filter_map(|(at, _)| name.get(..at));
            known.extend(starts.map(str::to_string));
            let ends = layer
                .match_indices('.')
                .filter_map(|(at, _)| layer.get(at + 1..));
            let words = ends.filter(|end| end.starts_with(|c: char| !c.is_ascii_digit()));
            known.extend(words.map(str::to_string));
            known.push(name.clone());
        }
    });
    known.push("mlp".to_string());
    known.push("token_mixer".to_string());
    known.sort();
    known.dedup();
    known
}

/// The name that takes the fewest edits to become `layer`, unless `layer` names one of the network's matrices itself.
pub fn nearest_if_unknown(config: &Config, layer: &str) -> Option<String> {
    let mut found = false;
    packed_tensors(config, |tensor| {
        let matrix = matches!(tensor.kind, TensorKind::Matrix { .. });
        found |= matrix && names(layer, &tensor.id.to_string());
    });
    (!found).then(|| nearest(layer, &known(config)))
}

/// The same for a layer that has a GELU in it.
pub fn nearest_if_no_gelu(config: &Config, layer: &str) -> Option<String> {
    let mut mlps = Vec::new();
    for (stage, shape) in config.stages.iter().enumerate() {
        let block = |block| format!("{}mlp", Place::Block { stage, block });
        mlps.extend((0..shape.blocks).map(block));
    }
    let found = mlps.iter().any(|mlp| names(layer, mlp));
    mlps.push("mlp".to_string());
    (!found).then(|| nearest(layer, &mlps))
}

fn nearest(layer: &str, known: &[String]) -> String {
    let nearest = known.iter().min_by_key(|name| distance(layer, name));
    nearest.cloned().unwrap_or_default()
}

/// Characters to insert, delete or replace to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(MAX_COMPARED).enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (above, b) in row.iter_mut().skip(1).zip(&b) {
            let best = (left + 1)
                .min(*above + 1)
                .min(diagonal + usize::from(a != *b));
            diagonal = core::mem::replace(above, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use fec_runtime::config::MICRO;

    use super::*;

    #[test]
    fn distances_are_counted_in_edits() {
        for (a, b, edits) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("head", "head", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }

    #[test]
    fn whole_parts_of_names_are_meant() {
        let fc1 = "network.2.0.mlp.fc1.weight";
        for layer in [
            "network",
            "network.2",
            "network.2.0.mlp",
            "network.2.0.mlp.fc1",
            fc1,
            "mlp",
            "mlp.fc1",
            "fc1",
            "fc1.weight",
        ] {
            assert!(names(layer, fc1), "{layer}");
        }
        for layer in [
            "net",
            "network.",
            "network.20",
            "2",
            "0.mlp",
            "fc",
            "mlp.fc2",
            "",
            "fc1.weights",
        ] {
            assert!(!names(layer, fc1), "{layer}");
        }
        // The sums that go with a matrix go by its name.
        assert!(names(
            "network.2.0.mlp.fc1.weight",
            "network.2.0.mlp.fc1.sums"
        ));
    }

    #[test]
    fn mistyped_layers_get_the_nearest_name() {
        let nearest = |layer| nearest_if_unknown(&MICRO, layer);
        assert_eq!(nearest("network.2"), None);
        assert_eq!(nearest("mlp.fc2"), None);
        assert_eq!(nearest("hed").as_deref(), Some("head"));
        assert_eq!(
            nearest("network.2.0.mlp.fc3").as_deref(),
            Some("network.2.0.mlp.fc1")
        );
        let nearest = |layer| nearest_if_no_gelu(&MICRO, layer);
        assert_eq!(nearest("network.4.0"), None);
        assert_eq!(nearest("mlp"), None);
        assert_eq!(nearest("head").as_deref(), Some("mlp"));
        assert_eq!(nearest("network.1.mlp").as_deref(), Some("network.0.0.mlp"));
    }
}
