//! A look at all images before training: what can be read, how large, how many of each class, copies in both splits.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::HashMap;
use std::sync::mpsc::channel;

use super::dataset::{Checked, Dataset, Unreadable};
use super::error::Error;
use super::split::Split;

/// A class with its number of readable images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// Its name.
    pub name: String,
    /// Images to train on.
    pub train: usize,
    /// Images to validate on.
    pub val: usize,
}

/// What the look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Every class.
    pub classes: Vec<ClassCount>,
    /// Files that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Smallest, median and largest short side, in pixels.
    pub short_sides: [usize; 3],
    /// Images to train on whose short side is below the network's size.
    pub small: usize,
    /// Side of the network's images.
    pub side: usize,
    /// Validation images whose file is also trained on.
    pub copies: Vec<String>,
    /// Files that lie in folders of two classes.
    pub ambiguous: Vec<String>,
    /// What all images take in memory when they are decoded and kept.
    pub decoded_bytes: u64,
}

/// Decodes all images once on so many threads, which also fills the caches. `progress` is told how many of all are done.
///
/// # Errors
/// [`Error::NothingReadable`] when a split has not a single image that can be read.
pub fn check(
    split: &Split,
    train: &Dataset,
    val: &Dataset,
    side: usize,
    threads: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<Report, Error> {
    let total = train.len() + val.len();
    let mut checked: Vec<Option<Checked>> = vec![None; total];
    let next = AtomicUsize::new(0);
    let look = |index: usize| match index.checked_sub(train.len()) {
        None => train.check(index),
        Some(index) => val.check(index),
    };
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for worker in 0..threads.clamp(1, total.max(1)) {
            let (sender, next, look) = (sender.clone(), &next, &look);
            let work = move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= total || sender.send((index, look(index))).is_err() {
                        return;
                    }
                }
            };
            let builder = std::thread::Builder::new().name(format!("check-{worker}"));
            builder
                .spawn_scoped(scope, work)
                .map_err(|source| Error::Threads { source })?;
        }
        drop(sender);
        for (done, (index, found)) in receiver.iter().enumerate() {
            if let Some(slot) = checked.get_mut(index) {
                *slot = found;
            }
            progress(done + 1, total);
        }
        Ok::<(), Error>(())
    })?;
    for dataset in [train, val] {
        let unreadable = dataset.unreadable();
        if let Some(first) = unreadable
            .first()
            .filter(|_| unreadable.len() == dataset.len())
        {
            return Err(Error::NothingReadable {
                images: dataset.len(),
                first: first.reason.clone(),
            });
        }
    }
    Ok(report(split, train, val, side, &checked))
}

fn report(
    split: &Split,
    train: &Dataset,
    val: &Dataset,
    side: usize,
    checked: &[Option<Checked>],
) -> Report {
    let mut classes: Vec<ClassCount> = split
        .classes
        .iter()
        .map(|name| ClassCount {
            name: name.clone(),
            train: 0,
            val: 0,
        })
        .collect();
    let (mut sides, mut small) = (Vec::new(), 0);
    let (mut copies, mut ambiguous) = (Vec::new(), Vec::new());
    let mut seen: HashMap<u64, (u32, bool)> = HashMap::new();
    let samples = train
        .samples()
        .iter()
        .map(|s| (s, true))
        .chain(val.samples().iter().map(|s| (s, false)));
    for ((sample, trained), found) in samples.zip(checked) {
        let Some(found) = found else { continue };
        let short = found.width.min(found.height);
        sides.push(short);
        small += usize::from(trained && short < side);
        if let Some(count) = classes.get_mut(sample.class as usize) {
            *(if trained {
                &mut count.train
            } else {
                &mut count.val
            }) += 1;
        }
        match seen.get(&found.hash) {
            Some((class, _)) if *class != sample.class => {
                ambiguous.push(sample.path.display().to_string())
            }
            Some((_, true)) if !trained => copies.push(sample.path.display().to_string()),
            Some(_) => {}
            None => {
                seen.insert(found.hash, (sample.class, trained));
            }
        }
    }
    sides.sort_unstable();
    let at = |index: usize| sides.get(index).copied().unwrap_or(0);
    let mut unreadable = train.unreadable();
    unreadable.extend(val.unreadable());
    Report {
        decoded_bytes: checked.iter().flatten().map(|found| found.bytes).sum(),
        classes,
        unreadable,
        short_sides: [
            at(0),
            at(sides.len() / 2),
            at(sides.len().saturating_sub(1)),
        ],
        small,
        side,
        copies,
        ambiguous,
    }
}

impl Report {
    /// How many times as many training images the largest class has as the smallest; infinite where a class has none.
    pub fn imbalance(&self) -> f64 {
        let counts = || self.classes.iter().map(|c| c.train);
        let (most, least) = (counts().max().unwrap_or(0), counts().min().unwrap_or(0));
        most as f64 / least as f64
    }

    /// What was found, a line each.
    pub fn lines(&self) -> Vec<String> {
        /// Ratio from which on an imbalance is worth a word.
        const UNBALANCED: f64 = 3.0;
        let sum = |count: fn(&ClassCount) -> usize| self.classes.iter().map(count).sum::<usize>();
        let [least, median, most] = self.short_sides;
        let mut lines = vec![
            format!(
                "{} images to train on, {} to validate, {} classes",
                sum(|c| c.train),
                sum(|c| c.val),
                self.classes.len()
            ),
            format!("short sides from {least} to {most} pixels, half of them at least {median}"),
        ];
        if self.small > 0 {
            lines.push(format!(
                "{} training images are smaller than the network's {} pixels and are enlarged",
                self.small, self.side
            ));
        }
        let extreme = |largest: bool| {
            let key = |c: &&ClassCount| c.train;
            let found = if largest {
                self.classes.iter().max_by_key(key)
            } else {
                self.classes.iter().min_by_key(key)
            };
            found.map_or(("", 0), |c| (c.name.as_str(), c.train))
        };
        if self.imbalance() >= UNBALANCED {
            let ((large, most), (small, least)) = (extreme(true), extreme(false));
            lines.push(format!(
                "unbalanced: '{large}' has {most} training images, '{small}' has {least}; judge by the accuracy of each class"
            ));
        }
        let unreadable = self.unreadable.iter().map(|u| u.reason.as_str());
        few(
            &mut lines,
            "files cannot be read and are skipped",
            unreadable,
        );
        let copies = self.copies.iter().map(String::as_str);
        few(
            &mut lines,
            "validation images are also trained on: the accuracy will be too good",
            copies,
        );
        let ambiguous = self.ambiguous.iter().map(String::as_str);
        few(
            &mut lines,
            "files lie in the folders of two classes",
            ambiguous,
        );
        lines
    }
}

/// A line with a count, and the first names.
fn few<'a>(lines: &mut Vec<String>, what: &str, names: impl ExactSizeIterator<Item = &'a str>) {
    const MOST: usize = 20;
    let count = names.len();
    if count == 0 {
        return;
    }
    lines.push(format!("{count} {what}:"));
    lines.extend(names.take(MOST).map(|name| format!("  {name}")));
    if count > MOST {
        lines.push(format!("  and {} more", count - MOST));
    }
}
