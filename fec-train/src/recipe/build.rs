//! What the options make: checks of their ranges, and the parts of a training run.

use core::ops::RangeInclusive;
use std::path::Path;

use fec::{Interpolation, Preprocessing};
use fec_runtime::config::{Dispatch, Similarity};
use fec_runtime::{Config, ImageSize};

use super::{Error, Recipe};
use crate::augment::affine::Resample;
use crate::augment::erase::{Erasing, Fill};
use crate::augment::mix::Mixing;
use crate::augment::rand_augment::RandAugment;
use crate::augment::{Augmentation, Colours, Crop};
use crate::device;
use crate::model::{PoolGradient, PoolTraining};
use crate::schedule::Schedule;

/// Models that can be trained.
pub const MODELS: [&str; 6] = ["nano", "micro", "compact", "small", "base", "large"];
/// Ways to train the pools' keys.
pub const POOL_GRADIENTS: [&str; 5] =
    ["none", "straight-through", "members", "weighted", "colours"];
const SIMILARITIES: [&str; 3] = ["cosine", "dot", "euclidean"];
const DISPATCHES: [&str; 4] = ["alpha-beta", "alpha", "beta", "plain"];
const TRAIN_INTERPOLATIONS: [&str; 3] = ["random", "bilinear", "bicubic"];
const REMODES: [&str; 3] = ["const", "rand", "pixel"];

/// Refuses values of one recipe.
struct Checker<'a> {
    name: &'a str,
}

impl Checker<'_> {
    fn that(
        &self,
        holds: bool,
        key: &str,
        found: impl core::fmt::Debug,
        expected: &str,
    ) -> Result<(), Error> {
        if holds {
            return Ok(());
        }
        Err(Error::Value {
            name: self.name.into(),
            key: key.into(),
            found: format!("{found:?}"),
            expected: expected.into(),
        })
    }

    fn number(&self, key: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), Error> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.that(range.contains(&value), key, value, &expected)
    }

    fn count(&self, key: &str, value: u64, range: RangeInclusive<u64>) -> Result<(), Error> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.that(range.contains(&value), key, value, &expected)
    }

    fn one_of(&self, key: &str, value: &str, known: &[&str]) -> Result<(), Error> {
        let expected = format!("one of {}", known.join(", "));
        self.that(known.contains(&value), key, value, &expected)
    }

    /// Two numbers in order, within a range.
    fn span(&self, key: &str, value: [f64; 2], range: RangeInclusive<f64>) -> Result<(), Error> {
        let expected = format!(
            "two numbers from {} to {}, the smaller first",
            range.start(),
            range.end()
        );
        let holds = range.contains(&value[0]) && range.contains(&value[1]) && value[0] <= value[1];
        self.that(holds, key, value, &expected)
    }
}

impl Recipe {
    /// Refuses values outside their range, and options that do not go together.
    ///
    /// # Errors
    /// The first of them; `name` is the recipe's, for the message.
    pub fn check(&self, name: &str) -> Result<(), Error> {
        let checker = Checker { name };
        self.check_network(&checker)?;
        self.check_optimizer(&checker)?;
        self.check_augmentation(&checker)
    }

    fn check_network(&self, check: &Checker<'_>) -> Result<(), Error> {
        check.number("val-split", self.val_split, 0.01..=0.9)?;
        check.count("workers", self.workers as u64, 1..=256)?;
        check.one_of("model", &self.model, &MODELS)?;
        let side = self.img_size;
        check.that(
            (32..=4096).contains(&side) && side.is_multiple_of(32),
            "img-size",
            side,
            &format!(
                "a multiple of 32 from 32 to 4096; the nearest is {}",
                nearest_side(side)
            ),
        )?;
        check.one_of("similarity", &self.similarity, &SIMILARITIES)?;
        check.one_of("dispatch", &self.dispatch, &DISPATCHES)?;
        let dims = &self.head_dims;
        check.that(
            dims.is_empty() || (dims.len() == 4 && dims.iter().all(|d| (1..=256).contains(d))),
            "head-dims",
            dims,
            "four whole numbers from 1 to 256, or none",
        )?;
        for locality in self.locality {
            check.number("locality", locality, 0.0..=100.0)?;
        }
        if self.similarity != "cosine" && self.locality != [0.0; 3] {
            return Err(Error::Conflict {
                name: check.name.into(),
                reason: "locality goes with similarity cosine alone; leave out one of the two",
            });
        }
        if self.pool_gradient == "colours" && self.locality.contains(&0.0) {
            return Err(Error::Conflict {
                name: check.name.into(),
                reason: "pool-gradient colours looks at the centres around an element, which need a locality above 0 in all pools; locality = [0.05, 0.05, 0.05] is a good start",
            });
        }
        check.one_of("pool-gradient", &self.pool_gradient, &POOL_GRADIENTS)?;
        check.number("pool-temperature", self.pool_temperature, 0.001..=100.0)?;
        check.number("pool-tie", self.pool_tie, 0.0..=100.0)?;
        check.number("pool-start", self.pool_start, 0.0..=0.99)?;
        check.number("layer-scale", self.layer_scale, 0.0..=10.0)?;
        check.number("drop-path", self.drop_path, 0.0..=0.95)?;
        check.number("crop-pct", self.crop_pct, 0.01..=1.0)?;
        check.one_of(
            "interpolation",
            &self.interpolation,
            &fec::preprocess::INTERPOLATIONS,
        )?;
        for (mean, std) in self.mean.into_iter().zip(self.std) {
            check.number("mean", mean, 0.0..=1.0)?;
            check.number("std", std, 1e-3..=1e3)?;
        }
        check.that(
            matches!(self.device.as_str(), "auto" | "cpu")
                || device::numbers(&self.device).is_some(),
            "device",
            &self.device,
            device::EXPECTED,
        )?;
        check.number("max-minutes", self.max_minutes, 0.0..=1e6)
    }

