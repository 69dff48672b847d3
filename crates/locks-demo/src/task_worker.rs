//! The work of an agent's async tasks: the SQLite memories.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use agent_memories::{
    Access, Episode, EpisodicMemoryStore, Error, Outcome, Points, SemanticMemoryStore, SkillMemoryStore, transfer,
};
use concurrent_locks::ErrorKind;
use fastrand::Rng;

use super::{
    agent::Shared,
    counters::{self, Effect, Memory},
};

/// How long a worker leaves a store alone after it failed.
pub(super) const RESPITE: Duration = Duration::from_millis(10);

/// One task with connections and an owner of its own.
pub(super) struct TaskWorker {
    shared: Arc<Shared>,
    access: Access,
    episodic: EpisodicMemoryStore,
    semantic: SemanticMemoryStore,
    skills: SkillMemoryStore,
    rng: Rng,
}

impl TaskWorker {
    pub(super) fn open(shared: &Arc<Shared>, access: Access, seed: u64) -> Result<TaskWorker, Error> {
        let folder = &shared.folder;
        Ok(TaskWorker {
            episodic: EpisodicMemoryStore::open(&folder.episodic(), access.clone())?,
            semantic: SemanticMemoryStore::open(&folder.semantic(), access.clone())?,
            skills: SkillMemoryStore::open(&folder.skills(), access.clone())?,
            shared: Arc::clone(shared),
            access,
            rng: Rng::with_seed(seed),
        })
    }

    /// Works until asked to stop.
    pub(super) async fn work(mut self) {
        let shared = Arc::clone(&self.shared);
        while !shared.stop.load(Ordering::Relaxed) {
            let episode = self.shared.episode(&mut self.rng);
            let is_done = match self.rng.u32(0..100) {
                0..25 => self.recall(&episode).await,
                25..40 => self.lookup(&episode).await,
                40..50 => self.best().await,
                50..65 => self.add(&episode).await,
                65..78 => self.observe(&episode).await,
                78..90 => self.record_use(&episode).await,
                90..97 => self.transfer(&episode).await,
                _ => self.review(&episode).await,
            };
            if !is_done {
                tokio::time::sleep(RESPITE).await;
            }
        }
    }

    async fn recall(&self, episode: &Episode) -> bool {
        let operation = self.shared.journal.begin("recall", Vec::new());
        self.shared.journal.end(operation, self.episodic.recall(&episode.site, 5).await)
    }

    async fn lookup(&self, episode: &Episode) -> bool {
        let operation = self.shared.journal.begin("lookup", Vec::new());
        self.shared.journal.end(operation, self.semantic.lookup(&episode.site).await)
    }

    async fn best(&self) -> bool {
        let operation = self.shared.journal.begin("best skills", Vec::new());
        self.shared.journal.end(operation, self.skills.best(5).await)
    }

    async fn add(&self, episode: &Episode) -> bool {
        let effects = vec![
            Effect::one(counters::episode_rows(&episode.site)),
            Effect::one(counters::episode_count(&episode.site)),
        ];
        let operation = self.shared.journal.begin("add episode", effects);
        self.shared.journal.end(operation, self.episodic.add(episode).await)
    }

    async fn observe(&self, episode: &Episode) -> bool {
        let operation = self.shared.journal.begin("observe", observed(episode));
        self.shared.journal.end(operation, self.semantic.observe(&episode.site, &episode.text).await)
    }

    async fn record_use(&self, episode: &Episode) -> bool {
        let operation = self.shared.journal.begin("record skill use", used(episode));
        self.shared.journal.end(operation, self.skills.record_use(&episode.skill, is_success(episode)).await)
    }

    /// Moves points between the memories, either way, with the locks of both.
    async fn transfer(&mut self, episode: &Episode) -> bool {
        let (topic, amount) = (&episode.site, i64::from(episode.importance));
        let journal = &self.shared.journal;
        if self.rng.bool() {
            let effects = counters::transfer(Memory::Episodic, Memory::Semantic, topic, amount);
            let operation = journal.begin("transfer", effects);
            journal.end(operation, transfer(&self.access, &self.episodic, &self.semantic, topic, amount).await)
        } else {
            let effects = counters::transfer(Memory::Semantic, Memory::Episodic, topic, amount);
            let operation = journal.begin("transfer", effects);
            journal.end(operation, transfer(&self.access, &self.semantic, &self.episodic, topic, amount).await)
        }
    }

    /// Takes one lock inside the other, in the order that the agent happens to have: the mistake
    /// that deadlocks. The one refused to break the cycle releases its first lock and retries.
    async fn review(&mut self, episode: &Episode) -> bool {
        let skills_first = self.shared.number.is_multiple_of(2);
        let effects = if skills_first { observed(episode) } else { used(episode) };
        let operation = self.shared.journal.begin("review", effects);
        let result = loop {
            let result = if skills_first {
                self.skills_then_facts(episode).await
            } else {
                self.facts_then_skills(episode).await
            };
            match result {
                Err(Error::Lock(error)) if error.kind() == ErrorKind::Deadlock => {
                    self.shared.journal.deadlock(operation, &error);
                    tokio::time::sleep(Duration::from_millis(self.rng.u64(1..10))).await;
                }
                other => break other,
            }
        };
        self.shared.journal.end(operation, result)
    }

    async fn skills_then_facts(&self, episode: &Episode) -> Result<(), Error> {
        let _outer = self.access.write(self.skills.resource()).await?;
        self.access.think().await;
        self.semantic.observe(&episode.site, &episode.text).await
    }

    async fn facts_then_skills(&self, episode: &Episode) -> Result<(), Error> {
        let _outer = self.access.write(self.semantic.resource()).await?;
        self.access.think().await;
        self.skills.record_use(&episode.skill, is_success(episode)).await
    }
}

fn observed(episode: &Episode) -> Vec<Effect> {
    vec![Effect::one(counters::observations(&episode.site))]
}

fn used(episode: &Episode) -> Vec<Effect> {
    let mut effects = vec![Effect::one(counters::skill_uses(&episode.skill))];
    if is_success(episode) {
        effects.push(Effect::one(counters::skill_successes(&episode.skill)));
    }
    effects
}

pub(super) fn is_success(episode: &Episode) -> bool {
    episode.outcome == Outcome::Success
}
