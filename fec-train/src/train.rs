//! Training: from a recipe, or from a run that was stopped, to the end of the run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use fec::output::{Output, Progress as Bar};
use fec_runtime::ImageSize;

use crate::data::{self, Budget, Dataset, Loader, Split};
use crate::interrupt::Interrupt;
use crate::model::{self, DropPath, Fec, Init, Pass};
use crate::optim::{Accumulator, Average, Optimizer, Settings, State as Weights};
use crate::progress::{Plan, Progress, Step};
use crate::recipe::Recipe;
use crate::run::{Best, EpochRow, Folder, Name, Start, State, StepRow, Training};
use crate::validate::Validation;
use crate::{Error, device, export};

/// Metrics of steps are written this often, in steps.
const LOG_EVERY: u64 = 20;
/// Within long epochs a checkpoint is written this often, in seconds.
const CHECKPOINT_EVERY: f64 = 600.0;
/// File in the run's folder that says which images there were.
const FINGERPRINT: &str = "images.txt";
/// The split of a folder that has none of its own.
pub const SPLIT: &str = "split.csv";

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

/// The images of a recipe: split, datasets, and what reading all of them found.
struct Images {
    split: Split,
    train: Arc<Dataset>,
    val: Arc<Dataset>,
    found: data::Report,
}

impl Images {
    fn open(recipe: &Recipe, split_file: &Path, out: &mut Output) -> Result<Self, Error> {
        let folder = recipe.data_folder()?;
        let split = Split::open(folder, recipe.val_split, recipe.seed, split_file)?;
        let budget = Budget::megabytes(recipe.cache);
        // Validation comes first: it is smaller, and needs the same images at every epoch.
        let val = Arc::new(Dataset::eval(split.val.clone(), recipe, &budget));
        let train = Arc::new(Dataset::train(split.train.clone(), recipe, &budget));
        let total = (train.len() + val.len()) as u64;
        let mut bar: Bar = out.progress("images read", total);
        let mut shown = 0;
        let threads = rayon::current_num_threads();
        let found = data::check(&split, &train, &val, recipe.img_size, threads, |done, _| {
            bar.advance(out, (done as u64).saturating_sub(shown));
            shown = done as u64;
        })?;
        bar.finish();
        Ok(Self {
            split,
            train,
            val,
            found,
        })
    }
}

impl Trainer {
    /// Begins a run in a new folder below `runs`.
    ///
    /// # Errors
    /// One line for whatever is wrong with recipe, images, weights, device or disk; then no run is left.
    pub fn begin(
        mut recipe: Recipe,
        runs: &Path,
        name: Option<&str>,
        out: &mut Output,
    ) -> Result<Self, Error> {
        let (device, device_name) = device::open(&recipe.device)?;
        let scratch = tempfile::tempdir().map_err(|source| {
            Error::Host(fec::Error::Write {
                path: std::env::temp_dir(),
                source,
            })
        })?;
        let split_file = scratch.path().join(SPLIT);
        let images = Images::open(&recipe, &split_file, out)?;
        let split_text = std::fs::read_to_string(&split_file).unwrap_or_default();
        for line in images.split.notes.iter().chain(&images.found.lines()) {
            out.message(line);
        }
        let config = recipe.config(images.split.classes.len())?;
        let init = Init {
            seed: recipe.seed,
            layer_scale: recipe.layer_scale as f32,
        };
        let fec = Fec::new(&config, init, &device)?;
        fec.config().check_size(size(&recipe))?;
        let (fec, begun_from) = export::initialise(fec, &recipe.initial_checkpoint)?;
        out.message(format_args!("starting from {begun_from}, on {device_name}"));
        let weights = fresh(fec, &recipe);
        let loader = Loader::train(images.train, &recipe, images.split.classes.len());
        if recipe.max_minutes > 0.0 {
            shorten(
                &mut recipe,
                &weights,
                &loader,
                &images.val,
                &images.split,
                out,
            )?;
        }
        let name = match name {
            Some(name) => Name::Given(name),
            None => Name::Auto {
                model: &recipe.model,
                size: recipe.img_size,
            },
        };
        let start = Start {
            recipe: &recipe.to_toml(),
            split: &split_text,
            classes: &images.split.classes,
        };
        let run = Training::create(runs, name, &start)?;
        let about = format!("{:016x}\n{begun_from}\n", images.split.fingerprint());
        run.folder().write(FINGERPRINT, about.as_bytes())?;
        Ok(Self {
            recipe,
            split: images.split,
            found: images.found,
            val: images.val,
            begun_from,
            loader,
            weights,
            state: State::start(),
            run,
        })
    }

