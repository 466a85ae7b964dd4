//! Layers by themselves: what each gives on the float network's inputs, as it is and as it is stored.
//!
//! Both are multiplied as floats: the stored layer with the weights that its bytes stand for, on rows rounded as the engine rounds
//! them. That is the integer engine's result but for its last bits.

use std::collections::BTreeMap;

use fec_runtime::config::Place;
use fec_runtime::format::{DType, Role, TensorId, packed_tensors};
use fec_runtime::kernels::Norm;
use fec_runtime::kernels::activation::gelu;
use fec_runtime::{Image, Model, Output, Step};

use super::sums::{Errors, Sum};
use super::{Inputs, Map, Product, Runner, vector};
use crate::error::Error;
use crate::gelu::Table;
use crate::integers::Stored;
use crate::layers::{Layer, layers};
use crate::quantise::round_rows;

/// Rows of each map that are measured, spread evenly over it.
const ROWS: usize = 64;
/// Side of the patches.
const PATCH: usize = 4;
/// Taps of the convolution beside a pool.
const TAPS: usize = 9;

/// A layer as it is and as it is stored.
struct Pair {
    float: Product,
    stored: Product,
    /// Whether the engine rounds the rows it multiplies.
    rounds: bool,
    /// The vector that takes the correction.
    bias: Option<TensorId>,
    errors: Vec<Errors>,
    /// Sums of what the outputs lack in the mean.
    lacking: Vec<Sum>,
    rows: u64,
}

/// The second and the third pass.
pub struct Measurement<'m> {
    runner: Runner<'m>,
    pairs: BTreeMap<(String, u16), Pair>,
    order: Vec<Layer>,
    tables: BTreeMap<(usize, usize), Table>,
}

/// How far a stored layer is from the float layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerError {
    /// The layer.
    pub layer: Layer,
    /// Signal to noise: 10 log10 of the float outputs' energy over that of the differences, in decibels; at most 200.
    pub sqnr_db: f64,
    /// Cosine of the angle between the two layers' outputs.
    pub cosine: f64,
    /// The output with the smallest signal to noise of its own.
    pub worst_channel: usize,
    /// That number, in decibels.
    pub worst_channel_db: f64,
}

/// More decibels than that are no difference.
const MOST_DB: f64 = 200.0;

fn decibels(signal: f64, noise: f64) -> f64 {
    if noise <= 0.0 {
        return MOST_DB;
    }
    if signal <= 0.0 {
        return 0.0;
    }
    (10.0 * (signal / noise).log10()).min(MOST_DB)
}

impl<'m> Measurement<'m> {
    /// Measures the layers of `stored` against those of the float network `model`.
    ///
    /// # Errors
    /// [`Error::Model`] when the model's size is not possible.
    pub fn new(model: &'m Model<'m>, stored: &Stored<'_, '_>) -> Result<Self, Error> {
        let runner = Runner::new(model)?;
        let order = layers(stored.quantiser.config(), model.preprocessing().size);
        let mut pairs = BTreeMap::new();
        for layer in &order {
            let id = layer.tensor.id;
            let bias = layer.bias();
            // Pools' keys have a bias that is not corrected; the convolution's is the pool's.
            let added = match (layer.role(), bias) {
                (Role::SkipWeights | Role::PoolBackWeights, _) => None,
                (Role::PoolKeysWeights, _) => Some(TensorId {
                    role: Role::PoolKeysBias,
                    place: layer.place(),
                }),
                (_, bias) => bias,
            };
            let zeros = vec![0.0; layer.outputs.next_multiple_of(16)];
            let float_bias = added.map_or(zeros.clone(), |id| vector(stored.quantiser, id));
            let stored_bias = added.map_or(zeros, |id| stored_vector(stored, id));
            let quantiser = stored.quantiser;
            let (Some(float), Some(product)) = (
                Product::exact(quantiser, id, float_bias),
                Product::stored(stored, id, stored_bias),
            ) else {
                continue;
            };
            let pair = Pair {
                float,
                stored: product,
                rounds: layer.multiplies_bytes() && stored.dtype(id) == DType::I8,
                bias,
                errors: vec![Errors::default(); layer.outputs],
                lacking: vec![Sum::default(); layer.outputs],
                rows: 0,
            };
            pairs.insert(key(id), pair);
        }
        let mut tables = BTreeMap::new();
        for &(stage, block) in stored.calibrated.tables.keys() {
            if let Some(table) = stored.table(Place::Block { stage, block }) {
                tables.insert((stage, block), table.clone());
            }
        }
        Ok(Self {
            runner,
            pairs,
            order,
            tables,
        })
    }

