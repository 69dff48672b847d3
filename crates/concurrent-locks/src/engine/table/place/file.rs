//! The table file: creating it, opening it, refusing foreign files, replacing stale ones.
//!
//! - F1. A table becomes visible complete or not at all: it is filled as an unnamed file and linked
//!   into place; a name that is taken in the meantime wins.
//! - F2. Nothing read from a file is used before it was checked: type, owner, permissions, size,
//!   magic, layout, geometry, clock.
//! - F3. A table of another boot or layout is replaced only by a process that holds the liveness bytes of
//!   all slots, so only when nobody is alive in it; it is marked retired for those who raced.
//! - F4. Who only looks opens a table to read, makes none, replaces none and locks nothing in it. So root may
//!   look at a table that it must not take part in.

use std::{
    ffi::CString,
    fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
        },
    },
    path::{Path, PathBuf},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
    time::{Duration, Instant},
};

use crate::{
    engine::table::{
        machine::{
            clock::{Clock, Unusable},
            kernel::{self, Limit},
        },
        map::{
            geometry::Geometry,
            header,
            layout::{Header, LAYOUT, Layout, MAGIC, OPEN, RETIRED},
            memory::Mapping,
            pages::Pages,
        },
        place::{
            elsewhere::{self, Announcement},
            file_system, life_bytes,
            sharing::Sharing,
            whereabouts::{IN_PLACE_EVERY, Whereabouts},
        },
    },
    os::own_file::above_standard_streams,
    words::{
        error::{Error, ErrorKind},
        status::Place,
    },
};

/// An open table file: its path, and the inode behind it when it was opened.
#[derive(Debug)]
pub(crate) struct TableFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    sharing: Sharing,
    owner: u32,
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
pub(crate) fn open(path: &Path, geometry: Geometry, sharing: Sharing) -> Result<(TableFile, Layout, Clock), Error> {
    make_directory(path)?;
    for _ in 0..64 {
        if let Attempt::Opened(file, layout, clock) = open_existing(path, sharing)? {
            return Ok((file, layout, clock));
        }
        let _turn = Turn::to_make(path);
        match open_existing(path, sharing)? {
            Attempt::Opened(file, layout, clock) => return Ok((file, layout, clock)),
            Attempt::Missing => create(path, geometry, sharing, kernel::monotonic())?,
        }
    }
    Err(Error::new(ErrorKind::Unreachable, format!("{} keeps being replaced while it is opened", path.display())))
}

/// The default directory is made private; any other must exist already.
fn make_directory(path: &Path) -> Result<(), Error> {
    let Some(directory) = path.parent() else { return Ok(()) };
    if directory != default_path("x").parent().unwrap_or(directory) {
        return Ok(());
    }
    let failed = |error: io::Error| Error::io(format_args!("cannot use {}", directory.display()), error);
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

/// What a table is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Use,
    /// Only to read it (F4).
    Look,
}

fn open_file(path: &Path, purpose: Purpose) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NOCTTY;
    OpenOptions::new()
        .read(true)
        .write(purpose == Purpose::Use)
        .custom_flags(flags)
        .open(path)
        .and_then(above_standard_streams)
}

/// Maps the whole file.
fn map(file: &File, size: usize, path: &Path, purpose: Purpose) -> Result<Mapping, Error> {
    let pages = if purpose == Purpose::Use { Pages::shared } else { Pages::read_only };
    pages(file.as_fd(), size).map(Mapping::over).map_err(|error| {
        let limit = kernel::limit(Limit::Addresses).map_or(String::new(), |limit| {
            format!(" (this process is limited to {} of addresses: ulimit -v)", bytes(limit))
        });
        let size = bytes(size as u64);
        Error::io(
            format_args!("cannot map the lock table {}: it needs {size} of addresses{limit}", path.display()),
            error,
        )
    })
}

