//! Liveness: this process is the only one in a private table.

use super::{
    Table,
    attach::Attachment,
    file::TableFile,
    in_place::Whereabouts,
    kernel::Watch,
    layout::{Layout, Slot},
    short_lock,
};
use crate::{error::Error, status::ProcessState};

/// Proof of life to other processes, of which there are none.
pub(super) enum Liveness {}

impl Liveness {
    pub(super) fn claim(file: &TableFile, _layout: &Layout) -> Result<Liveness, Error> {
        match *file {}
    }

    pub(super) fn slot(&self) -> u32 {
        match *self {}
    }

    pub(super) fn announced_in(&self) -> Vec<String> {
        match *self {}
    }

    pub(super) fn whereabouts(&self, _file: &TableFile) -> Whereabouts {
        match *self {}
    }
}

/// This process's PID namespace: here a pid alone identifies nobody.
pub(super) fn pid_namespace() -> u64 {
    0
}

/// A proven death, of which there is none.
pub(super) struct Corpse {
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) state: u32,
}

impl Table {
    pub(super) fn is_dead(&self, _me: &Attachment, _name: short_lock::Name) -> Result<bool, Error> {
        Ok(false)
    }

    pub(super) fn corpse(&self, _me: &Attachment, _index: u32) -> Result<Option<Corpse>, Error> {
        Ok(None)
    }

    pub(super) fn death_word<'t>(&self, _slot: &'t Slot) -> Option<&'t std::sync::atomic::AtomicU32> {
        None
    }

    pub(super) fn watch_death(&self, _index: u32) -> Option<Watch<'_>> {
        None
    }

    pub(super) fn can_be_watched(&self, _index: u32) -> bool {
        false
    }

    pub(super) fn is_marked(&self, _index: u32) -> bool {
        false
    }

    pub(super) fn process_state(&self, _me: Option<&Attachment>, _index: u32) -> Result<ProcessState, Error> {
        Ok(ProcessState::Alive)
    }
}
