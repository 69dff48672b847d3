//! Statistics: the history of `history.rs` in the API's types.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering::{Acquire, Relaxed},
    time::Duration,
};

use crate::{
    engine::table::{
        Table,
        inspect::{look::Look, view::Seen},
        machine::clock::Times,
        map::{
            layout::{Detail, Mishaps, OPERATIONS_KEPT, Resource, Tally, linked},
            word::State,
        },
        past::history::Outcome,
    },
    os::owner_id::label_text,
    words::{
        error::Error,
        histogram::Histogram,
        mode::Mode,
        name::Name,
        stats::{Operation, OperationKind, Statistics, StatisticsMap},
    },
};

impl Table {
    pub(crate) fn statistics_of(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        let mut look = Look::at(self)?;
        let times = self.times();
        let mut map = StatisticsMap::new();
        let selected = look.selected(name)?;
        let mut queues = look.queues(&selected)?;
        for (index, name) in selected {
            let resource = self.layout.resource(index)?;
            let bucket = self.layout.bucket_of(resource.hash.load(Relaxed));
            // Copied under the lock, so that the numbers of one resource fit together; no
            // allocation there: the histograms are copied as they are.
            let tallies = match look.with_bucket(bucket, || Ok(Numbers::of_all(resource)))? {
                Some(tallies) => tallies,
                None => Numbers::settled(resource),
            };
            let detail = linked(resource.detail.load(Relaxed)).map(|index| self.layout.detail(index)).transpose()?;
            let requests = queues.remove(&index).unwrap_or_default();
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
        let counts = |counts: &[std::sync::atomic::AtomicU32]| -> Vec<u64> {
            counts.iter().map(|count| u64::from(count.load(Relaxed))).collect()
        };
        let mut waits = counts(&detail.waits[mode as usize]);
        // Of waits, the first bucket is what the others leave (see `tally_grant_at_once`).
        waits[0] = statistics.total_acquisitions.saturating_sub(waits[1..].iter().sum());
        let (waits, holds) =
            (Histogram::from_counts(waits), Histogram::from_counts(counts(&detail.holds[mode as usize])));
        // A bucket's middle may lie beyond the true extremes, which are known.
        let within = |nanos, min: Duration, max: Duration| Duration::from_nanos(nanos).clamp(min, max.max(min));
        statistics.p50_wait = within(waits.quantile(0.5), statistics.min_wait, statistics.max_wait);
        statistics.p99_wait = within(waits.quantile(0.99), statistics.min_wait, statistics.max_wait);
        statistics.p50_hold = within(holds.quantile(0.5), statistics.min_hold, statistics.max_hold);
        statistics.p99_hold = within(holds.quantile(0.99), statistics.min_hold, statistics.max_hold);
        let mut operations = detail.operations(mode, times);
        for seen in requests.iter().filter(|seen| seen.word.state() == State::Held) {
            let (pid, _) = self.process_of(seen.word.slot());
            operations.push(Operation {
                kind: OperationKind::Acquire,
                mode,
                at: times.wall(seen.granted),
                waited: Some(Duration::from_nanos(seen.granted.saturating_sub(seen.requested))),
                held: None,
                requester: seen.label(pid),
                token: seen.token,
            });
        }
        operations.sort_by_key(|operation| operation.at);
        let surplus = operations.len().saturating_sub(OPERATIONS_KEPT as usize);
        statistics.recent_operations = operations.split_off(surplus);
    }

    pub(crate) fn forget_statistics(&self, name: Option<Name<'_>>) -> Result<(), Error> {
        let me = self.me()?;
        for (index, _) in Look::at(self)?.selected(name)? {
            let resource = self.layout.resource(index)?;
            let bucket = self.layout.bucket_of(resource.hash.load(Relaxed));
            self.with_bucket(me, bucket, |_| {
                self.reset_history(resource);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// A tally copied out of the table.
#[derive(Clone, Copy, Default, PartialEq)]
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
    fn of_all(resource: &Resource) -> [Numbers; Mode::COUNT] {
        Mode::ALL.map(|mode| Numbers::of(&resource.tallies[mode as usize], &resource.mishaps[mode as usize]))
    }

    /// Without the lock: read until two readings agree, or the numbers may be one operation apart.
    fn settled(resource: &Resource) -> [Numbers; Mode::COUNT] {
        let mut numbers = Numbers::of_all(resource);
        for _ in 0..16 {
            let again = Numbers::of_all(resource);
            if numbers == again {
                break;
            }
            numbers = again;
        }
        numbers
    }

    fn of(tally: &Tally, mishaps: &Mishaps) -> Numbers {
        let get = |word: &std::sync::atomic::AtomicU64| word.load(Relaxed);
        Numbers {
            acquisitions: get(&tally.acquisitions),
            releases: get(&tally.releases),
            timeouts: get(&mishaps.timeouts),
            errors: get(&mishaps.errors),
            deadlocks: get(&mishaps.deadlocks),
            wait: [get(&tally.wait_sum), get(&tally.wait_min), get(&tally.wait_max)],
            hold: [get(&tally.hold_sum), get(&tally.hold_min), get(&tally.hold_max)],
        }
    }

    fn is_unused(&self) -> bool {
        self.acquisitions == 0 && self.timeouts == 0 && self.errors == 0
    }

    fn statistics(&self, name: &str, mode: Mode) -> Statistics {
        let mean = |sum: u64, count: u64| Duration::from_nanos(sum.checked_div(count).unwrap_or(0));
        let nanos = Duration::from_nanos;
        Statistics {
            total_acquisitions: self.acquisitions,
            total_releases: self.releases,
            total_timeouts: self.timeouts,
            total_errors: self.errors,
            total_deadlocks: self.deadlocks,
            avg_wait: mean(self.wait[0], self.acquisitions),
            min_wait: nanos(self.wait[1]),
            max_wait: nanos(self.wait[2]),
            avg_hold: mean(self.hold[0], self.releases),
            min_hold: nanos(self.hold[1]),
            max_hold: nanos(self.hold[2]),
            ..Statistics::unused(name.to_owned(), mode)
        }
    }
}

impl Detail {
    /// The kept operations of a mode, oldest first: an entry with a hold is an acquisition and a release.
    fn operations(&self, mode: Mode, times: &Times) -> Vec<Operation> {
        let written = self.written.load(Acquire);
        let mut operations = Vec::new();
        let nanos = Duration::from_nanos;
        for number in written.saturating_sub(OPERATIONS_KEPT)..written {
            let place = (number % OPERATIONS_KEPT) as usize;
            let (kept, label) = (&self.kept[place], &self.labels[place]);
            let tag = kept.tag.load(Relaxed);
            if Mode::from_bits(tag >> 8) != mode {
                continue;
            }
            let label_len = ((tag >> 16 & 0xff) as usize).min(crate::words::limits::MAX_LABEL_BYTES);
            let (at, wait, hold) = (kept.at.load(Relaxed), kept.wait.load(Relaxed), kept.hold.load(Relaxed));
            let outcome = Outcome::from_bits(tag);
            let operation = |kind, at, waited, held| Operation {
                kind,
                mode,
                at: times.wall(at),
                waited,
                held,
                requester: label_text(label.load(label_len), (tag >> 32) as u32),
                token: kept.token.load(Relaxed),
            };
            if hold == u64::MAX {
                let kind = if outcome == Outcome::TimedOut { OperationKind::Timeout } else { OperationKind::Error };
                operations.push(operation(kind, at, Some(nanos(wait)), None));
            } else {
                operations.push(operation(OperationKind::Acquire, at, Some(nanos(wait)), None));
                let kind = if outcome == Outcome::Failed { OperationKind::Error } else { OperationKind::Release };
                operations.push(operation(kind, at.saturating_add(hold), None, Some(nanos(hold))));
            }
        }
        operations
    }
}