/// A number of bytes, for people.
fn bytes(count: u64) -> String {
    match count {
        0..1_048_576 => format!("{} KB", count.div_ceil(1024)),
        _ => format!("{} MB", count.div_ceil(1_048_576)),
    }
}

/// Opens the file, if it is there and may be a table of ours (F2).
fn find(path: &Path, sharing: Sharing, purpose: Purpose) -> Result<Option<(File, Metadata)>, Error> {
    let failed = |error: io::Error| Error::io(format_args!("cannot open the lock table {}", path.display()), error);
    let file = match open_file(path, purpose) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(refused(path, "is a symbolic link; a lock table must be a plain file"));
        }
        // A directory, a socket, a device that is not there: opening says each in its own way.
        Err(_) if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) => {
            return Err(refused(path, "is not a plain file"));
        }
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(refused(path, "is not a plain file"));
    }
    // Before whose it is and who may open it: what is no table needs no other permissions.
    let mut magic = [0; 8];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) if u64::from_le_bytes(magic) == MAGIC => {}
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(failed(error)),
        read => {
            let why = if read.is_ok() { "it does not start with a table's header" } else { "it is too short" };
            let text = format!("{} is not a lock table: {why}; name another file, or another space", path.display());
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
    }
    // Root may look at what it must not take part in (F4): as its owner may.
    let is_only_root_looking = purpose == Purpose::Look && kernel::user() == 0;
    let user = if is_only_root_looking { found.uid() } else { kernel::user() };
    let folder = std::fs::metadata(folder_of(path)).map_err(failed)?;
    let wrong = sharing.wrong_with_folder(&folder).or_else(|| sharing.wrong_with_file(&found, &folder, user));
    if let Some(wrong) = wrong {
        return Err(refused(path, &wrong));
    }
    file_system::check(&file, path)?;
    Ok(Some((file, found)))
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("{} is not a usable lock table: {what}; if no process uses it, remove it", path.display()),
    )
}

fn size_of(found: &Metadata, path: &Path) -> Result<usize, Error> {
    match usize::try_from(found.len()) {
        Ok(size @ 4096..) => Ok(size),
        Ok(_) => Err(damaged(path, "it is too short")),
        Err(_) => Err(damaged(path, "it is too large")),
    }
}

fn open_existing(path: &Path, sharing: Sharing) -> Result<Attempt, Error> {
    let Some((file, found)) = find(path, sharing, Purpose::Use)? else { return Ok(Attempt::Missing) };
    let mapping = map(&file, size_of(&found, path)?, path, Purpose::Use)?;
    let Some(header) = mapping.at::<Header>(0) else { return Err(damaged(path, "it is too short")) };
    let is_current = is_current(header, path)?;
    if header.state.load(Acquire) == RETIRED || !is_current {
        return retire(path, &file, header, geometry_of(header)).map(|()| Attempt::Missing);
    }
    let (layout, clock) = checked(path, mapping)?;
    Ok(Attempt::Opened(TableFile::new(path, sharing, &found), layout, clock))
}

/// Opens the table at `path` only to look at it (F4), with a file to ask the kernel about its processes.
/// There is none where nobody can be in it: none was made, or it is of an earlier boot.
pub(crate) fn observe(path: &Path, sharing: Sharing) -> Result<Option<(TableFile, File, Layout, Clock)>, Error> {
    let Some((file, found)) = find(path, sharing, Purpose::Look)? else { return Ok(None) };
    let mapping = map(&file, size_of(&found, path)?, path, Purpose::Look)?;
    let Some(header) = mapping.at::<Header>(0) else { return Err(damaged(path, "it is too short")) };
    let is_current = is_current(header, path)?;
    if header.state.load(Acquire) == RETIRED || !is_current {
        let failed = |error: io::Error| Error::io(format_args!("cannot examine {}", path.display()), error);
        let slots = geometry_of(header).slots.clamp(1, 32_767);
        let in_use = life_bytes::is_anybody_alive(&file, slots).map_err(failed)?;
        return if in_use { Err(in_use_and_not_ours(path, header)) } else { Ok(None) };
    }
    let (layout, clock) = checked(path, mapping)?;
    Ok(Some((TableFile::new(path, sharing, &found), file, layout, clock)))
}

