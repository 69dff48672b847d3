//! The parent's side: a folder, a board, and the processes that work there.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Job, Role};
use crate::{
    board::{Bell, Board},
    peers::Kind,
};

/// How long children may take for what takes them a second at most (4 GiB of memory: some seconds).
const PATIENCE: Duration = Duration::from_secs(60);

/// A new folder in the shared-memory file system, where there is one.
pub(crate) fn folder() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    Ok(tempfile::Builder::new().prefix("locks-bench-").tempdir_in(place)?)
}

/// Where one measurement of one kind of lock takes place. Its processes are killed when it is dropped.
pub(super) struct Stage {
    pub(super) board: Board,
    children: Vec<Child>,
    kind: Kind,
    locks: usize,
    folder: TempDir,
}

impl Stage {
    pub(super) fn new(kind: Kind, locks: usize) -> Result<Stage> {
        let folder = folder()?;
        kind.create(folder.path(), locks)?;
        Ok(Stage { board: Board::create(folder.path())?, children: Vec::new(), kind, locks, folder })
    }

    /// Starts one more process, whose seat is its number.
    pub(super) fn add(&mut self, role: Role, cpu: Option<usize>) -> Result<()> {
        let seat = self.children.len();
        let job = Job { kind: self.kind, folder: self.folder.path().to_owned(), locks: self.locks, seat, cpu, role };
        let child = Command::new(std::env::current_exe()?)
            .arg("child")
            .arg(serde_json::to_string(&job)?)
            .stdin(Stdio::null())
            .spawn()
            .context("starting a child of the benchmark")?;
        self.children.push(child);
        Ok(())
    }

    /// Lets them begin, once all are ready.
    pub(super) fn start(&mut self) -> Result<()> {
        self.expect(Bell::Ready, self.children.len() as u32)?;
        self.board.ring(Bell::Phase, 1);
        Ok(())
    }

    /// Waits until a bell has at least this value; fails if a child fails first.
    pub(super) fn expect(&mut self, bell: Bell, value: u32) -> Result<()> {
        let start = Instant::now();
        while self.board.bell(bell).load(Ordering::Acquire) < value {
            self.ended(0)?;
            ensure!(start.elapsed() < PATIENCE, "{bell:?} did not reach {value}: a child is stuck");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Signals the end to them.
    pub(super) fn stop(&self) {
        self.board.ring(Bell::Phase, 2);
    }

    /// Waits until one has ended well; fails if a child fails first.
    pub(super) fn join(&mut self, seat: usize) -> Result<()> {
        let start = Instant::now();
        while !self.ended(seat)? {
            ensure!(start.elapsed() < PATIENCE, "a child of the benchmark does not end");
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Whether this one has ended. No child may have ended badly, but by a signal: that was us.
    fn ended(&mut self, seat: usize) -> Result<bool> {
        for child in &mut self.children {
            let failed = child.try_wait()?.and_then(|status| status.code()).filter(|&code| code != 0);
            ensure!(failed.is_none(), "a child of the benchmark failed");
        }
        Ok(self.children[seat].try_wait()?.is_some())
    }

    pub(super) fn child(&mut self, seat: usize) -> &mut Child {
        &mut self.children[seat]
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Both fail only for a child that has ended and was waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
