//! Files mapped into memory: the only `unsafe` of this crate.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// A file's bytes where the system keeps them, for reading. They begin at a page, so at any alignment a model asks for.
///
/// The map is private and its file was opened for reading: nothing here writes to it. Whoever overwrites the file in place while it is
/// mapped changes what is read, and whoever cuts it ends this process (SIGBUS on Unix). Programs that replace a file as a whole,
/// by renaming as `fec-convert` does, leave a map as it was. Small files are read instead, which has neither problem
/// ([`super::model_file::MAPPED_FROM`]).
#[derive(Debug)]
pub(crate) struct Mapped(Mmap);

impl Mapped {
    /// Maps all of a file. Its pages are fetched at once, since a model's checksum reads them all.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.populate();
        // SAFETY: the map is read as bytes alone, of which every value is valid, and `Mmap` unmaps it after the last borrow; what is
        // read from it was checked by the model's reader, whose later accesses are checked slices again, so that bytes changed
        // underneath give wrong numbers and no wrong access. That nobody changes them is the operator's part, as said above.
        let map = unsafe { options.map_copy_read_only(file) }?;
        Ok(Self(map))
    }

    /// Its bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