fn geometry_of(header: &Header) -> Geometry {
    Geometry::from_words(std::array::from_fn(|i| header.geometry[i].load(Relaxed)))
}

/// Whether a table is of this boot and of the layout that this library speaks.
fn is_current(header: &Header, path: &Path) -> Result<bool, Error> {
    let boot = this_boot(path)?;
    Ok(header.layout.load(Relaxed) == LAYOUT && header.boot.iter().zip(boot).all(|(a, b)| a.load(Relaxed) == b))
}

/// The layout and clock of a table of this boot and layout, if they can be.
fn checked(path: &Path, mapping: Mapping) -> Result<(Layout, Clock), Error> {
    let Some(header) = mapping.at::<Header>(0) else { return Err(damaged(path, "it is too short")) };
    if header.state.load(Acquire) != OPEN {
        return Err(damaged(path, "its state is unknown"));
    }
    let clock = match Clock::stored(header.clock_scale.load(Relaxed)) {
        Ok(clock) => clock,
        Err(Unusable::Nonsense) => return Err(damaged(path, "its clock rate is impossible")),
        Err(Unusable::Hidden) => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} counts time by the processor's time stamp counter, which this process cannot read (an emulator?); use another table, or file:DIR",
                    path.display()
                ),
            ));
        }
    };
    let geometry = geometry_of(header);
    if !geometry.is_sound() {
        return Err(damaged(path, "its geometry is impossible"));
    }
    match Layout::new(mapping, geometry) {
        Some(layout) => Ok((layout, clock)),
        None => Err(damaged(path, "its size does not match its geometry")),
    }
}

/// Of a table that is retired, or not of this boot and layout, and in use all the same.
fn in_use_and_not_ours(path: &Path, header: &Header) -> Error {
    let layout = header.layout.load(Relaxed);
    let why = if header.state.load(Acquire) == RETIRED {
        "was retired".to_owned()
    } else if layout == LAYOUT {
        "was made before the machine was rebooted".to_owned()
    } else {
        format!("was made by another version (layout {layout}, this one is {LAYOUT})")
    };
    Error::new(
        ErrorKind::Closed,
        format!("{} {why} and processes still use it; end them, or name another space", path.display()),
    )
}

/// This boot of the machine. If it is unknown, a table must not be judged by it.
fn this_boot(path: &Path) -> Result<[u64; 2], Error> {
    kernel::boot().map_err(|error| {
        Error::io(
            format_args!(
                "{} cannot be used without knowing this boot of the machine; mount /proc where this process runs",
                path.display()
            ),
            error,
        )
    })
}

/// How long somebody who replaces the same stale table may take.
const RIVAL: Duration = Duration::from_secs(1);

