//! One reading of the table, by a participant or by an observer.
//!
//! - V1. A participant copies a queue under its bucket's lock, so that the copy is consistent. If that lock
//!   is not available, because a process was stopped while it held it, and for observers, which take no
//!   locks, the records are read instead: they are authoritative (T1).
//! - V2. Without the lock, each request is consistent, but two requests may be from different moments. A
//!   queue that is impossible (holders that exclude each other) is read again; if it stays so, requests
//!   that changed between two readings give way to those granted later.
//! - V3. Whatever could not be read, or may be out of date, is reported.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        PoisonError,
        atomic::Ordering::{Acquire, Relaxed},
    },
    time::Duration,
};

use crate::{
    engine::table::{
        Table,
        inspect::view::Seen,
        machine::clock::Times,
        map::{
            layout::{Checked, RECORDS_PER_CHUNK},
            word::State,
        },
        process::attach::Attachment,
        protocol::{atomic_word::AtomicWord, short_lock},
    },
    words::{
        error::{Error, ErrorKind},
        name::Name,
        status::{ProcessState, Status, StatusMap},
    },
};

/// How often a queue is read again that cannot be of one moment.
const READINGS: u32 = 8;

/// A short lock that has the same owner at each of so many looks, so far apart, is not about to be released.
const STUCK_LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

pub(crate) struct Look<'t> {
    table: &'t Table,
    /// `None`: this process only observes.
    me: Option<&'t Attachment>,
    times: Times,
    /// Buckets whose lock could not be had.
    stuck: HashSet<u32>,
    /// The kernel's answers about the processes in the slots.
    lives: HashMap<u32, ProcessState>,
    /// The bucket of the one name that was asked for, if its lock was not taken.
    asked: Option<u32>,
    gaps: Vec<String>,
}

impl<'t> Look<'t> {
    pub(crate) fn at(table: &'t Table) -> Result<Look<'t>, Error> {
        // A forked child attaches before it looks: it must not see its parent's private table.
        let me = if table.observer.is_some() { None } else { Some(table.me()?) };
        let (stuck, lives) = (HashSet::new(), HashMap::new());
        Ok(Look { table, me, times: table.times(), stuck, lives, asked: None, gaps: Vec::new() })
    }

    /// This process in the table; `None` if it only observes.
    pub(crate) fn attached(&self) -> Option<&'t Attachment> {
        self.me
    }

    /// What it could not see (V3).
    pub(crate) fn gaps(&self) -> &[String] {
        &self.gaps
    }

    /// The indices and names that a look at one or all resources is about.
    pub(crate) fn selected(&mut self, name: Option<Name<'_>>) -> Result<Vec<(u32, String)>, Error> {
        let Some(name) = name else { return Ok(self.table.known()?) };
        let (table, bucket) = (self.table, self.table.layout.bucket_of(name.hash()));
        let found = match self.me.filter(|_| !self.stuck.contains(&bucket)) {
            Some(me) => {
                let found = table.index_of(me, name);
                self.unless_stuck(bucket, found)?
            }
            None => None,
        };
        let found = match found {
            Some(found) => found,
            None => {
                self.asked = Some(bucket);
                table.index_from_outside(name)?
            }
        };
        if found.is_none() && self.asked.is_some() {
            self.note_stuck(&[])?;
        }
        Ok(found.map(|index| (index, name.text().to_owned())).into_iter().collect())
    }

    pub(crate) fn status(&mut self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        let selected = self.selected(name)?;
        let mut queues = self.queues(&selected)?;
        let (table, times) = (self.table, self.times);
        let mut map = StatusMap::new();
        for (index, name) in selected {
            let (waiting, held): (Vec<_>, Vec<_>) =
                queues.remove(&index).unwrap_or_default().into_iter().partition(is_waiting);
            let mut held = held;
            held.sort_by_key(|seen| seen.token);
            let holders = held.into_iter().map(|seen| table.holder(seen, &times, self.process(&seen)));
            let holders = holders.collect::<Vec<_>>();
            let waiters = waiting.into_iter().map(|seen| table.waiter(seen, &times, self.process(&seen)));
            map.insert(name.clone(), Status::of(name, holders, waiters.collect()));
        }
        Ok(map)
    }

