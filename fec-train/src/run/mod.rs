//! Runs: a folder each, which is never overwritten and can be read at any moment, whatever has happened to the process that writes it.
//!
//! `recipe.toml`, `split.csv`, `images.txt` and `classes.txt` are written at the beginning and stay; `metrics.jsonl` and `summary.csv` grow;
//! `checkpoints/step-N` come and go; `last` and `best` name two of them. A checkpoint's step is the one truth: on `resume` rows of
//! metrics and checkpoints beyond it are removed, so that the run goes on as if it had never gone further.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

mod checkpoint;
mod error;
mod files;
mod lock;
mod metrics;
mod name;

pub use checkpoint::{Best, Checkpoint, FORMAT, State};
pub use error::Error;
pub use metrics::{EpochRow, Rows, StepRow};
pub use name::Name;

use checkpoint::Unusable;
use lock::Lock;
use metrics::Metrics;

/// The recipe's file.
pub const RECIPE: &str = "recipe.toml";
/// The split's file.
pub const SPLIT: &str = "split.csv";
/// The file that says which images there were.
const IMAGES: &str = "images.txt";
const CLASSES: &str = "classes.txt";
const CHECKPOINTS: &str = "checkpoints";
const LAST: &str = "last";
const BEST: &str = "best";
/// Newest checkpoints that are kept beside the best one, where nothing else is said.
const KEEP: usize = 2;

/// What a run is begun with.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The whole recipe, in TOML.
    pub recipe: &'a str,
    /// Which images are trained on and which are validated on.
    pub split: &'a str,
    /// What tells the same images again, and what the weights began as, a line each.
    pub images: &'a str,
    /// Names of the classes by index.
    pub classes: &'a [String],
}

/// A run, to read.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// A checkpoint and what was found on the way to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The checkpoint; all its files are as they were written.
    pub checkpoint: Checkpoint,
    /// What the user should know, a line each: newer checkpoints that are damaged.
    pub notes: Vec<String>,
}

/// A run, to train: no other process trains into it as long as this value lives.
#[derive(Debug)]
pub struct Training {
    folder: Folder,
    metrics: Metrics,
    keep: usize,
    /// Step of the last checkpoint.
    step: u64,
    _lock: Lock,
}

impl Folder {
    /// The run in that folder.
    ///
    /// # Errors
    /// [`Error::NotARun`] where the files are missing that every run begins with.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let found = fs::metadata(&path).map_err(|e| Error::reading(&path, e))?;
        if !found.is_dir() {
            return Err(fec::Error::NotAFolder { path }.into());
        }
        // Classes are written last of them.
        if let Some(missing) = [RECIPE, SPLIT, IMAGES, CLASSES]
            .into_iter()
            .find(|name| !path.join(name).is_file())
        {
            let folder = path;
            return Err(Error::NotARun { folder, missing });
        }
        Ok(Self { path })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name: that of the folder.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The recipe, in TOML.
    pub fn recipe(&self) -> Result<String, Error> {
        files::read_text(&self.path.join(RECIPE))
    }

    /// Which images are trained on and which are validated on, as it was given to [`Training::create`].
    pub fn split(&self) -> Result<String, Error> {
        files::read_text(&self.path.join(SPLIT))
    }

    /// What tells the same images again, and what the weights began as, as it was given to [`Training::create`].
    pub fn images(&self) -> Result<String, Error> {
        files::read_text(&self.path.join(IMAGES))
    }

    /// Names of the classes by index.
    pub fn classes(&self) -> Result<Vec<String>, Error> {
        let text = files::read_text(&self.path.join(CLASSES))?;
        Ok(text.lines().map(str::to_string).collect())
    }

    /// All rows of metrics so far.
    pub fn rows(&self) -> Result<Rows, Error> {
        Rows::read(&self.path)
    }