/// Puts a stale table out of use, if nobody is alive in it (F3).
fn retire(path: &Path, file: &File, header: &Header, geometry: Geometry) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(format_args!("cannot replace the lock table {}", path.display()), error);
    let started = Instant::now();
    // A rival that replaces it too holds the same bytes for a moment: only who stays is a user.
    while !life_bytes::try_lock_all(file, geometry.slots.clamp(1, 32_767)).map_err(failed)? {
        let replaced = header.state.load(Acquire) == RETIRED && !names(path, file).map_err(failed)?;
        if replaced {
            return Ok(());
        }
        if started.elapsed() < RIVAL {
            std::thread::sleep(RIVAL / 100);
            continue;
        }
        return Err(in_use_and_not_ours(path, header));
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

/// The right to make a table in a folder, until dropped: several that fill files of their own at the
/// same time would need the room of all of them.
struct Turn(Option<File>);

impl Turn {
    /// How long the making may take, or somebody else may lock the folder for reasons of their own.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Waits for it; continues without it if it is not available, which only costs room (F1).
    fn to_make(path: &Path) -> Turn {
        let started = kernel::monotonic();
        let Ok(folder) = File::open(folder_of(path)).and_then(above_standard_streams) else { return Turn(None) };
        loop {
            match folder.try_lock() {
                Ok(()) => return Turn(Some(folder)),
                Err(TryLockError::WouldBlock) if kernel::monotonic() - started < Self::PATIENCE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(_) => return Turn(None),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            // A child forked meanwhile has the same open file: closing ours alone would not unlock it.
            let _ = folder.unlock();
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a table and links it into place (F1). It is no error if somebody else was faster. The path
/// was seen empty at `seen_empty`.
fn create(path: &Path, geometry: Geometry, sharing: Sharing, seen_empty: Duration) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(format_args!("cannot create the lock table {}", path.display()), error);
    let boot = this_boot(path)?;
    let directory = folder_of(path);
    let flags = libc::O_TMPFILE | libc::O_CLOEXEC;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(directory)
        .and_then(above_standard_streams)
        .map_err(failed)?;
    let folder = std::fs::metadata(directory).map_err(failed)?;
    if let Some(wrong) = sharing.wrong_with_folder(&folder) {
        return Err(refused(path, &wrong));
    }
    sharing.apply(&file, directory).map_err(failed)?;
    file_system::check(&file, path)?;
    let size = Layout::size_of(geometry);
    // Beyond that limit the kernel would end us with SIGXFSZ.
    if let Some(limit) = kernel::limit(Limit::FileSize).filter(|limit| *limit < size as u64) {
        return Err(Error::new(
            ErrorKind::Full,
            format!(
                "the lock table {} is a (sparse) file of {}, and this process may make files of {} only (ulimit -f): \
                 raise the limit, or make a smaller table (?resources=N&requests=N)",
                path.display(),
                bytes(size as u64),
                bytes(limit)
            ),
        ));
    }
    file.set_len(size as u64).map_err(failed)?;
    let mapping = map(&file, size, path, Purpose::Use)?;
    let Some(layout) = Layout::new(mapping, geometry) else {
        return Err(Error::new(ErrorKind::InvalidInput, "the geometry of the lock table is impossible"));
    };
    layout.populate_fixed().map_err(|_| {
        Error::new(
            ErrorKind::Full,
            format!(
                "no room for a lock table in {}: it takes {} at once and its file system has {} left; \
                 make room, or make a smaller table (?resources=N&requests=N&processes=N)",
                directory.display(),
                bytes(Layout::fixed_size(geometry) as u64),
                kernel::file_system(file.as_fd()).map_or("too little".to_owned(), |(_, free)| bytes(free))
            ),
        )
    })?;
    header::initialise(layout.header(), geometry, Clock::measure(), boot);
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "the path of the lock table contains NUL"))?;
    // I2: those inside a table that was deleted here have looked again before anybody enters this one.
    std::thread::sleep((2 * IN_PLACE_EVERY).saturating_sub(kernel::monotonic() - seen_empty));
    match kernel::link_unnamed(file.as_fd(), &name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        _ => Ok(()),
    }
}

impl TableFile {
    fn new(path: &Path, sharing: Sharing, found: &Metadata) -> TableFile {
        TableFile { path: path.to_owned(), device: found.dev(), inode: found.ino(), sharing, owner: found.uid() }
    }

    /// Its first page once more, to be written; `None` where that cannot be, or the file is another user's: root
    /// may look at the tables of others, and takes no part in them.
    pub(crate) fn first_page(&self) -> Option<Mapping> {
        let is_of_our_group = self.sharing == Sharing::Group && kernel::user() != 0;
        if self.owner != kernel::user() && !is_of_our_group {
            return None;
        }
        let file = self.reopen().ok()?;
        Pages::shared(file.as_fd(), std::mem::size_of::<Header>()).ok().map(Mapping::over)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The space whose default path this is; `None` if the table was named by its path.
    fn space(&self) -> Option<&str> {
        let default = default_path("x");
        let name = self.path.file_name()?.to_str()?.strip_suffix(".table")?;
        (self.path.parent() == default.parent()).then_some(name)
    }

    pub(crate) fn is_named_by_space(&self) -> bool {
        self.space().is_some()
    }

    /// Tells those who see another table of the same space, and refuses if there are any.
    pub(crate) fn announce(&self) -> Result<Vec<Announcement>, Error> {
        match self.space() {
            Some(space) => elsewhere::announce(space, &self.path, self.device, self.inode),
            None => Ok(Vec::new()),
        }
    }

    /// Where it lies, for people.
    pub(crate) fn place(&self, announced_in: Vec<String>) -> Place {
        Place { device: self.device, inode: self.inode, mount_namespace: elsewhere::mounts(), announced_in }
    }

    /// Another open file description of the very same file.
    pub(crate) fn reopen(&self) -> Result<File, Error> {
        let failed = |error: io::Error| Error::io(format_args!("cannot open {}", self.path.display()), error);
        let file = open_file(&self.path, Purpose::Use).map_err(failed)?;
        if self.is(&file) { Ok(file) } else { Err(self.gone()) }
    }

    /// Whether an open file is this one.
    pub(crate) fn is(&self, file: &File) -> bool {
        file.metadata().is_ok_and(|found| self.is_described_by(&found))
    }

    fn is_described_by(&self, found: &Metadata) -> bool {
        (found.dev(), found.ino()) == (self.device, self.inode)
    }

    /// Where the file is (I1), by a descriptor of it and by its path.
    pub(crate) fn whereabouts(&self, own: &File) -> Whereabouts {
        if own.metadata().is_ok_and(|found| self.is_described_by(&found) && found.nlink() == 0) {
            return Whereabouts::Deleted;
        }
        let named = std::fs::symlink_metadata(&self.path);
        if named.as_ref().is_ok_and(|found| self.is_described_by(found)) {
            return Whereabouts::InPlace;
        }
        let by_path = match &named {
            Ok(_) => "another file is there".to_owned(),
            Err(error) => error.to_string(),
        };
        if !self.is(own) {
            return Whereabouts::NotVisible(format!("{by_path}, and its descriptor was closed"));
        }
        // A mount over its folder, or rights that were given up, hide the path and not the file.
        match std::fs::read_link(format!("/proc/self/fd/{}", own.as_raw_fd())) {
            Ok(path) if path == self.path => Whereabouts::InPlace,
            Ok(path) if path.as_os_str().as_bytes().ends_with(b" (deleted)") => Whereabouts::Moved,
            Ok(path) if std::fs::symlink_metadata(&path).is_ok_and(|found| self.is_described_by(&found)) => {
                Whereabouts::Moved
            }
            _ => Whereabouts::NotVisible(by_path),
        }
    }

    pub(crate) fn not_visible(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::Closed,
            format!(
                "this process cannot see the lock table {} any more ({why}), and so cannot tell whether others still use it; \
                 name a table (host:/path/to/table) in a folder that it can see all its life, also after chroot, setuid or a mount",
                self.path.display()
            ),
        )
    }

    pub(crate) fn gone(&self) -> Error {
        Error::new(
            ErrorKind::Closed,
            format!("{} was deleted or replaced while in use; end the processes that use it", self.path.display()),
        )
    }

    /// What is wrong with who may use it by now.
    pub(crate) fn wrong_permissions(&self) -> Option<String> {
        let mode = std::fs::symlink_metadata(&self.path).ok()?.mode() & 0o7777;
        let right = self.sharing.mode();
        (mode != right)
            .then(|| format!("{} is open to others (mode {mode:04o}); chmod {right:o} it", self.path.display()))
    }

    pub(crate) fn permissions(&self) -> Option<String> {
        std::fs::symlink_metadata(&self.path).ok().map(|found| format!("{:04o}", found.mode() & 0o7777))
    }
}
