//! A lock space of a test's own.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use concurrent_locks::{Error, ErrorKind, LockManager};
use tempfile::TempDir;

use crate::{child::Child, image::Image};

/// A directory with a table in it, gone when dropped.
pub(crate) struct Space {
    directory: TempDir,
    capacity: String,
}

impl Space {
    pub(crate) fn new() -> Space {
        Self::with_capacity("resources=256&requests=512&processes=16")
    }

    /// A space whose table, once made, has this capacity (see [`LockManager::connect`]).
    pub(crate) fn with_capacity(capacity: &str) -> Space {
        let builder = tempfile::Builder::new().prefix("host-outcomes-").to_owned();
        // Where tables are by default, if this machine has it.
        let directory = builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).unwrap();
        Space { directory, capacity: capacity.to_owned() }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the table is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory().join("t.table")
    }

    pub(crate) fn url(&self) -> String {
        self.url_of(&self.path())
    }

    /// The URL of another table in this space's directory.
    pub(crate) fn url_of(&self, path: &Path) -> String {
        format!("host:{}?{}", path.display(), self.capacity)
    }

    /// This process's manager.
    #[track_caller]
    pub(crate) fn connect(&self) -> LockManager {
        LockManager::connect(&self.url()).blocking().unwrap()
    }

    /// A process that takes locks of this space on command.
    #[track_caller]
    pub(crate) fn child(&self) -> Child {
        Child::start("taker", &self.url())
    }

    pub(crate) fn image(&self) -> Image {
        Image::open(&self.path())
    }

    /// A copy of the table that nobody has ever used.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        let copy = self.directory().join(name);
        fs::copy(self.path(), &copy).unwrap();
        copy
    }
}

/// Opens what cannot be opened; the error must name the path.
#[track_caller]
pub(crate) fn refused(path: &Path) -> Error {
    let error = LockManager::connect(&format!("host:{}", path.display())).blocking().expect_err("a refusal");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

/// [`refused`], with this kind and these words.
#[track_caller]
pub(crate) fn assert_refused(path: &Path, kind: ErrorKind, words: &str) {
    let error = refused(path);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
}

pub(crate) fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}
