//! The history, written under the bucket's lock: counters per resource and mode, and,
//! for resources that have a detail block, histograms and the last operations.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use crate::{
    engine::{
        Ending,
        table::{
            Table,
            map::layout::{Checked, Detail, Mishaps, OPERATIONS_KEPT, Record, Resource, Tally, linked},
        },
    },
    words::{histogram, mode::Mode},
};

/// How a request or hold ended, as the history keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Released = 0,
    TimedOut = 1,
    Cancelled = 2,
    Deadlock = 3,
    /// The section panicked, the holder died, or an operator broke the lock.
    Failed = 4,
}

impl Outcome {
    pub(crate) fn from_bits(bits: u64) -> Outcome {
        match bits & 0xff {
            1 => Outcome::TimedOut,
            2 => Outcome::Cancelled,
            3 => Outcome::Deadlock,
            4 => Outcome::Failed,
            _ => Outcome::Released,
        }
    }
}

impl Tally {
    fn reset(&self) {
        for word in [
            &self.acquisitions,
            &self.releases,
            &self.wait_sum,
            &self.wait_min,
            &self.wait_max,
            &self.hold_sum,
            &self.hold_min,
            &self.hold_max,
        ] {
            word.store(0, Relaxed);
        }
    }
}

impl Mishaps {
    fn reset(&self) {
        for word in [&self.timeouts, &self.errors, &self.deadlocks] {
            word.store(0, Relaxed);
        }
    }
}

impl Resource {
    pub(crate) fn reset_counters(&self) {
        self.tallies.iter().for_each(Tally::reset);
        self.mishaps.iter().for_each(Mishaps::reset);
    }
}

#[inline]
fn add(word: &AtomicU64, by: u64) {
    word.store(word.load(Relaxed).wrapping_add(by), Relaxed);
}

/// Takes one more time into sum, minimum and maximum; `earlier` is how many there were.
#[inline]
fn take_in(sum: &AtomicU64, min: &AtomicU64, max: &AtomicU64, earlier: u64, time: u64) {
    add(sum, time);
    if earlier == 0 || time < min.load(Relaxed) {
        min.store(time, Relaxed);
    }
    if time > max.load(Relaxed) {
        max.store(time, Relaxed);
    }
}

impl Table {
    /// Gives a new resource a detail block if one is left. A block stays with its entry for good.
    pub(crate) fn attach_detail(&self, resource: &Resource) -> Checked<()> {
        if let Some(index) = linked(resource.detail.load(Relaxed)) {
            self.layout.detail(index)?.reset();
            return Ok(());
        }
        let used = &self.layout.header().counters.details_used;
        if used.load(Relaxed) >= self.layout.geometry().details {
            return Ok(());
        }
        let index = used.fetch_add(1, AcqRel);
        if index < self.layout.geometry().details && self.layout.populate_detail(index).is_ok() {
            resource.detail.store(index + 1, Relaxed);
        }
        Ok(())
    }

    #[inline]
    fn detail_of(&self, resource: &Resource) -> Option<&Detail> {
        linked(resource.detail.load(Relaxed)).and_then(|index| self.layout.detail(index).ok())
    }

    /// A grant of a request that did not wait: one counter. Its wait is in the sum, and in the first bucket of the
    /// histogram, which is what the others leave of all grants.
    #[inline]
    pub(crate) fn tally_grant_at_once(&self, resource: &Resource, mode: Mode) {
        let tally = &resource.tallies[mode as usize];
        add(&tally.acquisitions, 1);
        if tally.wait_min.load(Relaxed) != 0 {
            tally.wait_min.store(0, Relaxed);
        }
    }

