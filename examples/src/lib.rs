//! The stores that a fleet of agents shares, small and readable: what `concurrent-locks` looks like
//! in the code it is for.
//!
//! | store | keeps | in | guarded by |
//! |---|---|---|---|
//! | [`EpisodicMemoryStore`] | what happened | `episodic_memory.db` | `episodic_db:<file name>` |
//! | [`SemanticMemoryStore`] | what is known | `semantic_memory.db` | `semantic_db:<file name>` |
//! | [`SkillMemoryStore`] | how well skills work | `skill_memory.db` | `skill_db:<file name>` |
//! | [`SkillLibrary`] | the skills themselves | `skills.json` | `skill_library`, `skill_library:file` |
//! | [`SiteMemory`] | notes on web sites | `sites.json` | `site_memory:<file name>` |
//!
//! The SQLite stores are used by async tasks, the file stores by threads. Queries hold the store's
//! lock to read, everything else holds it to write. Every change is a value read, a moment of
//! thinking, and the changed value written back in a statement of its own, as agents do it when an
//! embedding or a model call lies between. SQLite makes each statement atomic and waits when the
//! file is busy; it cannot know that the two belong together. Only the lock does: with
//! [`Access::unlocked`] the same code loses updates.

mod access;
mod database;
mod episode;
mod episodic_memory;
mod error;
mod json_file;
mod points;
mod semantic_memory;
mod site_memory;
mod skill_library;
mod skill_memory;

pub use access::{Access, Held, Lock, Section};
pub use episode::{EPISODES, Episode, Outcome};
pub use episodic_memory::EpisodicMemoryStore;
pub use error::Error;
pub use points::{Balance, Points, transfer};
pub use semantic_memory::{Fact, SemanticMemoryStore};
pub use site_memory::{Site, SiteMemory};
pub use skill_library::{Skill, SkillLibrary};
pub use skill_memory::{SkillMemoryStore, SkillRecord};
