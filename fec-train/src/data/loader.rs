//! Worker threads that make batches: the same batches in the same order, whatever the number of workers.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use fec::Photo;

use super::dataset::Dataset;
use super::error::Error;
use crate::augment::Augmentation;
use crate::augment::erase::Erasing;
use crate::augment::mix::{Mix, Mixing, targets};
use crate::random::{Keyed, Purpose};
use crate::recipe::Recipe;

/// Images and their targets, B of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Normalised pixels [B, H, W, 3].
    pub images: Vec<f32>,
    /// Soft targets [B, classes].
    pub targets: Vec<f32>,
    /// The images' own labels.
    pub labels: Vec<u32>,
    /// Their indices in the dataset.
    pub indices: Vec<u32>,
}

/// How batches of a dataset are made.
#[derive(Clone, Debug)]
pub struct Loader(Arc<Recipes>);

/// What the workers share.
#[derive(Debug)]
struct Recipes {
    dataset: Arc<Dataset>,
    batch_size: usize,
    classes: usize,
    workers: usize,
    seed: u64,
    side: usize,
    /// Normalised value of each 8-bit value, per channel.
    normalised: Box<[[f32; 256]; 3]>,
    /// `None`: the images as they are, in order.
    training: Option<Training>,
}

#[derive(Debug)]
struct Training {
    augmentation: Augmentation,
    erasing: Erasing,
    mixing: Mixing,
    smoothing: f32,
}

impl Loader {
    /// Augmented batches of full size in random order.
    pub fn train(dataset: Arc<Dataset>, recipe: &Recipe, classes: usize) -> Loader {
        let training = Training {
            augmentation: recipe.augmentation(),
            erasing: recipe.erasing(),
            mixing: recipe.mixing(),
            smoothing: recipe.smoothing as f32,
        };
        Loader::new(dataset, recipe, classes, recipe.batch_size, Some(training))
    }

    /// All images once, in order, with hard targets; the last batch may be smaller, and images that cannot be read are left out.
    pub fn eval(dataset: Arc<Dataset>, recipe: &Recipe, classes: usize) -> Loader {
        let batch_size = match recipe.validation_batch_size {
            0 => recipe.batch_size,
            size => size,
        };
        Loader::new(dataset, recipe, classes, batch_size, None)
    }

    fn new(
        dataset: Arc<Dataset>,
        recipe: &Recipe,
        classes: usize,
        batch_size: usize,
        training: Option<Training>,
    ) -> Loader {
        let (scale, offset) = recipe.preprocessing().scale_and_offset();
        let normalised = scale
            .into_iter()
            .zip(offset)
            .map(|(scale, offset)| core::array::from_fn(|value| value as f32 * scale + offset));
        let mut table = Box::new([[0.0; 256]; 3]);
        table
            .iter_mut()
            .zip(normalised)
            .for_each(|(to, values)| *to = values);
        Loader(Arc::new(Recipes {
            dataset,
            batch_size: batch_size.max(1),
            classes,
            workers: recipe.workers.max(1),
            seed: recipe.seed,
            side: recipe.img_size,
            normalised: table,
            training,
        }))
    }

    /// Batches of an epoch. In training what does not fill a batch is left out; a set smaller than a batch is repeated, in another order
    /// each time, until it fills one.
    pub fn steps_per_epoch(&self) -> u64 {
        let (images, size) = (self.0.dataset.len(), self.0.batch_size);
        let steps = match self.0.training {
            Some(_) => (images / size).max(1),
            None => images.div_ceil(size),
        };
        steps as u64
    }

    /// Starts workers for these steps, counted from the beginning of the run through all epochs. They end with the iterator.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn batches(&self, steps: Range<u64>) -> Result<Batches, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut batches = Batches {
            receivers: Vec::new(),
            threads: Vec::new(),
            stop: Arc::clone(&stop),
            next: steps.start,
            steps: steps.clone(),
        };
        let workers = (self.0.workers as u64).min(steps.end.saturating_sub(steps.start));
        for worker in 0..workers {
            let (sender, receiver) = sync_channel(1);
            let (recipes, stop) = (Arc::clone(&self.0), Arc::clone(&stop));
            let steps_per_epoch = self.steps_per_epoch();
            let mine = (steps.start + worker..steps.end).step_by(workers as usize);
            let work = move || {
                let mut order = Order::default();
                for step in mine {
                    let batch = recipes.batch(step, steps_per_epoch, &mut order, &stop);
                    if stop.load(Ordering::Relaxed) || sender.send(batch).is_err() {
                        return;
                    }
                }
            };
            let builder = std::thread::Builder::new().name(format!("loader-{worker}"));
            let thread = builder
                .spawn(work)
                .map_err(|source| Error::Threads { source })?;
            batches.threads.push(thread);
            batches.receivers.push(receiver);
        }
        Ok(batches)
    }
}

/// The images of an epoch in the order in which they come.
#[derive(Default)]
struct Order {
    epoch: Option<u64>,
    indices: Vec<u32>,
}

