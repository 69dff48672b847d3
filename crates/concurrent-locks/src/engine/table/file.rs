//! The table file: making it, opening it, refusing what is not ours, replacing what is stale.
//!
//! - F1. A table becomes visible complete or not at all: it is filled as an unnamed file and linked
//!   into place; a name that is taken in the meantime wins.
//! - F2. Nothing read from a file is used before it was checked: type, owner, permissions, size,
//!   magic, layout, geometry, clock.
//! - F3. A table of another boot or layout is replaced only by whoever holds the liveness bytes of
//!   all slots, so only when nobody is alive in it; it is marked retired for those who raced.

use std::{
    ffi::CString,
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
    time::{Duration, Instant},
};

use super::{
    clock::Clock,
    geometry::Geometry,
    header, kernel,
    layout::{Header, LAYOUT, Layout, MAGIC, OPEN, RETIRED},
    liveness,
    memory::Mapping,
    pages::Pages,
};
use crate::error::{Error, ErrorKind};

/// An open table file: its path, and the inode behind it when it was opened.
#[derive(Debug)]
pub(super) struct TableFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// What became of an attempt to open.
enum Attempt {
    Opened(TableFile, Layout, Clock),
    /// There is no table (any more).
    Missing,
}

/// Where a space's table lies: a directory private to the user in shared memory.
pub(crate) fn default_path(space: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/concurrent-locks-{}", kernel::user())).join(format!("{space}.table"))
}

/// Opens the table at `path`, or makes it.
pub(super) fn open(path: &Path, geometry: Geometry) -> Result<(TableFile, Layout, Clock), Error> {
    make_directory(path)?;
    for _ in 0..64 {
        match open_existing(path)? {
            Attempt::Opened(file, layout, clock) => return Ok((file, layout, clock)),
            Attempt::Missing => create(path, geometry)?,
        }
    }
    Err(Error::new(
        ErrorKind::Unreachable,
        format!("{} is replaced again and again while it is being opened", path.display()),
    ))
}

/// The default directory is made private; any other must exist already.
fn make_directory(path: &Path) -> Result<(), Error> {
    let Some(directory) = path.parent() else { return Ok(()) };
    if directory != default_path("x").parent().unwrap_or(directory) {
        return Ok(());
    }
    let failed = |error: io::Error| Error::io(format_args!("cannot use {}", directory.display()), &error);
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let found = std::fs::symlink_metadata(directory).map_err(failed)?;
    if !found.is_dir() || found.uid() != kernel::user() || found.mode() & 0o022 != 0 {
        return Err(refused(
            directory,
            "is not a private directory of this user; remove it, or name another path with host:/path/to/table",
        ));
    }
    Ok(())
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Permission, format!("{} {why}", path.display()))
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)
}

fn open_existing(path: &Path) -> Result<Attempt, Error> {
    let failed = |error: io::Error| Error::io(format_args!("cannot open the lock table {}", path.display()), &error);
    let file = match open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Missing),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(refused(path, "is a symbolic link; a lock table must be a plain file"));
        }
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Err(refused(path, "is not a plain file")),
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(refused(path, "is not a plain file"));
    }
    if found.uid() != kernel::user() {
        return Err(refused(path, &format!("belongs to user {}, not to this user", found.uid())));
    }
    if found.mode() & 0o077 != 0 {
        return Err(refused(path, &format!("is open to others (mode {:04o}); chmod 600 it", found.mode() & 0o7777)));
    }
    if kernel::is_remote(file.as_fd()).map_err(failed)? {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{} is on a network file system, where memory is not shared; use file:DIR", path.display()),
        ));
    }
    let damaged = |what: &str| {
        Error::new(
            ErrorKind::Corrupt,
            format!("{} is not a usable lock table: {what}; if no process uses it, remove it", path.display()),
        )
    };
    let size = usize::try_from(found.len()).map_err(|_| damaged("it is too large"))?;
    if size < 4096 {
        return Err(damaged("it is too short"));
    }
    let mapping = Pages::shared(file.as_fd(), size).map(Mapping::over).map_err(failed)?;
    let Some(header) = mapping.at::<Header>(0) else { return Err(damaged("it is too short")) };
    if header.magic.load(Acquire) != MAGIC {
        return Err(damaged("it does not begin like one"));
    }
    let geometry = Geometry::from_words(std::array::from_fn(|i| header.geometry[i].load(Relaxed)));
    let current = header.layout.load(Relaxed) == LAYOUT
        && header.boot.iter().zip(kernel::boot()).all(|(a, b)| a.load(Relaxed) == b);
    if header.state.load(Acquire) == RETIRED || !current {
        return retire(path, &file, header, geometry).map(|()| Attempt::Missing);
    }
    if header.state.load(Acquire) != OPEN {
        return Err(damaged("its state is unknown"));
    }
    let Some(clock) = Clock::stored(header.clock_scale.load(Relaxed)) else {
        return Err(damaged("its clock runs like no machine's"));
    };
    if !geometry.is_sound() {
        return Err(damaged("its geometry is impossible"));
    }
    let Some(layout) = Layout::new(mapping, geometry) else {
        return Err(damaged("its size does not fit its geometry"));
    };
    let file = TableFile { path: path.to_owned(), device: found.dev(), inode: found.ino() };
    Ok(Attempt::Opened(file, layout, clock))
}

