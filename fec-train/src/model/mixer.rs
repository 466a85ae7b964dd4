//! The mixer (SPEC 4): its parameters, and its definition in burn's operations. The CPU runs [`super::fused::FusedMixer`].

use alloc::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Int, Tensor, TensorData};
use fec_runtime::MapSize;
use fec_runtime::config::{Similarity, Stage};

use super::fused::{FusedMixer, apply, input};
use super::grid::Grid;
use super::layers::{Conv, Norm, length, product, unit};
use super::pass::Run;

/// `token_mixer`
#[derive(Module, Debug)]
pub struct Mixer {
    /// Keys: [E*d, C, 1, 1]
    pub f: Conv,
    /// Values: [E*d, C, 1, 1]
    pub v: Conv,
    /// [C, E*d, 1, 1]
    pub proj: Conv,
    /// [1]; 1 where it is not learnt
    pub sim_alpha: Option<Param<Tensor<1>>>,
    /// [1]; 0 where it is not learnt
    pub sim_beta: Option<Param<Tensor<1>>>,
}

/// What a mixer does besides its parameters.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) name: &'a str,
    pub(super) stage: Stage,
    pub(super) similarity: Similarity,
    pub(super) map: MapSize,
    /// The branch's number in drop path.
    pub(super) branch: usize,
}

impl Setting<'_> {
    fn grid(&self) -> Grid {
        let p = self.stage.proposals;
        Grid::new(self.map, self.stage.folds, MapSize { rows: p, cols: p })
    }
}

impl Mixer {
    /// x + keep * scale * mixer(norm(x)) in one operation for the CPU. x [B, N, C], scale [C].
    pub(super) fn fused(
        &self,
        x: Tensor<3>,
        norm: &Norm,
        scale: Tensor<1>,
        setting: Setting,
        run: &mut Run,
    ) -> Tensor<3> {
        let grid = Arc::new(setting.grid());
        let heads = setting.stage.heads;
        let images = setting.map.elements() * heads;
        let forced = run.forced(setting.name).map(|forced| {
            let of_images = forced.chunks_exact(images);
            of_images
                .flat_map(|forced| grid.by_element(forced, heads))
                .collect()
        });
        let operation = FusedMixer {
            keep: run.keep(setting.branch),
            grid: grid.clone(),
            heads,
            similarity: setting.similarity,
            forced,
        };
        let constant = |value: f32| Tensor::full([1], value, &x.device());
        let learnt = |param: &Option<Param<Tensor<1>>>, absent: f32| match param {
            Some(param) => param.val(),
            None => constant(absent),
        };
        let (alpha, beta) = (learnt(&self.sim_alpha, 1.0), learnt(&self.sim_beta, 0.0));
        let shape = x.dims();
        let inputs = [
            input(x),
            input(norm.weight.val()),
            input(norm.bias.val()),
            input(self.f.weight.val()),
            input(self.f.bias.val()),
            input(self.v.weight.val()),
            input(self.v.bias.val()),
            input(self.proj.weight.val()),
            input(self.proj.bias.val()),
            input(alpha),
            input(beta),
            input(scale),
        ];
        let (y, saved) = apply(operation, inputs, shape);
        if run.pass.traced {
            let own = saved.own().chunks_exact(images);
            let own = own.flat_map(|own| grid.by_region(own, heads)).collect();
            run.trace.own.insert(setting.name.to_string(), own);
        }
        y
    }

    /// The mixer of x̂ [B, N, C], composed.
    pub(super) fn composed(&self, x: Tensor<3>, setting: Setting, run: &mut Run) -> Tensor<3> {
        let folds = setting.stage.folds;
        let regions = split(x, setting.map, folds);
        let map = MapSize {
            rows: setting.map.rows / folds,
            cols: setting.map.cols / folds,
        };
        join(
            self.of_regions(regions, map, setting, run),
            setting.map,
            folds,
        )
    }

    /// Every region by itself: x̂ [B * regions, N, C].
    fn of_regions(&self, x: Tensor<3>, map: MapSize, setting: Setting, run: &mut Run) -> Tensor<3> {
        let bf16 = run.pass.bf16;
        let [b, n, c] = x.dims();
        let (heads, d) = (setting.stage.heads, setting.stage.head_dim);
        let m = setting.stage.centres();
        let windows = pool_matrix(map, setting.stage.proposals);
        let windows = Tensor::<2>::from_data(windows, &x.device());
        let means = windows
            .clone()
            .unsqueeze::<3>()
            .expand([b, m, n])
            .matmul(x.clone());
        let keys = self.f.maps(x.clone(), bf16).reshape([b, n, heads, d]);
        let centres = self.f.maps(means, bf16).reshape([b, m, heads, d]);
        let similarity = similarities(keys, centres, setting.similarity);
        let scaled = match &self.sim_alpha {
            Some(alpha) => similarity * alpha.val().reshape([1, 1, 1, 1]),
            None => similarity,
        };
        let weights = sigmoid(match &self.sim_beta {
            Some(beta) => scaled + beta.val().reshape([1, 1, 1, 1]),
            None => scaled,
        });
        let members = self.members(&weights, setting, run);
        let count = members.clone().sum_dim(1).add_scalar(1.0);
        let average = (windows.transpose().reshape([1, n, 1, m]) + members.clone()) / count;
        let average = average.reshape([b, n, heads * m]);
        let means = product(average.swap_dims(1, 2), x, bf16)
            .reshape([b, heads, m, c])
            .swap_dims(0, 1)
            .reshape([heads, b * m, c]);
        let v = self.v.matrix().reshape([heads, d, c]);
        let reps =
            product(means, v.swap_dims(1, 2), bf16) + self.v.bias.val().reshape([heads, 1, d]);
        let proj = self.proj.matrix().transpose().reshape([heads, d, c]);
        let projected = product(reps, proj, bf16)
            .reshape([heads, b, m, c])
            .swap_dims(0, 1)
            .reshape([b, heads * m, c]);
        let dispatched = (weights * members).reshape([b, n, heads * m]);
        product(dispatched, projected, bf16) + self.proj.bias.val().reshape([1, 1, c])
    }

