//! [`SkillLibrary`]: the skills themselves.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use concurrent_locks::Mode;
use serde::{Deserialize, Serialize};

use crate::{access::Access, error::Error, json_file};

/// The lock of the skills in memory.
const MEMORY: &str = "skill_library";
/// The lock of the file.
const FILE: &str = "skill_library:file";

/// A skill that agents may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    /// What it is good for.
    pub description: String,
    /// Times it was used.
    pub uses: u64,
    /// Times it helped.
    pub successes: u64,
    /// Whether agents should leave it.
    pub deprecated: bool,
}

/// The skills themselves, in memory and in one JSON file. Locks: `skill_library`, `skill_library:file`.
///
/// For threads: its calls park the thread that waits. Changes hold both locks, reload the file,
/// change it and write it again; searches look at what was loaded last and hold only the first.
#[derive(Debug)]
pub struct SkillLibrary {
    path: PathBuf,
    access: Access,
    skills: Mutex<BTreeMap<String, Skill>>,
}

impl SkillLibrary {
    /// A library over `path`, which need not exist; its sections are guarded as `access` says.
    ///
    /// # Errors
    /// As [`SkillLibrary::reload`].
    pub fn open(path: &Path, access: Access) -> Result<SkillLibrary, Error> {
        let library = SkillLibrary { path: path.to_owned(), access, skills: Mutex::default() };
        library.reload()?;
        Ok(library)
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// [`Error::Lock`], [`Error::Io`], [`Error::Json`] if the file is torn.
    pub fn reload(&self) -> Result<(), Error> {
        let memory = self.access.hold_blocking(&[MEMORY], Mode::Write)?;
        let file = self.access.hold_blocking(&[FILE], Mode::Read)?;
        *self.skills() = json_file::load(&self.path)?;
        file.release()?;
        memory.release()?;
        Ok(())
    }

    /// Adds a skill, or changes the description of a known one.
    ///
    /// # Errors
    /// As [`SkillLibrary::record_use`].
    pub fn add(&self, name: &str, description: &str) -> Result<(), Error> {
        self.change(name, |skill| description.clone_into(&mut skill.description))
    }

    /// Counts a use of a skill.
    ///
    /// # Errors
    /// [`Error::Lock`] (nothing was done), [`Error::Io`], [`Error::Json`] if the file is torn.
    pub fn record_use(&self, name: &str, success: bool) -> Result<(), Error> {
        self.change(name, |skill| {
            skill.uses += 1;
            skill.successes += u64::from(success);
        })
    }

    /// Marks a skill that agents should leave.
    ///
    /// # Errors
    /// As [`SkillLibrary::record_use`].
    pub fn deprecate(&self, name: &str) -> Result<(), Error> {
        self.change(name, |skill| skill.deprecated = true)
    }

    /// The names of loaded skills whose name or description has `text`, deprecated ones left out.
    ///
    /// # Errors
    /// [`Error::Lock`].
    pub fn search(&self, text: &str) -> Result<Vec<String>, Error> {
        let _held = self.access.hold_blocking(&[MEMORY], Mode::Read)?;
        let found = |(name, skill): &(&String, &Skill)| {
            !skill.deprecated && (name.contains(text) || skill.description.contains(text))
        };
        Ok(self.skills().iter().filter(found).map(|(name, _)| name.clone()).collect())
    }

    /// A loaded skill.
    ///
    /// # Errors
    /// [`Error::Lock`].
    pub fn get(&self, name: &str) -> Result<Option<Skill>, Error> {
        let _held = self.access.hold_blocking(&[MEMORY], Mode::Read)?;
        Ok(self.skills().get(name).cloned())
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Skill)) -> Result<(), Error> {
        let held = self.access.hold_blocking(&[MEMORY, FILE], Mode::Write)?;
        let mut skills: BTreeMap<String, Skill> = json_file::load(&self.path)?;
        self.access.think_blocking();
        change(skills.entry(name.to_owned()).or_default());
        json_file::save(&self.path, &skills)?;
        *self.skills() = skills;
        held.release()?;
        Ok(())
    }

    fn skills(&self) -> MutexGuard<'_, BTreeMap<String, Skill>> {
        self.skills.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
