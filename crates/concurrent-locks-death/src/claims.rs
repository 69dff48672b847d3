//! A second opinion on who holds what: the kernel's, by flock(2), independent of the lock table.
//!
//! Whoever was granted a lock claims its file the same way, which must succeed at once. The one
//! excuse is a claimant that was killed and is not quite gone; killed processes are announced
//! before they are killed, so a claim of anybody else is a second holder.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};

use concurrent_locks::Mode;

use crate::{Result, scenario::DEADLINE};

/// One worker's view of all claims. Each incarnation of a worker has another number, from 1.
#[derive(Debug)]
pub struct Claims {
    directory: PathBuf,
    files: Vec<File>,
    workers: u64,
    worker: u64,
    incarnation: u64,
}

impl Claims {
    /// Opens, and if need be makes, the claims of `names` resources.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(directory: &Path, names: usize, workers: u64, worker: u64, incarnation: u64) -> io::Result<Claims> {
        let open = |number: usize| {
            let path = directory.join(format!("claim-{number}"));
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
        };
        let files = (0..names).map(open).collect::<io::Result<_>>()?;
        Ok(Claims { directory: directory.to_owned(), files, workers, worker, incarnation })
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
        let mut excused = true;
        loop {
            let taken = match mode {
                Mode::Read => file.try_lock_shared(),
                Mode::Write => file.try_lock(),
            };
            match taken {
                Ok(()) if excused => break,
                Ok(()) => return Err(format!("resource {name}: claimed by somebody who was not killed").into()),
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) => {}
            }
            let claimants = self.claimants(file)?;
            if let Some(alive) = claimants.iter().find(|claimant| !self.was_killed(**claimant)) {
                let me = self.incarnation;
                return Err(format!("resource {name}: granted to {me} in {mode} mode while {alive} holds it").into());
            }
            excused = !claimants.is_empty();
            if begin.elapsed() > DEADLINE {
                return Err(format!("resource {name}: the claim of the dead {claimants:?} stays").into());
            }
            std::thread::yield_now();
        }
        if mode == Mode::Write {
            file.write_all_at(&vec![0; 8 * self.workers as usize], 0)?;
        }
        Ok(file.write_all_at(&self.incarnation.to_le_bytes(), 8 * self.worker)?)
    }

    /// Withdraws the claim; to be called before the lock is released.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn give(&self, name: usize) -> io::Result<()> {
        self.files[name].write_all_at(&[0; 8], 8 * self.worker)?;
        self.files[name].unlock()
    }

    /// Checks that the token is larger than those of all earlier writers, and records it.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_token(&self, name: usize, mode: Mode, token: u64) -> Result<()> {
        let (file, place) = (&self.files[name], 8 * self.workers);
        let last = read_u64(file, place)?;
        if token <= last {
            return Err(format!("resource {name}: token {token} after token {last}").into());
        }
        if mode == Mode::Write {
            file.write_all_at(&token.to_le_bytes(), place)?;
        }
        Ok(())
    }

    fn claimants(&self, file: &File) -> io::Result<Vec<u64>> {
        let all = (0..self.workers).filter(|worker| *worker != self.worker).map(|worker| read_u64(file, 8 * worker));
        all.filter(|claimant| !matches!(claimant, Ok(0))).collect()
    }
}

/// A number in a file; what was never written is 0.
fn read_u64(file: &File, place: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match file.read_exact_at(&mut bytes, place) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        other => other.map(|()| u64::from_le_bytes(bytes)),
    }
}
