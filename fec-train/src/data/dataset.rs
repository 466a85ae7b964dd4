//! Images of one split, decoded when they are asked for and kept in memory as far as they fit.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fec::Photo;
use fec::image::Orientation;
use fec::preprocess::{Preprocessing, Resizer, apply_into};

use super::split::Sample;
use crate::augment::affine::Resample;
use crate::augment::crop::Region;
use crate::augment::resize::resize_region;
use crate::augment::{Augmentation, Crop};
use crate::recipe::Recipe;

/// Memory that the caches of a run share.
#[derive(Debug)]
pub struct Budget {
    left_bytes: AtomicU64,
}

impl Budget {
    /// So many megabytes.
    pub fn megabytes(megabytes: u64) -> Arc<Budget> {
        Arc::new(Budget {
            left_bytes: AtomicU64::new(megabytes.saturating_mul(1 << 20)),
        })
    }

    fn take(&self, bytes: u64) -> bool {
        let less = |left: u64| left.checked_sub(bytes);
        self.left_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

/// An image that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Why, in one line that names the file.
    pub reason: String,
}

/// The form in which photos are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// At the network's size.
    Prepared(Preprocessing),
    /// Shrunk so that the short side has this length, where it is longer.
    Shrunk { short: usize },
}

/// What is known of one image.
#[derive(Debug)]
enum Slot {
    Ready(Arc<Photo>),
    Unreadable,
}

/// What a check learns of one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Of the file's bytes.
    pub(super) hash: u64,
    /// What it takes in memory when it is kept.
    pub(super) bytes: u64,
}

/// Images of one split.
#[derive(Debug)]
pub struct Dataset {
    samples: Vec<Sample>,
    form: Form,
    slots: Vec<OnceLock<Slot>>,
    budget: Arc<Budget>,
    unreadable: Mutex<BTreeMap<usize, String>>,
}

impl Dataset {
    /// Images to train on, in the form that the recipe's crops need.
    ///
    /// Photos larger than the smallest crop needs are shrunk first, whether they are kept or not: the memory limit changes no result.
    pub fn train(samples: Vec<Sample>, recipe: &Recipe, budget: &Arc<Budget>) -> Dataset {
        Dataset::new(samples, train_form(recipe, &recipe.augmentation()), budget)
    }

    /// Images to validate on, brought to the network's size as `fec eval` does it.
    pub fn eval(samples: Vec<Sample>, recipe: &Recipe, budget: &Arc<Budget>) -> Dataset {
        Dataset::new(samples, Form::Prepared(recipe.preprocessing()), budget)
    }

    fn new(samples: Vec<Sample>, form: Form, budget: &Arc<Budget>) -> Dataset {
        Dataset {
            slots: samples.iter().map(|_| OnceLock::new()).collect(),
            samples,
            form,
            budget: Arc::clone(budget),
            unreadable: Mutex::default(),
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The images' files and classes.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The images that could not be read so far, in order.
    pub fn unreadable(&self) -> Vec<Unreadable> {
        let unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let named = unreadable.iter().filter_map(|(&i, reason)| {
            let path = self.samples.get(i)?.path.clone();
            Some(Unreadable {
                path,
                reason: reason.clone(),
            })
        });
        named.collect()
    }

    /// An image in the form that is kept; `None` where it cannot be read.
    pub fn photo(&self, index: usize) -> Option<Arc<Photo>> {
        let (sample, slot) = (self.samples.get(index)?, self.slots.get(index)?);
        match slot.get() {
            Some(Slot::Ready(photo)) => return Some(Arc::clone(photo)),
            Some(Slot::Unreadable) => return None,
            None => {}
        }
        let photo = Photo::open(&sample.path, Orientation::Apply);
        self.keep(index, photo.map(|photo| self.prepared(photo)))
    }

    /// Reads an image whether it is kept or not, and keeps it.
    pub(super) fn check(&self, index: usize) -> Option<Checked> {
        let sample = self.samples.get(index)?;
        let read = std::fs::read(&sample.path).map_err(|source| fec::Error::Read {
            path: sample.path.clone(),
            source,
        });
        let decoded = read.and_then(|bytes| {
            let photo = Photo::decode(&sample.path, &bytes, Orientation::Apply)?;
            Ok((photo, hash(&bytes)))
        });
        match decoded {
            Ok((photo, hash)) => {
                let (width, height) = (photo.width, photo.height);
                let prepared = self.prepared(photo);
                let bytes = prepared.pixels.len() as u64;
                self.keep(index, Ok(prepared));
                Some(Checked {
                    width,
                    height,
                    hash,
                    bytes,
                })
            }
            Err(error) => {
                self.keep(index, Err(error));
                None
            }
        }
    }

    /// Puts an image into its slot if it fits; one that cannot be read is remembered with its reason.
    fn keep(&self, index: usize, photo: Result<Photo, fec::Error>) -> Option<Arc<Photo>> {
        let slot = self.slots.get(index)?;
        match photo {
            Ok(photo) => {
                let photo = Arc::new(photo);
                if slot.get().is_none() && self.budget.take(photo.pixels.len() as u64) {
                    // Another thread may have been quicker, with the same photo.
                    let _ = slot.set(Slot::Ready(Arc::clone(&photo)));
                }
                Some(photo)
            }
            Err(error) => {
                let _ = slot.set(Slot::Unreadable);
                let mut unreadable = self
                    .unreadable
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                unreadable.insert(index, error.to_string());
                None
            }
        }
    }

    /// A photo in the form that is kept.
    fn prepared(&self, photo: Photo) -> Photo {
        let mut out = match self.form {
            Form::Prepared(preprocessing) => {
                let mut out = Photo::default();
                apply_into(&preprocessing, &photo, &mut Resizer::default(), &mut out);
                out
            }
            Form::Shrunk { short } => shrunk(photo, short),
        };
        out.pixels.shrink_to_fit();
        out
    }
}

/// The form that crops are cut from.
fn train_form(recipe: &Recipe, augmentation: &Augmentation) -> Form {
    match augmentation.crop {
        // The whole photo at the network's size, which mirrored edges are added to.
        Crop::Padded(_) => Form::Prepared(Preprocessing {
            crop_ratio: 1.0,
            ..recipe.preprocessing()
        }),
        // The smallest crop is about a square with the smallest share of the area: from this size on it need not be enlarged.
        Crop::Resized { scale, .. } => Form::Shrunk {
            short: (augmentation.side as f64 / scale[0].max(1e-6).sqrt()).ceil() as usize,
        },
    }
}

/// The photo with a short side of that length, unless it is shorter already.
fn shrunk(photo: Photo, short: usize) -> Photo {
    let shorter = photo.width.min(photo.height);
    if shorter <= short || shorter == 0 {
        return photo;
    }
    let scaled = |side: usize| (side * short + shorter / 2) / shorter;
    let (height, width) = (scaled(photo.height), scaled(photo.width));
    let whole = Region::whole(photo.height, photo.width);
    resize_region(&photo, whole, height, width, Resample::Bicubic)
}

/// FNV-1a over words of 8 bytes: to find copies of a file, not to withstand anybody.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 29;
    }
    hash
}
