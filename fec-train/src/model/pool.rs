//! The pool between stages (SPEC 3): its parameters, and its definition in burn's operations. The CPU runs
//! [`super::fused::FusedPool`].

mod colours;

use alloc::sync::Arc;

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use fec_runtime::MapSize;
use fec_runtime::config::Similarity;

use super::fused::{FusedPool, apply, input, pool_assign, unit_keys};
use super::grid::{Grid, away};
use super::layers::{Conv, Norm, affine, unit};
use super::mixer::{join, split, to_u16};
use super::pass::{PoolGradient, PoolTraining, Run};

pub(super) use colours::{LIGHTEST, LOOKS, NEAR, Near, of_patches};

/// Similarities made at a time, per image 4 bytes each: with many images or large ones the batch is cut.
const SIMILARITIES: usize = 1 << 24;

/// `network.1`, `network.3`, `network.5`
#[derive(Module, Debug)]
pub struct Pool {
    /// Of the representatives, [C'].
    pub norm2: Norm,
    /// Keys: [C', C, 1, 1]. They enter an argmax alone, and so have no gradient (SPEC 3.4).
    pub conv_f: Conv,
    /// Values: [C', C, 1, 1]
    pub conv_v: Conv,
    /// [C', C, 3, 3]
    pub conv_skip: Conv,
}

/// What a pool does besides its parameters.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) name: &'a str,
    pub(super) similarity: Similarity,
    pub(super) locality: f32,
    pub(super) folds: usize,
    /// The map before the pool.
    pub(super) map: MapSize,
}

impl Setting<'_> {
    /// The map after the pool.
    fn half(&self) -> MapSize {
        MapSize {
            rows: self.map.rows / 2,
            cols: self.map.cols / 2,
        }
    }

    /// The centres of one region.
    fn centres(&self) -> MapSize {
        MapSize {
            rows: self.half().rows / self.folds,
            cols: self.half().cols / self.folds,
        }
    }
}

impl Pool {
    /// The pool in one operation for the CPU. x [B, N, C] to [B, N / 4, C'].
    pub(super) fn fused(&self, x: Tensor<3>, setting: Setting, run: &mut Run) -> Tensor<3> {
        if matches!(
            run.pass.pools.gradient,
            PoolGradient::StraightThrough { .. }
        ) {
            return self.composed(x, setting, run);
        }
        let [b, n, _] = x.dims();
        let grid = Arc::new(Grid::new(setting.map, setting.folds, setting.centres()));
        let cells = Grid::new(setting.half(), setting.folds, setting.centres()).order;
        let forced = run.forced(setting.name).map(|forced| {
            let images = forced.chunks_exact(n);
            images
                .flat_map(|forced| grid.by_element(forced, 1))
                .collect()
        });
        let conv_f = || (self.conv_f.weight.val(), self.conv_f.bias.val());
        let learns = run.colours.is_some() && setting.folds == 1;
        let unit = learns.then(|| {
            let (weight, bias) = conv_f();
            Arc::new(unit_keys(x.clone(), weight, bias))
        });
        let own = if forced.is_none() || run.pass.traced {
            let keys = (setting.similarity, setting.locality);
            let (weight, bias) = conv_f();
            let unit = unit.as_deref();
            pool_assign(x.clone(), weight, bias, setting.map, &grid, keys, unit)
        } else {
            Vec::new()
        };
        if run.pass.traced {
            let of_images = own.chunks_exact(n);
            let own = of_images.flat_map(|own| grid.by_region(own, 1)).collect();
            run.trace.own.insert(setting.name.to_string(), own);
        }
        let assign: Arc<[u16]> = forced.unwrap_or_else(|| own.into());
        let training = run.pass.pools;
        let weights = if training == PoolTraining::default() {
            Tensor::ones([b * n, 1], &x.device())
        } else {
            let rows = assign.iter().enumerate().map(|(r, &centre)| {
                let cell = cells.get(usize::from(centre)).copied().unwrap_or_default();
                (r / n * cells.len() + cell) as i64
            });
            let rows = TensorData::new(rows.collect::<Vec<_>>(), [b * n]);
            let rows = Tensor::from_data(rows, &x.device());
            self.learn_colours(&x, rows.clone(), setting, run, Some((&grid, unit)));
            self.weights(&x, || windows(&x, setting.map), rows, setting, run)
        };
        let operation = FusedPool {
            map: setting.map,
            cells: cells.into(),
            assign,
            grid,
            weighing: training.gradient.weighs(),
        };
        let shape = [b, n / 4, self.conv_v.bias.val().dims()[0]];
        let inputs = [
            input(x),
            input(self.conv_v.weight.val()),
            input(self.conv_v.bias.val()),
            input(self.norm2.weight.val()),
            input(self.norm2.bias.val()),
            input(self.conv_skip.weight.val()),
            input(self.conv_skip.bias.val()),
            input(weights),
        ];
        apply(operation, inputs, shape).0
    }

