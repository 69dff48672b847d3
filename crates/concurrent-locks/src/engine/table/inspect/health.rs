//! Health: capacity, processes, and an audit of the derived state against the records.

use std::{
    collections::HashMap,
    sync::atomic::Ordering::{Acquire, Relaxed},
    time::Duration,
};

use crate::{
    engine::table::{
        Table,
        bucket::queue::Queue,
        inspect::look::Look,
        map::{
            layout::{Checked, Resource},
            word::State,
        },
        process::{liveness::Liveness, occupancy::Occupancy},
        protocol::atomic_word::AtomicWord,
    },
    words::{
        error::Error,
        mode::Mode,
        status::{Health, Process, ProcessState, Usage},
    },
};

/// How often a queue that looks wrong is looked at from outside, how often in a row it must look wrong in the
/// same way with nobody at it, and how far apart the looks are.
const AUDITS: u32 = 20;
const SAME_AUDITS: u32 = 3;
const BETWEEN_AUDITS: Duration = Duration::from_millis(1);

impl Table {
    pub(crate) fn health_now(&self) -> Result<Health, Error> {
        let mut look = Look::at(self)?;
        let header = self.layout.header();
        let geometry = self.layout.geometry();
        let requests = self.requests(|_| true)?;
        let mut counts: HashMap<u32, u64> = HashMap::new();
        for seen in &requests {
            *counts.entry(seen.word.slot()).or_default() += 1;
        }
        let mut attached = Vec::new();
        let mut problems = Vec::new();
        for index in 0..self.slots_used() {
            let slot = self.layout.slot(index)?;
            let occupancy = Occupancy::of(slot.state.load(Acquire));
            if occupancy == Occupancy::Free {
                continue;
            }
            let (pid, host) = self.process_of(index);
            let state = look.state_of(index)?;
            if occupancy == Occupancy::Left && state == ProcessState::Dead {
                continue;
            }
            let program_len = (slot.text_lens.load(Relaxed) & 0xff).min(64) as usize;
            let count = counts.get(&index).copied().unwrap_or(0);
            if state == ProcessState::Dead && count > 0 {
                problems.push(format!("process {pid} is dead and {count} of its requests are not cleaned up yet"));
            }
            attached.push(Process {
                pid,
                host,
                program: slot.program.load(program_len),
                alive: state == ProcessState::Alive,
                state,
                requests: count,
            });
        }
        let liveness = look.attached().and_then(|me| me.liveness.as_ref());
        let announced_in = liveness.map_or(Vec::new(), Liveness::announced_in);
        let place = self.file.as_ref().map(|file| file.place(announced_in));
        if let Some(file) = &self.file {
            let in_place = match look.attached() {
                Some(me) => self.check_in_place(me),
                None => self.observer.as_ref().map_or(Ok(()), |observer| observer.check_in_place(file)),
            };
            if let Err(error) = in_place {
                problems.push(error.to_string());
            }
            // Who only looks announces nothing.
            if look.attached().is_some()
                && file.is_named_by_space()
                && place.as_ref().is_some_and(|place| place.announced_in.is_empty())
            {
                problems.push(
                    "a process that sees another /dev/shm (sandbox, container) would not be noticed: there is no private \
                     folder to announce the table in ($XDG_RUNTIME_DIR, ~/.cache/concurrent-locks, /tmp/concurrent-locks-UID)"
                        .to_owned(),
                );
            }
            if self.clock.is_distrusted() {
                problems.push(
                    "the table counts time by the processor's time stamp counter, which the kernel no longer trusts: \
                     times shown and time limits may be off; end all processes that use the table and remove it"
                        .to_owned(),
                );
            }
            problems.extend(file.wrong_permissions());
        }
        problems.extend(self.audit(&mut look)?);
        problems.extend(look.gaps().iter().cloned());
        let known = self.known()?.len() as u64;
        Ok(Health {
            url: self.url.clone(),
            path: self.file.as_ref().map(|file| file.path().display().to_string()),
            layout: crate::engine::table::map::layout::LAYOUT,
            permissions: self.file.as_ref().and_then(crate::engine::table::place::file::TableFile::permissions),
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
            place,
        })
    }
}

impl Table {
    /// Checks the derived state of every bucket against the records; returns descriptions of the problems.
    fn audit(&self, look: &mut Look<'_>) -> Result<Vec<String>, Error> {
        let mut problems = Vec::new();
        let known = self.known()?;
        look.note_stuck(&known)?;
        for (index, name) in known {
            let resource = self.layout.resource(index)?;
            let bucket = self.layout.bucket_of(resource.hash.load(Relaxed));
            let wrong = match look.with_bucket(bucket, || self.audit_queue(index, resource))? {
                Some(wrong) => wrong,
                None => self.audit_from_outside(bucket, index, resource)?,
            };
            problems.extend(wrong.map(|wrong| format!("{name:?}: {wrong}")));
        }
        Ok(problems)
    }

    /// The same without the bucket's lock: only what stands while nobody has the lock is wrong.
    fn audit_from_outside(&self, bucket: u32, index: u32, resource: &Resource) -> Checked<Option<&'static str>> {
        let lock = &self.layout.bucket(bucket)?.lock;
        let look = || self.audit_queue(index, resource).unwrap_or(Some("its links lead nowhere"));
        let (mut found, mut times) = (None, 0);
        for _ in 0..AUDITS {
            let was_free = lock.get() == 0;
            let wrong = look();
            if wrong.is_none() {
                return Ok(None);
            }
            times = if was_free && lock.get() == 0 && wrong == found { times + 1 } else { 0 };
            found = wrong;
            if times == SAME_AUDITS {
                return Ok(found);
            }
            std::thread::sleep(BETWEEN_AUDITS);
        }
        Ok(None)
    }

    /// Invariants Q1 and Q2, and exclusion itself.
    fn audit_queue(&self, index: u32, resource: &Resource) -> Checked<Option<&'static str>> {
        let queue = Queue::of(self, index)?;
        let (mut held, mut waiting, mut last_rank) = ([0_u32; Mode::COUNT], 0, None);
        for entry in queue.starting_at(&resource.head) {
            let (_, record) = entry?;
            let word = record.word();
            match word.state() {
                State::Free => return Ok(Some("a free record is in the queue")),
                State::Held if waiting > 0 => return Ok(Some("a holder stands behind a waiter")),
                State::Held => held[word.mode() as usize] += 1,
                State::Waiting => {
                    waiting += 1;
                    if last_rank.is_some_and(|last| last > record.rank()) {
                        return Ok(Some("waiters are not in order"));
                    }
                    last_rank = Some(record.rank());
                }
            }
        }
        let fits = resource.held.iter().zip(held).all(|(count, held)| count.load(Relaxed) == held);
        let fits = fits && resource.waiters.load(Relaxed) == waiting;
        Ok((!fits).then_some("counts do not fit the queue"))
    }
}
