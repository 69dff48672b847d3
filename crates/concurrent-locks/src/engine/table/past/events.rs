//! The event ring: the latest events, for any process that watches.
//!
//! - E1. An entry is valid when its sequence is its number plus one, before and after it is read.
//! - E2. While nobody watches, only waits and what follows from them are written, so that the
//!   uncontended path touches nothing shared. A watcher announces itself for a second at a time.

use std::{
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use crate::{
    engine::table::{
        Table,
        machine::{clock::Times, kernel},
        map::layout::{Checked, EventSlot, Record},
    },
    os::owner_id::label_text,
    words::{
        error::Error,
        event::{Event, EventKind},
        limits::MAX_LABEL_BYTES,
        mode::Mode,
        name::MAX_NAME_BYTES,
        owner_id::OwnerId,
    },
};

/// How long a watcher's announcement holds.
const WATCH: Duration = Duration::from_secs(1);

impl Table {
    /// Whether somebody wants every operation to be an event (E2).
    #[inline]
    pub(crate) fn is_watched(&self, now: u64) -> bool {
        now < self.layout.header().watched_until.0.load(Relaxed)
    }

    /// Writes an event about a record's request.
    #[cold]
    pub(crate) fn emit_record(
        &self,
        kind: EventKind,
        record: &Record,
        mode: Mode,
        at: u64,
        elapsed: u64,
    ) -> Checked<()> {
        let header = self.layout.header();
        let number = header.counters.event_next.0.fetch_add(1, Relaxed);
        let entry = self.layout.event(number)?;
        entry.sequence.store(0, Release);
        entry.at.store(at, Relaxed);
        let (name_len, label_len) = (self.copy_name(entry, record)?, record.label_len());
        let pid = self.layout.slot(record.word().slot())?.pid.load(Relaxed);
        let tag = kind as u64
            | (mode as u64) << 8
            | (label_len as u64) << 16
            | u64::from(name_len & 0xff) << 24
            | u64::from(pid) << 32;
        let token = if matches!(kind, EventKind::Grant | EventKind::Release | EventKind::Recovered | EventKind::Broken)
        {
            record.token.load(Relaxed)
        } else {
            0
        };
        let put = |word: &AtomicU64, value| word.store(value, Relaxed);
        put(&entry.tag, tag);
        put(&entry.owner, record.owner.load(Relaxed));
        put(&entry.token, token);
        put(&entry.elapsed, elapsed);
        entry.label.copy_from(&record.label, label_len);
        entry.sequence.store(number.wrapping_add(1), Release);
        if self.is_watched(at) {
            header.counters.event_bell.fetch_add(1, Release);
            kernel::futex_wake(&header.counters.event_bell, i32::MAX);
        }
        Ok(())
    }

    fn copy_name(&self, entry: &EventSlot, record: &Record) -> Checked<u32> {
        let (place, _) = self.place_of(record)?;
        let resource = self.layout.resource(place)?;
        let len = resource.name_len.load(Acquire).min(MAX_NAME_BYTES as u32);
        entry.name.copy_from(&resource.name, len as usize);
        Ok(len)
    }

    /// Events from the cursor on; waits for the first.
    pub(crate) fn events_from(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        let announced = self.observer.as_ref().map(|observer| observer.announcement(self));
        if announced.is_none() {
            self.me()?;
        }
        // The word to write: the table's own, or that of an observer which may write it.
        let watched = match announced {
            None => Some(&self.layout.header().watched_until.0),
            Some(announced) => announced.map(|header| &header.watched_until.0),
        };
        let header = self.layout.header();
        let started = kernel::monotonic();
        let start = cursor.unwrap_or_else(|| header.counters.event_next.0.load(Acquire));
        loop {
            let until = self.clock.now().saturating_add(WATCH.as_nanos() as u64);
            if let Some(watched) = watched {
                watched.fetch_max(until, Relaxed);
            }
            let bell = header.counters.event_bell.load(Acquire);
            let (events, next) = self.events_between(start)?;
            let left = wait.saturating_sub(kernel::monotonic() - started);
            if !events.is_empty() || left.is_zero() {
                return Ok((events, next));
            }
            match watched {
                Some(_) => kernel::futex_wait(&header.counters.event_bell, bell, left.min(WATCH / 4)),
                // Nobody rings for whom nobody knows.
                None => std::thread::sleep(left.min(WATCH / 20)),
            }
        }
    }

    fn events_between(&self, start: u64) -> Result<(Vec<Event>, u64), Error> {
        let end = self.layout.header().counters.event_next.0.load(Acquire);
        let oldest = end.saturating_sub(self.layout.geometry().events.into());
        let mut events = Vec::new();
        let times = self.times();
        for number in start.max(oldest)..end {
            let entry = self.layout.event(number)?;
            if entry.sequence.load(Acquire) != number.wrapping_add(1) {
                // Still being written, unless it has been overwritten or its writer died: then skip it.
                if entry.sequence.load(Acquire) == 0 && end - number < 16 && self.is_fresh(entry) {
                    return Ok((events, number));
                }
                continue;
            }
            let event = self.event(number, entry, &times);
            if entry.sequence.load(Acquire) == number.wrapping_add(1) {
                events.push(event);
            }
        }
        Ok((events, end.max(start)))
    }

    /// Whether an unfinished entry may still be finished: its writer began within the last 50 ms.
    fn is_fresh(&self, entry: &EventSlot) -> bool {
        self.clock.now().saturating_sub(entry.at.load(Relaxed)) < 50_000_000
    }

    fn event(&self, number: u64, entry: &EventSlot, times: &Times) -> Event {
        let tag = entry.tag.load(Relaxed);
        let byte = |shift: u32| (tag >> shift & 0xff) as usize;
        let pid = (tag >> 32) as u32;
        Event {
            sequence: number,
            kind: EventKind::ALL[byte(0).min(EventKind::ALL.len() - 1)],
            at: times.wall(entry.at.load(Relaxed)),
            resource: entry.name.load(byte(24).min(MAX_NAME_BYTES)),
            mode: Mode::from_bits(tag >> 8),
            owner: OwnerId(entry.owner.load(Relaxed)),
            label: label_text(entry.label.load(byte(16).min(MAX_LABEL_BYTES)), pid),
            pid,
            token: entry.token.load(Relaxed),
            elapsed: Duration::from_nanos(entry.elapsed.load(Relaxed)),
        }
    }
}