    /// The newest checkpoint that is whole.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] where there is none yet, [`Error::Damaged`] where not one of them is whole.
    pub fn last(&self) -> Result<Found, Error> {
        let mut notes = Vec::new();
        let mut reasons = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match self.whole(step)? {
                Ok(checkpoint) => {
                    notes.extend(
                        reasons.into_iter().map(|reason| {
                            format!("checkpoint {reason}; taking that of step {step}")
                        }),
                    );
                    return Ok(Found { checkpoint, notes });
                }
                Err(reason) => reasons.push(format!("of step {step} is damaged: {reason}")),
            }
        }
        let folder = self.path.clone();
        Err(match reasons.into_iter().next() {
            Some(reason) => Error::Damaged {
                folder,
                reason: format!("that {reason}"),
            },
            None => Error::NoCheckpoint { folder },
        })
    }

    /// The checkpoint of the best validation; where there was none yet, or it is damaged, the last one, and a note says so.
    ///
    /// # Errors
    /// As [`Folder::last`].
    pub fn best(&self) -> Result<Found, Error> {
        let mut found = self.last()?;
        // The state knows; the pointer may lag behind it by the moment in which a process was killed.
        let step = match found.checkpoint.state.best {
            Some(best) => best.step,
            None => {
                let note = "not validated yet; taking the last checkpoint for the best";
                found.notes.push(note.to_string());
                return Ok(found);
            }
        };
        if step != found.checkpoint.state.step {
            match self.whole(step)? {
                Ok(checkpoint) => found.checkpoint = checkpoint,
                Err(reason) => found.notes.push(format!(
                    "the best checkpoint, of step {step}, is damaged: {reason}; taking that of step {}",
                    found.checkpoint.state.step
                )),
            }
        }
        Ok(found)
    }

    /// The checkpoint of a step.
    ///
    /// # Errors
    /// [`Error::NoStep`] where there is none, [`Error::Damaged`].
    pub fn at(&self, step: u64) -> Result<Checkpoint, Error> {
        let folder = self.path.clone();
        let steps = self.steps()?;
        if !steps.contains(&step) {
            return Err(Error::NoStep {
                folder,
                step,
                steps,
            });
        }
        let reason = match self.whole(step)? {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(reason) => format!("that of step {step} is damaged: {reason}"),
        };
        Err(Error::Damaged { folder, reason })
    }

    /// Steps of which there is a checkpoint, ascending; not all need be whole.
    pub fn steps(&self) -> Result<Vec<u64>, Error> {
        checkpoint::steps(&self.checkpoints())
    }

    /// Writes a file into the run, e.g. its report: whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        files::write_durably(&path, bytes)?;
        Ok(path)
    }

    /// The checkpoint of a step, or why it is damaged.
    fn whole(&self, step: u64) -> Result<Result<Checkpoint, String>, Error> {
        let folder = checkpoint::folder_of(&self.checkpoints(), step);
        match checkpoint::read(&folder) {
            Ok(state) => Ok(Ok(Checkpoint { folder, state })),
            Err(Unusable::Damaged(reason)) => Ok(Err(error::plain(reason))),
            Err(Unusable::Newer(error)) => Err(error),
        }
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }
}

