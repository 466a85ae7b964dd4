//! The subcommands, a file each: `Args`, and `run`, which writes to an [`Output`].

pub(crate) mod bench;
pub(crate) mod classify;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod map;
mod profile;
pub(crate) mod sibling;
pub(crate) mod trace;
pub(crate) mod verify;

use std::path::{Path, PathBuf};

use fec::Error;
use fec::classifier::label;
use fec::image::{Orientation, Photo};
use fec::model_file::ModelFile;
pub(crate) use fec::preprocess::parse_size;
use fec_runtime::Model;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;

/// Options of every subcommand.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Model file; the embedded default model without it, `-` for standard input
    #[arg(short, long, value_name = "FILE", global = true)]
    pub(crate) model: Option<PathBuf>,
    /// One JSON object a line on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Do not turn photos as their EXIF orientation says
    #[arg(long, global = true)]
    pub(crate) ignore_orientation: bool,
}

impl Common {
    pub(crate) fn model_file(&self) -> Result<ModelFile, Error> {
        model_file(self.model.as_deref())
    }

    pub(crate) fn open_photo(&self, path: &Path) -> Result<Photo, Error> {
        Photo::open(path, self.orientation())
    }

    pub(crate) fn orientation(&self) -> Orientation {
        if self.ignore_orientation {
            Orientation::Ignore
        } else {
            Orientation::Apply
        }
    }
}

/// The model file at `path`, or the default one.
pub(crate) fn model_file(path: Option<&Path>) -> Result<ModelFile, Error> {
    path.map_or_else(|| Ok(ModelFile::embedded()), ModelFile::open)
}

/// A class with its share of the softmax.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ranked {
    pub(crate) class: usize,
    pub(crate) label: String,
    pub(crate) probability: f32,
}

/// The `top` most probable classes, best first; of equal logits the lower class comes first.
pub(crate) fn ranked(
    output: &fec_runtime::Output<'_>,
    labels: &[String],
    top: usize,
) -> Vec<Ranked> {
    let logits = output.logits();
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    classes.truncate(top);
    let ranked = |class| Ranked {
        class,
        label: label(labels, class),
        probability: output.probability(class).unwrap_or(0.0),
    };
    classes.into_iter().map(ranked).collect()
}

/// The model's labels.
pub(crate) fn labels(model: &Model<'_>) -> Vec<String> {
    model.labels().map(str::to_string).collect()
}

/// Refuses dense models where classes are needed.
pub(crate) fn needs_classes(model: &Model<'_>, file: &ModelFile) -> Result<(), Error> {
    if model.config().dense {
        Err(Error::NoClasses {
            model: file.name().to_string(),
        })
    } else {
        Ok(())
    }
}

/// A pool of so many threads. They sleep when there is nothing to do, and end with the pool.
fn pool(threads: usize) -> Result<rayon::ThreadPool, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| Error::Threads {
        reason: error.to_string(),
    })
}

/// Does `work` in a pool of so many threads, which an image's parts are then shared among; one thread is this one.
pub(crate) fn within<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    if threads <= 1 {
        return Ok(work());
    }
    Ok(pool(threads)?.install(work))
}

/// Does `work` on every item, on `threads` threads, and hands the results on in order. At most a few items per thread are held at a
/// time, so that memory does not grow with their number. `state` makes what one thread needs, for images on so many threads: a single
/// item has them all.
pub(crate) fn in_order<I: Sync, S: Send, T: Send>(
    items: &[I],
    threads: Option<u16>,
    state: impl Fn(usize) -> Result<S, Error> + Sync,
    work: impl Fn(&mut S, &I) -> Result<T, Error> + Sync,
    mut each: impl FnMut(&I, Result<T, Error>) -> Result<(), Error>,
) -> Result<(), Error> {
    const ITEMS_PER_THREAD: usize = 32;
    /// Within an image, unless more are asked for: starting more would cost what they save.
    const THREADS_WITHIN: usize = 8;
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    if let [item] = items {
        let threads = threads.map_or_else(|| cores().min(THREADS_WITHIN), usize::from);
        let mut state = state(threads)?;
        return each(item, within(threads, || work(&mut state, item))?);
    }
    let threads = threads.map_or_else(cores, usize::from).min(items.len());
    if threads <= 1 {
        let mut state = state(1)?;
        return items
            .iter()
            .try_for_each(|item| each(item, work(&mut state, item)));
    }
    let pool = pool(threads)?;
    let state = || state(1);
    // A state that could not be made is tried again for each item, which then gets the error.
    let work = |made: &mut Result<S, Error>, item: &I| match made {
        Ok(state) => work(state, item),
        Err(_) => work(&mut state()?, item),
    };
    for items in items.chunks(threads * ITEMS_PER_THREAD) {
        let results: Vec<Result<T, Error>> =
            pool.install(|| items.par_iter().map_init(&state, work).collect());
        items
            .iter()
            .zip(results)
            .try_for_each(|(item, result)| each(item, result))?;
    }
    Ok(())
}

/// Milliseconds, for people and JSON.
pub(crate) fn milliseconds(duration: core::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
