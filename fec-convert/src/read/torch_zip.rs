//! The layout of `torch.save` since 1.6: a zip of `NAME/data.pkl` and `NAME/data/KEY` for each storage.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::torch::{self, Storages};
use super::{Contents, ReadOptions, pickle};
use crate::error::Error;

/// Where a zip's directory may announce itself: its last record and a comment of 64 KiB.
const ZIP_END_LEN: usize = 22 + 65_535;

pub(crate) fn read(bytes: &[u8], options: &ReadOptions) -> Result<Contents, Error> {
    let tail = bytes
        .get(bytes.len().saturating_sub(ZIP_END_LEN)..)
        .unwrap_or_default();
    if !tail.windows(4).any(|w| w == b"PK\x05\x06") {
        return Err(Error::TruncatedZip {
            len: bytes.len() as u64,
        });
    }
    let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged("the directory", &e))?;
    let mut archive = Archive {
        folder: String::new(),
        zip,
        file_len: bytes.len(),
    };
    archive.folder = archive.find_folder()?;
    if let Some(order) = archive.entry("byteorder", None)?
        && order.trim_ascii() == b"big"
    {
        return Err(Error::BigEndian);
    }
    let Some(pickled) = archive.entry("data.pkl", None)? else {
        return Err(Error::DamagedZip {
            entry: "data.pkl".to_string(),
            detail: "it is missing".to_string(),
        });
    };
    let pickle = pickle::load(&pickled)?;
    torch::tensors(&pickle, &mut archive, bytes.len(), options)
}

struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// What stands before every entry's name, `NAME/`.
    folder: String,
    file_len: usize,
}

impl Archive<'_> {
    /// The folder of `data.pkl`; names the kind of zip when there is none.
    fn find_folder(&self) -> Result<String, Error> {
        let mut has_arrays = false;
        for name in self.zip.file_names().flatten() {
            if let Some(folder) = name.strip_suffix("data.pkl")
                && (folder.is_empty() || folder.ends_with('/'))
            {
                return Ok(folder.to_string());
            }
            has_arrays |= name.ends_with(".npy");
        }
        Err(Error::NotACheckpoint {
            found: if has_arrays {
                "numpy arrays in a zip (.npz); expected a file of torch.save or a .safetensors file"
            } else {
                "a zip without data.pkl; expected a file of torch.save or a .safetensors file; unpack the zip if the checkpoint lies in it"
            },
        })
    }

    /// The bytes of an entry, their checksum verified; None if there is no such entry.
    fn entry(&mut self, name: &str, len: Option<usize>) -> Result<Option<Vec<u8>>, Error> {
        let path = format!("{}{name}", self.folder);
        let file = match self.zip.by_name(&path) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(e) => return Err(damaged(&path, &e)),
        };
        // Stored entries cannot be longer than the file, so memory stays in proportion to it.
        if file.compression() != CompressionMethod::Stored {
            return Err(Error::CompressedEntry { entry: path });
        }
        let given = file.size();
        let needed = len.map_or(given, |len| len as u64);
        if given != needed || given > self.file_len as u64 {
            return Err(Error::EntryLength {
                entry: path,
                needed,
                given,
            });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(given).unwrap_or_default());
        let mut rest = file.take(given.saturating_add(1));
        rest.read_to_end(&mut bytes)
            .map_err(|e| Error::DamagedZip {
                entry: path.clone(),
                detail: e.to_string(),
            })?;
        if bytes.len() as u64 != given {
            return Err(Error::Truncated {
                what: path,
                needed: given,
                given: bytes.len() as u64,
            });
        }
        Ok(Some(bytes))
    }
}

impl Storages for Archive<'_> {
    fn bytes(&mut self, key: &str, len: usize) -> Result<Cow<'_, [u8]>, Error> {
        let name = format!("data/{key}");
        match self.entry(&name, Some(len))? {
            Some(bytes) => Ok(Cow::Owned(bytes)),
            None => Err(Error::DamagedZip {
                entry: format!("{}{name}", self.folder),
                detail: "it is missing".to_string(),
            }),
        }
    }
}

fn damaged(entry: &str, error: &ZipError) -> Error {
    Error::DamagedZip {
        entry: entry.to_string(),
        detail: error.to_string(),
    }
}
