//! Training: from a recipe, or from a run that was stopped, to the end of the run.

mod begin;

pub(crate) use begin::Images;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use fec::output::Output;
use fec_runtime::ImageSize;

use crate::data::{self, Dataset, Loader, Split};
use crate::interrupt::Interrupt;
use crate::model::{self, DropPath, Fec, Init, Pass};
use crate::optim::{Accumulator, Average, Optimizer, Settings, State as Weights};
use crate::progress::{Plan, Progress, Step};
use crate::recipe::Recipe;
use crate::run::{Best, EpochRow, Folder, RECIPE, SPLIT, State, StepRow, Training};
use crate::validate::Validation;
use crate::{Error, export};

/// Metrics of steps are written this often, in steps.
const LOG_EVERY: u64 = 20;
/// Within long epochs a checkpoint is written this often, in seconds.
const CHECKPOINT_EVERY: f64 = 600.0;

/// Everything that is ready before the first step.
pub struct Trainer {
    /// The recipe, as it is saved with the run.
    pub recipe: Recipe,
    /// The images.
    pub split: Split,
    /// What was found when all of them were read.
    pub found: data::Report,
    /// Images to validate on.
    pub val: Arc<Dataset>,
    /// What the weights began as.
    pub begun_from: String,
    loader: Loader,
    /// Devices besides the weights' own.
    further: Vec<Device>,
    weights: Weights,
    state: State,
    run: Training,
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Done,
    /// The user stopped it; `resume` goes on.
    Interrupted,
}

impl Trainer {
    /// The run's folder.
    pub fn folder(&self) -> &Folder {
        self.run.folder()
    }

    /// Seconds of training so far.
    pub fn seconds(&self) -> f64 {
        self.state.seconds
    }

    /// Updates of an epoch.
    fn per_epoch(&self) -> u64 {
        (self.loader.steps_per_epoch() / self.recipe.grad_accum_steps.max(1) as u64).max(1)
    }

    /// Updates of the whole run.
    fn total(&self) -> u64 {
        self.recipe.schedule().total_epochs() * self.per_epoch()
    }

    /// Trains to the end, or until the user stops it. Every epoch is validated, and its checkpoint written.
    ///
    /// # Errors
    /// [`Error::Diverged`] when the loss is no number any more; what disk and device say. The checkpoints so far are kept.
    pub fn train(&mut self, interrupt: &Interrupt, out: &mut Output) -> Result<Ended, Error> {
        let (total, accumulate) = (self.total(), self.recipe.grad_accum_steps.max(1) as u64);
        let mut batches = self
            .loader
            .batches(self.state.step * accumulate..total * accumulate)?;
        let mut progress = Progress::new(
            out,
            Plan {
                epochs: self.recipe.schedule().total_epochs(),
                steps: total,
                done: self.state.step,
            },
        );
        let (mut clock, mut since_save) = (Instant::now(), 0.0);
        let mut recent = Recent::default();
        while self.state.step < total {
            if interrupt.pressed() {
                self.save()?;
                progress.finish();
                return Ok(Ended::Interrupted);
            }
            let (step, norm) = self.update(&mut batches, accumulate)?;
            let seconds = clock.elapsed().as_secs_f64();
            clock = Instant::now();
            self.state.seconds += seconds;
            since_save += seconds;
            progress.step(out, &step);
            recent.add(&step, seconds);
            let epoch_ends = self.state.step_in_epoch == self.per_epoch();
            if step.step % LOG_EVERY == 0 || epoch_ends {
                self.run
                    .log_step(&recent.row(&step, norm, self.state.seconds))?;
                recent = Recent::default();
            }
            if epoch_ends {
                self.end_epoch(step.lr, &progress, out)?;
                since_save = 0.0;
                clock = Instant::now();
                progress.restart_clock();
            } else if since_save > CHECKPOINT_EVERY {
                self.save()?;
                since_save = 0.0;
            }
        }
        progress.finish();
        Ok(Ended::Done)
    }