/// How long somebody who replaces the same stale table may take.
const RIVAL: Duration = Duration::from_secs(1);

/// Puts a stale table out of use, if nobody is alive in it (F3).
fn retire(path: &Path, file: &File, header: &Header, geometry: Geometry) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(format_args!("cannot replace the lock table {}", path.display()), &error);
    let started = Instant::now();
    // A rival that replaces it too holds the same bytes for a moment: only who stays is a user.
    while !liveness::try_lock_all(file, geometry.slots.clamp(1, 32_767)).map_err(failed)? {
        let replaced = header.state.load(Acquire) == RETIRED && !names(path, file).map_err(failed)?;
        if replaced {
            return Ok(());
        }
        if started.elapsed() < RIVAL {
            std::thread::sleep(RIVAL / 100);
            continue;
        }
        return Err(Error::new(
            ErrorKind::Closed,
            format!(
                "{} was made by another version or on another boot (layout {}, this one is {LAYOUT}) and processes still use it; end them, or name another space",
                path.display(),
                header.layout.load(Relaxed)
            ),
        ));
    }
    header.state.store(RETIRED, Release);
    // We hold all bytes of this inode, so nobody else removes the name while it means this inode.
    if names(path, file).map_err(failed)? { std::fs::remove_file(path).map_err(failed) } else { Ok(()) }
}

/// Whether the path still names this very file.
fn names(path: &Path, file: &File) -> io::Result<bool> {
    let opened = file.metadata()?;
    Ok(std::fs::symlink_metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())))
}

/// Makes a table and links it into place (F1). It is no error if somebody else was faster.
fn create(path: &Path, geometry: Geometry) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(format_args!("cannot make the lock table {}", path.display()), &error);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = libc::O_TMPFILE | libc::O_CLOEXEC;
    let file =
        OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(directory).map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let size = Layout::size_of(geometry);
    file.set_len(size as u64).map_err(failed)?;
    let mapping = Pages::shared(file.as_fd(), size).map(Mapping::over).map_err(failed)?;
    let Some(layout) = Layout::new(mapping, geometry) else {
        return Err(Error::new(ErrorKind::InvalidInput, "the geometry of the lock table is impossible"));
    };
    layout.populate_fixed().map_err(|_| {
        Error::new(
            ErrorKind::Full,
            format!("no room for a lock table in {} (is /dev/shm too small?)", directory.display()),
        )
    })?;
    header::initialise(layout.header(), geometry, Clock::measure());
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "the path of the lock table contains NUL"))?;
    match kernel::link_unnamed(file.as_fd(), &name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        _ => Ok(()),
    }
}

impl TableFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Another open file description of the very same file.
    pub(super) fn reopen(&self) -> Result<File, Error> {
        let failed = |error: io::Error| Error::io(format_args!("cannot open {}", self.path.display()), &error);
        let file = open_file(&self.path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if (found.dev(), found.ino()) == (self.device, self.inode) { Ok(file) } else { Err(self.gone()) }
    }

    /// Whether the path still names this file.
    pub(super) fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|named| (named.dev(), named.ino()) == (self.device, self.inode))
    }

    pub(super) fn gone(&self) -> Error {
        Error::new(
            ErrorKind::Closed,
            format!("{} was deleted or replaced while in use; end the processes that use it", self.path.display()),
        )
    }

    pub(super) fn permissions(&self) -> Option<String> {
        std::fs::symlink_metadata(&self.path).ok().map(|found| format!("{:04o}", found.mode() & 0o7777))
    }
}
