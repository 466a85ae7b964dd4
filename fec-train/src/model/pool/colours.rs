//! What teaches the pools' keys colours (ours; the idea is that of superpixel sampling networks, Jampani et al., ECCV 2018): an
//! element belongs softly to the centres around it, each centre takes the mean look (colour and place) of what belongs to it, and
//! the look that an element's centres tell should be its own. The keys alone learn from that, so that the network's features stay
//! those of its task; inference stays the same, an argmax.
//!
//! q_nm = softmax over m of (cos(c_m, k_n) - lambda d²(m, n)) / temperature, m over the 3x3 cells around n;
//! Y_m = sum of q_nm w_n y_n / sum of q_nm w_n; loss = sum of w_n |sum of q_nm Y_m - y_n|² / sum of w_n, the mean over images,
//! summed over the pools. y_n is the mean look of the w_n patches that n stands for.

use alloc::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use fec_runtime::MapSize;

use super::super::fused::{FusedColours, UnitKeys, apply, input, matrix};
use super::super::grid::{Grid, away};
use super::super::layers::unit;
use super::super::mixer::{join, split};
use super::super::pass::{PoolGradient, Run};
use super::{Pool, Setting, means, windows};

/// The cells around an element's own, and that one.
pub(in super::super) const NEAR: usize = 9;
/// Added to the weight of a centre, which may have none.
pub(in super::super) const LIGHTEST: f32 = 1e-6;

/// Taken from the similarity to a centre that is not there: far below all others, and a number still.
const OUTSIDE: f32 = 1e9;
/// Side of a patch in pixels.
const PATCH: usize = 4;

/// What an element looks like: brightness, red against green, yellow against blue, and where it is.
pub(in super::super) const LOOKS: usize = 5;
/// How much the two differences of colours count beside brightness, all in deviations of a colour.
const CHROMA: [f32; 2] = [2.0, 1.2];
/// How much a row or column of patches counts.
const PLACE: f32 = 0.7 / 8.0;

/// What the patches of `images` [B, H, W, 3] look like and their number, which is 1: [B, N, LOOKS + 1]. Elements of later maps have
/// the sums over the patches that they stand for.
pub(in super::super) fn of_patches(images: &Tensor<4>) -> Tensor<3> {
    let images = images.clone().inner();
    let [b, height, width, c] = images.dims();
    let (rows, cols) = (height / PATCH, width / PATCH);
    let pixels = MapSize {
        rows: height,
        cols: width,
    };
    let colours = means(images.reshape([b, height * width, c]), pixels, PATCH);
    let device = colours.device();
    let [red_green, yellow_blue] = CHROMA;
    let third = 1.0 / 3.0;
    let looks = [
        [third, red_green, 0.5 * yellow_blue],
        [third, -red_green, 0.5 * yellow_blue],
        [third, 0.0, -yellow_blue],
    ];
    let looks = Tensor::<2>::from_data(looks, &device).unsqueeze::<3>();
    let places = (0..rows * cols).flat_map(|n| {
        let (row, col) = (n / cols, n % cols);
        [PLACE * row as f32, PLACE * col as f32, 1.0]
    });
    let places = TensorData::new(places.collect::<Vec<_>>(), [1, rows * cols, 3]);
    let places = Tensor::<3>::from_data(places, &device).repeat_dim(0, b);
    Tensor::cat(vec![colours.matmul(looks), places], 2)
}

/// What the clusters stand for: `cells` [B * N] is each element's cell among those of all images.
fn of_clusters(colours: Tensor<3>, cells: Tensor<1, Int>) -> Tensor<3> {
    let [b, n, c] = colours.dims();
    let sums = Tensor::zeros([b * n / 4, c], &colours.device());
    let members = colours.reshape([b * n, c]);
    sums.select_assign(0, cells, members, IndexingUpdateOp::Add)
        .reshape([b, n / 4, c])
}

/// The centres around each element of a region.
#[derive(Clone, Debug)]
pub(in super::super) struct Near {
    /// [N, 9]: the nearest ones' numbers; a number stands in for what is outside.
    pub(in super::super) centres: Vec<u16>,
    /// [N, 9]: what the distance takes from a similarity (SPEC 3.6).
    pub(in super::super) pull: Vec<f32>,
}

impl Near {
    /// For a region of so many centres and four times as many elements.
    fn new(MapSize { rows, cols }: MapSize, locality: f32) -> Self {
        let count = 4 * rows * cols * NEAR;
        let (mut centres, mut pull) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for n in 0..4 * rows * cols {
            let (row, col) = (n / (2 * cols), n % (2 * cols));
            for near in 0..NEAR {
                // One more than where it is: the cells around begin one before.
                let (i, j) = (row / 2 + near / 3, col / 2 + near % 3);
                let inside = (1..=rows).contains(&i) && (1..=cols).contains(&j);
                let (i, j) = (i.clamp(1, rows) - 1, j.clamp(1, cols) - 1);
                let (y, x) = (away(row, i), away(col, j));
                centres.push((i * cols + j) as u16);
                let distance = locality * (y * y + x * x);
                pull.push(if inside { distance } else { OUTSIDE });
            }
        }
        Self { centres, pull }
    }
}

