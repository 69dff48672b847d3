//! The fence of a file or folder: the greatest token, in `NAME.fence` beside it.
//!
//! - **F1** The fence file is locked by the kernel from the comparison to the end of the write, so
//!   that nobody writes in between, and the kernel unlocks it when the writer dies.
//! - **F2** The token is in the fence file, and on the disk, before anything is written under it. A
//!   crash after that leaves the resource as it was and the older tokens refused, which is right:
//!   their grants ended before this one's began.
//! - **F3** All paths to a file lead to one fence: symbolic links are followed first.

use std::{
    fs,
    io::{self, ErrorKind::NotFound},
    path::{Path, PathBuf},
};

use crate::{
    os::{
        fork_generation::ForkGeneration,
        kernel_lock::{KernelLock, failed},
        number_file::{self, Unreadable},
    },
    words::{
        error::{Error, ErrorKind},
        mode::Mode,
    },
};

/// Passes the fence beside `path` with a token, or is refused. What is written to `path` while the
/// [`Passage`] lives is written by the holder of the greatest token.
///
/// For resources that [`write_file`](super::write_file) does not fit: a log that grows, several files,
/// a whole folder (name the folder: its fence is beside it). What a write that dies half-way leaves
/// behind is the caller's to think of. `path` need not exist, its folder must.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("events.log");
/// use std::{fs::OpenOptions, io::Write};
/// use concurrent_locks::{LockManager, fencing};
///
/// let guard = LockManager::local().write("events.log").blocking()?;
/// {
///     let passage = fencing::pass(&path, guard.token())?;
///     let mut log = OpenOptions::new().create(true).append(true).open(passage.path()).unwrap();
///     writeln!(log, "it happened").unwrap();
/// } // others may pass
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
///
/// Waits for whoever is passing. That should be short: take the passage for the writing, not for
/// the thinking before it. A process that is stopped *while* it passes makes the others wait until
/// it continues or is killed; there is no order among them but that of the tokens.
///
/// # Errors
/// `Lost` if a greater token has passed; `Corrupt` if the fence file holds no number; `Permission`,
/// `Full` or `Unreachable` if a file cannot be used; `InvalidInput` if the path names nothing that can
/// have a fence beside it.
pub fn pass(path: impl AsRef<Path>, token: u64) -> Result<Passage, Error> {
    let path = resolve(path.as_ref())?;
    let fence = beside(&path, ".fence");
    let lock = KernelLock::take(&fence, Mode::Write)?;
    let passage = Passage { lock, path, process: ForkGeneration::current() };
    let greatest = greatest(&passage.lock, &fence)?;
    if let Some(greatest) = greatest.filter(|greatest| *greatest > token) {
        return Err(too_late(&passage.path, token, greatest));
    }
    raise(&passage, passage.lock.file()?, greatest, token).map_err(|error| failed("write", &fence, error))?;
    Ok(passage)
}

/// The right to write to a path now, with the greatest token; others wait. From [`pass`].
///
/// Ends when it is dropped. If its process dies it ends too, unless a forked child still runs that
/// was made meanwhile.
#[must_use = "others may pass as soon as the passage is dropped"]
#[derive(Debug)]
pub struct Passage {
    lock: KernelLock,
    path: PathBuf,
    /// The process that passes. A forked child shares the lock, and must not end it.
    process: ForkGeneration,
}

impl Passage {
    /// The path that may be written to: absolute, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.process.is_current() {
            // Should it fail, closing the file unlocks it too, but for forked children.
            let _ = self.lock.file().map(fs::File::unlock);
        }
    }
}

/// The path with something behind its last name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the entries of the folder that a file is in survive a power failure.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    // Other systems have no such call: what a rename promises there is theirs.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// The one path of a file or folder, which may not exist yet.
fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let cannot = |error: io::Error| failed("find", path, error);
    let nameless = || Error::new(ErrorKind::InvalidInput, format!("{} cannot have a fence beside it", path.display()));
    let resolved = match fs::canonicalize(path) {
        Ok(resolved) => resolved,
        Err(error) if error.kind() == NotFound && fs::symlink_metadata(path).is_err() => {
            let name = path.file_name().ok_or_else(nameless)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::canonicalize(folder).map_err(cannot)?.join(name)
        }
        Err(error) => return Err(cannot(error)),
    };
    if resolved.file_name().is_none() { Err(nameless()) } else { Ok(resolved) }
}

/// The greatest token that has passed; `None` if none has.
fn greatest(lock: &KernelLock, fence: &Path) -> Result<Option<u64>, Error> {
    let file = lock.file()?;
    let length = file.metadata().map_err(|error| failed("look at", fence, error))?.len();
    if length == 0 {
        return Ok(None);
    }
    number_file::read(file).map(Some).map_err(|unreadable| match unreadable {
        Unreadable::Failed(error) => failed("read", fence, error),
        Unreadable::Damaged(how) => Error::new(
            ErrorKind::Corrupt,
            format!(
                "the fence {fence} is damaged: {how}; to repair it, make sure that no earlier holder of the lock \
                 still runs, and write into it the token of the present one: echo TOKEN > {fence}",
                fence = fence.display()
            ),
        ),
    })
}

/// Each step follows from what is found and not from who did it: the one before may have died between two of them.
fn raise(passage: &Passage, fence: &fs::File, greatest: Option<u64>, token: u64) -> io::Result<()> {
    if greatest.is_none() {
        sync_folder(&passage.path)?; // so a fence file with a number in it will be found again
    }
    if greatest != Some(token) {
        number_file::write(fence, token)?;
    }
    fence.sync_all()
}

fn too_late(path: &Path, token: u64, greatest: u64) -> Error {
    Error::new(
        ErrorKind::Lost,
        format!(
            "too late to write to {}: fencing token {token} is older than {greatest}, which has passed; the lock was \
             taken over meanwhile, so take it again and begin from what is there now",
            path.display()
        ),
    )
}
