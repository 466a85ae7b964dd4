//! A block's first half: x + keep * scale * mixer(norm(x)) (SPEC 4 and 5), reformulated.
//!
//! The rows that make a representative sum to one, so that averaging and the affine map `v` commute: R = (mean of x̂ over centre
//! and members) Wv + bv, on M rows in place of N. So does `proj`: its slice for a head is applied to the head's M representatives,
//! and dispatch adds, per element and head, one row of C channels times a weight.

mod gradient;

use alloc::sync::Arc;

use fec_runtime::config::Similarity;

use super::super::grid::Grid;
use super::Fused;
use super::math::{
    add, add_bias, add_scaled, dot, first_of_the_largest, scale, sigmoid, simd, unit_scale,
};
use super::matrix::Matrix;
use super::mlp::{kept, residual};
use super::norm::{self, Affine, Statistics};
use super::product::by_rows;

/// The operation. Inputs: x [B, N, C], the norm's weight and bias [C], f [E*d, C, 1, 1] and [E*d], v likewise, proj
/// [C, E*d, 1, 1] and [C], alpha [1], beta [1], layer scale [C].
#[derive(Clone, Debug)]
pub(crate) struct FusedMixer {
    /// What the branch of each image is multiplied by (drop path), [B].
    pub(crate) keep: Arc<[f32]>,
    pub(crate) grid: Arc<Grid>,
    pub(crate) heads: usize,
    pub(crate) similarity: Similarity,
    /// The centre of each element and head [B, N, E], numbered over the whole map, in place of the argmax.
    pub(crate) forced: Option<Arc<[u16]>>,
}

/// What the forward pass keeps. R is B * N rows; S is B * regions * M centres.
#[derive(Debug)]
pub(crate) struct Saved {
    statistics: Vec<Statistics>,
    /// norm(x) [R, C]
    normal: Matrix,
    /// [R, E*d]
    keys: Matrix,
    found: Found,
    /// Means over a centre and its members [E, S, C].
    means: Matrix,
    /// Representatives [E, S, d].
    reps: Matrix,
    /// Representatives through the head's slice of proj [E, S, C].
    projected: Matrix,
}

/// What clustering found.
#[derive(Debug, Default)]
struct Found {
    /// The argmax [R, E], centres numbered over the image's map.
    own: Vec<u16>,
    /// The centre used [R, E].
    assign: Vec<u16>,
    /// Its similarity and weight [R, E].
    similarity: Vec<f32>,
    weight: Vec<f32>,
    /// 1 / length of the keys [R, E]; 1 where vectors are not divided by it.
    key_scale: Vec<f32>,
    /// The centres' keys, of unit length if compared by cosine [S, E*d].
    centres: Vec<f32>,
    /// 1 / length of the centres' keys [S, E].
    centre_scale: Vec<f32>,
    /// 1 / (1 + members) [E, S].
    share: Vec<f32>,
}

impl Saved {
    /// The argmax of each element and head [B, N, E], centres numbered over the whole map.
    pub(crate) fn own(&self) -> &[u16] {
        &self.found.own
    }
}

impl Fused<12> for FusedMixer {
    type Saved = Saved;

    fn forward(&self, inputs: &[Matrix; 12], _: bool) -> (Matrix, Saved) {
        let [
            x,
            weight,
            bias,
            f,
            f_bias,
            v,
            v_bias,
            proj,
            proj_bias,
            alpha,
            beta,
            scale,
        ] = inputs;
        let (channels, width) = (scale.values().len(), f_bias.values().len());
        let affine = Affine {
            weight: weight.values(),
            bias: bias.values(),
        };
        let (normal, statistics) = norm::forward(x.values(), self.keep.len(), affine);
        let mut keys = by_rows(normal.values(), f.values(), channels);
        add_bias(keys.values_mut(), f_bias.values());
        let choice = (alpha.values()[0], beta.values()[0]);
        let mut found = self.assign(keys.values(), width, choice);
        let means = self.means(normal.values(), channels, &mut found);
        let mut reps = means.times(&self.per_head(v, channels).t());
        self.add_head_bias(&mut reps, v_bias.values());
        let projected = reps.times(&self.proj_per_head(proj, channels).view());
        let mut y = self.dispatch(projected.values(), channels, &found);
        residual(&mut y, x, proj_bias.values(), scale.values(), &self.keep);
        let saved = Saved {
            statistics,
            normal,
            keys,
            found,
            means,
            reps,
            projected,
        };
        (y, saved)
    }