impl Pool {
    /// Lets the keys learn the colours, if they should, and hands them on to the clusters: `cells` as for [`of_clusters`]. With a
    /// grid (and, where a map is one region, its keys) in one operation for the CPU; without it `cells` go region by region.
    pub(super) fn learn_colours(
        &self,
        x: &Tensor<3>,
        cells: Tensor<1, Int>,
        setting: Setting,
        run: &mut Run,
        grid: Option<(&Arc<Grid>, Option<Arc<UnitKeys>>)>,
    ) {
        let PoolGradient::Colours { temperature } = run.pass.pools.gradient else {
            return;
        };
        let Some(colours) = run.colours.take() else {
            return;
        };
        let on_map = grid.is_some();
        run.teach(self.colour_loss(x, &colours, setting, temperature, grid));
        let cells = if x.is_autodiff() {
            cells.inner()
        } else {
            cells
        };
        run.colours = Some(if on_map {
            of_clusters(colours, cells)
        } else {
            let regions = split(colours, setting.map, setting.folds);
            join(of_clusters(regions, cells), setting.half(), setting.folds)
        });
    }

    /// The loss \[1\] with the colours [B, N, LOOKS + 1] of the elements of x [B, N, C].
    pub(super) fn colour_loss(
        &self,
        x: &Tensor<3>,
        colours: &Tensor<3>,
        setting: Setting,
        temperature: f32,
        grid: Option<(&Arc<Grid>, Option<Arc<UnitKeys>>)>,
    ) -> Tensor<1> {
        let x = x.clone().detach();
        let near = Near::new(setting.centres(), setting.locality);
        if let Some((grid, Some(keys))) = grid {
            let operation = FusedColours {
                grid: Arc::clone(grid),
                x: matrix(x.clone()),
                keys,
                colours: matrix(colours.clone()),
                temperature,
                near: near.into(),
            };
            let (weight, bias) = (self.conv_f.weight.val(), self.conv_f.bias.val());
            let inputs = [input(weight), input(bias)];
            return apply(operation, inputs, [1]).0;
        }
        let colours = if x.is_autodiff() {
            Tensor::from_inner(colours.clone())
        } else {
            colours.clone()
        };
        let x = split(x, setting.map, setting.folds);
        let colours = split(colours, setting.map, setting.folds);
        self.composed_colour_loss(x, colours, setting, near, temperature)
    }

    /// The mean over regions x [B, N, C] with colours [B, N, LOOKS + 1], in burn's operations.
    fn composed_colour_loss(
        &self,
        x: Tensor<3>,
        colours: Tensor<3>,
        setting: Setting,
        near: Near,
        temperature: f32,
    ) -> Tensor<1> {
        let ([b, n, _], device) = (x.dims(), x.device());
        let map = MapSize {
            rows: setting.map.rows / setting.folds,
            cols: setting.map.cols / setting.folds,
        };
        let m = n / 4;
        let keys = unit(self.conv_f.maps(x.clone(), false), 2);
        let centres = unit(self.conv_f.maps(windows(&x, map), false), 2);
        let next = keys.dims()[2];
        let numbers = near.centres.iter().map(|&centre| i64::from(centre));
        let numbers = TensorData::new(numbers.collect::<Vec<_>>(), [n * NEAR]);
        let numbers = Tensor::<1, Int>::from_data(numbers, &device);
        let pull = TensorData::new(near.pull, [1, n, NEAR]);
        let around = centres
            .select(1, numbers.clone())
            .reshape([b, n, NEAR, next]);
        let cosines = (keys.reshape([b, n, 1, next]) * around).sum_dim(3);
        let similarity = cosines.reshape([b, n, NEAR]) - Tensor::from_data(pull, &device);
        let q = softmax(similarity.div_scalar(temperature), 2).reshape([b, n, NEAR, 1]);
        let parts = (q.clone() * colours.clone().reshape([b, n, 1, LOOKS + 1])).reshape([
            b,
            n * NEAR,
            LOOKS + 1,
        ]);
        let sums = Tensor::zeros([b, m, LOOKS + 1], &device);
        let sums = sums.select_assign(1, numbers.clone(), parts, IndexingUpdateOp::Add);
        let weights = sums.clone().narrow(2, LOOKS, 1).add_scalar(LIGHTEST);
        let means = (sums.narrow(2, 0, LOOKS) / weights).select(1, numbers);
        let told = (q * means.reshape([b, n, NEAR, LOOKS])).sum_dim(2);
        let count = colours.clone().narrow(2, LOOKS, 1);
        let own = colours.narrow(2, 0, LOOKS) / count.clone().clamp_min(LIGHTEST);
        let squares = (told.reshape([b, n, LOOKS]) - own).square().sum_dim(2);
        (squares * count.clone()).sum() / count.sum()
    }
}
