//! Photos through a model: brought to its size as its file says, then run in one arena that is used again and again.

use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use fec_runtime::kernels::Kernels;
use fec_runtime::{AlignedBytes, Image, ImageSize, Model, Output, Plan, Probe, Session};

use crate::error::Error;
use crate::image::{Orientation, Photo, read_file};
use crate::preprocess::{self, Preprocessing, Resizer};
use crate::stream;

/// A model made ready for images of one size.
#[derive(Debug)]
pub struct Classifier<'m> {
    model: &'m Model<'m>,
    plan: Plan,
    kernels: &'static Kernels,
    arena: AlignedBytes,
    preprocessing: Preprocessing,
    resizer: Resizer,
    input: Photo,
}

/// How long the parts of a run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Reading a file and decoding it.
    pub decode: Duration,
    /// Resize and crop.
    pub preprocess: Duration,
    /// The network.
    pub network: Duration,
}

impl<'m> Classifier<'m> {
    /// A classifier for the model's own input size, or for another one.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the network does not take the size.
    pub fn new(
        model: &'m Model<'m>,
        size: Option<ImageSize>,
        kernels: &'static Kernels,
    ) -> Result<Self, Error> {
        let mut preprocessing = model.preprocessing();
        preprocessing.size = size.unwrap_or(preprocessing.size);
        let plan = model.plan(preprocessing.size)?;
        let arena = AlignedBytes::zeroed(plan.arena_len());
        Ok(Self {
            model,
            plan,
            kernels,
            arena,
            preprocessing,
            resizer: Resizer::default(),
            input: Photo::default(),
        })
    }

    /// The same, with each image's work cut into parts for so many threads, 1 to 256: those of the rayon pool that it is run in.
    /// Results do not depend on it.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the arena would become too large.
    pub fn with_threads(mut self, threads: usize) -> Result<Self, Error> {
        if threads != self.plan.threads() {
            self.plan = self.plan.with_threads(threads)?;
            self.arena = AlignedBytes::zeroed(self.plan.arena_len());
        }
        Ok(self)
    }

    /// The plan of its runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Classifies a photo: resize and centre crop as the model's file says (SPEC 10), then the network. `read` gets the results.
    ///
    /// # Errors
    /// [`Error::Runtime`]; none is expected once the classifier was made.
    pub fn classify<R>(
        &mut self,
        photo: &Photo,
        read: impl FnOnce(&Output<'_>) -> R,
    ) -> Result<(R, Times), Error> {
        let started = Instant::now();
        preprocess::apply_into(
            &self.preprocessing,
            photo,
            &mut self.resizer,
            &mut self.input,
        );
        let preprocess = started.elapsed();
        let (result, network) = self.run_input(read)?;
        let times = Times {
            decode: Duration::ZERO,
            preprocess,
            network,
        };
        Ok((result, times))
    }

    /// Classifies an image file, or standard input for `-`: what [`Photo::open`] and [`Classifier::classify`] give, without holding the
    /// whole photo where its format allows that.
    ///
    /// # Errors
    /// Those of [`Photo::open`]; [`Error::Runtime`].
    pub fn classify_file<R>(
        &mut self,
        path: &Path,
        orientation: Orientation,
        read: impl FnOnce(&Output<'_>) -> R,
    ) -> Result<(R, Times), Error> {
        let started = Instant::now();
        let bytes = read_file(path)?;
        let reading = started.elapsed();
        let parts = stream::load(
            path,
            &bytes,
            orientation,
            &self.preprocessing,
            &mut self.resizer,
            &mut self.input,
        )?;
        // The file is not held while the network runs.
        drop(bytes);
        let (result, network) = self.run_input(read)?;
        let times = Times {
            decode: reading + parts.decode,
            preprocess: parts.preprocess,
            network,
        };
        Ok((result, times))
    }

    /// Runs the network on the prepared input.
    fn run_input<R>(
        &mut self,
        read: impl FnOnce(&Output<'_>) -> R,
    ) -> Result<(R, Duration), Error> {
        let input = core::mem::take(&mut self.input);
        let started = Instant::now();
        let result = self.run(&input, &mut (), read);
        self.input = input;
        Ok((result?, started.elapsed()))
    }

    /// Runs the network on an image that has the plan's size already, under a probe's eyes.
    ///
    /// # Errors
    /// [`Error::Runtime`] for an image of another size.
    pub fn run<R>(
        &mut self,
        input: &Photo,
        probe: &mut impl Probe,
        read: impl FnOnce(&Output<'_>) -> R,
    ) -> Result<R, Error> {
        let size = ImageSize {
            height: input.height,
            width: input.width,
        };
        self.run_image(&Image::rgb8(&input.pixels, size)?, probe, read)
    }

    /// Runs the network on any image of the runtime.
    ///
    /// # Errors
    /// [`Error::Runtime`] for an image of another size.
    pub fn run_image<R>(
        &mut self,
        image: &Image<'_>,
        probe: &mut impl Probe,
        read: impl FnOnce(&Output<'_>) -> R,
    ) -> Result<R, Error> {
        let mut session = Session::with_kernels(
            self.model,
            self.plan,
            self.arena.as_bytes_mut(),
            self.kernels,
        )?;
        Ok(read(&session.run_with(image, probe)?))
    }
}

/// The label of a class, or its number where the model has no labels.
pub fn label(labels: &[String], class: usize) -> String {
    labels
        .get(class)
        .cloned()
        .unwrap_or_else(|| class.to_string())
}