    fn backward(&self, inputs: &[Matrix; 12], saved: &Saved, grad: Matrix) -> [Matrix; 12] {
        gradient::backward(self, inputs, saved, grad)
    }
}

impl FusedMixer {
    fn images(&self) -> usize {
        self.keep.len()
    }

    /// Elements N of an image's map.
    fn elements(&self) -> usize {
        self.grid.region.len()
    }

    /// All centres S.
    fn all_centres(&self) -> usize {
        self.images() * self.grid.windows.len()
    }

    /// A weight [E*d, C, 1, 1] as [E, d, C].
    fn per_head(&self, weight: &Matrix, channels: usize) -> Matrix {
        let width = weight.values().len() / channels;
        weight.reshape(&[self.heads, width / self.heads, channels])
    }

    /// proj's weight [C, E*d, 1, 1] as [E, d, C].
    fn proj_per_head(&self, weight: &Matrix, channels: usize) -> Matrix {
        let width = weight.values().len() / channels;
        let by_channel = weight.reshape(&[channels, self.heads, width / self.heads]);
        by_channel.view().swap(0, 2).swap(0, 1).copied()
    }

    /// Adds a bias [E*d] to rows [E, S, d].
    fn add_head_bias(&self, rows: &mut Matrix, bias: &[f32]) {
        let d = bias.len() / self.heads;
        let rows = rows.values_mut();
        let length = rows.len() / self.heads;
        for (rows, bias) in rows.chunks_exact_mut(length).zip(bias.chunks_exact(d)) {
            add_bias(rows, bias);
        }
    }

    /// SPEC 4.1 and 4.2: centres, similarities, weights and the argmax of `keys` [R, E*d].
    fn assign(&self, keys: &[f32], width: usize, choice: (f32, f32)) -> Found {
        let mut found = Found::default();
        simd(
            #[inline(always)]
            || {
                for (image, keys) in keys.chunks_exact(self.elements() * width).enumerate() {
                    let first = found.centres.len();
                    self.centres(keys, width, &mut found);
                    let centres = found.centres.split_off(first);
                    self.assign_image(image, keys, &centres, choice, &mut found);
                    found.centres.extend(centres);
                }
            },
        );
        found
    }

    /// Appends the centres' keys of one image.
    #[inline(always)]
    fn centres(&self, keys: &[f32], width: usize, found: &mut Found) {
        let d = width / self.heads;
        for window in &self.grid.windows {
            let first = found.centres.len();
            found.centres.resize(first + width, 0.0);
            let centre = &mut found.centres[first..];
            let share = 1.0 / window.len() as f32;
            for n in window {
                add(centre, &keys[n * width..(n + 1) * width]);
            }
            for centre in centre.chunks_exact_mut(d) {
                scale(centre, share);
                let by = self.scale(centre);
                scale(centre, by);
                found.centre_scale.push(by);
            }
        }
    }

    /// What a key is multiplied by before it is compared.
    #[inline(always)]
    fn scale(&self, key: &[f32]) -> f32 {
        match self.similarity {
            Similarity::Cosine => unit_scale(dot(key, key)),
            Similarity::Dot | Similarity::Euclidean => 1.0,
        }
    }

