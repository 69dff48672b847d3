//! A JSON file that is read whole and rewritten whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::error::Error;

/// Written at a time: small, so that a file of any size takes several writes.
const CHUNK_BYTES: usize = 512;

/// Reads the file; the default value if there is none.
pub(crate) fn load<T: DeserializeOwned + Default>(path: &Path) -> Result<T, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// Writes a new file beside the old one and puts it in the old one's place, so that a writer
/// that dies half-way leaves the old file whole. There is one name for the new file: two writers at
/// once write into each other's, and only the lock keeps them apart.
pub(crate) fn save(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    let new = new_file(path);
    replace(path, &new, &text).map_err(|source| Error::Io { path: new, source })
}

fn replace(path: &Path, new: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(new)?;
    for chunk in text.chunks(CHUNK_BYTES) {
        file.write_all(chunk)?;
        // Lets others run between two writes, also where there is only one core.
        std::thread::yield_now();
    }
    fs::rename(new, path)
}

fn new_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