    fn check_optimizer(&self, check: &Checker<'_>) -> Result<(), Error> {
        check.count("batch-size", self.batch_size as u64, 1..=65_536)?;
        check.count(
            "validation-batch-size",
            self.validation_batch_size as u64,
            0..=65_536,
        )?;
        check.count("grad-accum-steps", self.grad_accum_steps as u64, 1..=4096)?;
        check.that(
            self.lr > 0.0 && self.lr <= 10.0,
            "lr",
            self.lr,
            "a number above 0, at most 10",
        )?;
        check.number("min-lr", self.min_lr, 0.0..=10.0)?;
        check.number("warmup-lr", self.warmup_lr, 0.0..=10.0)?;
        check.number("weight-decay", self.weight_decay, 0.0..=10.0)?;
        for beta in self.opt_betas {
            check.number("opt-betas", beta, 0.0..=0.999_999)?;
        }
        check.number("opt-eps", self.opt_eps, 0.0..=1.0)?;
        if let Some(norm) = self.clip_grad {
            check.that(
                norm > 0.0,
                "clip-grad",
                norm,
                "a number above 0, or \"none\"",
            )?;
        }
        check.number("model-ema-decay", self.model_ema_decay, 0.0..=1.0)?;
        check.count("epochs", self.epochs, 1..=1_000_000)?;
        check.count("warmup-epochs", self.warmup_epochs, 0..=1_000_000)?;
        check.count("cooldown-epochs", self.cooldown_epochs, 0..=1_000_000)
    }

    fn check_augmentation(&self, check: &Checker<'_>) -> Result<(), Error> {
        check.span("scale", self.scale, 0.001..=1.0)?;
        check.span("ratio", self.ratio, 0.01..=100.0)?;
        check.count("pad-crop", self.pad_crop as u64, 0..=self.img_size as u64)?;
        check.one_of(
            "train-interpolation",
            &self.train_interpolation,
            &TRAIN_INTERPOLATIONS,
        )?;
        for (key, probability) in [
            ("hflip", self.hflip),
            ("vflip", self.vflip),
            ("color-jitter", self.color_jitter),
            ("reprob", self.reprob),
            ("mixup-prob", self.mixup_prob),
            ("mixup-switch-prob", self.mixup_switch_prob),
            ("smoothing", self.smoothing),
        ] {
            check.number(key, probability, 0.0..=1.0)?;
        }
        check.one_of("remode", &self.remode, &REMODES)?;
        check.count("recount", self.recount as u64, 1..=100)?;
        check.number("mixup", self.mixup, 0.0..=100.0)?;
        check.number("cutmix", self.cutmix, 0.0..=100.0)?;
        if let Some(Err(bad)) = self.rand_augment() {
            return Err(Error::Value {
                name: check.name.into(),
                key: "aa".into(),
                found: format!("{:?}", self.aa),
                expected: format!("none or RandAugment's options: it {bad}"),
            });
        }
        Ok(())
    }

    fn rand_augment(&self) -> Option<Result<RandAugment, crate::augment::rand_augment::BadOption>> {
        let on = !matches!(self.aa.as_str(), "none" | "");
        on.then(|| RandAugment::parse(&self.aa))
    }

    /// The folder of images.
    ///
    /// # Errors
    /// When the recipe names none.
    pub fn data_folder(&self) -> Result<&Path, Error> {
        if self.data.is_empty() {
            return Err(Error::Conflict {
                name: "recipe".into(),
                reason: "no folder of images given; add data=DIR",
            });
        }
        Ok(Path::new(&self.data))
    }

