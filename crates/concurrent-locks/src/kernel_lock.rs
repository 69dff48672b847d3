//! Files that the kernel has locked for this process (std: flock, LockFileEx).
//!
//! Every [`KernelLock`] is an open file of its own, so two of them exclude each other also within
//! one process, and closing one never touches another.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
};

use crate::{error::Error, mode::Mode};

/// A lock file that the kernel has locked for this process. Dropping it closes the file, which gives
/// the lock back unless a forked child has inherited it; [`KernelLock::give_back`] does in any case.
#[derive(Debug)]
pub(crate) struct KernelLock {
    file: File,
}

impl KernelLock {
    /// Takes the lock if it is free.
    pub(crate) fn try_take(path: &Path, mode: Mode) -> Result<Option<KernelLock>, Error> {
        loop {
            let file = open(path).map_err(|error| failed("open", path, &error))?;
            let locked = match mode {
                Mode::Read => file.try_lock_shared(),
                Mode::Write => file.try_lock(),
            };
            match locked {
                Ok(()) if is_at(&file, path) => return Ok(Some(KernelLock { file })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => return Err(failed("lock", path, &error)),
            }
        }
    }

    /// Waits for the lock.
    pub(crate) fn take(path: &Path, mode: Mode) -> Result<KernelLock, Error> {
        loop {
            let file = open(path).map_err(|error| failed("open", path, &error))?;
            let locked = match mode {
                Mode::Read => file.lock_shared(),
                Mode::Write => file.lock(),
            };
            match locked {
                Ok(()) if is_at(&file, path) => return Ok(KernelLock { file }),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("lock", path, &error)),
            }
        }
    }

    /// The locked file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether it still keeps out who takes the lock by this path.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        is_at(&self.file, path)
    }

    pub(crate) fn give_back(self, path: &Path) -> Result<(), Error> {
        self.file.unlock().map_err(|error| failed("unlock", path, &error))
    }
}

/// Opens, and makes if missing, a file that only this user may use. Never follows a symbolic link.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;
        // FILE_SHARE_READ | FILE_SHARE_WRITE: nobody deletes it while it is open.
        options.share_mode(1 | 2);
    }
    options.open(path)
}

/// Whether the open file is still the one that others find under its path. If somebody has removed
/// it, a lock on it excludes nobody.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(own), Ok(found)) => own.dev() == found.dev() && own.ino() == found.ino(),
        _ => false,
    }
}

/// An open file cannot be removed here: see the share mode in [`open`].
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

/// What went wrong with which file, and what to look at.
pub(crate) fn failed(doing: &str, path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    Error::io(
        format!("cannot {doing} {path} (its directory must belong to this user, on a file system with file locks)"),
        error,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_lock_file_is_not_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.lock");
        let old = KernelLock::take(&path, Mode::Write).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!is_at(&old.file, &path));
        let new = KernelLock::try_take(&path, Mode::Write).unwrap().unwrap();
        assert!(is_at(&new.file, &path) && !is_at(&old.file, &path));
        assert!(KernelLock::try_take(&path, Mode::Read).unwrap().is_none());
    }

    /// A waiter that has the old file open gets its lock after it was removed, and must go on to the new one.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_waiter_of_a_removed_file_goes_on_to_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.lock");
        let old = KernelLock::take(&path, Mode::Write).unwrap();
        let times_open = || {
            let files = std::fs::read_dir("/proc/self/fd").unwrap();
            files
                .filter(|file| std::fs::read_link(file.as_ref().unwrap().path()).is_ok_and(|open| open == path))
                .count()
        };
        let taken = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| KernelLock::take(&path, Mode::Write).unwrap());
            while times_open() < 2 {
                std::thread::yield_now();
            }
            std::fs::remove_file(&path).unwrap();
            drop(old);
            waiter.join().unwrap()
        });
        assert!(is_at(&taken.file, &path));
        assert!(KernelLock::try_take(&path, Mode::Write).unwrap().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_not_followed_and_files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        let link = directory.path().join("a.lock");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(KernelLock::try_take(&link, Mode::Write).is_err());
        assert!(!victim.exists());
        let path = directory.path().join("b.lock");
        drop(KernelLock::try_take(&path, Mode::Write).unwrap());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
