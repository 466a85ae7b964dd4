//! Labelled images as a folder per class: `DIR/CLASS/*`, in the layout that timm and torchvision read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Plain};

/// Extensions of the files that count as images, in lower case.
const EXTENSIONS: &[&str] = &[
    "jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "pbm", "pgm", "ppm", "pnm",
];
/// Folders inside DIR that are taken instead of it, the first that is there.
const SPLITS: &[&str] = &["val", "validation", "test"];

/// An image and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// Index of its class in the model's labels, or in [`ClassFolder::classes`] where there are none.
    pub class: usize,
}

/// A folder of class folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassFolder {
    /// The folder that holds the classes: the one given, or its `val` or `test`.
    pub root: PathBuf,
    /// Names of all classes by index: the model's labels, else the folders' names in sorted order.
    pub classes: Vec<String>,
    /// The images, sorted by class folder, then by file name.
    pub images: Vec<Entry>,
    /// What the user should know, a line each: another folder taken, labels matched by order.
    pub notes: Vec<String>,
}

impl ClassFolder {
    /// Lists the images below `dir`.
    ///
    /// With `labels` each folder's name must be a label (upper and lower case, `_`, `-` and blank count as equal); folders may be missing. If
    /// not a single name is a label and there are as many folders as labels, the sorted folders are taken for the labels in order, as
    /// torchvision would number them, and a note says so. Without `labels` the sorted folders are the classes. Hidden files and files
    /// without an image's extension are left out; so are folders inside class folders.
    pub fn open(dir: impl AsRef<Path>, labels: Option<&[String]>) -> Result<ClassFolder, Error> {
        let dir = dir.as_ref();
        let mut notes = Vec::new();
        let (root, folders) = class_folders(dir, &mut notes)?;
        let names: Vec<String> = folders.iter().map(|f| name_of(f)).collect();
        let indices = match labels {
            None => (0..names.len()).collect(),
            Some(labels) => match_labels(&root, &names, labels, &mut notes)?,
        };
        let mut images = Vec::new();
        for (folder, class) in folders.iter().zip(indices) {
            let files = entries(folder)?.into_iter().filter(|p| is_image(p));
            images.extend(files.map(|path| Entry { path, class }));
        }
        if images.is_empty() {
            return Err(Error::NoImages { path: root });
        }
        Ok(ClassFolder {
            root,
            classes: labels.map_or(names, <[String]>::to_vec),
            images,
            notes,
        })
    }
}

/// The class folders of `dir`, or of a split inside it; a note says when it was a split.
fn class_folders(dir: &Path, notes: &mut Vec<String>) -> Result<(PathBuf, Vec<PathBuf>), Error> {
    for split in SPLITS {
        let inside = dir.join(split);
        // A class may be called "test": a split is a folder whose own content is folders.
        if inside.is_dir() && !folders(&inside)?.is_empty() {
            notes.push(format!("using {}", Plain(inside.display())));
            let found = folders(&inside)?;
            return Ok((inside, found));
        }
    }
    let found = folders(dir)?;
    if found.is_empty() {
        return Err(Error::NoClassFolders { path: dir.into() });
    }
    Ok((dir.into(), found))
}

/// The folders in a folder, sorted by name, hidden ones left out.
///
/// # Errors
/// When it cannot be read.
pub fn folders(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut folders = entries(dir)?;
    folders.retain(|p| p.is_dir());
    Ok(folders)
}