    /// Takes in one image: `image` as the engine takes it, `normalised` [3, H, W]; `then` sees the float network's results.
    ///
    /// # Errors
    /// [`Error::Model`] when the image does not fit the model.
    pub fn add<R>(
        &mut self,
        image: &Image<'_>,
        normalised: &[f32],
        then: impl FnOnce(&Output<'_>) -> R,
    ) -> Result<R, Error> {
        let Self {
            runner,
            pairs,
            tables,
            ..
        } = self;
        let patches = patches(normalised, image.size().height, image.size().width);
        compare(
            pairs,
            id(Place::Network, Role::PatchWeights),
            &patches,
            None,
        );
        let config = runner.config();
        let mut see = |step: Step, map: &Map<'_>| match step {
            Step::Mixer { stage, block } => mixer(pairs, Place::Block { stage, block }, map),
            Step::Mlp { stage, block } => {
                let place = Place::Block { stage, block };
                mlp(pairs, place, tables.get(&(stage, block)), map);
            }
            Step::Pool { stage } => pool(pairs, Place::Pool { stage }, map),
            Step::Head => {
                let mean = mean_row(map);
                compare(
                    pairs,
                    id(Place::Network, Role::HeadWeights),
                    &mean,
                    Some(map.norm()),
                );
            }
            Step::PatchEmbed | Step::Feature { .. } => {}
        };
        runner.run(image, &mut Inputs::new(config, &mut see), then)
    }

    /// What the layers' outputs lack in the mean, by the names of the biases that would make up for it.
    pub fn corrections(&self) -> BTreeMap<String, Vec<f64>> {
        let corrected = self.pairs.values().filter_map(|pair| {
            let bias = pair.bias?;
            let mean = |sum: &Sum| sum.value() / pair.rows.max(1) as f64;
            Some((bias.to_string(), pair.lacking.iter().map(mean).collect()))
        });
        corrected.collect()
    }

    /// Each layer's distance from the float network's, in the order of the file.
    pub fn layers(&self) -> Vec<LayerError> {
        let measured = self.order.iter().filter_map(|layer| {
            let pair = self.pairs.get(&key(layer.tensor.id))?;
            Some(layer_error(layer, &pair.errors))
        });
        measured.collect()
    }
}

fn layer_error(layer: &Layer, outputs: &[Errors]) -> LayerError {
    let total = |part: fn(&Errors) -> Sum| -> f64 {
        outputs.iter().map(|errors| part(errors).value()).sum()
    };
    let (signal, stored) = (total(|e| e.float), total(|e| e.stored));
    let of = |errors: &Errors| decibels(errors.float.value(), errors.error.value());
    let worst = outputs
        .iter()
        .enumerate()
        // An output that is always 0 has no signal to lose.
        .filter(|(_, errors)| errors.float.value() > 0.0)
        .map(|(channel, errors)| (channel, of(errors)))
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .unwrap_or((0, MOST_DB));
    let length = (signal * stored).sqrt();
    LayerError {
        layer: layer.clone(),
        sqnr_db: decibels(signal, total(|e| e.error)),
        cosine: if length > 0.0 {
            (total(|e| e.product) / length).min(1.0)
        } else {
            1.0
        },
        worst_channel: worst.0,
        worst_channel_db: worst.1,
    }
}

