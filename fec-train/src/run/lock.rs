//! One process trains into a run at a time.
//!
//! The operating system's lock on a file: it ends with the process that holds it, however that ends, so no lock is ever stale.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;

use super::Error;

/// The file that is locked; it holds the process's number, for the message.
const NAME: &str = "lock";

/// The right to write into a run, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(NAME);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(|e| Error::writing(&path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Some systems let nobody read a locked file: then the message names no number.
                let _ = (&mut file).take(32).read_to_string(&mut holder);
                return Err(Error::Locked {
                    folder: folder.to_path_buf(),
                    process: holder.trim().parse().ok(),
                });
            }
            // A file system without locks is no reason not to train on it.
            Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(Error::writing(&path, e)),
        }
        // The number is for a message alone: a full disk may lose it.
        let _ = file.set_len(0);
        let _ = file.rewind();
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}
