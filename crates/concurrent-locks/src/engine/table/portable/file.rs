//! No table files: `host:` rests on Linux's futexes, file-description locks and robust mutexes.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::{clock::Clock, geometry::Geometry, layout::Layout, memory::Mapping, sharing::Sharing};
use crate::words::{
    error::{Error, ErrorKind},
    status::Place,
};

/// An open table file, of which there is none.
#[derive(Debug)]
pub(super) enum TableFile {}

/// What a space's table would be called.
pub(crate) fn default_path(space: &str) -> PathBuf {
    PathBuf::from(format!("{space}.table"))
}

/// Refuses.
pub(super) fn open(path: &Path, _geometry: Geometry, _sharing: Sharing) -> Result<(TableFile, Layout, Clock), Error> {
    Err(refused(path))
}

/// Refuses.
pub(super) fn observe(path: &Path, _sharing: Sharing) -> Result<Option<(TableFile, File, Layout, Clock)>, Error> {
    Err(refused(path))
}

fn refused(path: &Path) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "host:{} needs Linux; on this system use file:DIR between processes, local: within one",
            path.display()
        ),
    )
}

impl TableFile {
    pub(super) fn path(&self) -> &Path {
        match *self {}
    }

    pub(super) fn whereabouts(&self, _own: &File) -> super::in_place::Whereabouts {
        match *self {}
    }

    pub(super) fn first_page(&self) -> Option<Mapping> {
        match *self {}
    }

    pub(super) fn reopen(&self) -> Result<File, Error> {
        match *self {}
    }

    pub(super) fn place(&self, _announced_in: Vec<String>) -> Place {
        match *self {}
    }

    pub(super) fn is_named_by_space(&self) -> bool {
        match *self {}
    }

    pub(super) fn out_of_sight(&self, _why: &str) -> Error {
        match *self {}
    }

    pub(super) fn gone(&self) -> Error {
        match *self {}
    }

    pub(super) fn wrong_permissions(&self) -> Option<String> {
        match *self {}
    }

    pub(super) fn permissions(&self) -> Option<String> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use crate::{ErrorKind, LockManager};

    #[test]
    fn host_is_refused_with_what_is_possible() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.table");
        for refused in [
            LockManager::connect(&format!("host:{}", path.display())),
            LockManager::connect("host:blue"),
            LockManager::host(),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("file:DIR"), "{error}");
        }
        assert!(!path.exists());
    }
}
