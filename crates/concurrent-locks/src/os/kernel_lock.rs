//! Files that the kernel has locked for this process (std: flock, LockFileEx).
//!
//! Every [`KernelLock`] is an open file of its own, so two of them exclude each other also within
//! one process, and closing one never touches another.

use std::{
    fs::{File, FileTimes, Metadata, OpenOptions, TryLockError},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{
    os::own_file::{Identity, OwnFile},
    words::{
        error::{Error, ErrorKind},
        mode::Mode,
    },
};

/// A lock file that the kernel has locked for this process. Dropping it closes the file, which releases
/// the lock unless a forked child has inherited it; [`KernelLock::release`] does in any case.
#[derive(Debug)]
pub(crate) struct KernelLock {
    file: OwnFile,
}

impl KernelLock {
    /// Takes the lock if it is free.
    pub(crate) fn try_take(path: &Path, mode: Mode) -> Result<Option<KernelLock>, Error> {
        loop {
            let file = open(path).map_err(|error| failed("open", path, error))?;
            let locked = match mode {
                Mode::Read => file.try_lock_shared(),
                Mode::Write => file.try_lock(),
            };
            match locked {
                Ok(()) => {
                    if let Some(lock) = Self::locked(file, path)? {
                        return Ok(Some(lock));
                    }
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => return Err(failed("lock", path, error)),
            }
        }
    }

    /// Waits for the lock.
    pub(crate) fn take(path: &Path, mode: Mode) -> Result<KernelLock, Error> {
        loop {
            let file = open(path).map_err(|error| failed("open", path, error))?;
            let locked = match mode {
                Mode::Read => file.lock_shared(),
                Mode::Write => file.lock(),
            };
            match locked {
                Ok(()) => {
                    if let Some(lock) = Self::locked(file, path)? {
                        return Ok(lock);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("lock", path, error)),
            }
        }
    }

    /// `None` if the file that was locked is not the one that others find by now.
    fn locked(file: File, path: &Path) -> Result<Option<KernelLock>, Error> {
        let file = OwnFile::new(file).map_err(|error| failed("look at", path, error))?;
        if !is_at(file.identity(), path) {
            return Ok(None);
        }
        if let Some(file) = file.get() {
            keep_from_cleaners(file);
        }
        Ok(Some(KernelLock { file }))
    }

    /// The locked file itself; an error if this process has closed it.
    pub(crate) fn file(&self) -> Result<&File, Error> {
        self.file.get().ok_or_else(|| {
            Error::new(ErrorKind::Lost, "the lock is lost: this process has closed the descriptor of its lock file")
        })
    }

    /// Whether it still excludes processes that take the lock by this path.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.file.get().is_some() && is_at(self.file.identity(), path)
    }

    pub(crate) fn release(self, path: &Path) -> Result<(), Error> {
        self.file()?.unlock().map_err(|error| failed("unlock", path, error))
    }
}

/// How far ahead a lock file's times are set.
const AHEAD: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Cleaners of folders for temporary files delete what is old, also when it is in use. A lock may be held
/// for long, with nobody there to renew the times of its file meanwhile: they are set far ahead.
pub(crate) fn keep_from_cleaners(file: &File) {
    let now = SystemTime::now();
    let is_due = |found: &Metadata| found.modified().is_ok_and(|modified| modified < now + AHEAD / 2);
    if file.metadata().is_ok_and(|found| is_due(&found)) {
        let times = FileTimes::new().set_accessed(now + AHEAD).set_modified(now + AHEAD);
        // A file system without times that can be set has no cleaners that go by them.
        let _ = file.set_times(times);
    }
}

/// Opens, and makes if missing, a file that only its owner may use. Never follows a symbolic link.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    loop {
        // Opened first: systems may refuse to make what is there already, if it is another user's.
        match open_existing(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        match options().create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.and_then(|file| leave_to_folder_owner(file, path)),
        }
    }
}

