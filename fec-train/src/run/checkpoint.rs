//! Checkpoints: a folder each, complete or not there.
//!
//! `checkpoints/step-N.tmp` is filled, each file and then the folder is brought to the disk, `manifest.json` with sizes and checksums comes
//! last, and a rename to `step-N` makes it a checkpoint. Whatever moment a process is killed at, `step-N` is complete. `state.json` has
//! its own checksum, so that it can be replaced in one move where the same step turns out to be the best.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;
use super::error::plain;
use super::files::{read_text, sync_file, sync_folder, write_durably};

/// Version of `state.json` and `manifest.json`.
pub const FORMAT: u32 = 1;
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";
const PREFIX: &str = "step-";
const UNFINISHED: &str = ".tmp";

/// How far a run has come: what its tensors do not say. Randomness is keyed by seed, epoch and index, so no generator is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// [`FORMAT`].
    pub format: u32,
    /// Steps of the optimizer that are done.
    pub step: u64,
    /// The epoch in which training goes on, from 0.
    pub epoch: u64,
    /// Steps of that epoch that are done.
    pub step_in_epoch: u64,
    /// Sum of the loss over the images of that epoch so far, so that its mean does not depend on a break.
    pub epoch_loss_sum: f64,
    /// Images of that epoch so far.
    pub epoch_images: u64,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Seconds of training so far, over all processes.
    pub seconds: f64,
}

/// The best validation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its step, of which there is a checkpoint.
    pub step: u64,
    /// What was compared, the larger the better: top-1 in percent.
    pub metric: f64,
}

/// A complete checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Its folder, with the files that the caller of `save` wrote.
    pub folder: PathBuf,
    /// Where training stood.
    pub state: State,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    files: Vec<Stored>,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    state: State,
    /// SHA-256 of the state as JSON.
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    bytes: u64,
    sha256: String,
}

/// Why a checkpoint cannot be used.
pub(super) enum Unusable {
    /// Something is missing or not as it was written.
    Damaged(String),
    /// A newer version wrote it: no reason to take an older one without a word.
    Newer(Error),
}

impl State {
    /// A run that has not begun.
    pub fn start() -> Self {
        Self {
            format: FORMAT,
            step: 0,
            epoch: 0,
            step_in_epoch: 0,
            epoch_loss_sum: 0.0,
            epoch_images: 0,
            best: None,
            seconds: 0.0,
        }
    }

    /// JSON has no word for what is not a number, so such a state could not be read again.
    fn check(&self) -> Result<(), Error> {
        let best = self.best.map_or(0.0, |best| best.metric);
        let finite = [best, self.seconds, self.epoch_loss_sum]
            .iter()
            .all(|v| v.is_finite());
        let reason = "its loss, best metric or time is not a finite number";
        let step = self.step;
        finite.then_some(()).ok_or(Error::State { step, reason })
    }
}

/// The folder of a step's checkpoint.
pub(super) fn folder_of(checkpoints: &Path, step: u64) -> PathBuf {
    checkpoints.join(format!("{PREFIX}{step}"))
}

/// Steps of which there is a folder, ascending.
pub(super) fn steps(checkpoints: &Path) -> Result<Vec<u64>, Error> {
    let fail = |e| Error::reading(checkpoints, e);
    let entries = match fs::read_dir(checkpoints) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut steps = Vec::new();
    for entry in entries {
        let name = entry.map_err(fail)?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix(PREFIX).unwrap_or_default();
        let step = number.parse::<u64>().ok();
        steps.extend(step.filter(|step| step.to_string() == number));
    }
    steps.sort_unstable();
    Ok(steps)
}