    /// The network for so many classes.
    ///
    /// # Errors
    /// When the model's name is unknown, which [`Recipe::check`] refuses too.
    pub fn config(&self, classes: usize) -> Result<Config, Error> {
        let unknown = || Error::Value {
            name: "recipe".into(),
            key: "model".into(),
            found: self.model.clone(),
            expected: format!("one of {}", MODELS.join(", ")),
        };
        let mut config = Config::preset(&self.model).ok_or_else(unknown)?;
        config.classes = classes;
        for (stage, &dim) in config.stages.iter_mut().zip(&self.head_dims) {
            stage.head_dim = dim;
        }
        config.locality = self.locality.map(|l| l as f32);
        let similarity = Similarity::ALL
            .into_iter()
            .find(|s| s.name() == self.similarity);
        config.similarity = similarity.unwrap_or_default();
        let has = |number: &str| self.dispatch.split('-').any(|part| part == number);
        config.dispatch = Dispatch::of(has("alpha"), has("beta"));
        Ok(config)
    }

    /// The first epoch in which the pools' keys learn and their locality applies.
    pub fn pool_start_epoch(&self) -> u64 {
        let epochs = self.schedule().total_epochs();
        let start = (self.pool_start * epochs as f64).round() as u64;
        start.min(epochs.saturating_sub(1))
    }

    /// The pools' locality in an epoch.
    pub fn locality_in(&self, epoch: u64) -> [f32; 3] {
        if epoch < self.pool_start_epoch() {
            return [0.0; 3];
        }
        self.locality.map(|l| l as f32)
    }

    /// How the pools' keys learn in an epoch.
    pub fn pools_in(&self, epoch: u64) -> PoolTraining {
        if epoch < self.pool_start_epoch() {
            return PoolTraining::default();
        }
        let temperature = self.pool_temperature as f32;
        let gradient = match self.pool_gradient.as_str() {
            "straight-through" => PoolGradient::StraightThrough { temperature },
            "members" => PoolGradient::Members { temperature },
            "weighted" => PoolGradient::Weighted { temperature },
            "colours" => PoolGradient::Colours { temperature },
            _ => PoolGradient::None,
        };
        PoolTraining {
            gradient,
            tie: self.pool_tie as f32,
        }
    }

    /// The learning rate.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            lr: self.lr,
            min_lr: self.min_lr,
            warmup_lr: self.warmup_lr,
            epochs: self.epochs,
            warmup_epochs: self.warmup_epochs,
            cooldown_epochs: self.cooldown_epochs,
            warmup_prefix: self.warmup_prefix,
            on_updates: self.sched_on_updates,
        }
    }

    /// What validation and the packed model do with a photo (SPEC 10).
    pub fn preprocessing(&self) -> Preprocessing {
        Preprocessing {
            size: ImageSize {
                height: self.img_size,
                width: self.img_size,
            },
            crop_ratio: self.crop_pct as f32,
            interpolation: fec::preprocess::interpolation(&self.interpolation)
                .unwrap_or(Interpolation::Bicubic),
            mean: self.mean.map(|v| v as f32),
            std: self.std.map(|v| v as f32),
        }
    }

    /// What is done to single training images.
    pub fn augmentation(&self) -> Augmentation {
        let crop = match self.pad_crop {
            0 => Crop::Resized {
                scale: self.scale,
                ratio: self.ratio,
            },
            pad => Crop::Padded(pad),
        };
        let resample = match self.train_interpolation.as_str() {
            "bilinear" => vec![Resample::Bilinear],
            "bicubic" => vec![Resample::Bicubic],
            _ => vec![Resample::Bilinear, Resample::Bicubic],
        };
        let colours = match self.rand_augment() {
            Some(Ok(rand)) => Colours::Rand(rand),
            _ if self.color_jitter > 0.0 => Colours::Jitter(self.color_jitter),
            _ => Colours::None,
        };
        Augmentation {
            side: self.img_size,
            crop,
            resample,
            hflip: self.hflip,
            vflip: self.vflip,
            colours,
            fill: self.mean.map(|v| (255.0 * v).round_ties_even() as u8),
        }
    }

    /// Random erasing.
    pub fn erasing(&self) -> Erasing {
        Erasing {
            probability: self.reprob,
            fill: match self.remode.as_str() {
                "const" => Fill::Const,
                "rand" => Fill::Rand,
                _ => Fill::Pixel,
            },
            count: self.recount,
        }
    }

    /// Mixup and cutmix.
    pub fn mixing(&self) -> Mixing {
        Mixing {
            mixup: self.mixup,
            cutmix: self.cutmix,
            probability: self.mixup_prob,
            switch: self.mixup_switch_prob,
            off_epoch: self.mixup_off_epoch,
        }
    }
}

/// The side that the network takes and that is nearest.
fn nearest_side(side: usize) -> usize {
    (side.saturating_add(16) / 32 * 32).clamp(32, 4096)
}
