//! The mixer's gradient. The argmax has none; the weight of the chosen centre has, through its similarity, to the element's key
//! and the centre's.

use fec_runtime::config::Similarity;

use super::super::math::{add, add_scaled, column_sums, dot, each, each_pair, scale, simd};
use super::super::matrix::Matrix;
use super::super::mlp::scale_rows;
use super::super::norm;
use super::super::product::{product, transposed};
use super::{FusedMixer, Saved, kept};

pub(super) fn backward(
    mixer: &FusedMixer,
    inputs: &[Matrix; 12],
    saved: &Saved,
    grad: Matrix,
) -> [Matrix; 12] {
    let [x, weight, _, f, f_bias, _, _, _, _, alpha, _, scale] = inputs;
    let (channels, width) = (scale.values().len(), f_bias.values().len());
    let rows = grad.values().len() / channels;
    let grad = grad.reshape(&[rows, channels]);
    let back = through_reps(mixer, inputs, saved, &kept(&grad, &mixer.keep));
    // Similarities, then keys, then x̂ by both ways.
    let alpha = alpha.values()[0];
    let (of_keys, of_choice) = through_similarity(mixer, saved, &back.weights, alpha, width);
    let of_f = transposed(&of_keys, saved.normal.values(), rows);
    let of_f_bias = column_sums(&of_keys, width);
    let mut of_normal = product(&of_keys, f.values(), width);
    through_means(mixer, saved, back.means, of_normal.values_mut(), channels);
    let (of_x, of_norm_weight, of_norm_bias) = norm::backward(
        x.values(),
        &saved.statistics,
        weight.values(),
        of_normal.values(),
        Some(grad.values()),
    );
    let vector = Matrix::vector;
    [
        of_x,
        vector(of_norm_weight),
        vector(of_norm_bias),
        of_f,
        vector(of_f_bias),
        back.v,
        vector(back.v_bias),
        back.proj,
        vector(back.proj_bias),
        vector(vec![of_choice[0]]),
        vector(vec![of_choice[1]]),
        vector(back.scale),
    ]
}

/// The gradients of what lies between the output and the assigned means.
struct ThroughReps {
    v: Matrix,
    v_bias: Vec<f32>,
    proj: Matrix,
    proj_bias: Vec<f32>,
    scale: Vec<f32>,
    /// Of the weight of each element and head [R, E].
    weights: Vec<f32>,
    /// [E, S, C]
    means: Matrix,
}

/// Back through dispatch, proj and v. `grad` is the branch's.
fn through_reps(
    mixer: &FusedMixer,
    inputs: &[Matrix; 12],
    saved: &Saved,
    grad: &Matrix,
) -> ThroughReps {
    let [_, _, _, _, _, v, v_bias, proj, proj_bias, _, _, scale] = inputs;
    let (heads, all) = (mixer.heads, mixer.all_centres());
    let (channels, d) = (scale.values().len(), v_bias.values().len() / mixer.heads);
    let projected = saved.projected.values();
    let scaled = scale_columns(projected, scale.values());
    let (sums, weights) = through_dispatch(mixer, saved, grad.values(), &scaled, channels);
    let bias_sums = column_sums(grad.values(), channels);
    let of_projected = scale_columns(&sums, scale.values());
    let of_projected = Matrix::new(of_projected, &[heads, all, channels]);
    let of_reps = of_projected.times(&mixer.proj_per_head(proj, channels).t());
    let of_proj = saved.reps.t().times(&of_projected.view());
    let rows = of_reps.values().chunks_exact(all * d);
    ThroughReps {
        v: of_reps.t().times(&saved.means.view()),
        v_bias: rows.flat_map(|rows| column_sums(rows, d)).collect(),
        proj: of_proj.view().swap(0, 1).swap(0, 2).copied(),
        proj_bias: scale_rows(&bias_sums, scale.values()),
        scale: of_scale(&sums, projected, proj_bias.values(), &bias_sums),
        weights,
        means: of_reps.times(&mixer.per_head(v, channels).view()),
    }
}

/// The rows of `matrix` [R, C] times `scale` [C].
fn scale_columns(matrix: &[f32], scale: &[f32]) -> Vec<f32> {
    let mut scaled = matrix.to_vec();
    simd(
        #[inline(always)]
        || {
            for row in scaled.chunks_exact_mut(scale.len()) {
                each(row, [scale], |v, [s]| *v *= s);
            }
        },
    );
    scaled
}

