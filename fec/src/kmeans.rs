//! Groups points by k-means: k-means++ starts from a fixed seed, Lloyd's iterations, then Hartigan's single moves, which leave many of the
//! local optima where Lloyd stops. The best of several restarts counts. Same input, same result, on every machine.

use crate::error::Error;

/// Lloyd's iterations or Hartigan's sweeps after which a restart gives up improving; neither gets near it on real points.
const ROUNDS_MAX: usize = 1000;
/// Restarts that `fec map --clusters` makes.
pub const RESTARTS: usize = 10;

/// A partition of points into groups.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// The group of each point; groups are numbered in the order in which the points first show them.
    pub labels: Vec<u16>,
    /// The mean of each group, `[k, dim]`.
    pub centres: Vec<f64>,
    /// Sum over points of the squared distance to their group's mean.
    pub inertia: f64,
}

impl KMeans {
    /// How many groups there are: the k asked for, or the number of distinct points where that is smaller.
    pub fn k(&self) -> usize {
        self.labels
            .iter()
            .max()
            .map_or(0, |&last| usize::from(last) + 1)
    }
}

/// Partitions `points` (`[n, dim]`, row by row) into `k` groups of the least inertia found in `restarts` starts.
///
/// With fewer than `k` distinct points every distinct point is a group of its own, so fewer groups come back. Refused are `k` or `dim` of 0,
/// more than 65,535 groups, values that are no multiple of `dim`, and values that are not finite.
pub fn kmeans(
    points: &[f32],
    dim: usize,
    k: usize,
    seed: u64,
    restarts: usize,
) -> Result<KMeans, Error> {
    let setting = |what, found: String, expected| Error::Setting {
        what,
        found,
        expected,
    };
    if k == 0 || k > usize::from(u16::MAX) {
        return Err(setting("number of groups", k.to_string(), "1 to 65535"));
    }
    if dim == 0 || !points.len().is_multiple_of(dim) {
        return Err(setting(
            "width of a point",
            dim.to_string(),
            "a divisor of the number of values, at least 1",
        ));
    }
    if points.iter().any(|v| !v.is_finite()) {
        return Err(setting(
            "a point",
            "not finite".into(),
            "finite values alone",
        ));
    }
    let points = Points {
        values: points.iter().map(|&v| f64::from(v)).collect(),
        dim,
    };
    let mut random = Random(seed);
    let mut best: Option<Groups> = None;
    for _ in 0..restarts.max(1) {
        let mut groups = Groups::start(&points, k, &mut random);
        groups.lloyd(&points);
        groups.hartigan(&points);
        if best.as_ref().is_none_or(|b| groups.inertia < b.inertia) {
            best = Some(groups);
        }
    }
    Ok(best.map_or_else(KMeans::none, |g| g.numbered(dim)))
}

impl KMeans {
    fn none() -> KMeans {
        KMeans {
            labels: Vec::new(),
            centres: Vec::new(),
            inertia: 0.0,
        }
    }
}

struct Points {
    values: Vec<f64>,
    dim: usize,
}

impl Points {
    fn iter(&self) -> core::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.dim)
    }
}

