//! Locks between processes. The processes are this program, started again with a [`Job`].

mod command;
mod death;
mod hammer;
mod handoff;
mod queue;
pub(crate) mod relay;
mod stage;
mod uncontended;
mod writer;

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

pub(crate) use command::command;
pub(crate) use death::death;
pub(crate) use hammer::hammer;
pub(crate) use handoff::handoff;
pub(crate) use queue::{drain, idle};
pub(crate) use stage::folder;
pub(crate) use uncontended::uncontended;
pub(crate) use writer::writer;

use crate::{
    board::{Bell, Board},
    machine::pin,
    peers::{Kind, Lock, Work},
};

/// What a process of a measurement does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    kind: Kind,
    folder: PathBuf,
    /// How many locks there are.
    locks: usize,
    /// Its place on the board.
    seat: usize,
    cpu: Option<usize>,
    role: Role,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Role {
    /// Acquires and releases as fast as it can.
    Hammer,
    /// Gives a lock to a sleeper.
    Give,
    /// Sleeps on a lock and takes it.
    Take,
    /// Reads over and over.
    Read,
    /// Writes a few times.
    Write,
    /// Takes the lock and keeps it until it is killed, with so much memory in use.
    Hold { mebibytes: usize },
    /// Waits for the lock once.
    Inherit,
}

impl Job {
    /// Does the job: the whole life of a child process.
    pub(crate) fn run(self) -> Result<()> {
        // A child never outlives the parent that measures it.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if let Some(cpu) = self.cpu {
            pin(cpu)?;
        }
        let board = Board::open(&self.folder)?;
        let (kind, folder, locks) = (self.kind, self.folder.clone(), self.locks);
        kind.with(&folder, locks, At { job: self, board })
    }
}

/// A job at its board.
struct At {
    job: Job,
    board: Board,
}

impl Work for At {
    type Output = ();

    fn run<L: Lock>(self, locks: &[L]) -> Result<()> {
        let At { job, board } = self;
        let Some(lock) = locks.first() else { bail!("a job without locks") };
        board.arrive();
        board.wait(Bell::Phase, 1);
        match job.role {
            Role::Hammer => hammer::passes(&board, job.seat, locks),
            Role::Give => relay::give(&board, lock),
            Role::Take => relay::take(&board, lock),
            Role::Read => writer::read(&board, job.seat, lock),
            Role::Write => writer::write(&board, job.seat, lock),
            Role::Hold { mebibytes } => death::hold(&board, mebibytes, lock),
            Role::Inherit => death::inherit(&board, job.seat, lock),
        }
    }
}
