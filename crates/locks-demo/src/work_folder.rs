//! The folder of one run: databases, files, journals and the lock table.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use agent_memories::{
    Access, Balance, Episode, EpisodicMemoryStore, Points, SemanticMemoryStore, SkillLibrary, SkillMemoryStore,
};
use anyhow::{Context, ensure};
use concurrent_locks::Mode;
use tempfile::TempDir;

/// Says that a folder is of an earlier run, so that nobody else's files are taken for ours.
const MARK: &str = ".locks-demo";
/// What a run puts into its folder besides; a later run in the same folder removes it.
const FILES: [&str; 16] = [
    "episodic_memory.db",
    "episodic_memory.db-wal",
    "episodic_memory.db-shm",
    "semantic_memory.db",
    "semantic_memory.db-wal",
    "semantic_memory.db-shm",
    "skill_memory.db",
    "skill_memory.db-wal",
    "skill_memory.db-shm",
    "skills.json",
    "skills.json.new",
    "sites.json",
    "sites.json.new",
    "episodes.jsonl",
    "roll_call",
    "locks.table",
];
const JOURNALS: &str = "journals";

/// The points that each topic has in each memory at the start.
pub(super) const POINTS: i64 = 1000;

/// Where a run works.
#[derive(Debug)]
pub(super) struct WorkFolder {
    path: PathBuf,
    /// Removes the folder when the run has ended.
    temporary: Option<TempDir>,
}

impl WorkFolder {
    /// The folder to be used by a new run: this one, else a temporary one.
    pub(super) fn create(path: Option<&Path>) -> anyhow::Result<WorkFolder> {
        let Some(path) = path else {
            let temporary = tempfile::Builder::new().prefix("locks-demo-").tempdir()?;
            let folder = WorkFolder { path: temporary.path().to_owned(), temporary: Some(temporary) };
            folder.prepare()?;
            return Ok(folder);
        };
        // Agents get the path, and SQLite and the lock table want it to mean the same to all.
        let folder = WorkFolder { path: std::path::absolute(path)?, temporary: None };
        let is_empty = fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        ensure!(
            is_empty || folder.path.join(MARK).exists(),
            "{} is not empty and not of an earlier demo; name a new folder",
            path.display()
        );
        folder.prepare()?;
        Ok(folder)
    }

    fn prepare(&self) -> anyhow::Result<()> {
        self.clear()
            .and_then(|()| fs::create_dir_all(self.path.join(JOURNALS)))
            .and_then(|()| fs::write(self.path.join(MARK), ""))
            .with_context(|| self.shown())
    }

    /// A folder that another process created.
    pub(super) fn at(path: &Path) -> WorkFolder {
        WorkFolder { path: path.to_owned(), temporary: None }
    }

    /// Lays out what the agents find: the episodes, the skills, empty memories, and the points of every topic.
    pub(super) fn seed(&self, text: &str, episodes: &[Episode]) -> anyhow::Result<()> {
        fs::write(self.episodes(), text).with_context(|| self.shown())?;
        fs::write(self.roll_call(), "0").with_context(|| self.shown())?;
        let access = Access::unlocked();
        let episodic = EpisodicMemoryStore::open(&self.episodic(), access.clone())?;
        let semantic = SemanticMemoryStore::open(&self.semantic(), access.clone())?;
        SkillMemoryStore::open(&self.skills(), access.clone())?;
        fs::write(self.sites(), "{}").with_context(|| self.shown())?;
        let library = SkillLibrary::open(&self.library(), access.clone())?;
        for episode in episodes {
            if library.get(&episode.skill)?.is_none() {
                library.add(&episode.skill, &format!("Helps with {}", episode.kind))?;
            }
        }
        let held = access.hold_blocking(&[episodic.resource(), semantic.resource()], Mode::Write)?;
        let start = Balance { points: POINTS, moves: 0 };
        for topic in topics(episodes) {
            episodic.set_balance(&held, &topic, start)?;
            semantic.set_balance(&held, &topic, start)?;
        }
        Ok(())
    }

    /// The URL of the table that only this run uses.
    pub(super) fn table_url(&self) -> String {
        format!("host:{}", self.path.join("locks.table").display())
    }

    /// Whether the folder goes away with the run.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn episodic(&self) -> PathBuf {
        self.path.join("episodic_memory.db")
    }

    pub(super) fn semantic(&self) -> PathBuf {
        self.path.join("semantic_memory.db")
    }

    pub(super) fn skills(&self) -> PathBuf {
        self.path.join("skill_memory.db")
    }

    pub(super) fn library(&self) -> PathBuf {
        self.path.join("skills.json")
    }

    pub(super) fn sites(&self) -> PathBuf {
        self.path.join("sites.json")
    }

    pub(super) fn episodes(&self) -> PathBuf {
        self.path.join("episodes.jsonl")
    }

    pub(super) fn roll_call(&self) -> PathBuf {
        self.path.join("roll_call")
    }

    pub(super) fn journal(&self, agent: u32) -> PathBuf {
        self.path.join(JOURNALS).join(format!("agent-{agent}.jsonl"))
    }

    /// The mark that an agent has read the roll-call sheet.
    pub(super) fn has_read(&self, agent: u32) -> PathBuf {
        self.path.join(JOURNALS).join(format!("agent-{agent}.has-read"))
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn clear(&self) -> io::Result<()> {
        for name in FILES {
            ignore_missing(fs::remove_file(self.path.join(name)))?;
        }
        ignore_missing(fs::remove_dir_all(self.path.join(JOURNALS)))
    }
}

/// The topics that have points: the sites of the episodes.
pub(super) fn topics(episodes: &[Episode]) -> Vec<String> {
    let mut topics: Vec<_> = episodes.iter().map(|episode| episode.site.clone()).collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
