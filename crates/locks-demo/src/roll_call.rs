//! The roll call: the first step of every agent, and a lost update made certain.
//!
//! Each agent reads the number on a sheet and writes it back one higher. Between the two it waits
//! until every other agent has read the sheet too, or is seen in the queue of the sheet's lock. With
//! the lock the others queue, and the number ends as the number of agents. Without it all read the
//! same number, and all but one are lost: by what they wait for, not by how fast they are.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use agent_memories::{Access, Error};
use concurrent_locks::LockManager;

use super::{
    counters::{self, Effect},
    journal::Journal,
    work_folder::WorkFolder,
};

const RESOURCE: &str = "roll_call";

/// How long an agent waits for the others: one may have been killed before it came.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers the call.
pub(super) async fn answer(
    folder: &WorkFolder,
    agents: u32,
    number: u32,
    manager: &LockManager,
    access: &Access,
    journal: &Journal,
) -> bool {
    let operation = journal.begin("roll call", vec![Effect::one(counters::roll_call())]);
    let result = async {
        let held = access.write(RESOURCE).await?;
        let sheet = io(folder, fs::read_to_string(folder.roll_call()))?;
        io(folder, fs::write(folder.has_read(number), ""))?;
        wait_for_the_others(folder, agents, manager).await?;
        let number: u32 = io(folder, sheet.trim().parse().map_err(io::Error::other))?;
        io(folder, fs::write(folder.roll_call(), (number + 1).to_string()))?;
        held.release()?;
        Ok(())
    };
    journal.end(operation, result.await)
}

async fn wait_for_the_others(folder: &WorkFolder, agents: u32, manager: &LockManager) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let read = (0..agents).filter(|agent| folder.has_read(*agent).exists()).count();
        let queued = manager.status(RESOURCE).blocking()?.map_or(0, |status| status.waiters.len());
        if read + queued >= agents as usize {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn io<T>(folder: &WorkFolder, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Io { path: folder.roll_call(), source })
}
