//! [`SiteMemory`]: notes on web sites.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use concurrent_locks::Mode;
use serde::{Deserialize, Serialize};

use crate::{access::Access, error::Error, json_file};

/// Notes kept for each site; older ones are forgotten.
const NOTES: usize = 5;

/// What was learnt about a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Times an agent was there.
    pub visits: u64,
    /// The latest notes, oldest first.
    pub notes: Vec<String>,
}

/// Notes on web sites, in one JSON file. Lock: `site_memory:<file name>`. For threads.
#[derive(Debug)]
pub struct SiteMemory {
    path: PathBuf,
    resource: String,
    access: Access,
}

impl SiteMemory {
    /// A memory over `path`, which need not exist; its sections are guarded as `access` says.
    #[must_use]
    pub fn open(path: &Path, access: Access) -> SiteMemory {
        let file_name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        SiteMemory { path: path.to_owned(), resource: format!("site_memory:{file_name}"), access }
    }

    /// Counts a visit and keeps a note of it.
    ///
    /// # Errors
    /// [`Error::Lock`] (nothing was done), [`Error::Io`], [`Error::Json`] if the file is torn.
    pub fn visit(&self, site: &str, note: &str) -> Result<(), Error> {
        let held = self.access.hold_blocking(&[&self.resource], Mode::Write)?;
        let mut sites: BTreeMap<String, Site> = json_file::load(&self.path)?;
        self.access.think_blocking();
        let known = sites.entry(site.to_owned()).or_default();
        known.visits += 1;
        known.notes.push(note.to_owned());
        if known.notes.len() > NOTES {
            known.notes.remove(0);
        }
        json_file::save(&self.path, &sites)?;
        held.release()?;
        Ok(())
    }

    /// What was learnt about a site.
    ///
    /// # Errors
    /// [`Error::Lock`], [`Error::Io`], [`Error::Json`] if the file is torn.
    pub fn get(&self, site: &str) -> Result<Option<Site>, Error> {
        let _held = self.access.hold_blocking(&[&self.resource], Mode::Read)?;
        let mut sites: BTreeMap<String, Site> = json_file::load(&self.path)?;
        Ok(sites.remove(site))
    }
}