    /// The queues of these resources.
    pub(crate) fn queues(&mut self, selected: &[(u32, String)]) -> Result<HashMap<u32, Vec<Seen>>, Error> {
        let table = self.table;
        let mut queues = HashMap::new();
        let mut others = HashSet::new();
        for (index, _) in selected {
            let bucket = table.layout.bucket_of(table.layout.resource(*index)?.hash.load(Relaxed));
            let queue = match self.me.filter(|_| !self.stuck.contains(&bucket)) {
                Some(me) => {
                    let queue = table.queue_at(me, *index);
                    self.unless_stuck(bucket, queue)?
                }
                None => None,
            };
            match queue {
                Some(queue) => drop(queues.insert(*index, queue)),
                None => drop(others.insert(*index)),
            }
        }
        if !others.is_empty() {
            queues.extend(table.queues_from_outside(others)?);
            self.note_stuck(selected)?;
        }
        Ok(queues)
    }

    /// Does `work` under the bucket's lock; `None` if this process does not take it, or cannot (V1).
    pub(crate) fn with_bucket<R>(
        &mut self,
        bucket: u32,
        mut work: impl FnMut() -> Checked<R>,
    ) -> Result<Option<R>, Error> {
        match self.me.filter(|_| !self.stuck.contains(&bucket)) {
            Some(me) => {
                let done = self.table.with_bucket(me, bucket, |_| work());
                self.unless_stuck(bucket, done)
            }
            None => Ok(None),
        }
    }

