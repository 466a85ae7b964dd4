//! Images that networks are calibrated, measured and compared on: those of a folder, or formula images where there is none.

use std::fs;
use std::path::{Path, PathBuf};

use fec::dataset::{ClassFolder, Entry, is_image};
use fec::output::Output;
use fec::{Orientation, Photo, preprocess};
use fec_convert::Error;
use fec_runtime::Image;
use fec_runtime::format::Preprocessing;
use fec_runtime::formula;

use super::in_file;

/// Folders within folders that are searched for images.
const MAX_DEPTH: usize = 16;

/// Some images.
pub(super) struct Images {
    /// The folder, as it was given.
    pub(super) folder: Option<PathBuf>,
    files: Vec<File>,
    /// Formula images, where there is no folder.
    formula: usize,
    /// Files that could not be read when the images were gone through last.
    pub(super) skipped: Vec<String>,
}

struct File {
    path: PathBuf,
    class: Option<usize>,
}

/// An image as the networks take it.
pub(super) struct Shown<'a> {
    /// Its file, or what it is.
    #[cfg_attr(
        not(feature = "onnx"),
        expect(dead_code, reason = "only graphs are reported image by image")
    )]
    pub(super) name: String,
    /// As the engine takes it.
    pub(super) image: Image<'a>,
    /// [3, H, W].
    pub(super) normalised: Vec<f32>,
    /// What it shows, if that is known.
    pub(super) class: Option<usize>,
}

impl Images {
    /// Formula images.
    pub(super) fn formula(count: usize) -> Self {
        Self {
            folder: None,
            files: Vec::new(),
            formula: count,
            skipped: Vec::new(),
        }
    }

    /// At most `limit` images below `dir`, with all folders inside it, spread evenly over all there are, by name.
    pub(super) fn below(dir: &Path, limit: u32) -> Result<Self, Error> {
        let mut found = Vec::new();
        walk(dir, MAX_DEPTH, &mut found)?;
        let files = found.into_iter().map(|path| File { path, class: None });
        Self::some(dir, files.collect(), limit)
    }

    /// The same of a folder of class folders.
    pub(super) fn labelled(dir: &Path, folder: ClassFolder, limit: u32) -> Result<Self, Error> {
        let file = |Entry { path, class }| File {
            path,
            class: Some(class),
        };
        Self::some(dir, folder.images.into_iter().map(file).collect(), limit)
    }

    fn some(dir: &Path, mut files: Vec<File>, limit: u32) -> Result<Self, Error> {
        if files.is_empty() {
            return Err(in_file(dir, Error::NoImages));
        }
        let (all, wanted) = (files.len(), files.len().min(limit as usize));
        let mut index = 0;
        files.retain(|_| {
            // Of file i the first of those whose share of `wanted` begins with it is kept.
            let kept = (index * wanted).div_ceil(all) * all / wanted == index;
            index += 1;
            kept
        });
        Ok(Self {
            folder: Some(dir.to_path_buf()),
            files,
            formula: 0,
            skipped: Vec::new(),
        })
    }

    /// Number of images.
    pub(super) fn len(&self) -> usize {
        self.files.len() + self.formula
    }

    /// Shows every image, brought to the model's size as the file says; progress is called `what`. Files that cannot be read are named
    /// and left out.
    pub(super) fn for_each(
        &mut self,
        what: &str,
        preprocessing: &Preprocessing,
        out: &mut Output,
        see: &mut dyn FnMut(&Shown<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let size = preprocessing.size;
        let named_before = !self.skipped.is_empty();
        self.skipped.clear();
        let mut progress = out.progress(what, self.len() as u64);
        for index in 0..self.formula {
            see(&Shown {
                name: format!("formula image {index}"),
                image: Image::formula(size, index),
                normalised: formula::image(size, index),
                class: None,
            })?;
            progress.advance(out, 1);
        }
        for file in &self.files {
            match Photo::open(&file.path, Orientation::Apply) {
                Ok(photo) => {
                    let photo = preprocess::apply(preprocessing, &photo);
                    see(&Shown {
                        name: file.path.display().to_string(),
                        image: Image::rgb8(&photo.pixels, size).map_err(Error::Model)?,
                        normalised: normalised(preprocessing, &photo),
                        class: file.class,
                    })?;
                }
                Err(error) => {
                    if !named_before {
                        progress.message(out, format_args!("skipped: {error}"));
                    }
                    self.skipped.push(file.path.display().to_string());
                }
            }
            progress.advance(out, 1);
        }
        progress.finish();
        // Nothing that was found could be read: what follows would rest on no image.
        match &self.folder {
            Some(folder) if self.skipped.len() == self.files.len() => {
                Err(in_file(folder, Error::NoImages))
            }
            _ => Ok(()),
        }
    }
}

/// [3, H, W] as PyTorch has it: (v / 255 - mean) / std.
fn normalised(preprocessing: &Preprocessing, photo: &Photo) -> Vec<f32> {
    let mut values = Vec::with_capacity(photo.pixels.len());
    for (c, (mean, std)) in preprocessing
        .mean
        .iter()
        .zip(&preprocessing.std)
        .enumerate()
    {
        let channel = photo.pixels.iter().skip(c).step_by(3);
        values.extend(channel.map(|&v| (f32::from(v) / 255.0 - mean) / std));
    }
    values
}

fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let unreadable = |source| Error::Unreadable {
        path: dir.into(),
        source,
    };
    let mut entries = fs::read_dir(dir)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable)?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, found)?;
            }
        } else if is_image(&path) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_spreads_over_all_files() {
        for (all, limit, expected) in [
            (10, 20, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (10, 5, vec![0, 2, 4, 6, 8]),
            (10, 3, vec![0, 3, 6]),
            (7, 1, vec![0]),
        ] {
            let file = |i: usize| File {
                path: i.to_string().into(),
                class: Some(i),
            };
            let files = (0..all).map(file).collect();
            let images = Images::some(Path::new("x"), files, limit).expect("some");
            let kept: Vec<_> = images.files.iter().filter_map(|f| f.class).collect();
            assert_eq!(kept, expected);
        }
        assert!(Images::some(Path::new("x"), Vec::new(), 5).is_err());
    }
}
