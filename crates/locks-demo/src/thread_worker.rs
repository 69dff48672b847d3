//! The work of an agent's threads: the JSON files.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
};

use agent_memories::{Access, Episode, Error, SiteMemory, SkillLibrary};
use fastrand::Rng;

use super::{
    agent::Shared,
    counters::{self, Effect},
    task_worker::{RESPITE, is_success},
};

/// One thread with stores and an owner of its own.
pub(super) struct ThreadWorker {
    shared: Arc<Shared>,
    library: SkillLibrary,
    sites: SiteMemory,
    rng: Rng,
}

impl ThreadWorker {
    pub(super) fn open(shared: &Arc<Shared>, access: Access, seed: u64) -> Result<ThreadWorker, Error> {
        Ok(ThreadWorker {
            library: SkillLibrary::open(&shared.folder.library(), access.clone())?,
            sites: SiteMemory::open(&shared.folder.sites(), access),
            shared: Arc::clone(shared),
            rng: Rng::with_seed(seed),
        })
    }

    /// Works until asked to stop.
    pub(super) fn work(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let episode = self.shared.episode(&mut self.rng);
            let is_done = match self.rng.u32(0..100) {
                0..30 => self.search(&episode),
                30..50 => self.notes(&episode),
                50..60 => self.reload(),
                60..80 => self.record_use(&episode),
                _ => self.visit(&episode),
            };
            if !is_done {
                thread::sleep(RESPITE);
            }
        }
    }

    fn search(&self, episode: &Episode) -> bool {
        let operation = self.shared.journal.begin("search skills", Vec::new());
        self.shared.journal.end(operation, self.library.search(&episode.skill))
    }

    fn notes(&self, episode: &Episode) -> bool {
        let operation = self.shared.journal.begin("site notes", Vec::new());
        self.shared.journal.end(operation, self.sites.get(&episode.site))
    }

    fn reload(&self) -> bool {
        let operation = self.shared.journal.begin("reload skills", Vec::new());
        self.shared.journal.end(operation, self.library.reload())
    }

    fn record_use(&self, episode: &Episode) -> bool {
        let mut effects = vec![Effect::one(counters::library_uses(&episode.skill))];
        if is_success(episode) {
            effects.push(Effect::one(counters::library_successes(&episode.skill)));
        }
        let operation = self.shared.journal.begin("rewrite skills", effects);
        self.shared.journal.end(operation, self.library.record_use(&episode.skill, is_success(episode)))
    }

    fn visit(&self, episode: &Episode) -> bool {
        let effects = vec![Effect::one(counters::visits(&episode.site))];
        let operation = self.shared.journal.begin("rewrite site notes", effects);
        self.shared.journal.end(operation, self.sites.visit(&episode.site, &episode.text))
    }
}