type Pairs = BTreeMap<(String, u16), Pair>;

fn id(place: Place, role: Role) -> TensorId {
    TensorId { role, place }
}

fn key(id: TensorId) -> (String, u16) {
    (id.place.to_string(), id.role as u16)
}

fn stored_vector(stored: &Stored<'_, '_>, id: TensorId) -> Vec<f32> {
    let mut found = Vec::new();
    packed_tensors(stored.quantiser.config(), |tensor| {
        if tensor.id == id {
            found = stored.vector(&tensor);
        }
    });
    found
}

/// Rows as the stored layer is given them.
fn given(x: &[f32], pair: &Pair) -> Vec<f32> {
    let mut rows = x.to_vec();
    if pair.rounds {
        round_rows(&mut rows, pair.stored.inputs);
    }
    rows
}

/// Compares a layer on rows; gives the float layer's outputs.
fn compare(pairs: &mut Pairs, id: TensorId, x: &[f32], norm: Option<Norm>) -> Vec<f32> {
    let Some(pair) = pairs.get_mut(&key(id)) else {
        return Vec::new();
    };
    let float = pair.float.of(x, norm);
    let stored = pair.stored.of(&given(x, pair), norm);
    take_errors(pair, &float, &stored);
    take_lacking(pair, &float, &stored);
    float
}

fn take_errors(pair: &mut Pair, float: &[f32], stored: &[f32]) {
    let outputs = pair.float.outputs.max(1);
    for (o, errors) in pair.errors.iter_mut().enumerate() {
        let pairs = float.iter().copied().zip(stored.iter().copied());
        errors.add(pairs.skip(o).step_by(outputs));
    }
}

fn take_lacking(pair: &mut Pair, float: &[f32], stored: &[f32]) {
    let outputs = pair.float.outputs.max(1);
    for (o, sum) in pair.lacking.iter_mut().enumerate() {
        let pairs = float.iter().zip(stored).skip(o).step_by(outputs);
        sum.add(pairs.map(|(y, q)| f64::from(*y) - f64::from(*q)).sum());
    }
    pair.rows += (float.len() / outputs) as u64;
}

/// Rows of a map, evenly spread.
fn sample(map: &Map<'_>) -> Vec<f32> {
    let all = map.values.len() / map.channels.max(1);
    let wanted = all.min(ROWS);
    let rows = (0..wanted).filter_map(|i| {
        let start = i * all / wanted * map.channels;
        map.values.get(start..start + map.channels)
    });
    rows.flatten().copied().collect()
}

fn mean_row(map: &Map<'_>) -> Vec<f32> {
    let mut mean = vec![0.0; map.channels];
    for row in map.values.chunks_exact(map.channels.max(1)) {
        mean.iter_mut().zip(row).for_each(|(mean, v)| *mean += v);
    }
    let rows = map.size.elements() as f32;
    mean.iter_mut().for_each(|mean| *mean /= rows);
    mean
}

fn mixer(pairs: &mut Pairs, place: Place, map: &Map<'_>) {
    let (x, norm) = (sample(map), Some(map.norm()));
    compare(pairs, id(place, Role::KeysWeights), &x, norm);
    let values = compare(pairs, id(place, Role::ValuesWeights), &x, norm);
    compare(pairs, id(place, Role::ProjWeights), &values, None);
}

fn gelu_of(v: &mut [f32]) {
    for v in v {
        [*v] = gelu([*v]);
    }
}

