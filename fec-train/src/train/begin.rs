//! Everything before the first step: images, network, weights and the run's folder; for a new run, and for one that goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fec::output::{Output, Progress as Bar};

use super::{SPLIT, Trainer, Weights, fresh, gradient, network, read_weights, recipe_of, size};
use crate::data::{self, Budget, Dataset, Loader, Split};
use crate::model::Pass;
use crate::recipe::Recipe;
use crate::run::{Folder, Name, Start, State, Training};
use crate::validate::Validation;
use crate::{Error, device, export};

/// The images of a recipe: split, datasets, and what reading all of them found.
pub(crate) struct Images {
    split: Split,
    train: Arc<Dataset>,
    val: Arc<Dataset>,
    found: data::Report,
}

impl Images {
    /// Those of a run that is not there yet, and the split as text, where the folder has none of its own.
    pub(crate) fn unsplit(recipe: &Recipe, out: &mut Output) -> Result<(Self, String), Error> {
        let scratch = tempfile::tempdir().map_err(|source| {
            Error::Host(fec::Error::Write {
                path: std::env::temp_dir(),
                source,
            })
        })?;
        let split_file = scratch.path().join(SPLIT);
        let images = Self::open(recipe, &split_file, out)?;
        let split = std::fs::read_to_string(&split_file).unwrap_or_default();
        Ok((images, split))
    }

    /// What is to be said of them, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let notes = self.split.notes.iter().cloned();
        notes.chain(self.found.lines()).collect()
    }

    /// What all of them take in memory when they are decoded and kept.
    pub(crate) fn decoded_bytes(&self) -> u64 {
        self.found.decoded_bytes
    }

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
        let place = device::open(&recipe.device)?;
        let (images, split_text) = Images::unsplit(&recipe, out)?;
        images.lines().iter().for_each(|line| out.message(line));
        let fec = network(&recipe, images.split.classes.len(), &place.device)?;
        fec.config().check_size(size(&recipe))?;
        let (fec, begun_from) = export::initialise(fec, &recipe.initial_checkpoint)?;
        out.message(format_args!(
            "starting from {begun_from}, on {}",
            place.name
        ));
        let weights = fresh(fec, &recipe);
        let loader = Loader::train(
            Arc::clone(&images.train),
            &recipe,
            images.split.classes.len(),
        );
        if recipe.max_minutes > 0.0 {
            let pass = Pass {
                // The most that a step costs.
                pools: recipe.pools_in(u64::MAX),
                further: place.further.clone(),
                ..Pass::default()
            };
            shorten(&mut recipe, &weights, &loader, &images, &pass, out)?;
        }
        let name = match name {
            Some(name) => Name::Given(name),
            None => Name::Auto {
                model: &recipe.model,
                size: recipe.img_size,
            },
        };
        let about = format!("{:016x}\n{begun_from}\n", images.split.fingerprint());
        let start = Start {
            recipe: &recipe.to_toml(),
            split: &split_text,
            images: &about,
            classes: &images.split.classes,
        };
        let run = Training::create(runs, name, &start)?;
        Ok(Self {
            recipe,
            split: images.split,
            found: images.found,
            val: images.val,
            begun_from,
            loader,
            further: place.further,
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
        let recipe = recipe_of(&folder, &overrides)?;
        let place = device::open(&recipe.device)?;
        let (run, found) = Training::resume(folder)?;
        let images = Images::open(&recipe, &path.join(SPLIT), out)?;
        let about = run.folder().images()?;
        let mut about = about.lines();
        let same = about.next() == Some(&format!("{:016x}", images.split.fingerprint()));
        if !same || images.split.classes != run.folder().classes()? {
            return Err(Error::DataChanged { folder: path });
        }
        let begun_from = about.next().unwrap_or_default().to_string();
        let fec = network(&recipe, images.split.classes.len(), &place.device)?;
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
            further: place.further,
            weights,
            state,
            run,
        })
    }
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
    images: &Images,
    pass: &Pass,
    out: &mut Output,
) -> Result<(), Error> {
    let started = Instant::now();
    let file = export::pack(&weights.fec, recipe, &images.split.classes, "speed")?;
    Validation::run(&file, &images.val)?;
    let validation = started.elapsed().as_secs_f64();
    let mut trial = weights.clone();
    let (mut steps, mut clock) = (0u32, Instant::now());
    for (i, batch) in loader.batches(0..1000)?.enumerate() {
        let gradient = gradient(&trial.fec, &batch?, recipe, pass)?;
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
