//! The optimizer (SPEC 8): AdamW whose decay leaves vectors alone, the learning rate given at every step, clipping by the norm of
//! all gradients together, accumulation, and the average of the weights.

use alloc::collections::BTreeMap;
use core::fmt;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::Tensor;

use crate::model::{Fec, Gradient};

/// Added to the norm of the gradients before they are divided by it.
const CLIP_EPSILON: f64 = 1e-6;
/// File of a network in a checkpoint's folder.
const MODEL: &str = "model.bpk";
/// File of the optimizer's moments.
const MOMENTS: &str = "optimizer.bpk";
/// File of the averaged network.
const AVERAGE: &str = "average.bpk";

/// What the optimizer is told once. The default is the published training's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Decoupled weight decay, for tensors of two and more dimensions.
    pub weight_decay: f32,
    /// Decay of the first and of the second moment.
    pub betas: (f32, f32),
    /// Added to the square root of the second moment.
    pub epsilon: f32,
    /// The largest norm of all gradients together; larger ones are scaled to it.
    pub clip_grad: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            weight_decay: 0.05,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            clip_grad: None,
        }
    }
}

/// AdamW for one network.
#[derive(Clone)]
pub struct Optimizer {
    adamw: ModuleOptimizer,
    clip_grad: Option<f64>,
}

impl fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdamW, clip_grad {:?}", self.clip_grad)
    }
}

impl Optimizer {
    /// An optimizer for this network's parameters: moments hang on their ids.
    pub fn new(fec: &Fec, settings: Settings) -> Self {
        let decaying = AdamWConfig::new()
            .with_beta_1(settings.betas.0)
            .with_beta_2(settings.betas.1)
            .with_epsilon(settings.epsilon)
            .with_weight_decay(settings.weight_decay);
        let mut vectors = Vectors::default();
        fec.visit(&mut vectors);
        let still = decaying.clone().with_weight_decay(0.0).build();
        let vectors = ParamGroup::from_ids(vectors.0);
        Self {
            adamw: decaying.init().with_group(vectors, still, None),
            clip_grad: settings.clip_grad,
        }
    }

    /// One step at learning rate `lr`. The norm of all gradients before clipping comes back on the device: reading it waits for
    /// the device.
    pub fn step(&mut self, lr: f64, fec: Fec, grads: GradientsParams) -> (Fec, Option<Tensor<1>>) {
        let norm = norm(&fec, &grads);
        let grads = match (self.clip_grad, &norm) {
            (Some(largest), Some(norm)) => clip(&fec, grads, norm, largest),
            _ => grads,
        };
        (self.adamw.step(lr, fec, grads), norm)
    }
}

/// The ids of tensors of one dimension.
#[derive(Default)]
struct Vectors(Vec<ParamId>);

impl ModuleVisitor for Vectors {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D <= 1 {
            self.0.push(param.id);
        }
    }
}

/// The norm of all gradients together \[1\]; `None` without gradients.
pub fn norm(fec: &Fec, grads: &GradientsParams) -> Option<Tensor<1>> {
    struct Squares<'a> {
        grads: &'a GradientsParams,
        sum: Option<Tensor<1>>,
    }
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.get::<D>(param.id) {
                let square = grad.square().sum();
                self.sum = Some(match self.sum.take() {
                    Some(sum) => sum + square,
                    None => square,
                });
            }
        }
    }
    let mut squares = Squares { grads, sum: None };
    fec.visit(&mut squares);
    squares.sum.map(Tensor::sqrt)
}

/// Scales all gradients so that their norm is at most `largest`.
fn clip(fec: &Fec, grads: GradientsParams, norm: &Tensor<1>, largest: f64) -> GradientsParams {
    let scale = norm
        .clone()
        .add_scalar(CLIP_EPSILON)
        .recip()
        .mul_scalar(largest)
        .clamp_max(1.0);
    scaled(fec, grads, &scale)
}

/// All gradients times `scale` [1].
fn scaled(fec: &Fec, grads: GradientsParams, scale: &Tensor<1>) -> GradientsParams {
    struct Scale<'a> {
        grads: GradientsParams,
        scale: &'a Tensor<1>,
    }
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.remove::<D>(param.id) {
                let scaled = grad * self.scale.clone().reshape([1; D]);
                self.grads.register(param.id, scaled);
            }
        }
    }
    let mut scale = Scale { grads, scale };
    fec.visit(&mut scale);
    scale.grads
}

/// Gradients of several batches as one: their mean, each weighed by its images.
#[derive(Debug, Default)]
pub struct Accumulator {
    total: Option<Gradient>,
    images: usize,
}

