//! Clustering of one region (SPEC 3.2, 3.3, 3.6, 4.2): pools and mixers alike.

use alloc::vec;
use alloc::vec::Vec;

use super::map::{Map, adaptive_average_pool, argmax, multiply_add, normalized, transpose};
use crate::config::Similarity;
use crate::image::MapSize;

/// What the argmax is over, given similarities.
#[derive(Clone, Copy)]
pub(super) enum Choice {
    Pool { locality: f32 },
    Mixer { alpha: f32, beta: f32 },
}

/// One region, clustered.
pub(super) struct Region {
    pub(super) assign: Vec<u16>,
    pub(super) own: Vec<u16>,
    pub(super) margin: Vec<f32>,
    /// What each element's centre was chosen by [N]: in a mixer, its weight.
    pub(super) weight: Vec<f32>,
    pub(super) reps: Vec<f32>,
    pub(super) centre_keys: Vec<f32>,
}

pub(super) fn cluster_region(
    keys: &Map,
    values: &Map,
    grid: MapSize,
    (similarity, choice): (Similarity, Choice),
    forced: Option<&[u16]>,
) -> Region {
    let (n, d) = (keys.size.elements(), keys.channels);
    // Eq. 4: the centres are means of windows.
    let centre_keys = adaptive_average_pool(keys, grid);
    let centre_values = adaptive_average_pool(values, grid);
    let m = grid.elements();
    let mut found = Region {
        assign: Vec::new(),
        own: Vec::new(),
        margin: Vec::new(),
        weight: Vec::new(),
        reps: centre_values.values,
        centre_keys: centre_keys.values.clone(),
    };
    let mut members = vec![0.0; m];
    let (keys, centres) = match similarity {
        Similarity::Cosine => (&normalized(keys), normalized(&centre_keys)),
        Similarity::Dot | Similarity::Euclidean => (keys, centre_keys),
    };
    let columns = transpose(&centres.values, m, d);
    for (i, (key, value)) in keys.elements().zip(values.elements()).enumerate() {
        // Eq. 5 and the paper's Table 4a: the similarity of the key with every centre's.
        let mut similarities = vec![0.0; m];
        match similarity {
            Similarity::Cosine | Similarity::Dot => multiply_add(key, &columns, &mut similarities),
            Similarity::Euclidean => {
                for (similarity, centre) in similarities.iter_mut().zip(centres.elements()) {
                    *similarity = -distance(key, centre);
                }
            }
        }
        let place = (i / keys.size.cols, i % keys.size.cols);
        let weights: Vec<f32> = similarities
            .iter()
            .enumerate()
            .map(|(j, &similarity)| choice.of(similarity, place, (j / grid.cols, j % grid.cols)))
            .collect();
        let own = argmax(&weights);
        let assign = forced
            .and_then(|f| f.get(i))
            .map_or(own, |&f| usize::from(f));
        found.own.push(own as u16);
        found.assign.push(assign as u16);
        found.margin.push(choice.margin(&similarities, &weights));
        found.weight.push(weights[assign]);
        // Eq. 6, the sum: no weighting by similarity.
        members[assign] += 1.0;
        for (r, v) in found.reps[assign * d..(assign + 1) * d]
            .iter_mut()
            .zip(value)
        {
            *r += v;
        }
    }
    // Eq. 6: R = (centre + sum of members) / (1 + members).
    for (r, members) in found.reps.chunks_exact_mut(d).zip(&members) {
        r.iter_mut().for_each(|r| *r /= 1.0 + members);
    }
    debug_assert_eq!(found.assign.len(), n);
    found
}

fn distance(key: &[f32], centre: &[f32]) -> f32 {
    let squares = key.iter().zip(centre).map(|(k, c)| (k - c) * (k - c));
    libm::sqrtf(squares.sum())
}

impl Choice {
    /// What speaks for the centre in row and column `centre`, of that similarity to the element in row and column `element`.
    fn of(self, similarity: f32, element: (usize, usize), centre: (usize, usize)) -> f32 {
        match self {
            // 3.3: the assignment ignores position. 3.6: unless locality (ours) is set; distances in a centre's cells.
            Choice::Pool { locality } => {
                let y = (element.0 as f32 + 0.5) / 2.0 - (centre.0 as f32 + 0.5);
                let x = (element.1 as f32 + 0.5) / 2.0 - (centre.1 as f32 + 0.5);
                similarity - locality * (y * y + x * x)
            }
            // 4.2. The argmax is over this f32 value, so that whatever saturates ties.
            Choice::Mixer { alpha, beta } => 1.0 / (1.0 + libm::expf(-(beta + alpha * similarity))),
        }
    }

    /// Lead of the best over the second: of similarities in a mixer (of the lowest where alpha < 0), else of what [`Self::of`] gives.
    fn margin(self, similarities: &[f32], weights: &[f32]) -> f32 {
        let (values, sign) = match self {
            Choice::Pool { .. } => (weights, 1.0),
            Choice::Mixer { alpha, .. } => (similarities, if alpha < 0.0 { -1.0 } else { 1.0 }),
        };
        let (mut best, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        for v in values.iter().map(|v| v * sign) {
            second = second.max(v.min(best));
            best = best.max(v);
        }
        if values.len() > 1 { best - second } else { 1.0 }
    }
}
