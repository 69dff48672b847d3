//! No table files: `host:` rests on Linux's futexes, file-description locks and robust mutexes.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use crate::{
    engine::table::{
        machine::clock::Clock,
        map::{geometry::Geometry, layout::Layout, memory::Mapping},
        place::sharing::Sharing,
    },
    words::{
        error::{Error, ErrorKind},
        status::Place,
    },
};

/// An open table file, of which there is none.
#[derive(Debug)]
pub(crate) enum TableFile {}

/// What a space's table would be called.
pub(crate) fn default_path(space: &str) -> PathBuf {
    PathBuf::from(format!("{space}.table"))
}

/// Refuses.
pub(crate) fn open(path: &Path, _geometry: Geometry, _sharing: Sharing) -> Result<(TableFile, Layout, Clock), Error> {
    Err(refused(path))
}

/// Refuses.
pub(crate) fn observe(path: &Path, _sharing: Sharing) -> Result<Option<(TableFile, File, Layout, Clock)>, Error> {
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
    pub(crate) fn path(&self) -> &Path {
        match *self {}
    }

    pub(crate) fn whereabouts(&self, _own: &File) -> crate::engine::table::place::whereabouts::Whereabouts {
        match *self {}
    }

    pub(crate) fn first_page(&self) -> Option<Mapping> {
        match *self {}
    }

    pub(crate) fn reopen(&self) -> Result<File, Error> {
        match *self {}
    }

    pub(crate) fn place(&self, _announced_in: Vec<String>) -> Place {
        match *self {}
    }

    pub(crate) fn is_named_by_space(&self) -> bool {
        match *self {}
    }

    pub(crate) fn not_visible(&self, _why: &str) -> Error {
        match *self {}
    }

    pub(crate) fn gone(&self) -> Error {
        match *self {}
    }

    pub(crate) fn wrong_permissions(&self) -> Option<String> {
        match *self {}
    }

    pub(crate) fn permissions(&self) -> Option<String> {
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
            LockManager::connect(&format!("host:{}", path.display())).blocking(),
            LockManager::connect("host:blue").blocking(),
            LockManager::host(),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("file:DIR"), "{error}");
        }
        assert!(!path.exists());
    }
}
