//! Seeing: status, statistics and health, read by any process without the help of those it sees.
//!
//! A resource's queue is copied under its bucket's lock, so a status is true of one moment. Scans over
//! all records (deadlocks, health) take no lock: they read the word, the fields, the word again, and
//! leave out what changed in between.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering::{Acquire, Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Table,
    history::Outcome,
    layout::{
        Checked, Detail, LABEL_WORDS, NOTE_WORDS, OPERATIONS_KEPT, Record, Resource, State, Tally, Violation, Word,
        linked,
    },
    queue::Queue,
};
use crate::{
    error::Error,
    grant::Rank,
    histogram::Histogram,
    mode::Mode,
    name::Name,
    stats::{Operation, Statistics, StatisticsMap},
    status::{Health, Holder, Process, Status, StatusMap, Usage, Waiter},
};

/// One request as it was seen: plain words, so that it can be copied under a bucket's lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) record: u32,
    pub(super) word: Word,
    pub(super) resource: u32,
    pub(super) rank: Rank,
    pub(super) ticket: u64,
    pub(super) owner: u64,
    pub(super) token: u64,
    pub(super) requested: u64,
    pub(super) granted: u64,
    pub(super) priority: i8,
    label: ([u64; LABEL_WORDS], usize),
    note: ([u64; NOTE_WORDS], usize),
}

/// A moment of the table's clock as wall-clock text and distance.
struct Times {
    now: u64,
    wall: SystemTime,
}

impl Times {
    fn text(&self, at: u64) -> String {
        let ago = Duration::from_nanos(self.now.saturating_sub(at));
        humantime::format_rfc3339_millis(self.wall.checked_sub(ago).unwrap_or(UNIX_EPOCH)).to_string()
    }

