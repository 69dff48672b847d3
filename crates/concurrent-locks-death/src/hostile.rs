//! A table of hostile bytes is opened and used. Whatever the bytes are, the process must not crash,
//! hang, or let two owners write at once; errors are fine.
//!
//! An input is a script (the first byte says which kind, the rest is its body):
//! - `0`: the body is the whole file.
//! - `1`: a valid table, in which somebody holds and waits, with patches.
//! - `2`: the same, but each patch is made while the table is open and in use.
//!
//! A patch is a place (4 bytes, little endian), a length (1 byte) and bytes. Most of a table is never
//! used, so a place is a page among those that are (upper 20 bits) and an offset in it (lower 12);
//! with the uppermost bit set it is an offset in the file.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use concurrent_locks::LockManager;

use crate::Result;

/// The pages of a valid table that are not zero.
struct Valid {
    size: u64,
    pages: Vec<(u64, Vec<u8>)>,
}

impl Valid {
    fn make(directory: &Path) -> Result<Valid> {
        let path = directory.join("valid");
        let locks = LockManager::connect(&format!("host:{}", path.display())).blocking()?;
        let held = [locks.write("held").try_now()?, locks.read("shared").try_now()?, locks.read("shared").try_now()?];
        drop(locks.write("idle").try_now()?);
        let waiter = {
            let locks = locks.clone();
            std::thread::spawn(move || drop(locks.write("held").blocking()))
        };
        crate::scenario::until(|| Ok(crate::scenario::status(&locks, "held")?.pending_requests == 1))?;
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        let mut pages = Vec::new();
        for place in (0..size).step_by(4096) {
            let mut page = vec![0; 4096.min(size - place) as usize];
            file.read_exact_at(&mut page, place)?;
            if page.iter().any(|byte| *byte != 0) {
                pages.push((place, page));
            }
        }
        drop(held);
        waiter.join().map_err(|_| "the waiter panicked")?;
        Ok(Valid { size, pages })
    }

    fn write(&self, file: &File) -> Result<()> {
        file.set_len(self.size)?;
        self.pages.iter().try_for_each(|(place, page)| Ok(file.write_all_at(page, *place)?))
    }

    /// The patches of a body, the last one first.
    fn patches<'a>(&self, mut body: &'a [u8]) -> Vec<(u64, &'a [u8])> {
        let mut patches = Vec::new();
        while let Some((head, rest)) = body.split_first_chunk::<5>() {
            let [place @ .., len] = *head;
            let (bytes, rest) = rest.split_at(rest.len().min(len.into()));
            let place = u32::from_le_bytes(place);
            let place = if place >> 31 == 0 {
                self.pages[(place >> 12) as usize % self.pages.len()].0 + u64::from(place & 4095)
            } else {
                u64::from(place & !(1 << 31)) % self.size
            };
            // The size of the file is not at stake here.
            let fits = (self.size - place).min(bytes.len() as u64) as usize;
            patches.push((place, &bytes[..fits]));
            body = rest;
        }
        patches.reverse();
        patches
    }
}

/// Makes the table that `input` says in `directory`, opens it and uses it.
///
/// # Errors
/// Only what has nothing to do with the table: the file system, or two writers at once.
pub fn open_and_use(directory: &Path, input: &[u8]) -> Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let path = directory.join(format!("hostile-{}", NUMBER.fetch_add(1, Relaxed)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    let Some((kind, body)) = input.split_first() else { return Ok(()) };
    let mut patches = Vec::new();
    if *kind % 3 == 0 {
        file.write_all_at(body, 0)?;
    } else {
        valid(directory)?.write(&file)?;
        patches = valid(directory)?.patches(body);
    }
    if *kind % 3 == 1 {
        for (place, bytes) in patches.drain(..) {
            file.write_all_at(bytes, place)?;
        }
    }
    let result = match LockManager::connect(&format!("host:{}", path.display())).blocking() {
        Ok(locks) => use_it(&locks, *kind % 3 != 2, || match patches.pop() {
            Some((place, bytes)) => Ok(file.write_all_at(bytes, place)?),
            None => Ok(()),
        }),
        // Refused, as it should be.
        Err(_) => Ok(()),
    };
    // Nobody may use it any more; the mapping lives as long as the process.
    std::fs::remove_file(&path)?;
    result
}

fn valid(directory: &Path) -> Result<&'static Valid> {
    static VALID: OnceLock<std::result::Result<Valid, String>> = OnceLock::new();
    let made = VALID.get_or_init(|| Valid::make(directory).map_err(|error| error.to_string()));
    made.as_ref().map_err(|error| error.clone().into())
}

/// Everything the API offers; `between` comes before each verb. Bytes that change under the engine
/// may let two owners in, bytes that were there before may not.
fn use_it(locks: &LockManager, must_exclude: bool, mut between: impl FnMut() -> Result<()>) -> Result<()> {
    let short = Duration::from_millis(2);
    let owner = locks.owner("the other")?;
    let quiet = |_: concurrent_locks::Error| ();
    for name in ["held", "shared", "idle", "new"] {
        between()?;
        let first = locks.write(name).timeout(short).blocking().map_err(quiet);
        between()?;
        let second = locks.write(name).try_now().map_err(quiet);
        if must_exclude && first.is_ok() && second.is_ok() {
            return Err(format!("{name:?} was granted to two writers").into());
        }
        between()?;
        let third = owner.read(name).timeout(short).blocking().map_err(quiet);
        between()?;
        let _ = locks.status(name).blocking().map_err(quiet);
        let _ = locks.break_lock(name, 1).blocking().map_err(quiet);
        drop((first, third, second));
        between()?;
        if let Ok(mut guard) = owner.read(name).try_now() {
            between()?;
            let _ = guard.upgrade().try_now().map_err(quiet);
            between()?;
            let _ = guard.downgrade().map_err(quiet);
        }
    }
    let _ = locks.status_all().blocking().map_err(quiet);
    between()?;
    let _ = locks.statistics_all().blocking().map_err(quiet);
    between()?;
    let _ = locks.health().blocking().map_err(quiet);
    between()?;
    let _ = locks.deadlocks().blocking().map_err(quiet);
    between()?;
    let _ = locks.events(Some(0), Duration::ZERO).blocking().map_err(quiet);
    between()?;
    let _ = locks.reset_statistics(None).blocking().map_err(quiet);
    Ok(())
}