    /// One update of the weights; gives what was done, and the norm of all gradients before clipping: reading it waits for the device.
    fn update(
        &mut self,
        batches: &mut data::Batches,
        accumulate: u64,
    ) -> Result<(Step, Option<Tensor<1>>), Error> {
        let (number, per_epoch) = (self.state.step, self.per_epoch());
        let lr = self.recipe.schedule().lr(number, per_epoch);
        self.weights
            .set_locality(self.recipe.locality_in(self.state.epoch));
        let mut sum = Accumulator::default();
        let mut images = 0;
        for part in 0..accumulate {
            let Some(batch) = batches.next().transpose()? else {
                break;
            };
            let count = batch.labels.len();
            let pass = self.pass(count, number * accumulate + part);
            let gradient = gradient(&self.weights.fec, &batch, &self.recipe, &pass)?;
            if !gradient.loss.is_finite() {
                let first = batch
                    .indices
                    .first()
                    .and_then(|&i| self.split.train.get(i as usize));
                return Err(Error::Diverged {
                    step: number,
                    epoch: self.state.epoch,
                    loss: gradient.loss,
                    first_image: first.map_or_else(String::new, |s| s.path.display().to_string()),
                });
            }
            sum.add(&self.weights.fec, gradient, count);
            images += count as u64;
        }
        let (mut loss, mut grad_norm) = (0.0, None);
        if let Some(gradient) = sum.take() {
            loss = f64::from(gradient.loss);
            let (fec, norm) =
                self.weights
                    .optimizer
                    .step(lr, self.weights.fec.clone(), gradient.parameters);
            self.weights.fec = fec;
            grad_norm = norm;
            if let Some(average) = &mut self.weights.average {
                average.update(&self.weights.fec);
            }
        }
        self.state.step += 1;
        self.state.step_in_epoch += 1;
        self.state.epoch_loss_sum += loss * images as f64;
        self.state.epoch_images += images;
        let step = Step {
            epoch: self.state.epoch,
            step: self.state.step,
            loss,
            lr,
            images,
        };
        Ok((step, grad_norm))
    }

    /// How the batch `number` of so many images goes through the network.
    fn pass(&self, images: usize, number: u64) -> Pass {
        let recipe = &self.recipe;
        let blocks = self.weights.fec.blocks();
        let drop_path = (recipe.drop_path > 0.0)
            .then(|| DropPath::draw(recipe.drop_path, blocks, images, recipe.seed, number));
        Pass {
            drop_path,
            bf16: recipe.amp,
            pools: recipe.pools_in(self.state.epoch),
            further: self.further.clone(),
            ..Pass::default()
        }
    }

    /// Validates, writes the row and the checkpoint.
    fn end_epoch(&mut self, lr: f64, progress: &Progress, out: &mut Output) -> Result<(), Error> {
        let validation = self.validate()?;
        let top1 = validation.percent(1);
        // Of equal ones the later: it has seen more, at a lower rate. What came before the pools learnt is another network.
        let better = self.state.epoch == self.recipe.pool_start_epoch()
            || self.state.best.is_none_or(|best| top1 >= best.metric);
        if better {
            self.state.best = Some(Best {
                step: self.state.step,
                metric: top1,
            });
        }
        let row = EpochRow {
            epoch: self.state.epoch,
            step: self.state.step,
            train_loss: self.state.epoch_loss_sum / self.state.epoch_images.max(1) as f64,
            eval_loss: Some(validation.loss()),
            eval_top1: Some(top1),
            eval_top5: (self.split.classes.len() > 5).then(|| validation.percent(5)),
            lr,
            images_per_second: progress.images_per_second(),
            seconds: self.state.seconds,
        };
        self.run.log_epoch(&row)?;
        out.json(&row)?;
        progress.message(
            out,
            format_args!(
                "epoch {}: loss {:.3}, validation loss {:.3}, top-1 {top1:.2} %{}",
                row.epoch + 1,
                row.train_loss,
                validation.loss(),
                if better { ", best so far" } else { "" }
            ),
        );
        self.state.epoch += 1;
        self.state.step_in_epoch = 0;
        self.state.epoch_loss_sum = 0.0;
        self.state.epoch_images = 0;
        self.save()
    }

    fn save(&mut self) -> Result<(), Error> {
        let weights = &self.weights;
        self.run.save(&self.state, |folder| weights.save(folder))?;
        Ok(())
    }

    /// The weights as they are now, or their average where one is kept, on all validation images.
    fn validate(&self) -> Result<Validation, Error> {
        let fec = self.evaluated();
        let file = export::pack(
            fec,
            &self.recipe,
            &self.split.classes,
            &self.folder().name(),
        )?;
        Validation::run(&file, &self.val)
    }

    fn evaluated(&self) -> &Fec {
        self.weights
            .average
            .as_ref()
            .map_or(&self.weights.fec, |average| &average.fec)
    }
}

