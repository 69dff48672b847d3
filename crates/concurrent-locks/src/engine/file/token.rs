//! Fencing tokens: a number per resource in a file of its own, which only ever grows.
//!
//! Readers of several processes are granted at the same time, so the number has its own short
//! exclusive lock. It is not synced: it survives the death of processes, not a power failure.
//!
//! A file begins with the time. So if somebody deletes it, the next tokens are greater than all before,
//! unless the clock was set back: one file does not give out tokens as fast as time passes.

use std::{
    fs::File,
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    os::{
        kernel_lock::{KernelLock, failed, is_at, open, open_existing},
        number_file::{self, Unreadable},
        own_file::{Identity, above_standard_streams},
    },
    words::{
        error::{Error, ErrorKind},
        mode::Mode,
    },
};

/// Who makes a token file holds this file's lock, so that no other process sees it half made.
pub(super) const MAKER: &str = "tokens.lock";

/// The next token of the resource with this token file.
pub(super) fn next(path: &Path) -> Result<u64, Error> {
    let file = lock(path)?;
    let token = read(&file, path)?.checked_add(1).ok_or_else(|| damaged(path, "its counter is exhausted"))?;
    number_file::write(&file, token).map_err(|error| failed("write", path, error))?;
    file.unlock().map_err(|error| failed("unlock", path, error))?;
    Ok(token)
}

/// Opens the file, makes it if it is missing, and locks it. One that was deleted while it was waited for
/// gives out no tokens any more.
fn lock(path: &Path) -> Result<File, Error> {
    loop {
        let file = match open_existing(path) {
            Ok(file) => above_standard_streams(file).map_err(|error| failed("open", path, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path)?;
                continue;
            }
            Err(error) => return Err(failed("open", path, error)),
        };
        file.lock().map_err(|error| failed("lock", path, error))?;
        let found = file.metadata().map_err(|error| failed("look at", path, error))?;
        if is_at(Identity::of(&found), path) {
            return Ok(file);
        }
    }
}

/// The time in 256 ns, as tables that are made begin to count.
fn beginning() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() >> 8) as u64
}

/// Makes the file with its first number in it, under another name first: it is never seen empty.
fn make(path: &Path) -> Result<(), Error> {
    let maker = path.with_file_name(MAKER);
    let making = KernelLock::take(&maker, Mode::Write)?;
    if !path.exists() {
        let unfinished = path.with_extension("token.new");
        let finish = |file: File| {
            number_file::write(&file, beginning())?;
            file.sync_all()?;
            drop(file); // Windows renames no open file.
            std::fs::rename(&unfinished, path)
        };
        open(&unfinished).and_then(finish).map_err(|error| failed("make", path, error))?;
    }
    making.release(&maker)
}

fn read(file: &File, path: &Path) -> Result<u64, Error> {
    number_file::read(file).map_err(|unreadable| match unreadable {
        Unreadable::Damaged(how) => damaged(path, &how),
        Unreadable::Failed(error) => failed("read", path, error),
    })
}

fn damaged(path: &Path, how: &str) -> Error {
    let path = path.display();
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the fencing token file {path} is damaged: {how}; to repair it, stop the users of the lock and remove it \
             (rm {path}): the tokens go on from the time, above every token given out"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_grow_by_one_across_threads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.token");
        let mut tokens: Vec<u64> = std::thread::scope(|scope| {
            let take = || (0..50).map(|_| next(&path).unwrap()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        tokens.sort_unstable();
        let first = tokens[0];
        assert_eq!(tokens, (first..first + 200).collect::<Vec<_>>());
    }

    #[test]
    fn tokens_go_on_above_those_of_a_file_that_was_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.token");
        let mut last = 0;
        for _ in 0..50 {
            for _ in 0..10 {
                let token = next(&path).unwrap();
                assert!(token > last);
                last = token;
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    /// A waiter with the old file open must not continue to count in it.
    #[test]
    fn a_deleted_file_gives_out_no_more_tokens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.token");
        let other_path = directory.path().join("other name");
        let first = next(&path).unwrap();
        std::fs::hard_link(&path, &other_path).unwrap();
        let old = open_existing(&path).unwrap();
        old.lock().unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| next(&path).unwrap());
            until_waited_for(&old);
            std::fs::remove_file(&path).unwrap();
            let second = next(&path).unwrap();
            old.unlock().unwrap();
            let third = waiter.join().unwrap();
            assert!(first < second && second < third, "{first} {second} {third}");
        });
        assert_eq!(next(&other_path).unwrap(), first + 1);
    }

    /// Until somebody waits for the lock of this file: the kernel lists waiters behind `->`.
    #[cfg(target_os = "linux")]
    fn until_waited_for(file: &File) {
        use std::os::unix::fs::MetadataExt;
        let inode = format!(":{} ", file.metadata().unwrap().ino());
        let waits = |line: &str| line.contains("->") && line.contains(&inode);
        while !std::fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
            std::thread::yield_now();
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn until_waited_for(_file: &File) {}

    #[test]
    fn a_damaged_file_is_an_error_until_it_is_repaired() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.token");
        next(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let torn = (0..whole.len()).map(|length| &whole[..length]);
        let garbage: [&[u8]; 5] = [b"\0\0\0\0", b"+7\n", b"twelve", b"\xff\xfe", b"99999999999999999999999999"];
        for bytes in torn.chain(garbage) {
            std::fs::write(&path, bytes).unwrap();
            let error = next(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{bytes:?}");
            assert!(error.to_string().contains("above every token"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        std::fs::write(&path, "1000000\n").unwrap();
        assert_eq!(next(&path).unwrap(), 1_000_001);
        assert_eq!(next(&path).unwrap(), 1_000_002);
    }

    #[test]
    fn the_end_of_the_numbers_is_not_the_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.token");
        std::fs::write(&path, format!("{}\n", u64::MAX)).unwrap();
        assert_eq!(next(&path).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
