//! The folder of lock files, and the names of the files of one resource.

#[cfg(unix)]
use std::os::unix::fs::DirBuilderExt;
use std::{
    fs::DirBuilder,
    path::{Path, PathBuf},
};

use crate::{
    os::kernel_lock::failed,
    words::{error::Error, name::Name},
};

/// How much of a name can be read in its file names.
const READABLE_BYTES: usize = 80;

/// The files of one resource.
#[derive(Debug)]
pub(super) struct Files {
    /// Locked by the kernel; stays empty.
    pub(super) lock: PathBuf,
    /// The last fencing token.
    pub(super) token: PathBuf,
    /// The holder of the lock file.
    pub(super) holder: PathBuf,
}

impl Files {
    pub(super) fn of(directory: &Path, name: Name<'_>) -> Files {
        let stem = stem(name);
        let file = |extension| directory.join(format!("{stem}.{extension}"));
        Files { lock: file("lock"), token: file("token"), holder: file("holder") }
    }

    /// Does something with the files; if it fails because somebody has deleted their folder, makes it
    /// first.
    pub(super) fn in_folder<T>(&self, act: impl Fn(&Files) -> Result<T, Error>) -> Result<T, Error> {
        match (act(self), self.lock.parent()) {
            (Err(_), Some(folder)) if !folder.exists() => make_folder(folder).and_then(|()| act(self)),
            (result, _) => result,
        }
    }
}

/// Makes the folder, for this user only, if it is missing.
pub(super) fn make_folder(folder: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(folder).map_err(|error| failed("create the directory", folder, error))
}

/// A file name of at most 113 bytes that stands for a name: what can be read of it, then a hash that
/// distinguishes names which differ only in case, in what a file name cannot have, or far behind.
fn stem(name: Name<'_>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c.to_ascii_lowercase() } else { '_' };
    let readable: String = name.text().chars().take(READABLE_BYTES).map(plain).collect();
    format!("{readable}-{:032x}", xxhash_rust::xxh3::xxh3_128(name.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stem_of(name: &str) -> String {
        stem(Name::new(name).unwrap())
    }

    #[test]
    fn file_names_are_safe_and_distinct() {
        let long = "x".repeat(255);
        let wide = "日".repeat(85);
        let names = ["a", "A", "a/b", "a_b", "../a", ".", "con", "tab\t", long.as_str(), &long[1..], wide.as_str()];
        let stems: Vec<String> = names.iter().map(|name| stem_of(name)).collect();
        for stem in &stems {
            assert!(stem.len() <= READABLE_BYTES + 33, "{stem}");
            assert!(stem.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c)), "{stem}");
        }
        let mut distinct = stems.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), stems.len());
    }

    /// Processes built at different times must meet at the same files.
    #[test]
    fn golden() {
        assert_eq!(stem_of("db:Main.sqlite"), "db_main.sqlite-f680e940ade106bcd6139019a5ac53d8");
    }
}
