//! Health: capacity, processes, and an audit of what is derived against the records.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::{
    Table,
    layout::{Checked, Resource},
    liveness::Liveness,
    occupancy::Occupancy,
    queue::Queue,
    word::State,
};
use crate::{
    error::Error,
    status::{Health, Process, Usage},
};

impl Table {
    pub(super) fn health_now(&self) -> Result<Health, Error> {
        let me = self.me()?;
        let header = self.layout.header();
        let geometry = self.layout.geometry();
        let requests = self.requests(|_| true)?;
        let mut attached = Vec::new();
        let mut problems = Vec::new();
        for index in 0..self.slots_used() {
            let slot = self.layout.slot(index)?;
            let occupancy = Occupancy::of(slot.state.load(Acquire));
            if occupancy == Occupancy::Free {
                continue;
            }
            let (pid, host) = self.process_of(index);
            let alive = self.is_alive(me, index)?;
            if occupancy == Occupancy::Left && !alive {
                continue;
            }
            let program_len = (slot.text_lens.load(Relaxed) & 0xff).min(64) as usize;
            let count = requests.iter().filter(|seen| seen.word.slot() == index).count() as u64;
            if !alive && count > 0 {
                problems.push(format!("process {pid} is dead and {count} of its requests are not cleaned up yet"));
            }
            attached.push(Process { pid, host, program: slot.program.load(program_len), alive, requests: count });
        }
        let announced_in = me.liveness.as_ref().map_or(Vec::new(), Liveness::announced_in);
        let place = self.file.as_ref().map(|file| file.place(announced_in));
        if let Some(file) = &self.file {
            if let Err(error) = self.check_in_place(me) {
                problems.push(error.to_string());
            }
            if file.is_named_by_space() && place.as_ref().is_some_and(|place| place.announced_in.is_empty()) {
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
            place,
        })
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