impl Recipes {
    /// The batch of a step of the run.
    fn batch(
        &self,
        step: u64,
        per_epoch: u64,
        order: &mut Order,
        stop: &AtomicBool,
    ) -> Result<Batch, Error> {
        let (epoch, step) = (step / per_epoch.max(1), step % per_epoch.max(1));
        if order.epoch != Some(epoch) {
            self.arrange(epoch, order);
        }
        let first = step as usize * self.batch_size;
        let image_len = self.side * self.side * 3;
        let mut batch = Batch {
            images: Vec::with_capacity(self.batch_size * image_len),
            ..Batch::default()
        };
        for (slot, &index) in order
            .indices
            .iter()
            .skip(first)
            .take(self.batch_size)
            .enumerate()
        {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let position = (first + slot) as u64;
            self.add(epoch, position, index as usize, &mut batch)?;
        }
        self.finish(epoch, step, first as u64, &mut batch);
        Ok(batch)
    }

    /// The order of an epoch.
    fn arrange(&self, epoch: u64, order: &mut Order) {
        let images = self.dataset.len();
        order.epoch = Some(epoch);
        order.indices = (0..images as u32).collect();
        if self.training.is_none() || images == 0 {
            return;
        }
        Keyed::new(self.seed, Purpose::Shuffle, epoch, 0).shuffle(&mut order.indices);
        let mut round = 0;
        while order.indices.len() < self.batch_size {
            round += 1;
            let mut more: Vec<u32> = (0..images as u32).collect();
            Keyed::new(self.seed, Purpose::Shuffle, epoch, round).shuffle(&mut more);
            order.indices.extend(more);
        }
    }

    /// Adds the image at a position of the epoch. In training one that cannot be read is replaced by the next that can.
    fn add(&self, epoch: u64, position: u64, index: usize, batch: &mut Batch) -> Result<(), Error> {
        let Some(training) = &self.training else {
            if let Some(photo) = self.dataset.photo(index) {
                self.push(index, &photo, batch);
            }
            return Ok(());
        };
        let images = self.dataset.len();
        let candidates = (index..images).chain(0..index);
        let readable = |i: usize| Some((i, self.dataset.photo(i)?));
        let Some((index, photo)) = candidates.into_iter().find_map(readable) else {
            return Err(self.nothing_readable());
        };
        let mut random = Keyed::new(self.seed, Purpose::Augment, epoch, position);
        let drawn = training
            .augmentation
            .draw(&mut random, (photo.height, photo.width));
        self.push(index, &training.augmentation.apply(&photo, &drawn), batch);
        Ok(())
    }

    fn nothing_readable(&self) -> Error {
        let first = self.dataset.unreadable().into_iter().next();
        Error::NothingReadable {
            images: self.dataset.len(),
            first: first.map_or_else(String::new, |u| u.reason),
        }
    }

    /// Normalises a photo of the network's size into the batch.
    fn push(&self, index: usize, photo: &Photo, batch: &mut Batch) {
        let [red, green, blue] = &*self.normalised;
        let (pixels, _) = photo.pixels.as_chunks::<3>();
        let values = pixels.iter().flat_map(|&[r, g, b]| {
            [
                red[usize::from(r)],
                green[usize::from(g)],
                blue[usize::from(b)],
            ]
        });
        batch.images.extend(values);
        batch.indices.push(index as u32);
        let class = self.dataset.samples().get(index).map_or(0, |s| s.class);
        batch.labels.push(class);
    }

    /// Mixes, makes the targets, erases.
    fn finish(&self, epoch: u64, step: u64, first: u64, batch: &mut Batch) {
        let Some(training) = &self.training else {
            batch.targets = targets(&batch.labels, self.classes, 0.0, 1.0);
            return;
        };
        let image_len = self.side * self.side * 3;
        let mut random = Keyed::new(self.seed, Purpose::Mix, epoch, step);
        let mix = training
            .mixing
            .draw(&mut random, epoch, self.side, self.side);
        if mix != Mix::None {
            mix.apply(&mut batch.images, image_len, self.side);
        }
        batch.targets = targets(&batch.labels, self.classes, training.smoothing, mix.keep());
        if training.erasing.probability > 0.0 {
            for (slot, image) in batch.images.chunks_exact_mut(image_len).enumerate() {
                let mut random = Keyed::new(self.seed, Purpose::Erase, epoch, first + slot as u64);
                for region in training.erasing.draw(&mut random, self.side, self.side) {
                    training
                        .erasing
                        .erase(image, self.side, region, &mut random);
                }
            }
        }
    }
}

/// Batches in order, each made by one of the workers while the ones before are used: at most two a worker are held.
#[derive(Debug)]
pub struct Batches {
    receivers: Vec<Receiver<Result<Batch, Error>>>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    steps: Range<u64>,
    next: u64,
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next >= self.steps.end {
                return None;
            }
            let worker = (self.next - self.steps.start) as usize % self.receivers.len().max(1);
            self.next += 1;
            let received = self.receivers.get(worker).map(Receiver::recv);
            let batch = match received {
                Some(Ok(batch)) => batch,
                _ => Err(Error::WorkerLost),
            };
            match batch {
                // All images of a batch may have been unreadable.
                Ok(batch) if batch.labels.is_empty() => {}
                Ok(batch) => return Some(Ok(batch)),
                Err(error) => {
                    self.next = self.steps.end;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Workers that wait to hand over a batch end when nobody can receive it.
        self.receivers.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
