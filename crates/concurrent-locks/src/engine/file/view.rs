//! The status of a process's locks: the table's, corrected where the kernel decides.
//!
//! The table takes for a holder whom it has granted. Who still waits for the lock file is a waiter
//! here, and the holder is whom the holder file names.

use std::time::Duration;

use super::{process::Process, resource::Resource};
use crate::words::{
    deadlock::{DeadlockReport, Suspect},
    error::{Busy, Error, ErrorKind},
    mode::Mode,
    name::Name,
    stats::StatisticsMap,
    status::{Status, StatusMap},
};

impl Process {
    pub(super) fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        let mut all = self.table.status(name)?;
        for status in all.values_mut() {
            if let Some(resource) = self.used(&status.resource_name) {
                let (holders, mut waiters) = resource.tell_apart(std::mem::take(&mut status.holders));
                waiters.append(&mut status.waiters);
                *status = Status::of(std::mem::take(&mut status.resource_name), holders, waiters);
                self.forget(resource);
            }
        }
        Ok(all)
    }

    pub(super) fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        let status = self.status(name)?;
        let mut all = StatisticsMap::new();
        for (name, statistics) in self.journal.statistics(name.map(|name| name.text())) {
            for (mode, mut statistics) in Mode::ALL.into_iter().zip(statistics) {
                if let Some(now) = status.get(&name) {
                    statistics.current_holders = now.holders.iter().filter(|holder| holder.mode == mode).count() as u64;
                    statistics.current_waiters = now.waiters.iter().filter(|waiter| waiter.mode == mode).count() as u64;
                }
                all.entry(name.clone()).or_default().insert(mode, statistics);
            }
        }
        Ok(all)
    }

    pub(super) fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        let suspects =
            self.status(None)?.into_values().flat_map(|status| Suspect::among(&status, suspect_after)).collect();
        Ok(DeadlockReport { suspects, ..self.table.deadlocks(suspect_after)? })
    }

    /// The table's picture of a busy lock, with the holders that it cannot know.
    pub(super) fn corrected(&self, resource: &Resource, error: Error) -> Error {
        let (Some(busy), Some(mode)) = (error.busy(), error.mode()) else { return error };
        let (holders, entered) = resource.tell_apart(busy.holders.clone());
        let busy = Busy {
            holders,
            position: busy.position.map(|position| position + entered.len()),
            waiters: busy.waiters + entered.len(),
            waited: busy.waited,
        };
        let refuse = if error.kind() == ErrorKind::TimedOut { Error::timed_out } else { Error::would_block };
        refuse(resource.name(), mode, busy)
    }

    /// What the lock looks like to a request that has the table's grant and not the kernel's. Without
    /// a position it did not wait, though the table's grant makes it look so.
    pub(super) fn busy(&self, resource: &Resource, position: Option<usize>, waited: Duration) -> Busy {
        let name = resource.name();
        let status = Name::new(name).and_then(|name| self.status(Some(name))).unwrap_or_default().remove(name);
        Busy {
            holders: resource.recorded_holder().into_iter().collect(),
            position,
            waiters: status.map_or(0, |status| status.pending_requests).saturating_sub(usize::from(position.is_none())),
            waited,
        }
    }
}