/// What a folder holds, sorted by name, hidden entries left out.
///
/// # Errors
/// When it cannot be read.
pub fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail = |e| Error::from_read(dir, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The name of a folder or file, without what it lies in.
pub fn name_of(folder: &Path) -> String {
    folder
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

/// Whether a file's extension is one of those that are read as images; folders are none.
pub fn is_image(path: &Path) -> bool {
    path.extension()
        .map(|e| e.to_string_lossy().to_lowercase())
        .is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
        && !path.is_dir()
}

/// A label as it is compared.
fn plain(label: &str) -> String {
    label.trim().to_lowercase().replace(['_', '-'], " ")
}

/// The label's index of each folder.
fn match_labels(
    root: &Path,
    names: &[String],
    labels: &[String],
    notes: &mut Vec<String>,
) -> Result<Vec<usize>, Error> {
    let mut exact = HashMap::new();
    let mut loose = HashMap::new();
    for (i, label) in labels.iter().enumerate() {
        exact.entry(label.as_str()).or_insert(i);
        loose.entry(plain(label)).or_insert(i);
    }
    let found: Vec<Option<usize>> = names
        .iter()
        .map(|n| exact.get(n.as_str()).or_else(|| loose.get(&plain(n))))
        .map(|i| i.copied())
        .collect();
    if found.iter().all(Option::is_none) && names.len() == labels.len() {
        notes.push(format!(
            "no folder is named like one of the model's labels; its {} folders in sorted order are taken for the labels in theirs",
            names.len()
        ));
        return Ok((0..names.len()).collect());
    }
    let mut taken = vec![false; labels.len()];
    let mut indices = Vec::with_capacity(names.len());
    for (name, index) in names.iter().zip(found) {
        let Some(index) = index else {
            return Err(Error::UnknownClass {
                path: root.into(),
                class: name.clone(),
                nearest: nearest(name, labels),
                folders: names.len(),
                labels: labels.len(),
            });
        };
        if core::mem::replace(&mut taken[index], true) {
            return Err(Error::SameClass {
                path: root.into(),
                class: labels[index].clone(),
            });
        }
        indices.push(index);
    }
    Ok(indices)
}

/// The label that takes the fewest edits to become `name`, if it is at all alike.
fn nearest(name: &str, labels: &[String]) -> Option<String> {
    // Names of files are at most 255 bytes; of a longer label only the beginning is compared.
    let name: Vec<char> = plain(name).chars().take(255).collect();
    let distance = |label: &str| {
        let label: Vec<char> = plain(label).chars().take(255).collect();
        let mut row: Vec<usize> = (0..=label.len()).collect();
        for (i, a) in name.iter().enumerate() {
            let mut diagonal = i;
            row[0] = i + 1;
            for (j, b) in label.iter().enumerate() {
                let substitute = diagonal + usize::from(a != b);
                diagonal = row[j + 1];
                row[j + 1] = substitute.min(row[j] + 1).min(row[j + 1] + 1);
            }
        }
        row[label.len()]
    };
    labels
        .iter()
        .map(|l| (distance(l), l))
        .min_by_key(|(d, _)| *d)
        .filter(|(d, l)| *d < name.len().max(l.chars().count()))
        .map(|(_, l)| l.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn tree(files: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        dir
    }

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.into()).collect()
    }

    fn listed(folder: &ClassFolder) -> Vec<(String, usize)> {
        folder
            .images
            .iter()
            .map(|e| (name_of(&e.path), e.class))
            .collect()
    }

    fn check(files: &[&str], model: &[&str], expected: &[(&str, usize)], notes: usize) {
        let dir = tree(files);
        let model = labels(model);
        let labels = (!model.is_empty()).then_some(model.as_slice());
        let got = ClassFolder::open(dir.path(), labels).unwrap();
        let expected: Vec<_> = expected.iter().map(|&(n, c)| (n.into(), c)).collect();
        assert_eq!(listed(&got), expected);
        assert_eq!(got.notes.len(), notes, "{:?}", got.notes);
    }

    fn refused(files: &[&str], model: &[&str]) -> Error {
        let dir = tree(files);
        let error = ClassFolder::open(dir.path(), Some(&labels(model))).unwrap_err();
        assert!(!error.to_string().contains('\n'));
        error
    }

    #[test]
    fn images_come_sorted_and_everything_else_stays_out() {
        let files = [
            "dog/b.JPG",
            "dog/a.png",
            "dog/.hidden.png",
            "dog/notes.txt",
            "cat/z.jpeg",
            "cat/more/deep.png",
            ".git/x.png",
            "readme.png",
        ];
        let expected = [("z.jpeg", 0), ("a.png", 1), ("b.JPG", 1)];
        check(&files, &[], &expected, 0);
    }

    #[test]
    fn folders_are_matched_by_name_in_the_labels_own_order() {
        let files = ["cat/1.png", "Dog/2.png", "t-shirt/3.png"];
        let expected = [("2.png", 0), ("1.png", 2), ("3.png", 1)];
        check(&files, &["dog", "t_shirt", "cat", "bird"], &expected, 0);
    }

    #[test]
    fn a_split_inside_is_used_and_named() {
        let files = ["train/cat/1.png", "val/cat/2.png"];
        check(&files, &["cat"], &[("2.png", 0)], 1);
        // A class named "test" is no split.
        check(
            &["test/1.png", "pen/2.png"],
            &[],
            &[("2.png", 0), ("1.png", 1)],
            0,
        );
    }

    #[test]
    fn foreign_names_of_the_right_number_are_taken_in_order_with_a_note() {
        let files = ["n02/1.png", "n01/2.png"];
        check(&files, &["cat", "dog"], &[("2.png", 0), ("1.png", 1)], 1);
    }

    #[test]
    fn a_folder_that_is_no_label_is_named_with_the_nearest() {
        let error = refused(&["cat/1.png", "dgo/1.png"], &["dog", "cat"]);
        let text = error.to_string();
        assert!(
            text.ends_with(
                "folder 'dgo' is none of the model's 2 labels (2 folders here); the nearest label is 'dog'"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_class_folder_is_said() {
        assert!(matches!(refused(&[], &["a"]), Error::NoClassFolders { .. }));
        assert!(matches!(
            refused(&["1.png"], &["a"]),
            Error::NoClassFolders { .. }
        ));
        assert!(matches!(
            refused(&["a/1.txt"], &["a"]),
            Error::NoImages { .. }
        ));
        assert!(matches!(
            refused(&["a b/1.png", "a_b/1.png"], &["a b"]),
            Error::SameClass { .. }
        ));
        let missing = ClassFolder::open("no/such/folder", None).unwrap_err();
        assert!(matches!(missing, Error::Missing { .. }), "{missing}");
        let dir = tree(&["file.png"]);
        let file = ClassFolder::open(dir.path().join("file.png"), None).unwrap_err();
        assert!(matches!(file, Error::NotAFolder { .. }), "{file}");
    }
}