    /// The pool composed. x [B, N, C] to [B, N / 4, C'].
    pub(super) fn composed(&self, x: Tensor<3>, setting: Setting, run: &mut Run) -> Tensor<3> {
        let folds = setting.folds;
        let regions = split(x.clone(), setting.map, folds);
        let [b, n, c] = regions.dims();
        let map = MapSize {
            rows: setting.map.rows / folds,
            cols: setting.map.cols / folds,
        };
        let means = windows(&regions, map);
        let m = means.dims()[1];
        let assign = self.assign(&regions, &means, setting, run);
        // Rows of all regions, numbered on.
        let first = Tensor::<1, Int>::arange(0..b as i64, &assign.device()).mul_scalar(m as i64);
        let rows = (assign + first.reshape([b, 1])).reshape([b * n]);
        let rows = if x.is_autodiff() {
            Tensor::from_inner(rows)
        } else {
            rows
        };
        self.learn_colours(&x, rows.clone(), setting, run, None);
        let weights = self.weights(&regions, || means.clone(), rows.clone(), setting, run);
        let members = regions.clone().reshape([b * n, c]) * weights.clone();
        let add = IndexingUpdateOp::Add;
        let counts = Tensor::ones([b * m, 1], &x.device());
        let counts = counts.select_assign(0, rows.clone(), weights, add);
        let sums = means.clone().reshape([b * m, c]);
        let sums = sums.select_assign(0, rows, members, add);
        let mut average = sums / counts;
        if let PoolGradient::StraightThrough { temperature } = run.pass.pools.gradient {
            let soft = self.softly(regions, means, setting, temperature);
            average = average + (soft.clone() - soft.detach());
        }
        let reps = self.conv_v.rows(average, run.pass.bf16);
        let next = reps.dims()[1];
        let reps = join(reps.reshape([b, m, next]), setting.half(), folds);
        self.skip(x, setting.map) + self.norm2.forward(reps)
    }

    /// The members' weights [B * N, 1], and how far members are from their centres. `rows`: each element's row of
    /// `means`.
    fn weights(
        &self,
        x: &Tensor<3>,
        means: impl FnOnce() -> Tensor<3>,
        rows: Tensor<1, Int>,
        setting: Setting,
        run: &mut Run,
    ) -> Tensor<2> {
        let [b, n, c] = x.dims();
        let PoolTraining { gradient, tie } = run.pass.pools;
        if !run.pass.pools.weighs() {
            return Tensor::ones([b * n, 1], &x.device());
        }
        let bf16 = run.pass.bf16;
        let keys = self.conv_f.rows(x.clone().reshape([b * n, c]), bf16);
        let centres = self.conv_f.rows(means().reshape([b * n / 4, c]), bf16);
        let similarity = match setting.similarity {
            Similarity::Cosine => (unit(keys, 1) * unit(centres, 1).select(0, rows)).sum_dim(1),
            Similarity::Dot => (keys * centres.select(0, rows)).sum_dim(1),
            Similarity::Euclidean => -super::layers::length(keys - centres.select(0, rows), 1),
        };
        if tie > 0.0 {
            let distance = similarity.clone().mean().mul_scalar(-1.0).add_scalar(1.0);
            run.teach(distance.mul_scalar(tie));
        }
        match gradient {
            PoolGradient::Members { temperature } => (similarity.clone() - similarity.detach())
                .div_scalar(temperature)
                .exp(),
            PoolGradient::Weighted { temperature } => {
                similarity.sub_scalar(1.0).div_scalar(temperature).exp()
            }
            _ => Tensor::ones([b * n, 1], &x.device()),
        }
    }

    /// Eq. 6 with the softmax over all centres in place of the assignment: means [B * M, C], with a gradient for the keys alone.
    fn softly(
        &self,
        x: Tensor<3>,
        means: Tensor<3>,
        setting: Setting,
        temperature: f32,
    ) -> Tensor<2> {
        let ([b, _, c], m) = (x.dims(), means.dims()[1]);
        let keys = self.conv_f.maps(x.clone(), false);
        let centres = self.conv_f.maps(means.clone(), false);
        let (keys, centres) = match setting.similarity {
            Similarity::Cosine => (unit(keys, 2), unit(centres, 2)),
            Similarity::Dot | Similarity::Euclidean => (keys, centres),
        };
        let mut similarity = keys.matmul(centres.clone().swap_dims(1, 2));
        if setting.similarity == Similarity::Euclidean {
            // The squared distance, halved, without what all centres share.
            let squares = centres.square().sum_dim(2).reshape([b, 1, m]);
            similarity = similarity - squares.mul_scalar(0.5);
        }
        if setting.locality > 0.0 {
            let distances = Tensor::<2>::from_data(distances(setting.centres()), &x.device());
            similarity = similarity - distances.mul_scalar(setting.locality).unsqueeze::<3>();
        }
        let members = softmax(similarity.div_scalar(temperature), 2);
        let counts = members
            .clone()
            .sum_dim(1)
            .add_scalar(1.0)
            .reshape([b, m, 1]);
        let sums = means.detach() + members.swap_dims(1, 2).matmul(x.detach());
        (sums / counts).reshape([b * m, c])
    }

