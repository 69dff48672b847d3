//! Fencing tokens: a number per resource in a file of its own, which only ever grows.
//!
//! Readers of several processes are granted at the same time, so the number has its own short
//! exclusive lock. It is written in place and not synced: it survives the death of processes, not a
//! power failure. A file that cannot be read as a number is never taken for a new one.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::kernel::{KernelLock, failed, open};
use crate::{
    error::{Error, ErrorKind},
    mode::Mode,
};

/// 20 digits and a newline. Written in one go over an old number of the same length.
const LENGTH: usize = 21;

/// Who makes a token file holds this file's lock, so that no other process sees it half made.
pub(super) const MAKER: &str = "tokens.lock";

/// The next token of the resource with this token file.
pub(super) fn next(path: &Path) -> Result<u64, Error> {
    if !path.exists() {
        make(path)?;
    }
    let mut file = open(path).map_err(|error| failed("open", path, &error))?;
    file.lock().map_err(|error| failed("lock", path, &error))?;
    let token = read(&file, path)?.checked_add(1).ok_or_else(|| damaged(path, "it has reached its end"))?;
    write(&mut file, token).map_err(|error| failed("write", path, &error))?;
    file.unlock().map_err(|error| failed("unlock", path, &error))?;
    Ok(token)
}

/// Makes the file with its first number in it, under another name first: it is never seen empty.
fn make(path: &Path) -> Result<(), Error> {
    let maker = path.with_file_name(MAKER);
    let making = KernelLock::take(&maker, Mode::Write)?;
    if !path.exists() {
        let unfinished = path.with_extension("token.new");
        let finish = |mut file: File| {
            write(&mut file, 0)?;
            file.sync_all()?;
            drop(file); // Windows renames no open file.
            std::fs::rename(&unfinished, path)
        };
        open(&unfinished).and_then(finish).map_err(|error| failed("make", path, &error))?;
    }
    making.give_back(&maker)
}

fn write(file: &mut File, token: u64) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{token:0width$}\n", width = LENGTH - 1).as_bytes())
}

fn read(file: &File, path: &Path) -> Result<u64, Error> {
    let mut text = String::new();
    // One byte more than a whole number has, to notice what is too long.
    file.take(LENGTH as u64 + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => damaged(path, "it is not text"),
        _ => failed("read", path, &error),
    })?;
    let digits = text.strip_suffix('\n').unwrap_or(&text);
    let whole = text.len() == LENGTH && digits.len() == LENGTH - 1;
    // A number written by hand has no leading zero; the beginning of a torn one has.
    let by_hand = !text.starts_with('0') && text.len() < LENGTH;
    match digits.parse() {
        Ok(token) if (whole || by_hand) && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(token),
        _ => Err(damaged(path, &format!("it reads {text:?}"))),
    }
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