    pub(crate) fn tally_grant(&self, resource: &Resource, mode: Mode, wait: u64) {
        let tally = &resource.tallies[mode as usize];
        let earlier = tally.acquisitions.load(Relaxed);
        tally.acquisitions.store(earlier.wrapping_add(1), Relaxed);
        take_in(&tally.wait_sum, &tally.wait_min, &tally.wait_max, earlier, wait);
        if let Some(count) = self.waits_like(resource, mode, wait) {
            count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// Where waits as long as this one are counted; those of the first bucket are not.
    fn waits_like(&self, resource: &Resource, mode: Mode, wait: u64) -> Option<&AtomicU32> {
        let bucket = Some(histogram::bucket_of(wait)).filter(|bucket| *bucket != 0)?;
        self.detail_of(resource).map(|detail| &detail.waits[mode as usize][bucket])
    }

    /// The process in a slot, for display.
    pub(crate) fn pid_of(&self, slot: u32) -> u32 {
        self.layout.slot(slot).map_or(0, |slot| slot.pid.load(Relaxed))
    }

    /// A grant that nobody took up was none. Minimum and maximum keep it.
    pub(crate) fn untally_grant(&self, resource: &Resource, mode: Mode, wait: u64) {
        let tally = &resource.tallies[mode as usize];
        for (word, by) in [(&tally.acquisitions, 1), (&tally.wait_sum, wait)] {
            word.store(word.load(Relaxed).saturating_sub(by), Relaxed);
        }
        if let Some(count) = self.waits_like(resource, mode, wait) {
            count.store(count.load(Relaxed).saturating_sub(1), Relaxed);
        }
    }

    /// `pid` is the holder's.
    #[inline]
    pub(crate) fn tally_release(
        &self,
        resource: &Resource,
        record: &Record,
        mode: Mode,
        now: u64,
        ending: Ending,
        pid: u32,
    ) {
        let tally = &resource.tallies[mode as usize];
        let granted = record.granted.load(Relaxed);
        let hold = now.saturating_sub(granted);
        let earlier = tally.releases.load(Relaxed);
        tally.releases.store(earlier.wrapping_add(1), Relaxed);
        take_in(&tally.hold_sum, &tally.hold_min, &tally.hold_max, earlier, hold);
        let failed = ending == Ending::Panicked;
        if failed {
            add(&resource.mishaps[mode as usize].errors, 1);
        }
        let Some(detail) = self.detail_of(resource) else { return };
        let count = &detail.holds[mode as usize][histogram::bucket_of(hold)];
        count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
        let outcome = if failed { Outcome::Failed } else { Outcome::Released };
        let wait = granted.saturating_sub(record.requested.load(Relaxed));
        detail.keep(record, mode, outcome, granted, wait, Some(hold), pid);
    }

    /// A request that was not granted.
    pub(crate) fn tally_refusal(
        &self,
        resource: &Resource,
        record: &Record,
        mode: Mode,
        now: u64,
        waited: u64,
        outcome: Outcome,
    ) {
        let mishaps = &resource.mishaps[mode as usize];
        if outcome == Outcome::TimedOut {
            add(&mishaps.timeouts, 1);
        } else {
            add(&mishaps.errors, 1);
        }
        if outcome == Outcome::Deadlock {
            add(&mishaps.deadlocks, 1);
        }
        if let Some(detail) = self.detail_of(resource) {
            detail.keep(record, mode, outcome, now, waited, None, self.pid_of(record.word().slot()));
        }
    }

    pub(crate) fn reset_history(&self, resource: &Resource) {
        resource.reset_counters();
        if let Some(detail) = self.detail_of(resource) {
            detail.reset();
        }
    }
}

impl Detail {
    fn reset(&self) {
        if self.written.load(Relaxed) == 0 && self.is_unused() {
            return;
        }
        self.written.store(0, Relaxed);
        for count in self.waits.iter().chain(&self.holds).flatten() {
            count.store(0, Relaxed);
        }
    }

    fn is_unused(&self) -> bool {
        self.waits.iter().chain(&self.holds).flatten().all(|count| count.load(Relaxed) == 0)
    }

    #[inline]
    #[expect(clippy::too_many_arguments, reason = "the fields of one entry")]
    fn keep(&self, record: &Record, mode: Mode, outcome: Outcome, at: u64, wait: u64, hold: Option<u64>, pid: u32) {
        let written = self.written.load(Relaxed);
        let kept = &self.kept[(written % OPERATIONS_KEPT) as usize];
        let label_len = record.label_len();
        kept.at.store(at, Relaxed);
        kept.wait.store(wait, Relaxed);
        kept.hold.store(hold.unwrap_or(u64::MAX), Relaxed);
        kept.token.store(if hold.is_some() { record.token.load(Relaxed) } else { 0 }, Relaxed);
        let tag = outcome as u64 | (mode as u64) << 8 | (label_len as u64) << 16 | u64::from(pid) << 32;
        kept.tag.store(tag, Relaxed);
        self.labels[(written % OPERATIONS_KEPT) as usize].copy_from(&record.label, label_len);
        self.written.store(written.wrapping_add(1), Relaxed);
    }
}
