//! Several agents, one memory, no lost update: `cargo run -p agent-memories --example quickstart`

#![expect(clippy::print_stdout, reason = "an example talks on stdout")]

use std::error::Error;

use agent_memories::{Access, EPISODES, Episode, EpisodicMemoryStore};
use concurrent_locks::LockManager;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("quickstart-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let database = folder.join("episodic_memory.db");

    // `host:` instead, and the same code works for agents in several processes.
    let locks = LockManager::local();
    let episode = Episode::parse_all(EPISODES)?.swap_remove(0);

    let mut agents = Vec::new();
    for number in 0..8 {
        let owner = locks.owner(&format!("agent-{number}"))?;
        let memory = EpisodicMemoryStore::open(&database, Access::locked(owner))?;
        let episode = episode.clone();
        agents.push(tokio::spawn(async move {
            let mut count = 0;
            for _ in 0..10 {
                count = memory.add(&episode).await?;
            }
            Ok::<_, agent_memories::Error>(count)
        }));
    }
    let mut last = 0;
    for agent in agents {
        last = last.max(agent.await??);
    }
    println!("8 agents added 10 episodes each, and {last} are counted for {}", episode.site);

    let statistics = locks.statistics("episodic_db:episodic_memory.db").blocking()?;
    for (mode, statistics) in statistics {
        println!(
            "{mode}: {} times, waited {:.3?} on average and {:.3?} at most",
            statistics.total_acquisitions, statistics.avg_wait, statistics.max_wait
        );
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
