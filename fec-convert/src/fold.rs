//! Folding: the checkpoint's tensors become the packed file's (ARCHITECTURE.md, "Reformulations"). All arithmetic is in f64, in a
//! fixed order, rounded once at the end: the same checkpoint always gives the same bytes.

use std::collections::BTreeMap;

use fec_runtime::config::{Config, Place};
use fec_runtime::format::{DType, LANES, PackedTensor, Role, TensorKind};
use fec_runtime::formula::TensorFormula;

/// A network's tensors by official name, each in row-major order of its official shape.
pub type Tensors = BTreeMap<String, Vec<f32>>;

/// The formula weights of SPEC 11 for a configuration.
pub fn formula_tensors(config: &Config) -> Tensors {
    let mut tensors = Tensors::new();
    config.official_tensors(|tensor| {
        let formula = TensorFormula::new(&tensor);
        let values = (0..tensor.elements()).map(|i| formula.value(i)).collect();
        tensors.insert(tensor.to_string(), values);
    });
    tensors
}

/// Folds one network. Every tensor of [`Config::official_tensors`] must be in `tensors` with its official number of values
/// ([`crate::recognise`] has checked that); a missing one counts as zeros.
#[derive(Debug)]
pub struct Folder<'a> {
    config: &'a Config,
    tensors: &'a Tensors,
    /// The pools' factors, by the stage before the pool.
    factors: Vec<Factor>,
}

/// R, q and rho of a pool: conv_f = Q R, its bias = Q q + rest, rho = |rest|² (ARCHITECTURE.md, reformulation 3).
#[derive(Debug, Default)]
struct Factor {
    /// [D, C], row-major.
    r: Vec<f64>,
    /// [D]
    q: Vec<f64>,
    rho: f64,
}

impl<'a> Folder<'a> {
    /// Prepares the folding of `tensors`.
    pub fn new(config: &'a Config, tensors: &'a Tensors) -> Self {
        let mut folder = Self {
            config,
            tensors,
            factors: Vec::new(),
        };
        for (stage, pair) in config.stages.windows(2).enumerate() {
            let place = Place::Pool { stage };
            let (weight, bias) = (
                folder.get(place, "conv_f.weight"),
                folder.get(place, "conv_f.bias"),
            );
            folder
                .factors
                .push(triangular_factor(&weight, &bias, pair[0].dim, pair[1].dim));
        }
        folder
    }

    /// The packed tensor's values, padding included, rounded to f32 (and, for f16, to what f16 will hold).
    pub fn packed(&self, tensor: &PackedTensor, dtype: DType) -> Vec<f32> {
        let values = self.values(tensor, dtype);
        match tensor.kind {
            TensorKind::Vector { length } => {
                let mut vector: Vec<f32> = values.iter().map(|&v| v as f32).collect();
                vector.resize(length.next_multiple_of(LANES), 0.0);
                vector
            }
            TensorKind::Matrix { inputs, outputs } => {
                let mut panels = vec![0.0; tensor.kind.stored()];
                for o in 0..outputs {
                    for k in 0..inputs {
                        panels[(o / LANES * inputs + k) * LANES + o % LANES] =
                            round(values[o * inputs + k], dtype);
                    }
                }
                panels
            }
            // The quantiser makes tables: they are no checkpoint's.
            TensorKind::Table => Vec::new(),
        }
    }

    /// The tensor's values before rounding: row-major [outputs, inputs], or the vector's; none of a table. Sums are those of the
    /// unrounded weights.
    pub fn folded(&self, tensor: &PackedTensor) -> Vec<f64> {
        self.values(tensor, DType::F32)
    }

