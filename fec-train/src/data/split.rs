//! Which images are trained on and which are kept for validation: as the folder has it, or drawn once and written down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fec::dataset::{entries, folders, is_image, name_of};

use super::error::Error;
use super::split_file;
use crate::random::{Keyed, Purpose};

/// Folder of the training images.
const TRAIN: &str = "train";
/// Folders of images for validation, the first that is there.
const VALIDATION: [&str; 4] = ["val", "validation", "valid", "test"];

/// An image file and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// Index of its class in [`Split::classes`].
    pub class: u32,
}

/// The images of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The folder.
    pub root: PathBuf,
    /// Names of the classes, sorted, as the packed model's labels will be.
    pub classes: Vec<String>,
    /// Images to train on, sorted by class, then by name.
    pub train: Vec<Sample>,
    /// Images to validate on.
    pub val: Vec<Sample>,
    /// What the user should know, a line each.
    pub notes: Vec<String>,
}

/// Files by class, both sorted.
type Classes = BTreeMap<String, Vec<PathBuf>>;

impl Split {
    /// The images of `dir`, which holds `train/CLASS/*` and `val/CLASS/*` (or validation, valid, test). Where it holds `CLASS/*` or
    /// `train/CLASS/*` alone, the share `fraction` of each class, drawn by `seed`, is kept for validation, and the split is written to
    /// `split_file`; if that file is there already, it is read instead.
    ///
    /// Hidden files and files without an image's extension are left out.
    ///
    /// # Errors
    /// One line each: nothing there, a single class, no training images, classes to validate that are not trained, a split file that does
    /// not fit the folder.
    pub fn open(dir: &Path, fraction: f64, seed: u64, split_file: &Path) -> Result<Split, Error> {
        let folders = folders(dir)?;
        let holds_classes = |name: &str| {
            let path = dir.join(name);
            let nested = path.is_dir() && folders_or_none(&path);
            nested.then_some(path)
        };
        let validation = VALIDATION.iter().find_map(|name| holds_classes(name));
        let mut notes = Vec::new();
        let train = match (holds_classes(TRAIN), &validation) {
            (Some(train), Some(validation)) => {
                return Split::given(dir, &train, validation, notes);
            }
            (Some(train), None) => train,
            (None, Some(found)) if folders.iter().all(|f| is_validation(f)) => {
                return Err(Error::MissingTrain {
                    path: dir.into(),
                    found: name_of(found),
                });
            }
            (None, _) => dir.to_path_buf(),
        };
        let classes = class_files(&train, &mut notes)?;
        let split = Split {
            root: dir.into(),
            classes: classes.keys().cloned().collect(),
            train: Vec::new(),
            val: Vec::new(),
            notes,
        };
        if split_file.exists() {
            return split.read(&classes, split_file);
        }
        let split = split.draw(&classes, fraction, seed)?;
        fec::output::write_atomically(split_file, split_file::text(&split).as_bytes())?;
        Ok(split)
    }