    /// The centre of every element of every region [B * regions, N], on the inner device. Never more than [`SIMILARITIES`] at once.
    fn assign(
        &self,
        regions: &Tensor<3>,
        means: &Tensor<3>,
        setting: Setting,
        run: &mut Run,
    ) -> Tensor<2, Int> {
        let (x, means) = (regions.clone().inner(), means.clone().inner());
        let ([b, n, _], m) = (x.dims(), means.dims()[1]);
        let device = x.device();
        let golden = |assign: Vec<i64>| Tensor::from_data(TensorData::new(assign, [b, n]), &device);
        let forced = run.forced(setting.name);
        let forced = forced.map(|forced| golden(forced.iter().map(|&m| i64::from(m)).collect()));
        if let (Some(forced), false) = (&forced, run.pass.traced) {
            return forced.clone();
        }
        let step = (SIMILARITIES / (n * m)).max(1);
        let chunks = (0..b).step_by(step).map(|from| {
            let range = from..(from + step).min(b);
            self.assign_some(
                x.clone().slice([range.clone()]),
                means.clone().slice([range]),
                setting,
            )
        });
        let own = Tensor::cat(chunks.collect(), 0);
        if run.pass.traced {
            let own = to_u16(own.clone());
            run.trace.own.insert(setting.name.to_string(), own);
        }
        forced.unwrap_or(own)
    }

    /// SPEC 3.3 and 3.6: s = x·(Wᵀ c) + b·c, without keys of elements where their lengths are not needed.
    fn assign_some(&self, x: Tensor<3>, means: Tensor<3>, setting: Setting) -> Tensor<2, Int> {
        let ([b, n, c], m) = (x.dims(), means.dims()[1]);
        let (weight, bias) = (self.conv_f.matrix().inner(), self.conv_f.bias.val().inner());
        let next = bias.dims()[0];
        let centres = affine(
            means.reshape([b * m, c]),
            weight.clone(),
            bias.clone(),
            false,
        );
        let squares = centres.clone().square().sum_dim(1);
        let centres = match setting.similarity {
            Similarity::Cosine => unit(centres, 1),
            Similarity::Dot | Similarity::Euclidean => centres,
        };
        let mut offsets = centres.clone().matmul(bias.clone().reshape([next, 1]));
        if setting.similarity == Similarity::Euclidean {
            // The largest of -|c - k| is that of c·k - |c|^2 / 2.
            offsets = offsets - squares.mul_scalar(0.5);
        }
        let queries = centres.matmul(weight.clone()).reshape([b, m, c]);
        let mut s = x.clone().matmul(queries.swap_dims(1, 2)) + offsets.reshape([b, 1, m]);
        if setting.locality > 0.0 {
            let keys = affine(x.reshape([b * n, c]), weight, bias, false);
            let lengths = super::layers::length(keys, 1).reshape([b, n, 1]);
            let distances = Tensor::<2>::from_data(distances(setting.centres()), &s.device());
            s = s / lengths - distances.mul_scalar(setting.locality).reshape([1, n, m]);
        }
        s.argmax(2).reshape([b, n])
    }

    /// conv_skip: x [B, N, C] to [B, N / 4, C'].
    fn skip(&self, x: Tensor<3>, map: MapSize) -> Tensor<3> {
        let [b, n, c] = x.dims();
        let x = x.reshape([b, map.rows, map.cols, c]).permute([0, 3, 1, 2]);
        let bias = self.conv_skip.bias.val();
        let next = bias.dims()[0];
        let options = ConvOptions::new([2, 2], [1, 1], [1, 1], 1);
        conv2d(x, self.conv_skip.weight.val(), Some(bias), options)
            .permute([0, 2, 3, 1])
            .reshape([b, n / 4, next])
    }
}

/// The centres' first values: means of 2x2 windows [B, N / 4, C] of x [B, N, C] (SPEC 3.2).
fn windows(x: &Tensor<3>, map: MapSize) -> Tensor<3> {
    means(x.clone(), map, 2)
}

/// Means of `side` x `side` elements of x [B, N, C].
fn means(x: Tensor<3>, map: MapSize, side: usize) -> Tensor<3> {
    let [b, _, c] = x.dims();
    let (rows, cols) = (map.rows / side, map.cols / side);
    x.reshape([b * rows, side, cols, side * c])
        .sum_dim(1)
        .reshape([b * rows * cols, side, c])
        .sum_dim(1)
        .reshape([b, rows * cols, c])
        .mul_scalar(1.0 / (side * side) as f32)
}

/// Squared distances of a region's elements to its centres, in units of a centre's cell [N, M] (SPEC 3.6).
fn distances(centres: MapSize) -> TensorData {
    let MapSize { rows, cols } = centres;
    let mut values = Vec::with_capacity(4 * rows * cols * rows * cols);
    for n in 0..4 * rows * cols {
        let (row, col) = (n / (2 * cols), n % (2 * cols));
        for m in 0..rows * cols {
            let (y, x) = (away(row, m / cols), away(col, m % cols));
            values.push(y * y + x * x);
        }
    }
    TensorData::new(values, [4 * rows * cols, rows * cols])
}
