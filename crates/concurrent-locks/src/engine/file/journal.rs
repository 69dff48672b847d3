//! The history of this process: statistics by resource and mode, and the latest events.
//!
//! Not the private table's, because a request of this engine is granted later than the table grants
//! it, with another token: when the kernel has granted it too.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use crate::{
    engine::Ending,
    words::{
        error::{Error, ErrorKind},
        event::{Event, EventKind},
        histogram::Histogram,
        mode::Mode,
        owner_id::OwnerId,
        stats::{Operation, OperationKind, Statistics},
    },
};

/// Of so many names, the latest to be used for the first time, statistics are kept.
const NAMES: usize = 4096;
/// So many operations are shown of a resource and mode.
const OPERATIONS: usize = 100;
/// So many events can be read back.
const EVENTS: usize = 4096;

/// Whose request it is, and for what.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) resource: String,
    pub(super) mode: Mode,
    pub(super) owner: u64,
    /// Empty for an owner without a label.
    pub(super) label: String,
}

impl Who {
    fn shown(&self) -> String {
        if self.label.is_empty() { format!("pid {}", std::process::id()) } else { self.label.clone() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    pages: Mutex<Pages>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pages {
    accounts: HashMap<String, [Account; 2]>,
    /// The names of `accounts`, oldest first.
    names: VecDeque<String>,
    events: VecDeque<Event>,
    /// The sequence of the next event.
    next: u64,
}

/// One resource in one mode.
#[derive(Debug, Default)]
struct Account {
    acquisitions: u64,
    releases: u64,
    timeouts: u64,
    errors: u64,
    deadlocks: u64,
    waits: Times,
    holds: Times,
    operations: VecDeque<Operation>,
}

#[derive(Debug, Default)]
struct Times {
    sum: Duration,
    min: Duration,
    max: Duration,
    histogram: Histogram,
}

impl Journal {
    pub(super) fn queued(&self, who: &Who) {
        self.pages().event(who, EventKind::Wait, 0, Duration::ZERO);
        self.changed.notify_all();
    }

    pub(super) fn granted(&self, who: &Who, token: u64, waited: Duration) {
        let mut pages = self.pages();
        let account = pages.account(who);
        account.acquisitions += 1;
        account.waits.record(waited);
        account.operation(who, OperationKind::Acquire, token, Some(waited), None);
        pages.event(who, EventKind::Grant, token, waited);
        self.changed.notify_all();
    }

    pub(super) fn released(&self, who: &Who, token: u64, held: Duration, ending: Ending) {
        let mut pages = self.pages();
        let account = pages.account(who);
        account.releases += 1;
        account.errors += u64::from(ending == Ending::Panicked);
        account.holds.record(held);
        account.operation(who, OperationKind::Release, token, None, Some(held));
        pages.event(who, EventKind::Release, token, held);
        self.changed.notify_all();
    }

    /// The request ended without a grant. One that would not wait is not counted.
    pub(super) fn refused(&self, who: &Who, error: &Error, waited: Duration) {
        let kind = match error.kind() {
            ErrorKind::WouldBlock => return,
            ErrorKind::TimedOut => Some(EventKind::Timeout),
            ErrorKind::Deadlock => Some(EventKind::Deadlock),
            _ => None,
        };
        self.ended(who, kind, waited);
    }

    /// The request's future was dropped.
    pub(super) fn cancelled(&self, who: &Who, waited: Duration) {
        self.ended(who, Some(EventKind::Cancel), waited);
    }

    fn ended(&self, who: &Who, kind: Option<EventKind>, waited: Duration) {
        let mut pages = self.pages();
        let account = pages.account(who);
        if kind == Some(EventKind::Timeout) {
            account.timeouts += 1;
            account.operation(who, OperationKind::Timeout, 0, Some(waited), None);
        } else {
            account.errors += 1;
            account.deadlocks += u64::from(kind == Some(EventKind::Deadlock));
            account.operation(who, OperationKind::Error, 0, Some(waited), None);
        }
        if let Some(kind) = kind {
            pages.event(who, kind, 0, waited);
            self.changed.notify_all();
        }
    }

    /// Statistics by name and mode, without current holders and waiters.
    pub(super) fn statistics(&self, name: Option<&str>) -> Vec<(String, [Statistics; 2])> {
        let pages = self.pages();
        let wanted = pages.accounts.iter().filter(|(own, _)| name.is_none_or(|name| name == *own));
        let show = |name: &str, accounts: &[Account; 2]| Mode::ALL.map(|mode| accounts[mode as usize].show(name, mode));
        wanted.map(|(name, accounts)| (name.clone(), show(name, accounts))).collect()
    }

    pub(super) fn reset(&self, name: Option<&str>) {
        let mut pages = self.pages();
        let pages = &mut *pages;
        pages.accounts.retain(|own, _| name.is_some_and(|name| name != own));
        pages.names.retain(|own| pages.accounts.contains_key(own));
    }

    pub(super) fn events(&self, cursor: Option<u64>, wait: Duration) -> (Vec<Event>, u64) {
        let mut pages = self.pages();
        let cursor = cursor.unwrap_or(pages.next);
        let begun = Instant::now();
        while pages.next <= cursor {
            let left = wait.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            pages = self.changed.wait_timeout(pages, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let events = pages.events.iter().filter(|event| event.sequence >= cursor).cloned().collect();
        (events, pages.next.max(cursor))
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn account(&mut self, who: &Who) -> &mut Account {
        if !self.accounts.contains_key(&who.resource) {
            if self.names.len() == NAMES
                && let Some(oldest) = self.names.pop_front()
            {
                self.accounts.remove(&oldest);
            }
            self.names.push_back(who.resource.clone());
        }
        &mut self.accounts.entry(who.resource.clone()).or_default()[who.mode as usize]
    }

    fn event(&mut self, who: &Who, kind: EventKind, token: u64, elapsed: Duration) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            sequence: self.next,
            kind,
            at: SystemTime::now(),
            resource: who.resource.clone(),
            mode: who.mode,
            owner: OwnerId(who.owner),
            label: who.shown(),
            pid: std::process::id(),
            token,
            elapsed,
        });
        self.next += 1;
    }
}

impl Account {
    fn operation(
        &mut self,
        who: &Who,
        kind: OperationKind,
        token: u64,
        wait: Option<Duration>,
        hold: Option<Duration>,
    ) {
        if self.operations.len() == OPERATIONS {
            self.operations.pop_front();
        }
        self.operations.push_back(Operation {
            kind,
            mode: who.mode,
            at: SystemTime::now(),
            waited: wait,
            held: hold,
            requester: who.shown(),
            token,
        });
    }

    fn show(&self, name: &str, mode: Mode) -> Statistics {
        Statistics {
            resource_name: name.to_owned(),
            mode,
            total_acquisitions: self.acquisitions,
            total_releases: self.releases,
            total_timeouts: self.timeouts,
            total_errors: self.errors,
            total_deadlocks: self.deadlocks,
            avg_wait: self.waits.mean(),
            min_wait: self.waits.min,
            max_wait: self.waits.max,
            p50_wait: self.waits.percentile(0.5),
            p99_wait: self.waits.percentile(0.99),
            avg_hold: self.holds.mean(),
            min_hold: self.holds.min,
            max_hold: self.holds.max,
            p50_hold: self.holds.percentile(0.5),
            p99_hold: self.holds.percentile(0.99),
            current_holders: 0,
            current_waiters: 0,
            recent_operations: self.operations.iter().cloned().collect(),
        }
    }
}

impl Times {
    fn record(&mut self, time: Duration) {
        self.min = if self.histogram.count() == 0 { time } else { self.min.min(time) };
        self.max = self.max.max(time);
        self.sum += time;
        self.histogram.record(time);
    }

    fn mean(&self) -> Duration {
        let nanos = self.sum.as_nanos() / u128::from(self.histogram.count().max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Within the histogram's error, but never outside of what was measured.
    fn percentile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.histogram.quantile(quantile)).clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(resource: &str, mode: Mode) -> Who {
        Who { resource: resource.to_owned(), mode, owner: 7, label: "agent-7".to_owned() }
    }

    #[test]
    fn counts_add_up_and_can_be_forgotten() {
        let journal = Journal::default();
        let writer = who("a", Mode::Write);
        for millis in [1, 2, 3] {
            journal.granted(&writer, millis, Duration::from_millis(millis));
            journal.released(&writer, millis, Duration::from_millis(10 * millis), Ending::Normal);
        }
        journal.refused(&writer, &Error::new(ErrorKind::TimedOut, ""), Duration::from_secs(1));
        journal.refused(&writer, &Error::new(ErrorKind::WouldBlock, ""), Duration::ZERO);
        journal.granted(&who("b", Mode::Read), 1, Duration::ZERO);
        let all = journal.statistics(Some("a"));
        let [(_, [read, write])] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(read.total_acquisitions, 0);
        assert_eq!((write.total_acquisitions, write.total_releases, write.total_timeouts), (3, 3, 1));
        assert_eq!((write.total_errors, write.recent_operations.len()), (0, 7));
        assert_eq!([write.min_wait, write.avg_wait, write.max_wait], [1, 2, 3].map(Duration::from_millis));
        assert!(write.p99_hold <= Duration::from_millis(30) && write.p50_hold >= Duration::from_millis(10));
        journal.reset(Some("a"));
        assert!(journal.statistics(Some("a")).is_empty());
        assert_eq!(journal.statistics(None).len(), 1);
        journal.reset(None);
        assert!(journal.statistics(None).is_empty());
    }

    #[test]
    fn names_and_events_are_bounded() {
        let journal = Journal::default();
        for number in 0..2 * NAMES {
            journal.granted(&who(&number.to_string(), Mode::Read), 1, Duration::ZERO);
        }
        assert_eq!(journal.statistics(None).len(), NAMES);
        let (events, next) = journal.events(Some(0), Duration::ZERO);
        assert_eq!((events.len(), next), (EVENTS, 2 * NAMES as u64));
        assert_eq!(journal.events(None, Duration::ZERO), (vec![], next));
    }
}
