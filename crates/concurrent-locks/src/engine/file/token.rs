//! Fencing tokens: a number per resource in a file of its own, which only ever grows.
//!
//! Readers of several processes are granted at the same time, so the number has its own short
//! exclusive lock. It is not synced: it survives the death of processes, not a power failure.

use std::{fs::File, path::Path};

use crate::{
    error::{Error, ErrorKind},
    kernel_lock::{KernelLock, failed, open},
    mode::Mode,
    number_file::{self, Unreadable},
};

/// Who makes a token file holds this file's lock, so that no other process sees it half made.
pub(super) const MAKER: &str = "tokens.lock";

/// The next token of the resource with this token file.
pub(super) fn next(path: &Path) -> Result<u64, Error> {
    if !path.exists() {
        make(path)?;
    }
    let file = open(path).map_err(|error| failed("open", path, &error))?;
    file.lock().map_err(|error| failed("lock", path, &error))?;
    let token = read(&file, path)?.checked_add(1).ok_or_else(|| damaged(path, "it has reached its end"))?;
    number_file::write(&file, token).map_err(|error| failed("write", path, &error))?;
    file.unlock().map_err(|error| failed("unlock", path, &error))?;
    Ok(token)
}

/// Makes the file with its first number in it, under another name first: it is never seen empty.
fn make(path: &Path) -> Result<(), Error> {
    let maker = path.with_file_name(MAKER);
    let making = KernelLock::take(&maker, Mode::Write)?;
    if !path.exists() {
        let unfinished = path.with_extension("token.new");
        let finish = |file: File| {
            number_file::write(&file, 0)?;
            file.sync_all()?;
            drop(file); // Windows renames no open file.
            std::fs::rename(&unfinished, path)
        };
        open(&unfinished).and_then(finish).map_err(|error| failed("make", path, &error))?;
    }
    making.give_back(&maker)
}

fn read(file: &File, path: &Path) -> Result<u64, Error> {
    number_file::read(file).map_err(|unreadable| match unreadable {
        Unreadable::Damaged(how) => damaged(path, &how),
        Unreadable::Failed(error) => failed("read", path, &error),
    })
}

fn damaged(path: &Path, how: &str) -> Error {
    let path = path.display();
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the fencing token file {path} is damaged: {how}; to repair it, stop the users of the lock and write a \
             number into it that is greater than every token given out: echo 1000000 > {path}"
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
        assert_eq!(tokens, (1..=200).collect::<Vec<_>>());
    }

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
            assert!(error.to_string().contains("greater than every token"), "{error}");
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
