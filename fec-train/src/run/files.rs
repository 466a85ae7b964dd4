//! Files that are there whole or not at all, and stay there when the power goes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::Error;

/// Names of files that are not finished begin and end so; what a killed process has left of them is removed.
const PREFIX: &str = ".fec-";
const SUFFIX: &str = ".part";

/// Writes a file beside its place, waits until the disk has it, and renames it into place.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        // A temporary file is private by default; the result is an ordinary file under the user's umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // Its message would name the temporary file, which is nobody's business.
        let made = builder.tempfile_in(folder);
        let mut file = made.map_err(|e| io::Error::from(e.kind()))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        sync_folder(folder)
    };
    write().map_err(|e| Error::writing(path, e))
}

/// Waits until the disk knows what the folder holds: a rename lasts only after that.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere folders cannot be opened, and renames are journalled by the file system.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    let _ = folder;
    Ok(())
}

/// Waits until the disk has the file.
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    // Windows flushes through handles that may write only.
    File::options()
        .read(true)
        .write(cfg!(windows))
        .open(path)?
        .sync_all()
}

/// Removes what killed processes have left of unfinished files.
pub(super) fn remove_unfinished(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(|e| Error::reading(folder, e))? {
        let entry = entry.map_err(|e| Error::reading(folder, e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            fs::remove_file(entry.path()).map_err(|e| Error::writing(&entry.path(), e))?;
        }
    }
    Ok(())
}

/// A text file of the run.
pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| Error::reading(path, e))
}