/// Writes a checkpoint; `payload` puts the tensors' files into the folder it is given.
pub(super) fn write<E: core::fmt::Display>(
    checkpoints: &Path,
    state: &State,
    payload: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, Error> {
    state.check()?;
    let folder = folder_of(checkpoints, state.step);
    if let Ok(there) = read(&folder) {
        // The same step of the same run has the same tensors; whether it is the best may have been found out since.
        if there != *state {
            write_durably(&folder.join(STATE), &json(&seal(state)?)?)?;
        }
        return Ok(folder);
    }
    let unfinished = checkpoints.join(format!("{PREFIX}{}{UNFINISHED}", state.step));
    remove(&unfinished)?;
    let written = fs::create_dir_all(&unfinished)
        .map_err(|e| Error::writing(&unfinished, e))
        .and_then(|()| {
            payload(&unfinished).map_err(|e| Error::Payload {
                folder: folder.clone(),
                reason: e.to_string(),
            })
        })
        .and_then(|()| finish(&unfinished, state))
        .and_then(|()| remove(&folder))
        .and_then(|()| {
            fs::rename(&unfinished, &folder)
                .and_then(|()| sync_folder(checkpoints))
                .map_err(|e| Error::writing(&folder, e))
        });
    if written.is_err() {
        // Room for others; the first error is the one to tell.
        let _ = remove(&unfinished);
    }
    written.map(|()| folder)
}

/// Waits for the disk, and adds state and manifest.
fn finish(folder: &Path, state: &State) -> Result<(), Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::reading(folder, e))? {
        let path = entry.map_err(|e| Error::reading(folder, e))?.path();
        sync_file(&path).map_err(|e| Error::writing(&path, e))?;
        let (bytes, sha256) = digest(&path).map_err(|e| Error::reading(&path, e))?;
        let name = path.file_name().unwrap_or_default();
        files.push(Stored {
            name: name.to_string_lossy().into_owned(),
            bytes,
            sha256,
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let manifest = Manifest {
        format: FORMAT,
        files,
    };
    write_durably(&folder.join(STATE), &json(&seal(state)?)?)?;
    write_durably(&folder.join(MANIFEST), &json(&manifest)?)
}

fn seal(state: &State) -> Result<Sealed, Error> {
    let sha256 = hex(Sha256::digest(json(state)?).as_slice());
    let state = state.clone();
    Ok(Sealed { state, sha256 })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let encode = |e: serde_json::Error| fec::Error::Encode {
        what: "a checkpoint's state",
        reason: e.to_string(),
    };
    let mut bytes = serde_json::to_vec_pretty(value).map_err(encode)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Length and SHA-256 of a file.
fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut File::open(path)?, &mut HashWriter(&mut hash))?;
    Ok((bytes, hex(hash.finalize().as_slice())))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a checkpoint's state after all its files were found as they were written.
pub(super) fn read(folder: &Path) -> Result<State, Unusable> {
    let manifest: Manifest = parse(folder, MANIFEST)?;
    newer(folder, manifest.format)?;
    for stored in &manifest.files {
        compare(folder, stored).map_err(Unusable::Damaged)?;
    }
    let Sealed { state, sha256 } = parse(folder, STATE)?;
    newer(folder, state.format)?;
    if seal(&state).map_or(true, |sealed| sealed.sha256 != sha256) {
        let reason = format!("{STATE} is not what was written, by its checksum");
        return Err(Unusable::Damaged(reason));
    }
    let named = folder.file_name().unwrap_or_default();
    if named.to_string_lossy() != format!("{PREFIX}{}", state.step) {
        let reason = format!("{STATE} is of step {}", state.step);
        return Err(Unusable::Damaged(reason));
    }
    Ok(state)
}

/// Whether a file is as it was written; what differs, if not.
fn compare(folder: &Path, stored: &Stored) -> Result<(), String> {
    let name = plain(&stored.name);
    let path = folder.join(&stored.name);
    if path.parent() != Some(folder) {
        return Err(format!("{name} is not the name of a file in it"));
    }
    let unread = |e: io::Error| format!("{name} cannot be read: {e}");
    let found = fs::metadata(&path).map_err(unread)?;
    // The length is asked first: it is what most damage changes, and a device has none.
    if !found.is_file() || found.len() != stored.bytes {
        let (found, written) = (found.len(), stored.bytes);
        return Err(format!("{name} has {found} bytes, {written} were written"));
    }
    let (_, sha256) = digest(&path).map_err(unread)?;
    if sha256 != stored.sha256 {
        return Err(format!("{name} is not what was written, by its checksum"));
    }
    Ok(())
}

fn parse<T: for<'a> Deserialize<'a>>(folder: &Path, name: &str) -> Result<T, Unusable> {
    let text = read_text(&folder.join(name));
    let text = text.map_err(|_| Unusable::Damaged(format!("{name} is missing")))?;
    serde_json::from_str(&text).map_err(|e| Unusable::Damaged(format!("{name}: {e}")))
}

fn newer(folder: &Path, format: u32) -> Result<(), Unusable> {
    if format <= FORMAT {
        return Ok(());
    }
    Err(Unusable::Newer(Error::Newer {
        path: folder.to_path_buf(),
        format,
    }))
}

/// Removes a checkpoint, so that it is either there or not: it loses its name first.
pub(super) fn remove(folder: &Path) -> Result<(), Error> {
    let fail = |e| Error::writing(folder, e);
    if !folder.exists() {
        return Ok(());
    }
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    if name.to_string_lossy().ends_with(UNFINISHED) {
        return fs::remove_dir_all(folder).map_err(fail);
    }
    name.push(UNFINISHED);
    let nameless = folder.with_file_name(name);
    if nameless.exists() {
        fs::remove_dir_all(&nameless).map_err(|e| Error::writing(&nameless, e))?;
    }
    fs::rename(folder, &nameless).map_err(fail)?;
    fs::remove_dir_all(&nameless).map_err(|e| Error::writing(&nameless, e))
}

/// Removes what killed processes have left of checkpoints.
pub(super) fn remove_unfinished(checkpoints: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(checkpoints).map_err(|e| Error::reading(checkpoints, e))? {
        let entry = entry.map_err(|e| Error::reading(checkpoints, e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(UNFINISHED) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}
