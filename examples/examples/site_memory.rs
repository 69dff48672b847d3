//! Several processes, one file: `cargo run -p agent-memories --example site_memory`
//!
//! The program starts itself as three agents that note what they learn about sites. They meet in
//! a lock table of their own: a file, no daemon.

#![expect(clippy::print_stdout, reason = "an example talks on stdout")]

use std::{
    env,
    error::Error,
    path::Path,
    process::{Child, Command},
};

use agent_memories::{Access, EPISODES, Episode, SiteMemory};
use concurrent_locks::LockManager;

const VISITS: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [folder, agent] => work(Path::new(folder), agent),
        _ => start(&env::temp_dir().join(format!("site-memory-{}", std::process::id()))),
    }
}

fn start(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let start = |agent| Command::new(env::current_exe()?).arg(folder).arg(agent).spawn();
    let agents: Vec<Child> = ["atlas", "briar", "cedar"].into_iter().map(start).collect::<Result<_, _>>()?;
    for mut agent in agents {
        assert!(agent.wait()?.success(), "an agent failed");
    }
    let memory = open(folder, "reader")?;
    let mut visits = 0;
    let mut sites: Vec<_> = Episode::parse_all(EPISODES)?.into_iter().map(|episode| episode.site).collect();
    sites.sort();
    sites.dedup();
    for name in sites {
        if let Some(site) = memory.get(&name)? {
            visits += site.visits;
            println!("{:>3} visits to {name}: {}", site.visits, site.notes.last().map_or("", String::as_str));
        }
    }
    println!("3 agents made {VISITS} visits each, and {visits} are counted");
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn work(folder: &Path, agent: &str) -> Result<(), Box<dyn Error>> {
    let memory = open(folder, agent)?;
    for episode in Episode::parse_all(EPISODES)?.iter().take(VISITS) {
        memory.visit(&episode.site, &format!("{agent}: {}", episode.text))?;
    }
    Ok(())
}

fn open(folder: &Path, agent: &str) -> Result<SiteMemory, Box<dyn Error>> {
    let locks = LockManager::connect(&format!("host:{}", folder.join("locks.table").display())).blocking()?;
    Ok(SiteMemory::open(&folder.join("sites.json"), Access::locked(locks.owner(agent)?)))
}