    #[inline(always)]
    fn assign_image(
        &self,
        image: usize,
        keys: &[f32],
        centres: &[f32],
        (alpha, beta): (f32, f32),
        found: &mut Found,
    ) {
        let m = self.grid.centres;
        let width = keys.len() / self.elements();
        let d = width / self.heads;
        let (mut similarities, mut weights) = (vec![0.0; m], vec![0.0; m]);
        for (n, keys) in keys.chunks_exact(width).enumerate() {
            let first = self.grid.region[n] * m;
            for (head, key) in keys.chunks_exact(d).enumerate() {
                let scale = self.scale(key);
                for (i, s) in similarities.iter_mut().enumerate() {
                    let start = (first + i) * width + head * d;
                    *s = self.similarity(key, &centres[start..start + d], scale);
                }
                for (w, s) in weights.iter_mut().zip(&similarities) {
                    *w = sigmoid(beta + alpha * s);
                }
                let own = first_of_the_largest(&weights);
                let at = (image * self.elements() + n) * self.heads + head;
                let used = match &self.forced {
                    Some(forced) => usize::from(forced[at]) - first,
                    None => own,
                };
                found.own.push((first + own) as u16);
                found.assign.push((first + used) as u16);
                found.similarity.push(similarities[used]);
                found.weight.push(weights[used]);
                found.key_scale.push(scale);
            }
        }
    }

    #[inline(always)]
    fn similarity(&self, key: &[f32], centre: &[f32], scale: f32) -> f32 {
        match self.similarity {
            Similarity::Cosine => dot(key, centre) * scale,
            Similarity::Dot => dot(key, centre),
            Similarity::Euclidean => {
                let squares = key.iter().zip(centre).map(|(k, c)| (k - c) * (k - c));
                -squares.sum::<f32>().sqrt()
            }
        }
    }

    /// Eq. 6 on x̂: the means over centre and members [E, S, C].
    fn means(&self, normal: &[f32], channels: usize, found: &mut Found) -> Matrix {
        let (heads, all) = (self.heads, self.all_centres());
        let mut means = Matrix::zeros(&[heads, all, channels]);
        let sums = means.values_mut();
        let mut members = vec![1.0f32; heads * all];
        let per_image = self.grid.windows.len();
        simd(
            #[inline(always)]
            || {
                let images = normal.chunks_exact(self.elements() * channels);
                for (image, normal) in images.enumerate() {
                    for (i, window) in self.grid.windows.iter().enumerate() {
                        let start = (image * per_image + i) * channels;
                        // The same for every head: made in the first one's rows, then copied.
                        let share = 1.0 / window.len() as f32;
                        for n in window {
                            let x = &normal[n * channels..(n + 1) * channels];
                            add_scaled(&mut sums[start..start + channels], share, x);
                        }
                        for head in 1..heads {
                            let to = head * all * channels + start;
                            sums.copy_within(start..start + channels, to);
                        }
                    }
                    let first = image * self.elements() * heads;
                    for (n, x) in normal.chunks_exact(channels).enumerate() {
                        for head in 0..heads {
                            let assign = usize::from(found.assign[first + n * heads + head]);
                            let row = head * all + image * per_image + assign;
                            add(&mut sums[row * channels..(row + 1) * channels], x);
                            members[row] += 1.0;
                        }
                    }
                }
                members.iter_mut().for_each(|m| *m = 1.0 / *m);
                for (row, share) in sums.chunks_exact_mut(channels).zip(&members) {
                    scale(row, *share);
                }
            },
        );
        found.share = members;
        means
    }

    /// SPEC 4.4 and 4.5: each element's sum over heads of weight times projected representative [R, C].
    fn dispatch(&self, projected: &[f32], channels: usize, found: &Found) -> Matrix {
        let (heads, all) = (self.heads, self.all_centres());
        let mut y = Matrix::zeros(&[self.images() * self.elements(), channels]);
        let values = y.values_mut();
        simd(
            #[inline(always)]
            || {
                let rows = found.assign.chunks_exact(heads);
                let rows = rows.zip(found.weight.chunks_exact(heads));
                for (r, (y, (assign, weight))) in
                    values.chunks_exact_mut(channels).zip(rows).enumerate()
                {
                    let image = r / self.elements() * self.grid.windows.len();
                    for (head, (assign, weight)) in assign.iter().zip(weight).enumerate() {
                        let row = head * all + image + usize::from(*assign);
                        let reps = &projected[row * channels..(row + 1) * channels];
                        add_scaled(y, *weight, reps);
                    }
                }
            },
        );
        y
    }
}