    /// `None` where the lock of the bucket was not to be had. It is not waited for again.
    fn unless_stuck<R>(&mut self, bucket: u32, result: Result<R, Error>) -> Result<Option<R>, Error> {
        match result {
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                self.stuck.insert(bucket);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Reports which of these names' buckets have a change that was begun and does not continue (V3).
    pub(crate) fn note_stuck(&mut self, selected: &[(u32, String)]) -> Result<(), Error> {
        let layout = &self.table.layout;
        let owner = |bucket| Checked::Ok(short_lock::Name::of(layout.bucket(bucket)?.lock.get()));
        let buckets = selected
            .iter()
            .map(|(index, _)| Checked::Ok(layout.bucket_of(layout.resource(*index)?.hash.load(Relaxed))));
        let mut suspects = HashMap::new();
        for bucket in buckets.chain(self.asked.map(Ok)) {
            let bucket = bucket?;
            if let Some(owner) = owner(bucket)? {
                suspects.insert(bucket, owner);
            }
        }
        for _ in 0..STUCK_LOOKS {
            if suspects.is_empty() {
                return Ok(());
            }
            std::thread::sleep(BETWEEN_LOOKS);
            let mut still = HashMap::new();
            for (bucket, known) in suspects {
                if owner(bucket)? == Some(known) {
                    still.insert(bucket, known);
                }
            }
            suspects = still;
        }
        for (bucket, owner) in suspects {
            let slot = layout.slot(owner.slot)?;
            let (pid, _) = self.table.process_of(owner.slot);
            let same = slot.generation.load(Acquire) & 0x7fff == owner.generation;
            let lives = same && self.state_of(owner.slot)? == ProcessState::Alive;
            // A participant repairs it as if it used a name of it.
            if !lives && self.with_bucket(bucket, || Ok(()))?.is_some() {
                continue;
            }
            let why = if lives {
                format!(
                    "is being changed by process {pid}, which is not running (is it stopped? kill -CONT {pid}, or end it)"
                )
            } else {
                "was being changed by a process that died (the next process that uses one of its names repairs it)"
                    .to_owned()
            };
            let names = selected.iter().filter(|(index, _)| {
                layout.resource(*index).is_ok_and(|resource| layout.bucket_of(resource.hash.load(Relaxed)) == bucket)
            });
            let names: Vec<_> = names.map(|(_, name)| format!("{name:?}")).collect();
            let which = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            let gap = format!("bucket {bucket} {why}: its names may be missing or out of date{which}");
            if !self.gaps.contains(&gap) {
                self.gaps.push(gap);
            }
        }
        Ok(())
    }

    /// What the kernel says of the occupant of a slot.
    pub(crate) fn state_of(&self, slot: u32) -> Result<ProcessState, Error> {
        self.table.process_state(self.me, slot)
    }

    /// What is known of the process of a request.
    fn process(&mut self, seen: &Seen) -> ProcessState {
        let (layout, slot) = (&self.table.layout, seen.word.slot());
        let chunk = layout.chunk_owner(seen.record / RECORDS_PER_CHUNK).map_or(0, |owner| owner.load(Acquire));
        let generation = layout.slot(slot).map_or(0, |slot| slot.generation.load(Acquire));
        if chunk != 0 && (chunk >> 32) as u32 != generation {
            // Somebody else has the slot by now.
            return ProcessState::Dead;
        }
        if let Some(known) = self.lives.get(&slot) {
            return *known;
        }
        let state = self.state_of(slot).unwrap_or_default();
        self.lives.insert(slot, state);
        state
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        *self.table.unseen.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut self.gaps);
    }
}

impl Table {
    /// The index of a name, without its bucket's lock.
    fn index_from_outside(&self, name: Name<'_>) -> Checked<Option<u32>> {
        for index in 0..self.resources_used() {
            let resource = self.layout.resource(index)?;
            if resource.hash.load(Relaxed) == name.hash()
                && self.layout.resource_owner(index)?.load(Acquire) != 0
                && resource.name_len.load(Acquire) as usize == name.bytes().len()
                && resource.name.is(name.bytes())
            {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The queues of these resources, from their records (V2).
    fn queues_from_outside(&self, mut open: HashSet<u32>) -> Checked<HashMap<u32, Vec<Seen>>> {
        let mut queues = HashMap::new();
        let mut stood = HashSet::new();
        for reading in 1..=READINGS {
            let mut found: HashMap<u32, Vec<Seen>> = open.iter().map(|index| (*index, Vec::new())).collect();
            for seen in self.requests(|index| open.contains(&index))? {
                found.entry(seen.resource).or_default().push(seen);
            }
            let mut standing = HashSet::new();
            for (index, mut queue) in found {
                queue.sort_by_key(|seen| (is_waiting(seen), seen.rank));
                if reading < READINGS && !is_of_one_moment(&queue) {
                    standing.extend(queue.iter().map(identity));
                    continue;
                }
                open.remove(&index);
                queues.insert(index, latest(queue, &stood));
            }
            if open.is_empty() {
                break;
            }
            stood = standing;
        }
        Ok(queues)
    }
}

fn is_waiting(seen: &Seen) -> bool {
    seen.word.state() == State::Waiting
}

/// What distinguishes a request from another in the same record.
fn identity(seen: &Seen) -> (u32, u64, u64) {
    (seen.record, seen.word.0, seen.ticket)
}

fn exclude_each_other(a: &Seen, b: &Seen) -> bool {
    a.word.mode().conflicts_with(b.word.mode()) && a.root_owner != b.root_owner && a.token != b.token
}

/// Whether these requests can have coexisted: each waiter waits for somebody, and holders do not exclude each other.
fn is_of_one_moment(queue: &[Seen]) -> bool {
    let holders = || queue.iter().filter(|seen| !is_waiting(seen));
    let has_waiters = queue.iter().any(is_waiting);
    let Some(last) = holders().max_by_key(|seen| seen.token) else { return !has_waiters };
    holders().all(|seen| !exclude_each_other(seen, last))
}

/// Without the holders that were gone when the last one came, unless they `stood` through the reading before.
fn latest(mut queue: Vec<Seen>, stood: &HashSet<(u32, u64, u64)>) -> Vec<Seen> {
    let Some(last) = queue.iter().filter(|seen| !is_waiting(seen)).max_by_key(|seen| seen.token).copied() else {
        return queue;
    };
    let both_stood = |seen: &Seen| stood.contains(&identity(seen)) && stood.contains(&identity(&last));
    queue.retain(|seen| is_waiting(seen) || !exclude_each_other(seen, &last) || both_stood(seen));
    queue
}

#[cfg(all(test, target_os = "linux", not(any(loom, concurrent_locks_portable))))]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use crate::{
        engine::{
            Ask, Ending, Engine, Progress, Terms,
            table::{
                Geometry, Sharing, Table,
                protocol::{atomic_word::AtomicWord, short_lock},
            },
        },
        words::{
            mode::Mode,
            name::Name,
            settings::{Fairness, Settings},
        },
    };

    /// As after a death while a new name took the place of an idle one: nobody asks for the idle one.
    #[test]
    fn a_participant_that_looks_repairs_the_bucket_that_a_dead_process_left_locked() {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::host(&folder.path().join("table"), Geometry::DEFAULT, Sharing::User).unwrap();
        let name = Name::new("a").unwrap();
        let Progress::Granted(grant) =
            table.begin(&Ask::new(name, Mode::Write, Terms::of(&Settings::default()))).unwrap()
        else {
            panic!("it is free")
        };
        Engine::release(table, &grant, Ending::Normal, Fairness::Strict).unwrap();
        let lock = &table.layout.bucket(table.layout.bucket_of(name.hash())).unwrap().lock;
        // A slot that was never anybody's.
        assert!(short_lock::try_lock(lock, short_lock::Name::new(7, 3)));
        assert_eq!(table.health_now().unwrap().problems, Vec::<String>::new());
        assert_eq!(short_lock::Name::of(lock.get()), None, "it is free again");
        assert_eq!(table.layout.header().counters.rebuilds.load(Relaxed), 1);
    }
}