    fn unix(&self, at: u64) -> f64 {
        let ago = Duration::from_nanos(self.now.saturating_sub(at));
        self.wall.checked_sub(ago).unwrap_or(UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    fn since_ms(&self, at: u64) -> f64 {
        millis(self.now.saturating_sub(at))
    }
}

pub(super) fn text_of(words: &[u64], len: usize) -> String {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(len);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// An owner's id as it is shown.
pub(super) fn owner_text(owner: u64) -> String {
    format!("{owner:016x}")
}

/// A label as it is shown.
pub(super) fn label_text(label: String, pid: u32) -> String {
    if label.is_empty() { format!("pid {pid}") } else { label }
}

impl Table {
    fn times(&self) -> Times {
        Times { now: self.clock.now(), wall: SystemTime::now() }
    }

    /// Every request that `wanted` (a resource's index) accepts.
    pub(super) fn requests(&self, wanted: impl Fn(u32) -> bool) -> Checked<Vec<Seen>> {
        let mut seen = Vec::new();
        for index in self.used_records() {
            let index = index?;
            let record = self.layout.record(index)?;
            // A record that keeps changing is being used again and again: it is skipped, as if the
            // look had fallen between two uses.
            for _ in 0..4 {
                let word = record.word();
                let Some(resource) = linked(record.resource.load(Relaxed)) else { break };
                if word.state() == State::Free || !wanted(resource) {
                    break;
                }
                let candidate = Seen::read(index, word, resource, record);
                if record.word() == word && record.ticket.load(Acquire) == candidate.ticket {
                    seen.push(candidate);
                    break;
                }
            }
        }
        Ok(seen)
    }

    /// The index of a name, if it is known.
    fn index_of(&self, name: Name<'_>) -> Result<Option<u32>, Error> {
        let me = self.me()?;
        self.with_bucket(me, self.layout.bucket_of(name.hash()), |locked| self.find(locked, name))
    }

    /// Indices and names of all known resources.
    fn known(&self) -> Checked<Vec<(u32, String)>> {
        let mut known = Vec::new();
        for index in 0..self.resources_used() {
            let resource = self.layout.resource(index)?;
            if self.layout.resource_owner(index)?.load(Acquire) != 0 && resource.name_len.load(Acquire) != 0 {
                known.push((index, resource.name_text()));
            }
        }
        Ok(known)
    }

    /// The indices and names that a look at one or all resources is about.
    fn selected(&self, name: Option<Name<'_>>) -> Result<Vec<(u32, String)>, Error> {
        // A forked child attaches before it looks: it must not see its parent's private table.
        self.me()?;
        match name {
            Some(name) => Ok(self.index_of(name)?.map(|index| (index, name.text().to_owned())).into_iter().collect()),
            None => Ok(self.known()?),
        }
    }

    pub(super) fn status_of(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        let mut map = StatusMap::new();
        for (index, name) in self.selected(name)? {
            let seen = self.queue_at(index)?;
            map.insert(name.clone(), self.status_from(name, seen, &self.times()));
        }
        Ok(map)
    }

    /// The queue of one resource at one moment: copied under its bucket's lock, into room that was
    /// made before.
    fn queue_at(&self, index: u32) -> Result<Vec<Seen>, Error> {
        let me = self.me()?;
        let resource = self.layout.resource(index)?;
        let bucket = self.layout.bucket_of(resource.hash.load(Relaxed));
        let mut seen = Vec::new();
        loop {
            let mut needed = 0;
            self.with_bucket(me, bucket, |_| {
                seen.clear();
                needed = 0;
                for entry in Queue::of(self, index)?.starting_at(&resource.head) {
                    let (record_index, record) = entry?;
                    needed += 1;
                    if seen.len() < seen.capacity() {
                        seen.push(Seen::read(record_index, record.word(), index, record));
                    }
                }
                Ok(())
            })?;
            if needed == seen.len() {
                return Ok(seen);
            }
            seen.reserve(needed + needed / 8);
        }
    }

    fn status_from(&self, name: String, seen: Vec<Seen>, times: &Times) -> Status {
        let (waiting, held): (Vec<_>, Vec<_>) = seen.into_iter().partition(|seen| seen.word.state() == State::Waiting);
        let mut held = held;
        held.sort_by_key(|seen| seen.token);
        let holders: Vec<Holder> = held.into_iter().map(|seen| self.holder(seen, times)).collect();
        let waiters: Vec<Waiter> = waiting.into_iter().map(|seen| self.waiter(seen, times)).collect();
        let labels = |mode| holders.iter().filter(move |holder| holder.mode == mode).map(|holder| holder.label.clone());
        let current_readers: Vec<String> = labels(Mode::Read).collect();
        let current_writer = labels(Mode::Write).next();
        Status {
            resource_name: name,
            readers: current_readers.len(),
            writer_active: current_writer.is_some(),
            current_writer,
            current_readers,
            pending_writes: waiters.iter().filter(|waiter| waiter.mode == Mode::Write).count(),
            pending_requests: waiters.len(),
            holders,
            waiters,
        }
    }

    fn holder(&self, seen: Seen, times: &Times) -> Holder {
        let (pid, host) = self.process_of(seen.word.slot());
        Holder {
            owner: owner_text(seen.owner),
            label: seen.label(pid),
            pid,
            host,
            mode: seen.word.mode(),
            since: times.text(seen.granted),
            held_ms: times.since_ms(seen.granted),
            priority: seen.priority,
            token: seen.token,
            note: seen.note(),
        }
    }

    fn waiter(&self, seen: Seen, times: &Times) -> Waiter {
        let (pid, host) = self.process_of(seen.word.slot());
        Waiter {
            owner: owner_text(seen.owner),
            label: seen.label(pid),
            pid,
            host,
            mode: seen.word.mode(),
            since: times.text(seen.requested),
            waited_ms: times.since_ms(seen.requested),
            priority: seen.priority,
            token: None,
            note: seen.note(),
        }
    }

    /// Pid and host of a slot, as it calls itself.
    pub(super) fn process_of(&self, slot: u32) -> (u32, String) {
        self.layout.slot(slot).map_or((0, String::new()), |slot| {
            let host_len = (slot.text_lens.load(Relaxed) >> 8 & 0xff).min(64) as usize;
            (slot.pid.load(Relaxed), slot.host.load(host_len))
        })
    }

    /// Who holds a resource and the tickets of who waits, in order: for the error of a busy lock.
    pub(super) fn holders_and_tickets(&self, name: &str) -> Result<(Vec<Holder>, Vec<u64>), Error> {
        let Some(index) = self.index_of(Name::new(name).map_err(|_| Violation("a resource's name"))?)? else {
            return Ok(Default::default());
        };
        let seen = self.queue_at(index)?;
        let tickets = seen.iter().filter(|seen| seen.word.state() == State::Waiting).map(|seen| seen.ticket).collect();
        let times = self.times();
        let held = seen.into_iter().filter(|seen| seen.word.state() == State::Held);
        Ok((held.map(|seen| self.holder(seen, &times)).collect(), tickets))
    }

    pub(super) fn statistics_of(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        let me = self.me()?;
        let times = self.times();
        let mut map = StatisticsMap::new();
        for (index, name) in self.selected(name)? {
            let resource = self.layout.resource(index)?;
            let bucket = self.layout.bucket_of(resource.hash.load(Relaxed));
            // Copied under the lock, so that the numbers of one resource fit together; no
            // allocation there: the histograms are copied as they are.
            let mut tallies = [Numbers::default(), Numbers::default()];
            self.with_bucket(me, bucket, |_| {
                for (numbers, tally) in tallies.iter_mut().zip(&resource.tallies) {
                    *numbers = Numbers::of(tally);
                }
                Ok(())
            })?;
            let detail = linked(resource.detail.load(Relaxed)).map(|index| self.layout.detail(index)).transpose()?;
            let requests = self.queue_at(index)?;
            let mut modes = BTreeMap::new();
            for mode in Mode::ALL {
                let numbers = &tallies[mode as usize];
                let of_mode: Vec<&Seen> = requests.iter().filter(|seen| seen.word.mode() == mode).collect();
                let count = |state| of_mode.iter().filter(|seen| seen.word.state() == state).count() as u64;
                if numbers.is_unused() && of_mode.is_empty() {
                    continue;
                }
                let mut statistics = numbers.statistics(&name, mode);
                statistics.current_holders = count(State::Held);
                statistics.current_waiters = count(State::Waiting);
                if let Some(detail) = detail {
                    self.add_detail(&mut statistics, detail, mode, &of_mode, &times);
                }
                modes.insert(mode, statistics);
            }
            map.insert(name, modes);
        }
        Ok(map)
    }

    /// Percentiles and the last operations: the kept ones, and the grants that are held now.
    fn add_detail(&self, statistics: &mut Statistics, detail: &Detail, mode: Mode, requests: &[&Seen], times: &Times) {
        let histogram = |counts: &[std::sync::atomic::AtomicU32]| {
            Histogram::from_counts(counts.iter().map(|count| u64::from(count.load(Relaxed))))
        };
        let waits = histogram(&detail.waits[mode as usize]);
        let holds = histogram(&detail.holds[mode as usize]);
        // A bucket's middle may lie beyond the true extremes, which are known.
        let within = |nanos: u64, min: f64, max: f64| millis(nanos).clamp(min, max.max(min));
        statistics.p50_wait_time_ms =
            within(waits.quantile(0.5), statistics.min_wait_time_ms, statistics.max_wait_time_ms);
        statistics.p99_wait_time_ms =
            within(waits.quantile(0.99), statistics.min_wait_time_ms, statistics.max_wait_time_ms);
        statistics.p50_hold_time_ms =
            within(holds.quantile(0.5), statistics.min_hold_time_ms, statistics.max_hold_time_ms);
        statistics.p99_hold_time_ms =
            within(holds.quantile(0.99), statistics.min_hold_time_ms, statistics.max_hold_time_ms);
        let mut operations = detail.operations(mode, times);
        for seen in requests.iter().filter(|seen| seen.word.state() == State::Held) {
            let (pid, _) = self.process_of(seen.word.slot());
            operations.push(Operation {
                kind: "acquire".to_owned(),
                lock_type: mode.as_str().to_owned(),
                timestamp: times.unix(seen.granted),
                wait_time: Some(seconds(seen.granted.saturating_sub(seen.requested))),
                hold_time: None,
                requester: seen.label(pid),
                token: seen.token,
            });
        }
        operations.sort_by(|a, b| a.timestamp.total_cmp(&b.timestamp));
        let surplus = operations.len().saturating_sub(OPERATIONS_KEPT as usize);
        statistics.recent_operations = operations.split_off(surplus);
    }

    pub(super) fn forget_statistics(&self, name: Option<Name<'_>>) -> Result<(), Error> {
        let me = self.me()?;
        for (index, _) in self.selected(name)? {
            let resource = self.layout.resource(index)?;
            let bucket = self.layout.bucket_of(resource.hash.load(Relaxed));
            self.with_bucket(me, bucket, |_| {
                self.reset_history(resource);
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(super) fn health_now(&self) -> Result<Health, Error> {
        let me = self.me()?;
        let header = self.layout.header();
        let geometry = self.layout.geometry();
        let requests = self.requests(|_| true)?;
        let mut attached = Vec::new();
        let mut problems = Vec::new();
        for index in 0..header.counters.slots_used.load(Acquire).min(geometry.slots) {
            let slot = self.layout.slot(index)?;
            if slot.state.load(Acquire) == 0 {
                continue;
            }
            let (pid, host) = self.process_of(index);
            let alive = self.is_alive(me, index)?;
            let program_len = (slot.text_lens.load(Relaxed) & 0xff).min(64) as usize;
            let count = requests.iter().filter(|seen| seen.word.slot() == index).count() as u64;
            if !alive && count > 0 {
                problems.push(format!("process {pid} is dead and {count} of its requests are not cleaned up yet"));
            }
            attached.push(Process { pid, host, program: slot.program.load(program_len), alive, requests: count });
        }
        if let Some(file) = &self.file {
            if !file.is_in_place() {
                problems.push(file.gone().to_string());
            }
            if file.permissions().is_some_and(|mode| mode != "0600") {
                problems.push(format!("{} is open to others; chmod 600 it", file.path().display()));
            }
        }
        problems.extend(self.audit(me)?);
        let known = self.known()?.len() as u64;
        Ok(Health {
            url: self.url.clone(),
            path: self.file.as_ref().map(|file| file.path().display().to_string()),
            layout: super::layout::LAYOUT,
            permissions: self.file.as_ref().and_then(super::file::TableFile::permissions),
            resources: Usage { used: known, capacity: geometry.resources.into() },
            requests: Usage { used: requests.len() as u64, capacity: geometry.records().into() },
            processes: Usage { used: attached.len() as u64, capacity: geometry.slots.into() },
            attached,
            reaped: header.counters.reaped.load(Relaxed),
            rebuilds: header.counters.rebuilds.load(Relaxed),
            corrupt: header.counters.corrupt.load(Relaxed),
            evicted: header.counters.evicted.load(Relaxed),
            deadlocks: header.counters.deadlocks.load(Relaxed),
            problems,
        })
    }
}

impl Seen {
    fn read(index: u32, word: Word, resource: u32, record: &Record) -> Seen {
        Seen {
            record: index,
            word,
            resource,
            rank: record.rank(),
            ticket: record.ticket.load(Acquire),
            owner: record.owner.load(Relaxed),
            token: record.token.load(Relaxed),
            requested: record.requested.load(Relaxed),
            granted: record.granted.load(Relaxed),
            priority: record.priority(),
            label: (record.label.words(), record.label_len()),
            note: (record.note.words(), record.note_len()),
        }
    }

    /// The owner's label as it is shown.
    pub(super) fn label(&self, pid: u32) -> String {
        label_text(text_of(&self.label.0, self.label.1), pid)
    }

    fn note(&self) -> String {
        text_of(&self.note.0, self.note.1)
    }
}

/// A tally copied out of the table.
#[derive(Clone, Copy, Default)]
struct Numbers {
    acquisitions: u64,
    releases: u64,
    timeouts: u64,
    errors: u64,
    deadlocks: u64,
    wait: [u64; 3],
    hold: [u64; 3],
}

impl Numbers {
    fn of(tally: &Tally) -> Numbers {
        let get = |word: &std::sync::atomic::AtomicU64| word.load(Relaxed);
        Numbers {
            acquisitions: get(&tally.acquisitions),
            releases: get(&tally.releases),
            timeouts: get(&tally.timeouts),
            errors: get(&tally.errors),
            deadlocks: get(&tally.deadlocks),
            wait: [get(&tally.wait_sum), get(&tally.wait_min), get(&tally.wait_max)],
            hold: [get(&tally.hold_sum), get(&tally.hold_min), get(&tally.hold_max)],
        }
    }

    fn is_unused(&self) -> bool {
        self.acquisitions == 0 && self.timeouts == 0 && self.errors == 0
    }

    fn statistics(&self, name: &str, mode: Mode) -> Statistics {
        let mean = |sum: u64, count: u64| if count == 0 { 0.0 } else { millis(sum) / count as f64 };
        Statistics {
            resource_name: name.to_owned(),
            lock_type: mode.as_str().to_owned(),
            total_acquisitions: self.acquisitions,
            total_releases: self.releases,
            total_timeouts: self.timeouts,
            total_errors: self.errors,
            total_deadlocks: self.deadlocks,
            avg_wait_time_ms: mean(self.wait[0], self.acquisitions),
            min_wait_time_ms: millis(self.wait[1]),
            max_wait_time_ms: millis(self.wait[2]),
            avg_hold_time_ms: mean(self.hold[0], self.releases),
            min_hold_time_ms: millis(self.hold[1]),
            max_hold_time_ms: millis(self.hold[2]),
            ..Statistics::default()
        }
    }
}

impl Detail {
    /// The kept operations of a mode, oldest first: an entry with a hold is an acquisition and a release.
    fn operations(&self, mode: Mode, times: &Times) -> Vec<Operation> {
        let written = self.written.load(Acquire);
        let mut operations = Vec::new();
        for number in written.saturating_sub(OPERATIONS_KEPT)..written {
            let place = (number % OPERATIONS_KEPT) as usize;
            let (kept, label) = (&self.kept[place], &self.labels[place]);
            let tag = kept.tag.load(Relaxed);
            if Mode::from_bits(tag >> 8) != mode {
                continue;
            }
            let label_len = ((tag >> 16 & 0xff) as usize).min(crate::owner::MAX_LABEL_BYTES);
            let (at, wait, hold) = (kept.at.load(Relaxed), kept.wait.load(Relaxed), kept.hold.load(Relaxed));
            let outcome = Outcome::from_bits(tag);
            let operation = |kind: &str, at, wait_time, hold_time| Operation {
                kind: kind.to_owned(),
                lock_type: mode.as_str().to_owned(),
                timestamp: times.unix(at),
                wait_time,
                hold_time,
                requester: label_text(label.load(label_len), (tag >> 32) as u32),
                token: kept.token.load(Relaxed),
            };
            if hold == u64::MAX {
                let kind = if outcome == Outcome::TimedOut { "timeout" } else { "error" };
                operations.push(operation(kind, at, Some(seconds(wait)), None));
            } else {
                operations.push(operation("acquire", at, Some(seconds(wait)), None));
                let kind = if outcome == Outcome::Failed { "error" } else { "release" };
                operations.push(operation(kind, at.saturating_add(hold), None, Some(seconds(hold))));
            }
        }
        operations
    }
}

impl Table {
    /// Checks the derived state of every bucket against the records, under its lock; what is wrong, in words.
    fn audit(&self, me: &super::attach::Attachment) -> Result<Vec<String>, Error> {
        let mut problems = Vec::new();
        for (index, name) in self.known()? {
            let resource = self.layout.resource(index)?;
            let bucket = self.layout.bucket_of(resource.hash.load(Relaxed));
            let mut wrong = None;
            self.with_bucket(me, bucket, |_| {
                wrong = self.audit_queue(index, resource)?;
                Ok(())
            })?;
            problems.extend(wrong.map(|wrong| format!("{name:?}: {wrong}")));
        }
        Ok(problems)
    }

    /// Invariants Q1 and Q2, and exclusion itself.
    fn audit_queue(&self, index: u32, resource: &Resource) -> Checked<Option<&'static str>> {
        let queue = Queue::of(self, index)?;
        let (mut counts, mut waiting, mut last_rank) = ([0_u32; 2], 0, None);
        for entry in queue.starting_at(&resource.head) {
            let (_, record) = entry?;
            let word = record.word();
            match word.state() {
                State::Free => return Ok(Some("a free record is in the queue")),
                State::Held if waiting > 0 => return Ok(Some("a holder stands behind a waiter")),
                State::Held => counts[word.mode() as usize] += 1,
                State::Waiting => {
                    waiting += 1;
                    if last_rank.is_some_and(|last| last > record.rank()) {
                        return Ok(Some("waiters are not in order"));
                    }
                    last_rank = Some(record.rank());
                }
            }
        }
        let counted = [&resource.readers, &resource.writers, &resource.waiters].map(|count| count.load(Relaxed));
        Ok((counted != [counts[0], counts[1], waiting]).then_some("counts do not fit the queue"))
    }
}