    /// 1 where a centre is an element's own, else 0: [B, N, E, M], without a gradient.
    fn members(&self, weights: &Tensor<4>, setting: Setting, run: &mut Run) -> Tensor<4> {
        let [b, n, heads, m] = weights.dims();
        let inner = weights.clone().inner();
        let device = inner.device();
        let mut assign = inner.argmax(3);
        let regions = setting.stage.folds * setting.stage.folds;
        // Golden has heads outermost, then regions; here regions are part of the batch.
        let of_images = [b / regions, regions, n, heads];
        if run.pass.traced {
            let own = assign.clone().reshape(of_images).permute([0, 3, 1, 2]);
            run.trace.own.insert(setting.name.to_string(), to_u16(own));
        }
        if let Some(forced) = run.forced(setting.name) {
            let forced: Vec<i64> = forced.iter().map(|&m| i64::from(m)).collect();
            let shape = [b / regions, heads, regions, n];
            assign = Tensor::<4, Int>::from_data(TensorData::new(forced, shape), &device)
                .permute([0, 2, 3, 1])
                .reshape([b, n, heads, 1]);
        }
        let numbers = Tensor::<1, Int>::arange(0..m as i64, &device).reshape([1, 1, 1, m]);
        let shape = [b, n, heads, m];
        let members = assign.expand(shape).equal(numbers.expand(shape)).float();
        if weights.is_autodiff() {
            Tensor::from_inner(members)
        } else {
            members
        }
    }
}

/// Similarities [B, N, E, M] of keys [B, N, E, d] with centres [B, M, E, d].
fn similarities(keys: Tensor<4>, centres: Tensor<4>, similarity: Similarity) -> Tensor<4> {
    let [b, n, heads, d] = keys.dims();
    let m = centres.dims()[1];
    if similarity == Similarity::Euclidean {
        let keys = keys.reshape([b, n, heads, 1, d]);
        let centres = centres.swap_dims(1, 2).reshape([b, 1, heads, m, d]);
        return -length(keys - centres, 4).reshape([b, n, heads, m]);
    }
    let (centres, lengths) = match similarity {
        Similarity::Cosine => (unit(centres, 3), Some(length(keys.clone(), 3))),
        _ => (centres, None),
    };
    // All heads in one product: the centres as a block-diagonal matrix, so that the keys need not be turned.
    let blocks = Tensor::<2>::eye(heads, &keys.device()).reshape([1, heads, 1, heads, 1]);
    let centres = centres.permute([0, 2, 3, 1]).reshape([b, heads, d, 1, m]) * blocks;
    let products = keys
        .reshape([b, n, heads * d])
        .matmul(centres.reshape([b, heads * d, heads * m]))
        .reshape([b, n, heads, m]);
    match lengths {
        Some(lengths) => products / lengths,
        None => products,
    }
}

/// Adaptive average pooling to p x p as a matrix [p * p, N] (SPEC 4.1).
fn pool_matrix(map: MapSize, p: usize) -> TensorData {
    let grid = Grid::new(map, 1, MapSize { rows: p, cols: p });
    let n = map.elements();
    let mut values = vec![0.0f32; p * p * n];
    for (row, window) in values.chunks_exact_mut(n).zip(&grid.windows) {
        for &i in window {
            row[i] = 1.0 / window.len() as f32;
        }
    }
    TensorData::new(values, [p * p, n])
}

/// [B, N, C] to [B * folds^2, N / folds^2, C].
pub(super) fn split(x: Tensor<3>, map: MapSize, folds: usize) -> Tensor<3> {
    if folds == 1 {
        return x;
    }
    let [b, n, c] = x.dims();
    x.reshape([b, folds, map.rows / folds, folds, map.cols / folds, c])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([b * folds * folds, n / (folds * folds), c])
}

/// The other way round.
pub(super) fn join(x: Tensor<3>, map: MapSize, folds: usize) -> Tensor<3> {
    if folds == 1 {
        return x;
    }
    let [regions, n, c] = x.dims();
    let b = regions / (folds * folds);
    x.reshape([b, folds, folds, map.rows / folds, map.cols / folds, c])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([b, n * folds * folds, c])
}

/// The numbers of a tensor, which are below 65,536.
pub(super) fn to_u16<const D: usize>(x: Tensor<D, Int>) -> Vec<u16> {
    x.into_data().iter::<i64>().map(|v| v as u16).collect()
}
