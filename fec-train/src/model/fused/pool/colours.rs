//! The loss that teaches a pool's keys colours, with its gradient: see `model/pool/colours.rs`, which has it composed.

use alloc::sync::Arc;

use super::super::super::grid::Grid;
use super::super::super::pool::{LIGHTEST, LOOKS, NEAR, Near};
use super::super::Fused;
use super::super::math::{add_scaled, column_sums, dot, exp_of_minus, simd};
use super::super::matrix::Matrix;
use super::super::product::transposed;
use super::assign::centre_means;
use super::unit::UnitKeys;

/// Numbers of an element: how it looks, and for how many patches it stands.
const ALL: usize = LOOKS + 1;
/// The same, filled up with zeros to what vector instructions take.
const LANES: usize = 8;
/// What lies further below the best than exp(-this) has nothing: numbers too small to be exact are slow to reckon with.
const FARTHEST: f32 = 40.0;
type Lanes = [f32; LANES];

/// The operation. Inputs: conv_f [C', C, 1, 1] and [C']. Output: the loss \[1\].
#[derive(Clone, Debug)]
pub(crate) struct FusedColours {
    /// Of one region.
    pub(crate) grid: Arc<Grid>,
    /// [B, N, C]
    pub(crate) x: Matrix,
    /// Of x.
    pub(crate) keys: Arc<UnitKeys>,
    /// What elements look like, and their weights [B, N, LOOKS + 1].
    pub(crate) colours: Matrix,
    pub(crate) temperature: f32,
    pub(crate) near: Arc<Near>,
}

/// The gradients of conv_f.
#[derive(Debug)]
pub(crate) struct Saved {
    of_weight: Matrix,
    of_bias: Vec<f32>,
}

impl Fused<2> for FusedColours {
    type Saved = Saved;

    fn forward(&self, inputs: &[Matrix; 2], _: bool) -> (Matrix, Saved) {
        let [weight, bias] = inputs;
        let (x, colours) = (self.x.values(), self.colours.values());
        let channels = weight.values().len() / bias.values().len();
        let means = centre_means(x, channels, &self.grid);
        let keys = &*self.keys;
        let centres = UnitKeys::new(means.values(), weight.values(), bias.values());
        let width = bias.values().len();
        let mut of_keys = vec![0.0; keys.rows.values().len()];
        let mut of_centres = vec![0.0; centres.rows.values().len()];
        let (n, m) = (self.grid.region.len(), self.grid.windows.len());
        let images = colours.len() / (ALL * n);
        let mut loss = 0.0;
        for image in 0..images {
            let (own, all) = (n * width, m * width);
            let mut clusters = Image {
                keys: &keys.rows.values()[image * own..(image + 1) * own],
                centres: &centres.rows.values()[image * all..(image + 1) * all],
                of_keys: &mut of_keys[image * own..(image + 1) * own],
                of_centres: &mut of_centres[image * all..(image + 1) * all],
                width,
            };
            let numbers = colours[image * n * ALL..(image + 1) * n * ALL].as_chunks::<ALL>();
            let lanes = |numbers: &[f32; ALL]| {
                let mut lanes = [0.0; LANES];
                lanes[..ALL].copy_from_slice(numbers);
                lanes
            };
            let looks: Vec<Lanes> = numbers.0.iter().map(lanes).collect();
            loss += simd(
                #[inline(always)]
                || self.image(&mut clusters, &looks),
            );
        }
        let share = 1.0 / images as f32;
        keys.through(&mut of_keys, share);
        centres.through(&mut of_centres, share);
        let mut of_weight = transposed(&of_keys, x, images * n);
        let of_means = transposed(&of_centres, means.values(), images * m);
        let mut of_bias = column_sums(&of_keys, width);
        add_scaled(&mut of_bias, 1.0, &column_sums(&of_centres, width));
        add_scaled(of_weight.values_mut(), 1.0, of_means.values());
        let saved = Saved { of_weight, of_bias };
        (Matrix::vector(vec![loss * share]), saved)
    }

    fn backward(&self, _: &[Matrix; 2], saved: &Saved, grad: Matrix) -> [Matrix; 2] {
        let by = grad.values()[0];
        let times = |values: &[f32]| Matrix::vector(values.iter().map(|v| v * by).collect());
        [times(saved.of_weight.values()), times(&saved.of_bias)]
    }
}

/// An image's unit keys and their gradients.
struct Image<'a> {
    keys: &'a [f32],
    centres: &'a [f32],
    of_keys: &'a mut [f32],
    of_centres: &'a mut [f32],
    width: usize,
}

/// The centres of an image.
struct Centres {
    /// Their looks.
    means: Vec<Lanes>,
    /// 1 / weight of what belongs to each.
    shares: Vec<f32>,
}

/// An image's errors.
struct Errors {
    loss: f32,
    /// The gradient of what is told of each element.
    of_told: Vec<Lanes>,
    /// The gradient of the centres' looks.
    of_means: Vec<Lanes>,
}