    /// Values in row-major order [outputs, inputs], or of the vector. `dtype` is that of the matrix a vector of sums belongs to.
    fn values(&self, tensor: &PackedTensor, dtype: DType) -> Vec<f64> {
        let place = tensor.id.place;
        let get = |suffix: &str| self.get(place, suffix);
        match tensor.id.role {
            Role::PatchWeights => patch_weights(&get("patch_embed.proj.weight")),
            Role::PatchBias => get("patch_embed.proj.bias"),
            Role::KeysWeights => self.normed(place, "token_mixer.f.weight", "norm1"),
            Role::KeysBias => self.normed_bias(place, "token_mixer.f", "norm1"),
            Role::KeysSums => sums(
                &self.normed(place, "token_mixer.f.weight", "norm1"),
                self.dim(place),
                dtype,
            ),
            Role::ValuesWeights => self.normed(place, "token_mixer.v.weight", "norm1"),
            Role::ValuesBias => self.normed_bias(place, "token_mixer.v", "norm1"),
            Role::ValuesSums => sums(
                &self.normed(place, "token_mixer.v.weight", "norm1"),
                self.dim(place),
                dtype,
            ),
            Role::ProjWeights => scale_rows(get("token_mixer.proj.weight"), &get("layer_scale_1")),
            Role::ProjBias => scale_rows(get("token_mixer.proj.bias"), &get("layer_scale_1")),
            Role::Similarity => {
                let or = |suffix, absent| get(suffix).first().copied().unwrap_or(absent);
                // Without them they are 1 and 0 (Table 4b).
                vec![
                    or("token_mixer.sim_alpha", 1.0),
                    or("token_mixer.sim_beta", 0.0),
                ]
            }
            Role::Fc1Weights => self.normed(place, "mlp.fc1.weight", "norm2"),
            Role::Fc1Bias => self.normed_bias(place, "mlp.fc1", "norm2"),
            Role::Fc1Sums => sums(
                &self.normed(place, "mlp.fc1.weight", "norm2"),
                self.dim(place),
                dtype,
            ),
            Role::Fc2Weights => scale_rows(get("mlp.fc2.weight"), &get("layer_scale_2")),
            Role::Fc2Bias => scale_rows(get("mlp.fc2.bias"), &get("layer_scale_2")),
            Role::GeluTable => Vec::new(),
            Role::PoolKeysWeights => self.factor(place, |f| f.r.clone()),
            Role::PoolKeysBias => self.factor(place, |f| f.q.clone()),
            Role::PoolBackWeights => self.factor(place, |f| transpose(&f.r, self.dim(place))),
            Role::PoolRest => self.factor(place, |f| vec![f.rho]),
            Role::PoolValuesWeights => get("conv_v.weight"),
            Role::PoolValuesBias => get("conv_v.bias"),
            Role::SkipWeights => channels_last(&get("conv_skip.weight"), self.dim(place)),
            Role::PoolGain => get("norm2.weight"),
            Role::PoolBias => add(get("norm2.bias"), &get("conv_skip.bias")),
            Role::FeatureGain => self.get(
                Place::Network,
                &format!("norm{}.weight", 2 * stage_of(place)),
            ),
            Role::FeatureBias => {
                self.get(Place::Network, &format!("norm{}.bias", 2 * stage_of(place)))
            }
            Role::HeadWeights => self.normed(place, "head.weight", "norm"),
            Role::HeadBias => self.normed_bias(place, "head", "norm"),
            Role::HeadSums => sums(
                &self.normed(place, "head.weight", "norm"),
                self.dim(place),
                dtype,
            ),
        }
    }

    fn get(&self, place: Place, suffix: &str) -> Vec<f64> {
        let name = format!("{place}{suffix}");
        self.tensors.get(&name).map_or_else(Vec::new, |values| {
            values.iter().map(|&v| f64::from(v)).collect()
        })
    }

    /// Channels of the map that a place's layers read; the head reads the last stage's.
    fn dim(&self, place: Place) -> usize {
        match place {
            Place::Network => self.config.stages[self.config.stages.len() - 1].dim,
            Place::Block { stage, .. } | Place::Pool { stage } => self.config.stages[stage].dim,
        }
    }

    /// W diag(g), g being the gain of the norm before the layer.
    fn normed(&self, place: Place, weight: &str, norm: &str) -> Vec<f64> {
        let gain = self.get(place, &format!("{norm}.weight"));
        let mut weight = self.get(place, weight);
        for row in weight.chunks_mut(gain.len().max(1)) {
            row.iter_mut().zip(&gain).for_each(|(w, g)| *w *= g);
        }
        weight
    }

    /// W b + bias, b being the bias of the norm before the layer.
    fn normed_bias(&self, place: Place, layer: &str, norm: &str) -> Vec<f64> {
        let shift = self.get(place, &format!("{norm}.bias"));
        let weight = self.get(place, &format!("{layer}.weight"));
        let mut bias = self.get(place, &format!("{layer}.bias"));
        for (bias, row) in bias.iter_mut().zip(weight.chunks(shift.len().max(1))) {
            *bias += row.iter().zip(&shift).map(|(w, b)| w * b).sum::<f64>();
        }
        bias
    }

    fn factor(&self, place: Place, part: impl Fn(&Factor) -> Vec<f64>) -> Vec<f64> {
        self.factors
            .get(stage_of(place))
            .map_or_else(Vec::new, part)
    }
}

fn stage_of(place: Place) -> usize {
    match place {
        Place::Network => 0,
        Place::Block { stage, .. } | Place::Pool { stage } => stage,
    }
}

fn round(value: f64, dtype: DType) -> f32 {
    let value = value as f32;
    match dtype {
        DType::F32 | DType::I8 | DType::U8 => value,
        DType::F16 => half::f16::from_f32(value).to_f32(),
    }
}

/// Sums over K of the weights as they are stored: the mean is taken off with the very weights it came in by.
fn sums(weight: &[f64], inputs: usize, dtype: DType) -> Vec<f64> {
    weight
        .chunks(inputs.max(1))
        .map(|row| row.iter().map(|&w| f64::from(round(w, dtype))).sum())
        .collect()
}

/// Row o of `values` ([outputs, K], or a vector of outputs) times `scale[o]`.
fn scale_rows(mut values: Vec<f64>, scale: &[f64]) -> Vec<f64> {
    let inputs = values.len() / scale.len().max(1);
    for (row, scale) in values.chunks_mut(inputs.max(1)).zip(scale) {
        row.iter_mut().for_each(|v| *v *= scale);
    }
    values
}

