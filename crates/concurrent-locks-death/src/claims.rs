//! An independent check of the holders: the kernel's, by flock(2), without the lock table.
//!
//! Whoever was granted a lock claims its file the same way, which must succeed at once. The one
//! excuse is a claimant that was killed and is not quite gone: killed processes are announced before
//! they are killed, and everybody leaves a mark in the file before claiming it and wipes it after.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};

use concurrent_locks::Mode;

use crate::{Result, scenario::DEADLINE};

/// One worker's view of all claims.
#[derive(Debug)]
pub struct Claims {
    directory: PathBuf,
    /// Byte n is 1 while incarnation n claims the resource, or is about to, or has just ceased to.
    files: Vec<File>,
    /// The largest token a writer had.
    tokens: Vec<File>,
    incarnation: u64,
}

impl Claims {
    /// Opens, and if need be makes, the claims of `names` resources. Every process that ever claims
    /// needs another number.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(directory: &Path, names: usize, incarnation: u64) -> io::Result<Claims> {
        let open = |kind: &str, number: usize| {
            let path = directory.join(format!("{kind}-{number}"));
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
        };
        Ok(Claims {
            directory: directory.to_owned(),
            files: (0..names).map(|number| open("claim", number)).collect::<io::Result<_>>()?,
            tokens: (0..names).map(|number| open("token", number)).collect::<io::Result<_>>()?,
            incarnation,
        })
    }

    /// Announces that an incarnation is about to be killed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn announce_death(directory: &Path, incarnation: u64) -> io::Result<()> {
        File::create(directory.join(format!("killed-{incarnation}"))).map(drop)
    }

    fn was_killed(&self, incarnation: u64) -> bool {
        self.directory.join(format!("killed-{incarnation}")).exists()
    }

    /// Claims what was just granted.
    ///
    /// # Errors
    /// If somebody else claims it too.
    pub fn take(&self, name: usize, mode: Mode) -> Result<()> {
        let file = &self.files[name];
        let begin = Instant::now();
        file.write_all_at(&[1], self.incarnation)?;
        loop {
            let taken = match mode {
                Mode::Read => file.try_lock_shared(),
                Mode::Write => file.try_lock(),
            };
            match taken {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) => {}
            }
            let claimants = self.other_claimants(file)?;
            let me = self.incarnation;
            if !claimants.iter().any(|claimant| self.was_killed(*claimant)) {
                return Err(format!("resource {name}: granted to {me} to {mode} while {claimants:?} claim it").into());
            }
            if begin.elapsed() > DEADLINE {
                return Err(format!("resource {name}: the claim of the dead among {claimants:?} stays").into());
            }
            std::thread::yield_now();
        }
        if mode == Mode::Write {
            // Nobody else claims it now: the marks of the dead must not excuse anybody later.
            file.set_len(self.incarnation + 1)?;
            file.write_all_at(&vec![0; self.incarnation as usize], 0)?;
        }
        Ok(())
    }

    /// Withdraws the claim; to be called before the lock is released.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn give(&self, name: usize) -> io::Result<()> {
        self.files[name].unlock()?;
        self.files[name].write_all_at(&[0], self.incarnation)
    }

    /// Checks that the token is larger than those of all earlier writers, and records it.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_token(&self, name: usize, mode: Mode, token: u64) -> Result<()> {
        let file = &self.tokens[name];
        let mut last = [0; 8];
        let known = file.read_at(&mut last, 0)?;
        let last = u64::from_le_bytes(last);
        if known == 8 && token <= last {
            return Err(format!("resource {name}: token {token} after token {last}").into());
        }
        if mode == Mode::Write {
            file.write_all_at(&token.to_le_bytes(), 0)?;
        }
        Ok(())
    }

    fn other_claimants(&self, mut file: &File) -> io::Result<Vec<u64>> {
        let mut marks = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut marks)?;
        let marked = (0..).zip(marks).filter(|(number, mark)| *mark == 1 && *number != self.incarnation);
        Ok(marked.map(|(number, _)| number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_seen_unless_the_first_was_killed() {
        let home = tempfile::tempdir().expect("a directory");
        let claims = |incarnation| Claims::open(home.path(), 1, incarnation).expect("the claims");
        let (first, second) = (claims(1), claims(2));
        first.take(0, Mode::Read).expect("nobody claims it");
        second.take(0, Mode::Read).expect("readers share");
        second.give(0).expect("it is claimed");
        second.take(0, Mode::Write).expect_err("the first one claims it");
        Claims::announce_death(home.path(), 1).expect("a mark");
        drop(first);
        second.take(0, Mode::Write).expect("the first one is gone");
        claims(3).take(0, Mode::Read).expect_err("a dead one excuses nobody else");
    }

    #[test]
    fn tokens_must_increase_from_writer_to_writer() {
        let home = tempfile::tempdir().expect("a directory");
        let claims = Claims::open(home.path(), 1, 1).expect("the claims");
        claims.check_token(0, Mode::Write, 7).expect("the first one");
        claims.check_token(0, Mode::Read, 8).expect("a larger one");
        claims.check_token(0, Mode::Read, 8).expect("readers of one batch may share it");
        claims.check_token(0, Mode::Write, 7).expect_err("not larger");
    }
}