impl Accumulator {
    /// Adds the gradient of a batch of `images`.
    pub fn add(&mut self, fec: &Fec, gradient: Gradient, images: usize) {
        let before = self.images;
        self.images += images;
        self.total = Some(match self.total.take() {
            None => gradient,
            Some(total) => {
                let all = self.images as f32;
                let (a, b) = (before as f32 / all, images as f32 / all);
                weighted(fec, total, a).plus(fec, weighted(fec, gradient, b))
            }
        });
    }

    /// What was added since the last time.
    pub fn take(&mut self) -> Option<Gradient> {
        self.images = 0;
        self.total.take()
    }
}

fn weighted(fec: &Fec, mut gradient: Gradient, weight: f32) -> Gradient {
    gradient.loss *= weight;
    let device = fec.patch_embed.proj.weight.val().inner().device();
    let weight = Tensor::full([1], weight, &device);
    gradient.parameters = scaled(fec, gradient.parameters, &weight);
    gradient
}

/// The exponential moving average of a network's weights.
#[derive(Clone, Debug)]
pub struct Average {
    /// The averaged network, without automatic differentiation.
    pub fec: Fec,
    /// How much of the average stays at each update.
    pub decay: f64,
}

impl Average {
    /// Begins with the network as it is.
    pub fn new(fec: &Fec, decay: f64) -> Self {
        Self {
            fec: fec.valid(),
            decay,
        }
    }

    /// average = decay * average + (1 - decay) * weights
    pub fn update(&mut self, fec: &Fec) {
        #[derive(Default)]
        struct Flat(BTreeMap<u64, Tensor<1>>);
        impl ModuleVisitor for Flat {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let flat = param.val().inner().flatten(0, D - 1);
                self.0.insert(param.id.val(), flat);
            }
        }
        struct Blend {
            weights: Flat,
            decay: f64,
        }
        impl ModuleMapper for Blend {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                // `valid` keeps the ids, and nothing else makes an average.
                let Some(weights) = self.weights.0.remove(&param.id.val()) else {
                    return param;
                };
                let decay = self.decay;
                param.map(|average| {
                    let weights = weights.reshape(average.shape());
                    average.mul_scalar(decay) + weights.mul_scalar(1.0 - decay)
                })
            }
        }
        let mut weights = Flat::default();
        fec.visit(&mut weights);
        let decay = self.decay;
        self.fec = self.fec.clone().map(&mut Blend { weights, decay });
    }
}

/// All that a step changes: what a checkpoint holds.
#[derive(Clone, Debug)]
pub struct State {
    /// The network, on a device with automatic differentiation.
    pub fec: Fec,
    /// Its moments.
    pub optimizer: Optimizer,
    /// The average of its weights, if it is kept.
    pub average: Option<Average>,
}

impl State {
    /// Another locality of the pools, from the next step on.
    pub fn set_locality(&mut self, locality: [f32; 3]) {
        self.fec.set_locality(locality);
        if let Some(average) = &mut self.average {
            average.fec.set_locality(locality);
        }
    }

    /// Writes `model.bpk`, `optimizer.bpk` and, if there is an average, `average.bpk` into a folder. Each is there whole or not at
    /// all; that the three belong together is for the caller to see to (a folder renamed when it is complete).
    ///
    /// # Errors
    /// [`RecordError`] when a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), RecordError> {
        self.fec.clone().into_record().save(folder.join(MODEL))?;
        self.optimizer.adamw.save(folder.join(MOMENTS))?;
        if let Some(average) = &self.average {
            average
                .fec
                .clone()
                .into_record()
                .save(folder.join(AVERAGE))?;
        }
        Ok(())
    }

    /// Reads what [`State::save`] wrote, so that training goes on as if it had not stopped, bit for bit on the CPU. `fec` is a
    /// network of the same configuration on the device to train on; `ema_decay`: as before, an average was kept.
    ///
    /// # Errors
    /// [`RecordError`] for a file that is missing, damaged or of another network.
    pub fn load(
        folder: &Path,
        fec: Fec,
        settings: Settings,
        ema_decay: Option<f64>,
    ) -> Result<Self, RecordError> {
        let average = match ema_decay {
            Some(decay) => Some(Average {
                fec: read(fec.valid(), &folder.join(AVERAGE))?,
                decay,
            }),
            None => None,
        };
        // The record carries the ids that the moments hang on: the network comes first, then groups made of its ids.
        let fec = read(fec, &folder.join(MODEL))?;
        let Optimizer { adamw, clip_grad } = Optimizer::new(&fec, settings);
        let adamw = adamw.load(folder.join(MOMENTS))?;
        Ok(Self {
            fec,
            optimizer: Optimizer { adamw, clip_grad },
            average,
        })
    }
}

fn read(fec: Fec, file: &Path) -> Result<Fec, RecordError> {
    fec.try_load_record(ModuleRecord::load(file)?)
}