    /// The split that the folder has.
    fn given(
        dir: &Path,
        train: &Path,
        validation: &Path,
        mut notes: Vec<String>,
    ) -> Result<Split, Error> {
        let trained = class_files(train, &mut notes)?;
        let validated = class_files_of_any_number(validation, &mut notes)?;
        let classes: Vec<String> = trained.keys().cloned().collect();
        for class in validated.keys() {
            if !trained.contains_key(class) {
                let known: Vec<&str> = classes.iter().map(String::as_str).collect();
                return Err(Error::UnknownClass {
                    path: validation.into(),
                    class: class.clone(),
                    nearest: crate::recipe::nearest(class, &known).map(str::to_owned),
                });
            }
        }
        let missing: Vec<&str> = classes
            .iter()
            .filter(|c| !validated.contains_key(*c))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            notes.push(format!("no images to validate of {}", named(&missing)));
        }
        if name_of(validation) == "test" {
            notes.push("validating on test/: there is no val/".into());
        }
        let samples = |files: Classes| {
            let index = |class: &String| classes.binary_search(class).unwrap_or(0) as u32;
            let of = |(class, files): (String, Vec<PathBuf>)| {
                let class = index(&class);
                files.into_iter().map(move |path| Sample { path, class })
            };
            files.into_iter().flat_map(of).collect()
        };
        let (train, val) = (samples(trained), samples(validated));
        Ok(Split {
            root: dir.into(),
            classes,
            train,
            val,
            notes,
        })
    }

    /// Draws the images to validate from each class.
    fn draw(mut self, classes: &Classes, fraction: f64, seed: u64) -> Result<Split, Error> {
        let mut single = Vec::new();
        for (class, (name, files)) in classes.iter().enumerate() {
            let mut order: Vec<usize> = (0..files.len()).collect();
            Keyed::new(seed, Purpose::Split, 0, class as u64).shuffle(&mut order);
            let count = match files.len() {
                1 => {
                    single.push(name.as_str());
                    0
                }
                n => ((n as f64 * fraction).round() as usize).clamp(1, n - 1),
            };
            let validated = order.get(..count).unwrap_or_default();
            for (i, path) in files.iter().enumerate() {
                let sample = Sample {
                    path: path.clone(),
                    class: class as u32,
                };
                if validated.contains(&i) {
                    self.val.push(sample);
                } else {
                    self.train.push(sample);
                }
            }
        }
        if self.val.is_empty() {
            return Err(Error::NoValidation { path: self.root });
        }
        if !single.is_empty() {
            self.notes.push(format!(
                "a single image of {}: it is trained on, and the class cannot be validated",
                named(&single)
            ));
        }
        Ok(self)
    }

    /// The split as it was written down.
    fn read(mut self, classes: &Classes, split_file: &Path) -> Result<Split, Error> {
        let mut left: BTreeMap<&Path, ()> = classes
            .values()
            .flatten()
            .map(|p| (p.as_path(), ()))
            .collect();
        let rows = split_file::read(split_file)?;
        let mut names: Vec<String> = rows.iter().map(|row| row.class.clone()).collect();
        names.sort();
        names.dedup();
        for row in rows {
            let path = self.root.join(&row.file);
            if left.remove(path.as_path()).is_none() && !path.is_file() {
                return Err(Error::ImageGone {
                    path,
                    split_file: split_file.into(),
                });
            }
            let class = names.binary_search(&row.class).unwrap_or(0) as u32;
            let samples = if row.validation {
                &mut self.val
            } else {
                &mut self.train
            };
            samples.push(Sample { path, class });
        }
        self.classes = names;
        if !left.is_empty() {
            self.notes.push(format!(
                "{} images of the folder are not in {} and are left out",
                left.len(),
                split_file.display()
            ));
        }
        Ok(self)
    }

    /// A number that changes when an image is added, renamed or moved: a run that goes on must find the images it began with.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for byte in split_file::text(self).bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash
    }
}

fn is_validation(folder: &Path) -> bool {
    VALIDATION.contains(&name_of(folder).as_str())
}

/// The first few of many names.
fn named(names: &[&str]) -> String {
    const MOST: usize = 5;
    let first: Vec<String> = names.iter().take(MOST).map(|n| format!("'{n}'")).collect();
    match names.len().saturating_sub(MOST) {
        0 => first.join(", "),
        more => format!("{} and {more} more classes", first.join(", ")),
    }
}

/// The files of at least two classes.
fn class_files(dir: &Path, notes: &mut Vec<String>) -> Result<Classes, Error> {
    let classes = class_files_of_any_number(dir, notes)?;
    if let (1, Some(class)) = (classes.len(), classes.keys().next()) {
        return Err(Error::OneClass {
            path: dir.into(),
            class: class.clone(),
        });
    }
    Ok(classes)
}

/// The image files of each class folder; folders without any are left out with a note.
fn class_files_of_any_number(dir: &Path, notes: &mut Vec<String>) -> Result<Classes, Error> {
    let mut classes = Classes::new();
    let (mut empty, mut unnamed) = (Vec::new(), 0);
    let folders = folders(dir)?;
    if folders.is_empty() {
        return Err(fec::Error::NoClassFolders { path: dir.into() }.into());
    }
    for folder in folders {
        let Some(name) = folder
            .file_name()
            .and_then(|n| n.to_str())
            .map(str::to_owned)
        else {
            unnamed += 1;
            continue;
        };
        let mut files = entries(&folder)?;
        files.retain(|p| is_image(p));
        let all = files.len();
        // Names go into the split file and the reports, which are text.
        files.retain(|p| p.to_str().is_some());
        unnamed += all - files.len();
        if files.is_empty() {
            empty.push(name);
        } else {
            classes.insert(name, files);
        }
    }
    if classes.is_empty() {
        return Err(fec::Error::NoImages { path: dir.into() }.into());
    }
    if !empty.is_empty() {
        let empty: Vec<&str> = empty.iter().map(String::as_str).collect();
        notes.push(format!(
            "{}: no images in {}: left out",
            dir.display(),
            named(&empty)
        ));
    }
    if unnamed > 0 {
        notes.push(format!(
            "{}: {unnamed} names are no UTF-8: left out; rename them",
            dir.display()
        ));
    }
    Ok(classes)
}

/// Whether there are folders in it.
fn folders_or_none(dir: &Path) -> bool {
    folders(dir).is_ok_and(|f| !f.is_empty())
}
