//! Liveness: this process is the only one in a private table.

use crate::{
    engine::table::{
        Table,
        machine::kernel::Watch,
        map::layout::{Layout, Slot},
        place::{file::TableFile, whereabouts::Whereabouts},
        process::attach::Attachment,
        protocol::short_lock,
    },
    words::{error::Error, status::ProcessState},
};

/// Proof of life to other processes, of which there are none.
pub(crate) enum Liveness {}

impl Liveness {
    pub(crate) fn claim(file: &TableFile, _layout: &Layout) -> Result<Liveness, Error> {
        match *file {}
    }

    pub(crate) fn slot(&self) -> u32 {
        match *self {}
    }

    pub(crate) fn announced_in(&self) -> Vec<String> {
        match *self {}
    }

    pub(crate) fn whereabouts(&self, _file: &TableFile) -> Whereabouts {
        match *self {}
    }
}

/// This process's PID namespace: here a pid alone identifies nobody.
pub(crate) fn pid_namespace() -> u64 {
    0
}

/// A proven death, of which there is none.
pub(crate) struct DeadSlot {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) state: u32,
}

impl Table {
    pub(crate) fn is_dead(&self, _me: &Attachment, _name: short_lock::Name) -> Result<bool, Error> {
        Ok(false)
    }

    pub(crate) fn dead_slot(&self, _me: &Attachment, _index: u32) -> Result<Option<DeadSlot>, Error> {
        Ok(None)
    }

    pub(crate) fn death_word<'t>(&self, _slot: &'t Slot) -> Option<&'t std::sync::atomic::AtomicU32> {
        None
    }

    pub(crate) fn watch_death(&self, _index: u32) -> Option<Watch<'_>> {
        None
    }

    pub(crate) fn can_be_watched(&self, _index: u32) -> bool {
        false
    }

    pub(crate) fn is_marked(&self, _index: u32) -> bool {
        false
    }

    pub(crate) fn process_state(&self, _me: Option<&Attachment>, _index: u32) -> Result<ProcessState, Error> {
        Ok(ProcessState::Alive)
    }
}
