//! The write that is never finished: the agent to be killed does half of a transfer, says so, and
//! stays in the section with both locks held.

use std::convert::Infallible;

use agent_memories::{Access, Episode, EpisodicMemoryStore, Error, Points, SemanticMemoryStore};
use concurrent_locks::{ErrorKind, Mode};

use super::{
    counters::{self, Memory},
    journal::Journal,
    protocol::Message,
    work_folder::WorkFolder,
};

/// Takes points from one memory and does not live to add them to the other.
pub(super) async fn park(
    folder: &WorkFolder,
    access: Access,
    journal: &Journal,
    episode: &Episode,
) -> Result<Infallible, Error> {
    let episodic = EpisodicMemoryStore::open(&folder.episodic(), access.clone())?;
    let semantic = SemanticMemoryStore::open(&folder.semantic(), access.clone())?;
    let amount = i64::from(episode.importance);
    let effects = counters::transfer(Memory::Episodic, Memory::Semantic, &episode.site, amount);
    journal.begin("transfer, to be killed in", effects);
    let resources = [episodic.resource(), semantic.resource()];
    let held = loop {
        match access.hold(&resources, Mode::Write).await {
            Err(error) if error.kind() == ErrorKind::Deadlock => {}
            other => break other?,
        }
    };
    let balance = episodic.balance(&held, &episode.site)?;
    episodic.set_balance(&held, &episode.site, balance.moved(-amount))?;
    Message::Parked { resources: resources.map(str::to_owned).to_vec() }.say();
    std::future::pending().await
}