/// The sums over members of weight times gradient [E, S, C], and the weights' gradients [R, E].
fn through_dispatch(
    mixer: &FusedMixer,
    saved: &Saved,
    grad: &[f32],
    scaled: &[f32],
    channels: usize,
) -> (Vec<f32>, Vec<f32>) {
    let (heads, all) = (mixer.heads, mixer.all_centres());
    let mut sums = vec![0.0; heads * all * channels];
    let mut of_weights = vec![0.0; saved.found.weight.len()];
    simd(
        #[inline(always)]
        || {
            for (r, grad) in grad.chunks_exact(channels).enumerate() {
                let image = r / mixer.elements() * mixer.grid.windows.len();
                for head in 0..heads {
                    let at = r * heads + head;
                    let row = head * all + image + usize::from(saved.found.assign[at]);
                    let row = row * channels..(row + 1) * channels;
                    add_scaled(&mut sums[row.clone()], saved.found.weight[at], grad);
                    of_weights[at] = dot(grad, &scaled[row]);
                }
            }
        },
    );
    (sums, of_weights)
}

/// The layer scale's gradient: of scale * (dispatched + bias), from the sums over members and over all elements.
fn of_scale(sums: &[f32], projected: &[f32], bias: &[f32], bias_sums: &[f32]) -> Vec<f32> {
    let mut of_scale: Vec<f64> = bias
        .iter()
        .zip(bias_sums)
        .map(|(b, sum)| f64::from(b * sum))
        .collect();
    let rows = sums
        .chunks_exact(bias.len())
        .zip(projected.chunks_exact(bias.len()));
    for (sums, projected) in rows {
        for ((total, s), p) in of_scale.iter_mut().zip(sums).zip(projected) {
            *total += f64::from(s * p);
        }
    }
    of_scale.iter().map(|&v| v as f32).collect()
}

/// The keys' gradients [R, E*d], the centres' taken back to the elements of their windows, and those of alpha and beta.
fn through_similarity(
    mixer: &FusedMixer,
    saved: &Saved,
    of_weights: &[f32],
    alpha: f32,
    width: usize,
) -> (Vec<f32>, [f32; 2]) {
    let keys = saved.keys.values();
    let mut of_keys = vec![0.0; keys.len()];
    let mut of_choice = [0.0f64; 2];
    let image_length = mixer.elements() * width;
    let centres = mixer.grid.windows.len() * width;
    simd(
        #[inline(always)]
        || {
            let mut of_centres = vec![0.0; centres];
            for (image, of_keys) in of_keys.chunks_exact_mut(image_length).enumerate() {
                of_centres.fill(0.0);
                let each = Image {
                    mixer,
                    saved,
                    image,
                    keys: &keys[image * image_length..(image + 1) * image_length],
                    centres: &saved.found.centres[image * centres..(image + 1) * centres],
                    width,
                };
                let found = each.through_elements(of_weights, alpha, of_keys, &mut of_centres);
                of_choice[0] += f64::from(found[0]);
                of_choice[1] += f64::from(found[1]);
                for (window, of_centre) in mixer
                    .grid
                    .windows
                    .iter()
                    .zip(of_centres.chunks_exact(width))
                {
                    let share = 1.0 / window.len() as f32;
                    for n in window {
                        add_scaled(&mut of_keys[n * width..(n + 1) * width], share, of_centre);
                    }
                }
            }
        },
    );
    (of_keys, of_choice.map(|v| v as f32))
}

/// One image's part of [`through_similarity`].
struct Image<'a> {
    mixer: &'a FusedMixer,
    saved: &'a Saved,
    image: usize,
    /// [N, E*d]
    keys: &'a [f32],
    /// [regions * M, E*d]
    centres: &'a [f32],
    width: usize,
}