impl FusedColours {
    /// An image's loss with the looks of its elements; adds to the gradients.
    #[inline(always)]
    fn image(&self, image: &mut Image, looks: &[Lanes]) -> f32 {
        let q = self.memberships(image);
        let q = q.as_chunks::<NEAR>().0;
        let centres = self.centres(q, looks, image.centres.len() / image.width);
        let errors = self.errors(q, looks, &centres.means);
        let near = self.near.centres.as_chunks::<NEAR>().0;
        let width = image.width;
        for (n, ((q, near), look)) in q.iter().zip(near).zip(looks).enumerate() {
            let mut of_q = [0.0; NEAR];
            for (of_q, &m) in of_q.iter_mut().zip(near) {
                let m = usize::from(m);
                let mean = &centres.means[m];
                // A mean moves towards what joins it.
                let mut moved = *look;
                add_lanes(&mut moved, -look[LOOKS], mean);
                *of_q = dot(&errors.of_told[n], mean)
                    + dot(&errors.of_means[m], &moved) * centres.shares[m];
            }
            let all: f32 = q.iter().zip(&of_q).map(|(q, of)| q * of).sum();
            let own = n * width..(n + 1) * width;
            for ((q, of_q), &m) in q.iter().zip(of_q).zip(near) {
                let of_similarity = q * (of_q - all) / self.temperature;
                let centre = usize::from(m) * width..(usize::from(m) + 1) * width;
                let of_key = &mut image.of_keys[own.clone()];
                add_scaled(of_key, of_similarity, &image.centres[centre.clone()]);
                let of_centre = &mut image.of_centres[centre];
                add_scaled(of_centre, of_similarity, &image.keys[own.clone()]);
            }
        }
        errors.loss
    }

    /// What the centres look like.
    #[inline(always)]
    fn centres(&self, q: &[[f32; NEAR]], looks: &[Lanes], count: usize) -> Centres {
        let near = self.near.centres.as_chunks::<NEAR>().0;
        let mut means = vec![[0.0; LANES]; count];
        for ((q, near), look) in q.iter().zip(near).zip(looks) {
            for (q, &m) in q.iter().zip(near) {
                add_lanes(&mut means[usize::from(m)], *q, look);
            }
        }
        let mut shares = Vec::with_capacity(count);
        for mean in &mut means {
            let share = 1.0 / (mean[LOOKS] + LIGHTEST);
            mean.iter_mut().for_each(|sum| *sum *= share);
            shares.push(share);
        }
        Centres { means, shares }
    }

    /// How far what the centres tell is from each element's own look.
    #[inline(always)]
    fn errors(&self, q: &[[f32; NEAR]], looks: &[Lanes], means: &[Lanes]) -> Errors {
        let near = self.near.centres.as_chunks::<NEAR>().0;
        let all = 1.0 / looks.iter().map(|look| look[LOOKS]).sum::<f32>();
        let mut errors = Errors {
            loss: 0.0,
            of_told: Vec::with_capacity(looks.len()),
            of_means: vec![[0.0; LANES]; means.len()],
        };
        for ((q, near), look) in q.iter().zip(near).zip(looks) {
            let mut off = [0.0; LANES];
            for (q, &m) in q.iter().zip(near) {
                add_lanes(&mut off, *q, &means[usize::from(m)]);
            }
            add_lanes(&mut off, -1.0 / look[LOOKS].max(LIGHTEST), look);
            // Only the looks count, not their number.
            off[LOOKS..].fill(0.0);
            let share = look[LOOKS] * all;
            errors.loss += share * dot(&off, &off);
            let of_told = off.map(|off| 2.0 * share * off);
            for (q, &m) in q.iter().zip(near) {
                add_lanes(&mut errors.of_means[usize::from(m)], *q, &of_told);
            }
            errors.of_told.push(of_told);
        }
        errors
    }

    /// q [N, 9]: how much each element belongs to the centres around it.
    #[inline(always)]
    fn memberships(&self, image: &Image) -> Vec<f32> {
        let near = self.near.centres.as_chunks::<NEAR>().0;
        let near = near.iter().zip(self.near.pull.as_chunks::<NEAR>().0);
        let mut all = Vec::with_capacity(self.near.centres.len());
        for (key, (centres, pull)) in image.keys.chunks_exact(image.width).zip(near) {
            let mut q = [0.0; NEAR];
            for ((q, &m), pull) in q.iter_mut().zip(centres).zip(pull) {
                let centre = usize::from(m) * image.width;
                let cosine = dot(key, &image.centres[centre..centre + image.width]);
                *q = cosine - pull;
            }
            let most = q.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for q in &mut q {
                let less = (most - *q) / self.temperature;
                *q = if less < FARTHEST {
                    exp_of_minus(less)
                } else {
                    0.0
                };
            }
            let sum: f32 = q.iter().sum();
            all.extend(q.map(|q| q / sum));
        }
        all
    }
}

/// y += a x
#[inline(always)]
fn add_lanes(y: &mut Lanes, a: f32, x: &Lanes) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}