fn add(mut a: Vec<f64>, b: &[f64]) -> Vec<f64> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

/// [rows, cols] to [cols, rows].
fn transpose(values: &[f64], cols: usize) -> Vec<f64> {
    let rows = values.len() / cols.max(1);
    (0..values.len())
        .map(|i| values[i % rows * cols + i / rows])
        .collect()
}

/// [O, C, 3, 3] to [O, 3, 3, C]: the runtime's windows are pixel-major.
fn channels_last(weight: &[f64], channels: usize) -> Vec<f64> {
    const TAPS: usize = 9;
    let inputs = TAPS * channels.max(1);
    let from = |i: usize| {
        let (o, k) = (i / inputs, i % inputs);
        o * inputs + k % channels * TAPS + k / channels
    };
    (0..weight.len()).map(|i| weight[from(i)]).collect()
}

/// [C0, 5, 4, 4] to [C0, 56]: the 48 pixel weights, then the sums over columns of the row position's weights, then the sums over
/// rows of the column position's.
fn patch_weights(weight: &[f64]) -> Vec<f64> {
    let mut packed = Vec::new();
    for filter in weight.chunks_exact(5 * 16) {
        let (pixels, positions) = filter.split_at(48);
        let (rows, cols) = positions.split_at(16);
        packed.extend(pixels);
        packed.extend(rows.chunks_exact(4).map(|row| row.iter().sum::<f64>()));
        packed.extend((0..4).map(|x| cols.iter().skip(x).step_by(4).sum::<f64>()));
    }
    packed
}

/// Householder's reflections on [weight | bias] ([next, dim + 1]): their product Qᵀ leaves R above, q beside it and the rest of the
/// bias below.
fn triangular_factor(weight: &[f64], bias: &[f64], dim: usize, next: usize) -> Factor {
    let cols = dim + 1;
    let mut a = vec![0.0; next * cols];
    for ((row, weight), bias) in a.chunks_mut(cols).zip(weight.chunks(dim.max(1))).zip(bias) {
        row[..dim].copy_from_slice(weight);
        row[dim] = *bias;
    }
    let depth = dim.min(next);
    for k in 0..depth {
        let length = (k..next)
            .map(|i| a[i * cols + k] * a[i * cols + k])
            .sum::<f64>()
            .sqrt();
        let head = a[k * cols + k];
        // v = x + sign(x_k) |x| e_k: the sign that does not cancel.
        let mut v: Vec<f64> = (k..next).map(|i| a[i * cols + k]).collect();
        v[0] = head + if head < 0.0 { -length } else { length };
        let square = v.iter().map(|v| v * v).sum::<f64>();
        if square == 0.0 {
            continue;
        }
        for j in k..cols {
            let dot = (k..next)
                .zip(&v)
                .map(|(i, v)| v * a[i * cols + j])
                .sum::<f64>();
            for (i, v) in (k..next).zip(&v) {
                a[i * cols + j] -= 2.0 * dot / square * v;
            }
        }
        // Below the diagonal only rounding errors are left.
        for i in k + 1..next {
            a[i * cols + k] = 0.0;
        }
    }
    let mut factor = Factor::default();
    for row in a.chunks(cols).take(depth) {
        factor.r.extend(&row[..dim]);
        factor.q.push(row[dim]);
    }
    factor.rho = a
        .chunks(cols)
        .skip(depth)
        .map(|row| row[dim] * row[dim])
        .sum();
    factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_keeps_inner_products() {
        for (dim, next) in [(3, 5), (5, 3), (4, 4), (1, 2)] {
            let value = |i: usize| ((i * 7919 % 101) as f64 - 50.0) / 31.0;
            let weight: Vec<f64> = (0..dim * next).map(value).collect();
            let bias: Vec<f64> = (0..next).map(|i| value(i + 500)).collect();
            let factor = triangular_factor(&weight, &bias, dim, next);
            let apply = |w: &[f64], b: &[f64], x: &[f64]| -> Vec<f64> {
                w.chunks(dim)
                    .zip(b)
                    .map(|(row, b)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b)
                    .collect()
            };
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let x: Vec<f64> = (0..dim).map(|i| value(i + 900)).collect();
            let y: Vec<f64> = (0..dim).map(|i| value(i + 950)).collect();
            let want = dot(&apply(&weight, &bias, &x), &apply(&weight, &bias, &y));
            let got = dot(
                &apply(&factor.r, &factor.q, &x),
                &apply(&factor.r, &factor.q, &y),
            ) + factor.rho;
            assert!((want - got).abs() < 1e-12, "{dim} -> {next}: {want} {got}");
        }
    }

    #[test]
    fn a_zero_layer_has_a_zero_factor() {
        let factor = triangular_factor(&[0.0; 12], &[1.0, 2.0, 2.0, 0.0], 3, 4);
        assert!(factor.r.iter().all(|&v| v == 0.0));
        let length = factor.q.iter().map(|q| q * q).sum::<f64>() + factor.rho;
        assert!((length - 9.0).abs() < 1e-12);
    }
}