fn distance2(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// splitmix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
struct Random(u64);

impl Random {
    /// Uniform in 0..1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A partition on its way.
struct Groups {
    labels: Vec<usize>,
    /// `[k, dim]`
    centres: Vec<f64>,
    sizes: Vec<usize>,
    inertia: f64,
}

impl Groups {
    /// k-means++ (Arthur and Vassilvitskii 2007): each next centre is a point drawn with the squared distance to the nearest centre as its
    /// weight. Ends early when every point is a centre already, i.e. there are no more distinct points.
    fn start(points: &Points, k: usize, random: &mut Random) -> Groups {
        let n = points.iter().len();
        let mut centres = Vec::new();
        let mut nearest = vec![f64::INFINITY; n];
        let mut sizes = Vec::new();
        while sizes.len() < k {
            let total: f64 = nearest.iter().sum();
            let chosen = if sizes.is_empty() {
                (random.unit() * n as f64) as usize
            } else if total > 0.0 {
                draw(&nearest, total, random)
            } else {
                break;
            };
            let Some(centre) = points.iter().nth(chosen) else {
                break;
            };
            for (near, point) in nearest.iter_mut().zip(points.iter()) {
                *near = near.min(distance2(point, centre));
            }
            centres.extend_from_slice(centre);
            sizes.push(0);
        }
        Groups {
            labels: vec![usize::MAX; n],
            centres,
            sizes,
            inertia: 0.0,
        }
    }

    /// Points to their nearest centre, centres to their points' mean, until no point changes. The lowest number wins ties.
    fn lloyd(&mut self, points: &Points) {
        for _ in 0..ROUNDS_MAX {
            let mut changed = false;
            for (label, point) in self.labels.iter_mut().zip(points.iter()) {
                let centres = self.centres.chunks_exact(points.dim);
                let nearest = centres
                    .map(|c| distance2(point, c))
                    .enumerate()
                    .min_by(|a, b| a.1.total_cmp(&b.1))
                    .map_or(0, |(m, _)| m);
                changed |= *label != nearest;
                *label = nearest;
            }
            if !changed {
                break;
            }
            self.update(points);
        }
        self.update(points);
    }

    /// Moves single points while that lowers the inertia, counting that both means move with the point (Hartigan and Wong 1979).
    fn hartigan(&mut self, points: &Points) {
        let dim = points.dim;
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for (n, point) in points.iter().enumerate() {
                let from = self.labels[n];
                let size = self.sizes[from] as f64;
                if size <= 1.0 {
                    continue;
                }
                let centre = |m: usize| &self.centres[m * dim..(m + 1) * dim];
                let gain = distance2(point, centre(from)) * size / (size - 1.0);
                let target = (0..self.sizes.len())
                    .filter(|&m| m != from)
                    .map(|m| {
                        let size = self.sizes[m] as f64;
                        (m, distance2(point, centre(m)) * size / (size + 1.0))
                    })
                    .min_by(|a, b| a.1.total_cmp(&b.1));
                // The margin keeps rounding errors from moving a point to and fro.
                if let Some((to, cost)) = target
                    && cost < gain * (1.0 - 1e-12)
                {
                    self.labels[n] = to;
                    self.update(points);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Means, sizes and inertia of the present labels; a group that lost its points keeps its place.
    fn update(&mut self, points: &Points) {
        let dim = points.dim;
        let mut sums = vec![0.0; self.centres.len()];
        self.sizes.fill(0);
        for (&label, point) in self.labels.iter().zip(points.iter()) {
            self.sizes[label] += 1;
            for (sum, v) in sums[label * dim..(label + 1) * dim].iter_mut().zip(point) {
                *sum += v;
            }
        }
        for (m, &size) in self.sizes.iter().enumerate() {
            if size > 0 {
                let range = m * dim..(m + 1) * dim;
                for (centre, sum) in self.centres[range.clone()].iter_mut().zip(&sums[range]) {
                    *centre = sum / size as f64;
                }
            }
        }
        let pairs = self.labels.iter().zip(points.iter());
        self.inertia = pairs
            .map(|(&m, p)| distance2(p, &self.centres[m * dim..(m + 1) * dim]))
            .sum();
    }

    /// Groups in the order in which the points first show them; empty ones fall away.
    fn numbered(self, dim: usize) -> KMeans {
        let mut order: Vec<usize> = Vec::new();
        let mut labels = Vec::with_capacity(self.labels.len());
        for m in self.labels {
            let number = order.iter().position(|&o| o == m).unwrap_or_else(|| {
                order.push(m);
                order.len() - 1
            });
            labels.push(number as u16);
        }
        KMeans {
            labels,
            centres: order
                .iter()
                .flat_map(|m| self.centres[m * dim..(m + 1) * dim].to_vec())
                .collect(),
            inertia: self.inertia,
        }
    }
}

/// An index drawn with the given weights, of which at least one is above 0.
fn draw(weights: &[f64], total: f64, random: &mut Random) -> usize {
    let mut left = random.unit() * total;
    let mut last = 0;
    for (i, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            last = i;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn check(points: &[f32], dim: usize, k: usize, expected: &[u16]) {
        let got = kmeans(points, dim, k, 0, RESTARTS).unwrap();
        assert_eq!(got.labels, expected);
        assert_eq!(got.centres.len(), got.k() * dim);
    }

    #[test]
    fn groups_that_lie_apart_are_found() {
        check(&[0.0, 9.0, 0.1, 9.1, 20.0, 0.2], 1, 3, &[0, 1, 0, 1, 2, 0]);
    }

    #[test]
    fn more_groups_than_distinct_points_give_a_group_per_point() {
        check(&[1.0, 2.0, 1.0, 2.0], 1, 4, &[0, 1, 0, 1]);
        check(&[1.0, 1.0, 1.0], 1, 2, &[0, 0, 0]);
        check(&[], 3, 2, &[]);
        assert_eq!(kmeans(&[1.0, 2.0], 1, 9, 0, 3).unwrap().inertia, 0.0);
    }

    #[test]
    fn the_same_seed_gives_the_same_groups() {
        let points: Vec<f32> = (0..300).map(|i| ((i * 7919) % 1000) as f32).collect();
        let again = || kmeans(&points, 3, 5, 7, 4).unwrap();
        assert_eq!(again(), again());
    }

    #[test]
    fn senseless_input_is_refused() {
        for (points, dim, k) in [
            (&[1.0f32, 2.0][..], 1, 0),
            (&[1.0, 2.0], 0, 1),
            (&[1.0, 2.0, 3.0], 2, 1),
            (&[1.0, f32::NAN], 1, 1),
            (&[1.0], 1, 70_000),
        ] {
            assert!(kmeans(points, dim, k, 0, 1).is_err());
        }
    }

    #[test]
    fn inertia_is_that_of_scikit_learn_or_better() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for dir in ["tests/fixtures/clustermap", "../../shared/golden"] {
            match std::fs::read_dir(here.join(dir)) {
                Ok(entries) => files.extend(entries.map(|e| e.unwrap().path())),
                Err(_) => report(&format!("SKIPPED: {dir} is not here")),
            }
        }
        let mut cases = 0;
        for file in files {
            if !file.to_string_lossy().ends_with(".clustermap.safetensors") {
                continue;
            }
            let bytes = std::fs::read(&file).unwrap();
            let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
            let metadata = header.metadata().clone().unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            for (key, expected) in &metadata {
                let Some(name) = key.strip_suffix(".inertia") else {
                    continue;
                };
                let (k, kind) = name.trim_start_matches("k_").split_once('.').unwrap();
                let view = tensors.tensor(&format!("points.{kind}")).unwrap();
                let points: Vec<f32> = view
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect();
                let dim = *view.shape().last().unwrap();
                let got = kmeans(&points, dim, k.parse().unwrap(), 0, RESTARTS).unwrap();
                let expected: f64 = expected.parse().unwrap();
                report(&format!("{key}: {} against {expected}", got.inertia));
                assert!(got.inertia <= expected * (1.0 + 1e-6), "{file:?} {key}");
                cases += 1;
            }
        }
        report(&format!("{cases} cases checked"));
        assert!(cases >= 4);
    }

    #[allow(clippy::print_stdout, reason = "what a test measured")]
    fn report(line: &str) {
        println!("{line}");
    }
}