/// The best weights of a run, on the CPU, and its recipe.
///
/// # Errors
/// What reading the run's folder says.
pub fn best(folder: &Folder, out: &mut Output) -> Result<(Fec, Recipe), Error> {
    let recipe = recipe_of(folder, &[])?;
    let found = folder.best()?;
    found.notes.iter().for_each(|note| out.message(note));
    let fec = network(&recipe, folder.classes()?.len(), &Device::flex().autodiff())?;
    let mut weights = read_weights(&found.checkpoint.folder, fec, &recipe)?;
    // The best is always the end of an epoch.
    let epoch = found.checkpoint.state.epoch.saturating_sub(1);
    weights.set_locality(recipe.locality_in(epoch));
    Ok(match weights.average {
        Some(average) => (average.fec, recipe),
        None => (weights.fec, recipe),
    })
}

/// A run's recipe, with some options replaced.
fn recipe_of(folder: &Folder, overrides: &[String]) -> Result<Recipe, Error> {
    let file = folder.path().join(RECIPE);
    let name = file.display().to_string();
    Ok(Recipe::parse(&name, &folder.recipe()?, overrides)?)
}

/// A recipe's network with initial weights.
pub(crate) fn network(recipe: &Recipe, classes: usize, device: &Device) -> Result<Fec, Error> {
    let init = Init {
        seed: recipe.seed,
        layer_scale: recipe.layer_scale as f32,
    };
    Ok(Fec::new(&recipe.config(classes)?, init, device)?)
}

/// The side of a recipe's images as a size.
pub fn size(recipe: &Recipe) -> ImageSize {
    ImageSize {
        height: recipe.img_size,
        width: recipe.img_size,
    }
}

/// The gradient of a batch; a panic of the backend is an error.
pub(crate) fn gradient(
    fec: &Fec,
    batch: &data::Batch,
    recipe: &Recipe,
    pass: &Pass,
) -> Result<model::Gradient, Error> {
    let given = model::Batch {
        images: &batch.images,
        targets: &batch.targets,
        size: size(recipe),
    };
    let caught = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
        model::gradients(fec, given, pass)
    }));
    match caught {
        Ok(gradient) => Ok(gradient?),
        Err(panic) => Err(Error::Panicked {
            reason: said(panic.as_ref()),
        }),
    }
}

/// What a panic said, in one line.
fn said(panic: &(dyn core::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no reason given")
        .lines()
        .next()
        .unwrap_or_default()
        .to_string()
}

fn settings(recipe: &Recipe) -> Settings {
    Settings {
        weight_decay: recipe.weight_decay as f32,
        betas: (recipe.opt_betas[0] as f32, recipe.opt_betas[1] as f32),
        epsilon: recipe.opt_eps as f32,
        clip_grad: recipe.clip_grad,
    }
}

/// A network before its first step.
pub(crate) fn fresh(fec: Fec, recipe: &Recipe) -> Weights {
    Weights {
        optimizer: Optimizer::new(&fec, settings(recipe)),
        average: recipe
            .model_ema
            .then(|| Average::new(&fec, recipe.model_ema_decay)),
        fec,
    }
}

fn read_weights(folder: &Path, fec: Fec, recipe: &Recipe) -> Result<Weights, Error> {
    let decay = recipe.model_ema.then_some(recipe.model_ema_decay);
    Weights::load(folder, fec, settings(recipe), decay).map_err(|error| Error::Checkpoint {
        folder: folder.into(),
        reason: error.to_string(),
    })
}

/// Steps since the last row of metrics.
#[derive(Default)]
struct Recent {
    steps: u64,
    loss: f64,
    seconds: f64,
    images: u64,
}

impl Recent {
    fn add(&mut self, step: &Step, seconds: f64) {
        self.steps += 1;
        self.loss += step.loss;
        self.seconds += seconds;
        self.images += step.images;
    }

    fn row(&self, step: &Step, norm: Option<Tensor<1>>, seconds: f64) -> StepRow {
        StepRow {
            step: step.step,
            epoch: step.epoch,
            loss: self.loss / self.steps.max(1) as f64,
            lr: step.lr,
            grad_norm: norm.map(|norm| f64::from(norm.into_scalar::<f32>())),
            images_per_second: self.images as f64 / self.seconds.max(1e-9),
            seconds,
        }
    }
}