impl Image<'_> {
    #[inline(always)]
    fn through_elements(
        &self,
        of_weights: &[f32],
        alpha: f32,
        of_keys: &mut [f32],
        of_centres: &mut [f32],
    ) -> [f32; 2] {
        let (heads, found) = (self.mixer.heads, &self.saved.found);
        let d = self.width / heads;
        let (mut of_alpha, mut of_beta) = (0.0f32, 0.0f32);
        let first = self.image * self.mixer.elements() * heads;
        let first_centre = self.image * self.mixer.grid.windows.len();
        let vectors = self.keys.chunks_exact(d).zip(of_keys.chunks_exact_mut(d));
        for (i, (key, of_key)) in vectors.enumerate() {
            let (at, head) = (first + i, i % heads);
            let (w, s) = (found.weight[at], found.similarity[at]);
            let slope = of_weights[at] * w * (1.0 - w);
            of_alpha += slope * s;
            of_beta += slope;
            let centre = usize::from(found.assign[at]);
            let start = centre * self.width + head * d;
            let pair = Pair {
                similarity: self.mixer.similarity,
                value: s,
                of_value: alpha * slope,
                key_scale: found.key_scale[at],
                centre_scale: found.centre_scale[(first_centre + centre) * heads + head],
            };
            let centre = &self.centres[start..start + d];
            pair.gradients(key, centre, of_key, &mut of_centres[start..start + d]);
        }
        [of_alpha, of_beta]
    }
}

/// An element and its centre.
struct Pair {
    similarity: Similarity,
    /// Their similarity and its gradient.
    value: f32,
    of_value: f32,
    key_scale: f32,
    centre_scale: f32,
}

impl Pair {
    /// Sets the key's gradient and adds to the centre's.
    #[inline(always)]
    fn gradients(self, key: &[f32], centre: &[f32], of_key: &mut [f32], of_centre: &mut [f32]) {
        let g = self.of_value;
        match self.similarity {
            // s = k̂·ĉ: ds/dk = (ĉ - s k̂) / |k|, and the same with k and c exchanged.
            Similarity::Cosine => {
                let (a, b) = (g * self.key_scale, g * self.centre_scale);
                each_pair(of_key, of_centre, key, centre, |of_key, of_centre, k, c| {
                    let k = k * self.key_scale;
                    *of_key = a * (c - self.value * k);
                    *of_centre += b * (k - self.value * c);
                });
            }
            Similarity::Dot => {
                each_pair(of_key, of_centre, key, centre, |of_key, of_centre, k, c| {
                    *of_key = g * c;
                    *of_centre += g * k;
                });
            }
            // s = -|c - k|: ds/dk = (c - k) / |c - k|; 0 where they are equal.
            Similarity::Euclidean => {
                let share = if self.value == 0.0 {
                    0.0
                } else {
                    -g / self.value
                };
                each_pair(of_key, of_centre, key, centre, |of_key, of_centre, k, c| {
                    *of_key = share * (c - k);
                    *of_centre -= share * (c - k);
                });
            }
        }
    }
}

/// Adds to the gradient of x̂ what comes through the means over centres and members.
fn through_means(
    mixer: &FusedMixer,
    saved: &Saved,
    mut of_means: Matrix,
    of_normal: &mut [f32],
    channels: usize,
) {
    let (heads, all) = (mixer.heads, mixer.all_centres());
    let per_image = mixer.grid.windows.len();
    let of_means = of_means.values_mut();
    simd(
        #[inline(always)]
        || {
            for (row, share) in of_means.chunks_exact_mut(channels).zip(&saved.found.share) {
                scale(row, *share);
            }
            for (r, of_x) in of_normal.chunks_exact_mut(channels).enumerate() {
                let image = r / mixer.elements() * per_image;
                for head in 0..heads {
                    let assign = usize::from(saved.found.assign[r * heads + head]);
                    let row = head * all + image + assign;
                    add(of_x, &of_means[row * channels..(row + 1) * channels]);
                }
            }
            let mut of_centre = vec![0.0; channels];
            for centre in 0..all {
                of_centre.fill(0.0);
                for head in 0..heads {
                    let row = (head * all + centre) * channels;
                    add(&mut of_centre, &of_means[row..row + channels]);
                }
                let window = &mixer.grid.windows[centre % per_image];
                let share = 1.0 / window.len() as f32;
                for n in window {
                    let r = centre / per_image * mixer.elements() + n;
                    let of_x = &mut of_normal[r * channels..(r + 1) * channels];
                    add_scaled(of_x, share, &of_centre);
                }
            }
        },
    );
}
