//! A table that differs from the others': in a sandbox or a container with a `/dev/shm` of its own, the
//! default path of a space leads to another table, which excludes nobody outside.
//!
//! - X1. A process that attaches to a space's table announces it in folders of the user that such sandboxes
//!   usually see ([`folders`]): by a kernel read lock on one byte of the folder itself, whose place encodes
//!   the space, the view of the files, and the table. Nothing is written, so it works on a read-only
//!   folder, and nothing is left behind: the lock ends with the process.
//! - X2. First check, then announce, then check again. So of two that start at the same moment at least one
//!   is refused, and one that is refused because of an older user has disturbed nobody.
//! - X3. An announcement of another table from our own view belongs to one that was deleted or replaced:
//!   its users are notified (`in_place.rs`). One from another view belongs to a table that we cannot see:
//!   refused.
//! - X4. Only folders that no other user can open count, so other users cannot announce anything there.
//!
//! A forked child keeps its parent's announcement, for the table that it will use itself.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    engine::table::{machine::kernel, place::file_system},
    os::own_file::above_standard_streams,
    words::error::{Error, ErrorKind},
};

const VIEW_BITS: u32 = 18;
const TABLE_BITS: u32 = 18;
/// What is left of a file position, which has 63 bits.
const SPACE_BITS: u32 = 63 - VIEW_BITS - TABLE_BITS;

/// How long one that is just ending may still seem to be there.
const ENDING: Duration = Duration::from_millis(500);

/// Which table a space is for whom, as a byte's place.
#[derive(Clone, Copy)]
struct Claim {
    space: i64,
    view: i64,
    table: i64,
}

impl Claim {
    fn new(space: &str, device: u64, inode: u64) -> Claim {
        let root = std::fs::metadata("/").map_or((0, 0), |root| (root.dev(), root.ino()));
        Claim {
            space: hashed(space, SPACE_BITS),
            view: hashed(&format!("{} {root:?} {:?}", kernel::user(), mounts()), VIEW_BITS),
            table: hashed(&format!("{device} {inode}"), TABLE_BITS),
        }
    }

    fn start_of_space(self) -> i64 {
        self.space << (VIEW_BITS + TABLE_BITS)
    }

    fn start_of_view(self) -> i64 {
        self.start_of_space() | self.view << TABLE_BITS
    }

    fn byte(self) -> i64 {
        self.start_of_view() | self.table
    }

    fn table_at(byte: i64) -> i64 {
        byte & ((1 << TABLE_BITS) - 1)
    }
}

fn hashed(text: &str, bits: u32) -> i64 {
    (xxh3_64(text.as_bytes()) >> (64 - bits)) as i64
}

/// This process's mount namespace, by its number.
pub(crate) fn mounts() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/mnt").ok().map(|namespace| namespace.ino())
}

/// An announcement, which ends when its folder is closed.
#[derive(Debug)]
pub(crate) struct Announcement {
    folder: PathBuf,
    _file: File,
}

impl Announcement {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Announces the table of a space wherever that is possible; refuses if others use another one.
pub(crate) fn announce(space: &str, path: &Path, device: u64, inode: u64) -> Result<Vec<Announcement>, Error> {
    let claim = Claim::new(space, device, inode);
    let folders = open_folders();
    let started = kernel::monotonic();
    let seen_by = |files: &[(PathBuf, File)]| {
        files.iter().find(|(_, file)| is_foreign_table_announced(file, claim)).map(|(folder, _)| folder.clone())
    };
    while let Some(folder) = seen_by(&folders) {
        if kernel::monotonic() - started > ENDING {
            return Err(refused(space, path, &folder));
        }
        std::thread::sleep(ENDING / 50);
    }
    let announced: Vec<_> = folders
        .into_iter()
        .filter(|(_, file)| kernel::try_share_byte(file.as_fd(), claim.byte()).unwrap_or(false))
        .collect();
    match seen_by(&announced) {
        Some(folder) => Err(refused(space, path, &folder)),
        None => Ok(announced.into_iter().map(|(folder, file)| Announcement { folder, _file: file }).collect()),
    }
}

/// Whether anybody has announced another table of the space from another view (X3).
fn is_foreign_table_announced(folder: &File, claim: Claim) -> bool {
    let end_of_view = claim.start_of_view() + (1 << TABLE_BITS);
    let end_of_space = claim.start_of_space() + ((1_i64 << (VIEW_BITS + TABLE_BITS)) - 1);
    let mut ranges = vec![(claim.start_of_space(), claim.start_of_view()), (end_of_view, end_of_space)];
    while let Some((start, end)) = ranges.pop() {
        if start >= end {
            continue;
        }
        // A folder whose locks cannot be asked for says nothing.
        let Ok(Some(byte)) = kernel::locked_byte(folder.as_fd(), start, end - start) else { continue };
        if Claim::table_at(byte) != claim.table {
            return true;
        }
        ranges.extend([(start, byte), (byte + 1, end)]);
    }
    false
}

fn refused(space: &str, path: &Path, folder: &Path) -> Error {
    Error::new(
        ErrorKind::Unreachable,
        format!(
            "host:{space}: processes of this user use another lock table than {path}, as seen in {folder}: they or this \
             process run in a sandbox, container or mount namespace with a {shm} of its own, and would not exclude each \
             other. Name one table in a folder that all of them see (host:/path/to/table), or another space where \
             they need not exclude each other (LOCKS_SPACE, host:SPACE)",
            path = path.display(),
            folder = folder.display(),
            shm = path.ancestors().nth(2).unwrap_or(path).display(),
        ),
    )
}

/// Folders of this user that sandboxes with a shared memory of their own usually share.
fn folders() -> Vec<PathBuf> {
    let user = kernel::user();
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = variable("XDG_CACHE_HOME").or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    let own = cache.map(|cache| cache.join("concurrent-locks"));
    let temporary = PathBuf::from(format!("/tmp/concurrent-locks-{user}"));
    // Our own may have to be made; where that is not possible, others do.
    for folder in own.iter().chain([&temporary]) {
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    }
    let runtime = [variable("XDG_RUNTIME_DIR"), Some(PathBuf::from(format!("/run/user/{user}")))];
    runtime.into_iter().flatten().chain(own).chain([temporary]).collect()
}

/// Those of them that are safe to use (X4), each once.
fn open_folders() -> Vec<(PathBuf, File)> {
    let mut found = Vec::new();
    let mut known = Vec::new();
    for path in folders() {
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(&path).and_then(above_standard_streams)
        else {
            continue;
        };
        let Ok(metadata) = file.metadata() else { continue };
        let is_private = metadata.uid() == kernel::user() && metadata.mode() & 0o077 == 0;
        let identity = (metadata.dev(), metadata.ino());
        if is_private && file_system::is_of_this_machine(&file) && !known.contains(&identity) {
            known.push(identity);
            found.push((path, file));
        }
    }
    found
}