    /// Goes on with a run that was stopped.
    ///
    /// # Errors
    /// One line for whatever is wrong with the run, its images or the device.
    pub fn resume(folder: Folder, device: Option<&str>, out: &mut Output) -> Result<Self, Error> {
        let path = folder.path().to_path_buf();
        let overrides: Vec<String> = device.map(|d| format!("device={d}")).into_iter().collect();
        let file = path.join("recipe.toml");
        let recipe = Recipe::parse(&file.display().to_string(), &folder.recipe()?, &overrides)?;
        let (device, _) = device::open(&recipe.device)?;
        let (run, found) = Training::resume(folder)?;
        let images = Images::open(&recipe, &path.join(SPLIT), out)?;
        let about = std::fs::read_to_string(path.join(FINGERPRINT)).unwrap_or_default();
        let mut about = about.lines();
        let same = about.next() == Some(&format!("{:016x}", images.split.fingerprint()));
        if !same || images.split.classes != run.folder().classes()? {
            return Err(Error::DataChanged { folder: path });
        }
        let begun_from = about.next().unwrap_or_default().to_string();
        let config = recipe.config(images.split.classes.len())?;
        let init = Init {
            seed: recipe.seed,
            layer_scale: recipe.layer_scale as f32,
        };
        let fec = Fec::new(&config, init, &device)?;
        let (weights, state) = match found {
            None => {
                let (fec, _) = export::initialise(fec, &recipe.initial_checkpoint)?;
                (fresh(fec, &recipe), State::start())
            }
            Some(found) => {
                found.notes.iter().for_each(|note| out.message(note));
                let checkpoint = found.checkpoint;
                let weights = read_weights(&checkpoint.folder, fec, &recipe)?;
                out.message(format_args!(
                    "going on at step {}, epoch {}",
                    checkpoint.state.step, checkpoint.state.epoch
                ));
                (weights, checkpoint.state)
            }
        };
        let loader = Loader::train(images.train, &recipe, images.split.classes.len());
        Ok(Self {
            recipe,
            split: images.split,
            found: images.found,
            val: images.val,
            begun_from,
            loader,
            weights,
            state,
            run,
        })
    }

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
        updates(&self.recipe, &self.loader)
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
        let mut progress = Progress::new(Plan {
            epochs: self.recipe.schedule().total_epochs(),
            steps: total,
            done: self.state.step,
        });
        let (mut clock, mut since_save) = (Instant::now(), 0.0);
        let mut recent = Recent::default();
        while self.state.step < total {
            if interrupt.pressed() {
                self.save()?;
                progress.finish();
                return Ok(Ended::Interrupted);
            }
            let (step, images) = self.update(&mut batches, accumulate)?;
            let seconds = clock.elapsed().as_secs_f64();
            clock = Instant::now();
            self.state.seconds += seconds;
            since_save += seconds;
            progress.step(out, &step);
            recent.add(&step, seconds, images);
            if step.step % LOG_EVERY == 0 || self.state.step_in_epoch == self.per_epoch() {
                self.run.log_step(&recent.row(&step, self.state.seconds))?;
                recent = Recent::default();
            }
            if self.state.step_in_epoch == self.per_epoch() {
                self.end_epoch(step.lr, progress.images_per_second(), &progress, out)?;
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

    /// One update of the weights; gives what was done, and the norm of the gradients.
    fn update(
        &mut self,
        batches: &mut data::Batches,
        accumulate: u64,
    ) -> Result<(Step, u64), Error> {
        let (number, per_epoch) = (self.state.step, self.per_epoch());
        let lr = self.recipe.schedule().lr(number, per_epoch);
        let mut sum = Accumulator::default();
        let mut images = 0;
        for part in 0..accumulate {
            let Some(batch) = batches.next().transpose()? else {
                break;
            };
            let count = batch.labels.len();
            let pass = Pass {
                drop_path: (self.recipe.drop_path > 0.0).then(|| {
                    DropPath::draw(
                        self.recipe.drop_path,
                        self.weights.fec.blocks(),
                        count,
                        self.recipe.seed,
                        number * accumulate + part,
                    )
                }),
                bf16: self.recipe.amp,
                pools: self.recipe.pools(),
                ..Pass::default()
            };
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
        let mut loss = 0.0;
        if let Some(gradient) = sum.take() {
            loss = f64::from(gradient.loss);
            let (fec, _) =
                self.weights
                    .optimizer
                    .step(lr, self.weights.fec.clone(), gradient.parameters);
            self.weights.fec = fec;
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
        Ok((step, images))
    }

    /// Validates, writes the row and the checkpoint.
    fn end_epoch(
        &mut self,
        lr: f64,
        images_per_second: f64,
        progress: &Progress,
        out: &mut Output,
    ) -> Result<(), Error> {
        let validation = self.validate()?;
        let top1 = validation.percent(1);
        // Of equal ones the later: it has seen more, at a lower rate.
        let better = self.state.best.is_none_or(|best| top1 >= best.metric);
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
            images_per_second,
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
    let file: PathBuf = folder.path().join("recipe.toml");
    let recipe = Recipe::parse(
        &file.display().to_string(),
        &folder.recipe()?,
        &[] as &[&str],
    )?;
    let config = recipe.config(folder.classes()?.len())?;
    let found = folder.best()?;
    found.notes.iter().for_each(|note| out.message(note));
    let fec = Fec::new(&config, Init::default(), &Device::flex().autodiff())?;
    let weights = read_weights(&found.checkpoint.folder, fec, &recipe)?;
    Ok(match weights.average {
        Some(average) => (average.fec, recipe),
        None => (weights.fec, recipe),
    })
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

fn updates(recipe: &Recipe, loader: &Loader) -> u64 {
    (loader.steps_per_epoch() / recipe.grad_accum_steps.max(1) as u64).max(1)
}

/// Of the minutes given, what stays for training itself: reading photos is done, the report comes after.
const USABLE: f64 = 0.9;
/// Seconds that the speed is measured for.
const MEASURED: f64 = 4.0;

/// Measures the speed and takes as many epochs as fit the minutes given; the recipe that is saved has them, so that the run can be
/// resumed and repeated exactly.
fn shorten(
    recipe: &mut Recipe,
    weights: &Weights,
    loader: &Loader,
    val: &Dataset,
    split: &Split,
    out: &mut Output,
) -> Result<(), Error> {
    let started = Instant::now();
    let file = export::pack(&weights.fec, recipe, &split.classes, "speed")?;
    Validation::run(&file, val)?;
    let validation = started.elapsed().as_secs_f64();
    let mut trial = weights.clone();
    let (mut steps, mut clock) = (0u32, Instant::now());
    for (i, batch) in loader.batches(0..1000)?.enumerate() {
        let gradient = gradient(&trial.fec, &batch?, recipe, &Pass::default())?;
        let (fec, _) = trial
            .optimizer
            .step(0.0, trial.fec.clone(), gradient.parameters);
        trial.fec = fec;
        if i == 0 {
            // The first one warms caches up.
            clock = Instant::now();
            continue;
        }
        steps += 1;
        if clock.elapsed().as_secs_f64() > MEASURED {
            break;
        }
    }
    let step = clock.elapsed().as_secs_f64() / f64::from(steps.max(1));
    let epoch = step * loader.steps_per_epoch() as f64 + validation;
    let fit = (recipe.max_minutes * 60.0 * USABLE / epoch) as u64;
    let given = recipe.epochs;
    let extra = recipe.schedule().total_epochs() - given;
    recipe.epochs = given.min(fit.saturating_sub(extra)).max(1);
    recipe.warmup_epochs = recipe.warmup_epochs.min(recipe.epochs / 4);
    out.message(format_args!(
        "{:.2} s an epoch: {} of {given} epochs fit {} minutes",
        epoch, recipe.epochs, recipe.max_minutes
    ));
    recipe.max_minutes = 0.0;
    Ok(())
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
    fn add(&mut self, step: &Step, seconds: f64, images: u64) {
        self.steps += 1;
        self.loss += step.loss;
        self.seconds += seconds;
        self.images += images;
    }

    fn row(&self, step: &Step, seconds: f64) -> StepRow {
        StepRow {
            step: step.step,
            epoch: step.epoch,
            loss: self.loss / self.steps.max(1) as f64,
            lr: step.lr,
            grad_norm: None,
            images_per_second: self.images as f64 / self.seconds.max(1e-9),
            seconds,
        }
    }
}