/// The first layer is compared by the hidden layer that it leaves, its table included; the second by its outputs on that same hidden
/// layer, and what it lacks by its outputs on the float network's.
fn mlp(pairs: &mut Pairs, place: Place, table: Option<&Table>, map: &Map<'_>) {
    let (x, norm) = (sample(map), Some(map.norm()));
    let Some(fc1) = pairs.get_mut(&key(id(place, Role::Fc1Weights))) else {
        return;
    };
    let mut hidden = fc1.float.of(&x, norm);
    let mut stored = fc1.stored.of(&given(&x, fc1), norm);
    if let Some(table) = table {
        // Its bias was lowered by the middle of the table's index.
        stored.iter_mut().for_each(|v| *v += table.middle);
    }
    take_lacking(fc1, &hidden, &stored);
    gelu_of(&mut hidden);
    match table {
        Some(table) => stored.iter_mut().for_each(|v| *v = table.apply(*v)),
        None => gelu_of(&mut stored),
    }
    take_errors(fc1, &hidden, &stored);
    let Some(fc2) = pairs.get_mut(&key(id(place, Role::Fc2Weights))) else {
        return;
    };
    let float = fc2.float.of(&stored, None);
    let rows = match table {
        Some(_) => stored,
        None => given(&stored, fc2),
    };
    let found = fc2.stored.of(&rows, None);
    take_errors(fc2, &float, &found);
    let wanted = fc2.float.of(&hidden, None);
    take_lacking(fc2, &wanted, &found);
}

fn pool(pairs: &mut Pairs, place: Place, map: &Map<'_>) {
    let x = sample(map);
    let mut keys = compare(pairs, id(place, Role::PoolKeysWeights), &x, None);
    let width = keys.len() / (x.len() / map.channels.max(1)).max(1);
    for key in keys.chunks_mut(width.max(1)) {
        let length = key.iter().map(|v| v * v).sum::<f32>().sqrt();
        key.iter_mut().for_each(|v| *v /= length.max(1e-12));
    }
    compare(pairs, id(place, Role::PoolBackWeights), &keys, None);
    compare(pairs, id(place, Role::PoolValuesWeights), &x, None);
    compare(pairs, id(place, Role::SkipWeights), &windows(map), None);
}

/// 3x3 windows around every second element of every second row, evenly spread, zeros outside the map.
fn windows(map: &Map<'_>) -> Vec<f32> {
    let (rows, cols, c) = (map.size.rows, map.size.cols, map.channels);
    let all = rows / 2 * (cols / 2);
    let wanted = all.min(ROWS);
    let mut windows = Vec::with_capacity(wanted * TAPS * c);
    for i in 0..wanted {
        let cell = i * all / wanted;
        let (row, col) = (2 * (cell / (cols / 2)), 2 * (cell % (cols / 2)));
        for tap in 0..TAPS {
            let (y, x) = (row + tap / 3, col + tap % 3);
            let inside = y.checked_sub(1).zip(x.checked_sub(1));
            let value = inside.and_then(|(y, x)| map.values.get((y * cols + x) * c..)?.get(..c));
            match value {
                Some(value) => windows.extend(value),
                None => windows.resize(windows.len() + c, 0.0),
            }
        }
    }
    windows
}

/// Patches of an image, [3, H, W], evenly spread: 48 values, then the positions of their rows and columns (SPEC 2).
fn patches(image: &[f32], height: usize, width: usize) -> Vec<f32> {
    let cols = width / PATCH;
    let all = height / PATCH * cols;
    let wanted = all.min(ROWS);
    let position = |at: usize, side: usize| at as f32 / (side.max(2) - 1) as f32 - 0.5;
    let mut patches = Vec::new();
    for i in 0..wanted {
        let cell = i * all / wanted;
        let (top, left) = (cell / cols * PATCH, cell % cols * PATCH);
        for channel in 0..3 {
            for row in top..top + PATCH {
                let start = (channel * height + row) * width + left;
                patches.extend(image.get(start..start + PATCH).unwrap_or(&[0.0; PATCH]));
            }
        }
        patches.extend((top..top + PATCH).map(|row| position(row, height)));
        patches.extend((left..left + PATCH).map(|col| position(col, width)));
    }
    patches
}