impl Training {
    /// Begins a run in a new folder below `parent`, which is made where it is not there.
    ///
    /// # Errors
    /// [`Error::Taken`] where the given name is there, [`Error::Name`], [`Error::ClassName`], [`Error::File`] where the disk refuses;
    /// then nothing is left.
    pub fn create(parent: &Path, name: Name<'_>, start: &Start<'_>) -> Result<Self, Error> {
        let classes = classes_text(start.classes)?;
        let names = name.candidates()?;
        fec::output::make_folder(parent)?;
        let mut made = None;
        for name in &names {
            let path = parent.join(name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    made = Some(path);
                    break;
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::writing(&path, e)),
            }
        }
        let Some(path) = made else {
            let name = names.first().map_or("", String::as_str);
            let folder = parent.join(name);
            return Err(Error::Taken { folder });
        };
        let folder = Folder { path: path.clone() };
        let begun = Lock::take(&path).and_then(|lock| {
            let checkpoints = folder.checkpoints();
            fs::create_dir(&checkpoints).map_err(|e| Error::writing(&checkpoints, e))?;
            folder.write(RECIPE, start.recipe.as_bytes())?;
            folder.write(SPLIT, start.split.as_bytes())?;
            folder.write(IMAGES, start.images.as_bytes())?;
            folder.write(CLASSES, classes.as_bytes())?;
            let metrics = Metrics::open(&path, 0)?;
            files::sync_folder(parent).map_err(|e| Error::writing(parent, e))?;
            Ok((lock, metrics))
        });
        match begun {
            Ok((lock, metrics)) => Ok(Self {
                folder,
                metrics,
                keep: KEEP,
                step: 0,
                _lock: lock,
            }),
            Err(error) => {
                // The folder was made here and holds nothing yet that anyone could miss.
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    /// Goes on with a run from its last checkpoint; none where it was stopped before the first, and training begins at the beginning.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process trains into it; as [`Folder::last`].
    pub fn resume(folder: Folder) -> Result<(Self, Option<Found>), Error> {
        let lock = Lock::take(&folder.path)?;
        let checkpoints = folder.checkpoints();
        fs::create_dir_all(&checkpoints).map_err(|e| Error::writing(&checkpoints, e))?;
        files::remove_unfinished(&folder.path)?;
        checkpoint::remove_unfinished(&checkpoints)?;
        let found = match folder.last() {
            Err(Error::NoCheckpoint { .. }) => None,
            found => Some(found?),
        };
        let step = found.as_ref().map_or(0, |f| f.checkpoint.state.step);
        for beyond in folder.steps()?.into_iter().rev().filter(|&s| s > step) {
            checkpoint::remove(&checkpoint::folder_of(&checkpoints, beyond))?;
        }
        let training = Self {
            metrics: Metrics::open(&folder.path, step)?,
            folder,
            keep: KEEP,
            step,
            _lock: lock,
        };
        if let Some(found) = &found {
            training.point(&found.checkpoint.state)?;
        }
        Ok((training, found))
    }

    /// The same run, to read.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Keeps that many of the newest checkpoints, at least one; the best one is kept besides.
    pub fn keep(&mut self, checkpoints: usize) {
        self.keep = checkpoints.max(1);
    }

    /// Adds a row of a step to the metrics.
    pub fn log_step(&mut self, row: &StepRow) -> Result<(), Error> {
        self.metrics.step(row)
    }

    /// Adds a row of an epoch to the metrics. Rows belong before the checkpoint of the same step: those after it are lost on `resume`.
    pub fn log_epoch(&mut self, row: &EpochRow) -> Result<(), Error> {
        self.metrics.epoch(row)
    }

    /// Writes a checkpoint, moves `last` (and `best`, where the state says that this step is it) to it, and removes old ones. `payload`
    /// writes the tensors' files into the folder it is given, files only. If anything fails the checkpoints before it stay as they are.
    ///
    /// # Errors
    /// [`Error::Payload`] with what `payload` said, [`Error::State`] for a step before the last one, [`Error::File`].
    pub fn save<E: core::fmt::Display>(
        &mut self,
        state: &State,
        payload: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, Error> {
        if state.step < self.step {
            return Err(Error::State {
                step: state.step,
                reason: "there is a later one",
            });
        }
        // The rows come first: after a resume no row before the checkpoint may be missing.
        self.metrics.sync()?;
        let written = checkpoint::write(&self.folder.checkpoints(), state, payload)?;
        self.step = state.step;
        self.point(state)?;
        self.prune(state)?;
        Ok(written)
    }

    /// Lets `last` and `best` name what the state says.
    fn point(&self, state: &State) -> Result<(), Error> {
        let name = |step: u64| format!("{CHECKPOINTS}/step-{step}\n");
        self.folder.write(LAST, name(state.step).as_bytes())?;
        if let Some(best) = state.best {
            let best = name(best.step);
            // A pointer that is right already costs no write.
            if fs::read_to_string(self.folder.path.join(BEST))
                .ok()
                .as_ref()
                != Some(&best)
            {
                self.folder.write(BEST, best.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Removes all checkpoints but the newest few and the best.
    fn prune(&self, state: &State) -> Result<(), Error> {
        let best = state.best.map(|best| best.step);
        let old = self.folder.steps()?.into_iter().rev().skip(self.keep);
        for step in old.filter(|&step| Some(step) != best) {
            checkpoint::remove(&checkpoint::folder_of(&self.folder.checkpoints(), step))?;
        }
        Ok(())
    }
}

fn classes_text(classes: &[String]) -> Result<String, Error> {
    let mut text = String::new();
    for name in classes {
        if name.is_empty() || name.contains(char::is_control) {
            return Err(Error::ClassName { name: name.clone() });
        }
        text.push_str(name);
        text.push('\n');
    }
    Ok(text)
}