/// The same for a file that must be there.
pub(crate) fn open_existing(path: &Path) -> io::Result<File> {
    options().open(path)
}

/// What root makes in the folder of a user belongs to that user, who would be locked out else.
#[cfg(unix)]
fn leave_to_folder_owner(file: File, path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{MetadataExt, fchown};
    if let Some(folder) = path.parent()
        && file.metadata()?.uid() == 0
    {
        let folder = folder.metadata()?;
        if folder.uid() != 0 {
            fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
        }
    }
    Ok(file)
}

#[cfg(not(unix))]
fn leave_to_folder_owner(file: File, _path: &Path) -> io::Result<File> {
    Ok(file)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false);
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
    options
}

/// Whether a file is still the one that others find under its path. If somebody has removed it, a lock on
/// it excludes nobody.
#[cfg(unix)]
pub(crate) fn is_at(file: Identity, path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| Identity::of(&found) == file)
}

/// An open file cannot be removed here: see the share mode in [`options`].
#[cfg(not(unix))]
pub(crate) fn is_at(_file: Identity, _path: &Path) -> bool {
    true
}

/// What went wrong with which file, and what can be done.
pub(crate) fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    let way_out = match error.kind() {
        io::ErrorKind::PermissionDenied => who_may(path),
        io::ErrorKind::ReadOnlyFilesystem => "locking, even to read, requires a writable folder".to_owned(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there, or use another folder".to_owned()
        }
        _ => "its folder must exist, on a file system with file locks".to_owned(),
    };
    Error::io(format_args!("cannot {doing} {} ({way_out})", path.display()), error)
}

/// Whose a file is, or the folder in which it is missing.
#[cfg(unix)]
fn who_may(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let places = path.ancestors().map(|place| (place, std::fs::symlink_metadata(place)));
    let Some((place, found)) = places.into_iter().find_map(|(place, found)| Some((place, found.ok()?))) else {
        return "no part of its path is visible".to_owned();
    };
    let what = if place == path { "it".to_owned() } else { place.display().to_string() };
    format!(
        "{what} belongs to {}, mode {:04o}: take these locks as that user, or share them by a server (redis://, \
         postgres://)",
        user(found.uid()),
        found.mode() & 0o7777
    )
}

/// A user by name, where the system's list has one.
#[cfg(unix)]
fn user(id: u32) -> String {
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = list.lines().find_map(|line| {
        let mut words = line.split(':');
        let name = words.next()?;
        (words.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    name.map_or_else(|| format!("uid {id}"), |name| format!("{name} (uid {id})"))
}

#[cfg(not(unix))]
fn who_may(_path: &Path) -> String {
    "the user of this process has no access".to_owned()
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
        assert!(!old.is_at(&path));
        let new = KernelLock::try_take(&path, Mode::Write).unwrap().unwrap();
        assert!(new.is_at(&path) && !old.is_at(&path));
        assert!(KernelLock::try_take(&path, Mode::Read).unwrap().is_none());
    }

    /// A waiter that has the old file open gets its lock after it was removed, and must switch to the new one.
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
        assert!(taken.is_at(&path));
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

    #[cfg(unix)]
    #[test]
    fn what_is_refused_names_who_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.lock");
        drop(open(&path).unwrap());
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        let said = failed("open", &path, refused()).to_string();
        let owner = std::os::unix::fs::MetadataExt::uid(&path.metadata().unwrap());
        assert!(said.contains(&format!("it belongs to {}, mode 0600", user(owner))), "{said}");
        let missing = failed("open", &directory.path().join("b.lock"), refused()).to_string();
        assert!(missing.contains(&format!("{} belongs to", directory.path().display())), "{missing}");
        assert_eq!(user(0), "root (uid 0)");
        assert_eq!(user(4_000_000_000), "uid 4000000000");
        let said = failed("open", &path, io::ErrorKind::ReadOnlyFilesystem.into()).to_string();
        assert!(said.contains("writable folder"), "{said}");
    }
}
