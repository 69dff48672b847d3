//! Recovery: rebuilding a bucket from its records, and cleaning up after dead processes.
//!
//! - R1. `rebuild` trusts T1 to T4 only, never a link or count, and may be run at any time under the
//!   bucket's lock. It ends with the grants and wake-ups that may still be due.
//! - R2. Cleaning up is idempotent, record by record, and a reaper holds one bucket's lock at a time. So
//!   several may clean up at once, and one that dies or is stopped midway blocks nobody.
//! - R3. A reaper removes a record only after it checked, under the bucket's lock, that the chunk
//!   still belongs to the dead generation (prototype bug 4).
//! - R4. Bucket locks of dead processes are taken over by whichever process needs them: a word whose
//!   generation is not the slot's names a dead process. Generations are 15 bits there, so a slot's stale
//!   words are swept every `SWEEP_EVERY` occupants, before one could come to name a new process.
//! - R5. A process stopped inside a short lock blocks that bucket, and nothing else: a reaper skips such a
//!   bucket, and attaching or waiting for another name does not fail because of it. The slot stays taken
//!   until a later process gets the rest.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::{
    engine::table::{
        Table,
        bucket::{
            locked::Locked,
            queue::{Queue, Steps, Wakes},
        },
        machine::kernel,
        map::{
            layout::{Checked, RECORDS_PER_CHUNK, Record, Slot, Violation, linked},
            word::State,
        },
        past::history::Outcome,
        process::{
            attach::Attachment,
            liveness::DeadSlot,
            occupancy::{self, Occupancy},
        },
        protocol::{
            atomic_word::AtomicWord,
            short_lock,
            wait_word::{self, ACKNOWLEDGED, Wake},
        },
    },
    words::{
        error::{Error, ErrorKind},
        event::EventKind,
        mode::Mode,
    },
};

/// Half of the range of 15 bits.
const SWEEP_EVERY: u32 = 1 << 14;

impl Table {
    /// Rebuilds everything derived in a bucket whose lock this thread holds (R1).
    pub(crate) fn rebuild(&self, index: u32) -> Checked<()> {
        self.layout.header().counters.rebuilds.fetch_add(1, Relaxed);
        let bucket = self.layout.bucket(index)?;
        self.rechain(index)?;
        self.relist(index)?;
        let locked = Locked::borrowed(bucket, index);
        let mut next = bucket.first_resource.load(Relaxed);
        let mut steps = Steps::along_resources(self);
        while let Some(place) = linked(next) {
            steps.next()?;
            let resource = self.layout.resource(place)?;
            next = resource.next.load(Relaxed);
            self.relink(place)?;
            let queue = Queue::of(self, place)?;
            let mut batches = Steps::along_requests(self);
            loop {
                batches.next()?;
                let mut wakes = Wakes::new();
                queue.grant_waiters(&locked, self.clock.now(), &mut wakes)?;
                if !wakes.more {
                    break;
                }
            }
            for holder in queue.holders() {
                let (record_index, record) = holder?;
                if record.grant.get() != ACKNOWLEDGED {
                    // The granter may have died before the wake-up (W1).
                    let _ = wait_word::grant(&record.grant);
                    self.wake_again(record_index, record)?;
                }
            }
        }
        Ok(())
    }

    /// The bucket's chain, from who owns which entry (T2). Half-made entries are freed.
    fn rechain(&self, index: u32) -> Checked<()> {
        let bucket = self.layout.bucket(index)?;
        bucket.first_resource.store(0, Relaxed);
        for place in 0..self.resources_used() {
            let owner = self.layout.resource_owner(place)?;
            if owner.load(Acquire) != index + 1 {
                continue;
            }
            let resource = self.layout.resource(place)?;
            if resource.name_len.load(Acquire) == 0 {
                owner.store(0, Release);
                continue;
            }
            for word in [&resource.head, &resource.tail, &resource.first_waiter] {
                word.store(0, Relaxed);
            }
            resource.reset_counts();
            resource.next.store(bucket.first_resource.load(Relaxed), Relaxed);
            bucket.first_resource.store(place + 1, Relaxed);
        }
        Ok(())
    }

    /// An unordered, singly linked list of each resource's records (T1), from all chunks.
    fn relist(&self, index: u32) -> Checked<()> {
        for record_index in self.used_records() {
            let record_index = record_index?;
            let record = self.layout.record(record_index)?;
            if record.word().state() == State::Free {
                continue;
            }
            let Some(place) = linked(record.resource.load(Relaxed)) else { continue };
            if self.layout.resource_owner(place)?.load(Relaxed) != index + 1 {
                continue;
            }
            let resource = self.layout.resource(place)?;
            record.next.store(resource.head.load(Relaxed), Relaxed);
            resource.head.store(record_index + 1, Relaxed);
        }
        Ok(())
    }

    /// Indices of all records in chunks that belong to somebody.
    pub(crate) fn used_records(&self) -> impl Iterator<Item = Checked<u32>> + '_ {
        (0..self.chunks_used()).flat_map(move |chunk| {
            let owner = self.layout.chunk_owner(chunk).map(|owner| owner.load(Acquire));
            let count = if owner == Ok(0) { 0 } else { RECORDS_PER_CHUNK };
            (0..count).map(move |index| owner.map(|_| chunk * RECORDS_PER_CHUNK + index))
        })
    }

    /// Sorts a resource's list (holders first, then waiters by rank) and derives links and counts.
    fn relink(&self, place: u32) -> Checked<()> {
        let resource = self.layout.resource(place)?;
        let head = self.sorted(resource.head.load(Relaxed))?;
        resource.head.store(head, Relaxed);
        let (mut prev, mut next) = (0, head);
        let (mut held, mut waiters) = ([0_u32; Mode::COUNT], 0);
        let mut first_waiter = 0;
        let mut steps = Steps::along_requests(self);
        while let Some(index) = linked(next) {
            steps.next()?;
            let record = self.layout.record(index)?;
            record.prev.store(prev, Relaxed);
            prev = index + 1;
            next = record.next.load(Relaxed);
            let word = record.word();
            if word.state() == State::Waiting {
                waiters += 1;
                if first_waiter == 0 {
                    first_waiter = prev;
                }
            } else {
                held[word.mode() as usize] += 1;
            }
        }
        resource.tail.store(prev, Relaxed);
        resource.first_waiter.store(first_waiter, Relaxed);
        resource.held.iter().zip(held).for_each(|(count, held)| count.store(held, Relaxed));
        resource.waiters.store(waiters, Relaxed);
        Ok(())
    }

    /// Merge sort of a singly linked list, in place (Knuth, TAOCP 3, 5.2.4 L): nothing is allocated
    /// under the bucket's lock.
    fn sorted(&self, head: u32) -> Checked<u32> {
        let mut head = head;
        let mut width = 1_u32;
        loop {
            let (mut rest, mut merges) = (head, 0);
            let (mut ahead, mut merged) = (Steps::along_requests(self), Steps::along_requests(self));
            let mut list = List { head: 0, last: 0 };
            while rest != 0 {
                merges += 1;
                let mut left = rest;
                let mut left_count = 0;
                while left_count < width && rest != 0 {
                    left_count += 1;
                    ahead.next()?;
                    rest = self.next_of(rest)?;
                }
                let (mut right, mut right_count) = (rest, width);
                while left_count > 0 || (right_count > 0 && right != 0) {
                    let take_left =
                        left_count > 0 && (right_count == 0 || right == 0 || !self.stands_before(right, left)?);
                    let taken = if take_left { left } else { right };
                    merged.next()?;
                    let next = self.next_of(taken)?;
                    if take_left {
                        left = next;
                        left_count -= 1;
                    } else {
                        right = next;
                        right_count -= 1;
                    }
                    self.append(&mut list, taken)?;
                }
                rest = right;
            }
            if let Some(last) = linked(list.last) {
                self.layout.record(last)?.next.store(0, Relaxed);
            }
            head = list.head;
            if merges <= 1 {
                return Ok(head);
            }
            width = width.checked_mul(2).ok_or(Violation("a queue has no end"))?;
        }
    }

    fn next_of(&self, link: u32) -> Checked<u32> {
        let index = linked(link).ok_or(Violation("an empty link"))?;
        Ok(self.layout.record(index)?.next.load(Relaxed))
    }

    fn append(&self, list: &mut List, link: u32) -> Checked<()> {
        match linked(list.last) {
            Some(last) => self.layout.record(last)?.next.store(link, Relaxed),
            None => list.head = link,
        }
        list.last = link;
        Ok(())
    }

    fn stands_before(&self, a: u32, b: u32) -> Checked<bool> {
        let key = |link| -> Checked<_> {
            let record = self.layout.record(linked(link).ok_or(Violation("an empty link"))?)?;
            Ok((record.word().state() == State::Waiting, record.rank()))
        };
        Ok(key(a)? < key(b)?)
    }

    /// Wakes a holder that may not know of its grant, whichever way it sleeps (W2). Runs no foreign code.
    pub(crate) fn wake_again(&self, index: u32, record: &Record) -> Checked<()> {
        kernel::futex_wake(&record.grant, 1);
        self.ring(record.word().slot(), index)
    }

    /// Cleans up after every dead process; how many there were.
    pub(crate) fn reap_all(&self, me: &Attachment) -> Result<u32, Error> {
        let mut reaped = 0;
        for slot in 0..self.slots_used() {
            reaped += u32::from(self.reap(me, slot)?);
        }
        Ok(reaped)
    }

    /// Cleans up after those whose end the kernel has marked: a new process's part. A waiter for something
    /// looks closer.
    pub(crate) fn reap_marked(&self, me: &Attachment) -> Result<(), Error> {
        for slot in 0..self.slots_used() {
            let live = Occupancy::of(self.layout.slot(slot)?.state.load(Acquire)) == Occupancy::Live;
            match if live && self.is_marked(slot) { self.reap(me, slot) } else { Ok(false) } {
                // An obstacle to that is no reason to refuse a new process.
                Err(error) if error.kind() != ErrorKind::Unreachable => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Slots that may be in use: below this index.
    pub(crate) fn slots_used(&self) -> u32 {
        self.layout.header().counters.slots_used.load(Acquire).min(self.layout.geometry().slots)
    }

    /// Cleans up after the occupant of a slot if it is provably dead; `true` if it was, and nothing is left.
    pub(crate) fn reap(&self, me: &Attachment, slot: u32) -> Result<bool, Error> {
        match self.dead_slot(me, slot)? {
            Some(dead_slot) => self.reap_slot(me, &dead_slot),
            None => Ok(false),
        }
    }

    fn reap_slot(&self, me: &Attachment, dead_slot: &DeadSlot) -> Result<bool, Error> {
        let dead = owned_by(dead_slot.slot, dead_slot.generation);
        let in_the_way = self.remove_records(me, dead)?;
        self.repeat_wakes()?;
        if in_the_way.is_some() {
            return Ok(false);
        }
        self.free_chunks(dead)?;
        if occupancy::vacate(&self.layout.slot(dead_slot.slot)?.state, dead_slot.state) {
            self.count_death(dead_slot.state);
        }
        Ok(true)
    }

    /// Cleans up after the previous occupants of our own slot (A2).
    pub(crate) fn remove_occupant(&self, me: &Attachment, slot: &Slot) -> Result<(), Error> {
        let previous = owned_by(me.slot, me.generation.wrapping_sub(1));
        if let Some(stopped) = self.remove_records(me, previous)? {
            return Err(self.stuck(stopped));
        }
        self.repeat_wakes()?;
        self.free_chunks(previous)?;
        self.count_death(slot.state.load(Acquire));
        Ok(())
    }

    /// Who left in good order was no dead process.
    fn count_death(&self, state: u32) {
        if Occupancy::of(state) == Occupancy::Live {
            self.layout.header().counters.reaped.fetch_add(1, Relaxed);
        }
    }

    /// Removes all records of a dead process, except those whose buckets a stopped process holds: returns it (R5).
    fn remove_records(&self, me: &Attachment, dead: impl Fn(u64) -> bool) -> Result<Option<short_lock::Name>, Error> {
        let mut in_the_way = None;
        for chunk in 0..self.chunks_used() {
            let owner = self.layout.chunk_owner(chunk)?.load(Acquire);
            if owner == 0 || !dead(owner) {
                continue;
            }
            for index in chunk * RECORDS_PER_CHUNK..(chunk + 1) * RECORDS_PER_CHUNK {
                if self.layout.record(index)?.word().state() != State::Free {
                    in_the_way = self.remove_record(me, index, chunk, owner)?.or(in_the_way);
                }
            }
        }
        Ok(in_the_way)
    }

    /// Removes one request of a dead process (R3) and hands its lock on; or returns the process that blocks this (R5).
    fn remove_record(
        &self,
        me: &Attachment,
        index: u32,
        chunk: u32,
        owner: u64,
    ) -> Result<Option<short_lock::Name>, Error> {
        let record = self.layout.record(index)?;
        let (place, bucket) = self.place_of(record)?;
        let now = self.clock.now();
        let mut wakes = Wakes::new();
        let mut removed = None;
        let in_the_way = self.with_bucket_soon(me, bucket, |locked| {
            let word = record.word();
            let still = self.layout.chunk_owner(chunk)?.load(Acquire) == owner;
            let here = self.place_of(record)? == (place, bucket);
            let queue = Queue::of(self, place)?;
            if word.state() != State::Free && still && here {
                let waited = now.saturating_sub(record.requested.load(Relaxed));
                if word.state() == State::Held {
                    let (ending, pid) = (crate::engine::Ending::Panicked, self.pid_of(word.slot()));
                    self.tally_release(queue.resource, record, word.mode(), now, ending, pid);
                } else {
                    self.tally_refusal(queue.resource, record, word.mode(), now, waited, Outcome::Cancelled);
                }
                record.commit(word.with(State::Free, word.mode()));
                queue.unlink(index, record, word.state(), word.mode())?;
                removed = Some((word, now.saturating_sub(record.granted.load(Relaxed))));
            }
            queue.grant_waiters(locked, now, &mut wakes)
        })?;
        self.deliver(me, place, bucket, &wakes)?;
        if let Some((word, held)) = removed
            && word.state() == State::Held
        {
            self.emit_record(EventKind::Recovered, record, word.mode(), now, held)?;
        }
        Ok(in_the_way)
    }

    /// Repeats every wake-up that a dead granter may have owed (W2).
    fn repeat_wakes(&self) -> Result<(), Error> {
        for index in self.used_records() {
            let index = index?;
            let record = self.layout.record(index)?;
            if record.word().state() == State::Held && record.grant.get() == wait_word::GRANTED {
                self.wake_again(index, record)?;
            }
        }
        Ok(())
    }

    /// Takes over every bucket lock that names an earlier occupant of our slot, now and then (R4).
    pub(crate) fn sweep_locks(&self, me: &Attachment) -> Result<(), Error> {
        if !me.generation.is_multiple_of(SWEEP_EVERY) {
            return Ok(());
        }
        let dead = |name: short_lock::Name| name.slot == me.slot && name != me.name;
        for index in 0..self.layout.geometry().buckets {
            let bucket = self.layout.bucket(index)?;
            let word = bucket.lock.get();
            if short_lock::Name::of(word).is_some_and(dead) && short_lock::take_over(&bucket.lock, word, me.name) {
                let locked = Locked::held(bucket, index);
                let rebuilt = self.rebuild(index);
                drop(locked);
                rebuilt?;
            }
        }
        Ok(())
    }

    /// Wakes one waiter after its wait word was changed. May run a future's waker.
    pub(crate) fn wake(&self, me: &Attachment, index: u32, wake: Wake) -> Result<(), Error> {
        match wake {
            Wake::None => {}
            Wake::Thread => kernel::futex_wake(&self.layout.record(index)?.grant, 1),
            Wake::Future => {
                let slot = self.layout.record(index)?.word().slot();
                if slot == me.slot { me.hub.wake_future(index) } else { self.ring(slot, index)? }
            }
        }
        Ok(())
    }

    /// Adds an entry to a process's mailbox and signals its `wake_count`.
    pub(crate) fn ring(&self, slot: u32, record: u32) -> Checked<()> {
        let slot = self.layout.slot(slot)?;
        let place = slot.letters.fetch_add(1, Relaxed) % crate::engine::table::map::layout::MAILBOX;
        if slot.mailbox[place as usize].swap(record + 1, Release) != 0 {
            // A letter was lost: the hub must look at all of its futures.
            slot.spare.store(1, Release);
        }
        slot.wake_count.fetch_add(1, Release);
        kernel::futex_wake(&slot.wake_count, 1);
        Ok(())
    }
}

/// Whether a chunk belongs to the occupant of this generation of a slot, or to one before it.
fn owned_by(slot: u32, generation: u32) -> impl Fn(u64) -> bool + Copy {
    move |owner| {
        let age = generation.wrapping_sub((owner >> 32) as u32);
        owner & 0xffff_ffff == u64::from(slot + 1) && age.cast_signed() >= 0
    }
}

/// A list under construction.
struct List {
    head: u32,
    last: u32,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use crate::engine::table::{Geometry, Table, map::layout::linked};
    use crate::{
        engine::{Ask, Engine, Progress, Terms, Who},
        words::{mode::Mode, name::Name, settings::Settings},
    };

    #[test]
    fn a_list_with_a_cycle_is_damage() {
        let table = Table::local("local:loop".to_owned(), Geometry::DEFAULT).unwrap();
        let name = Name::new("a").unwrap();
        for owner in 1..=3 {
            let who = Who { id: owner, ..Who::default() };
            let ask = Ask { who: Some(&who), ..Ask::new(name, Mode::Read, Terms::of(&Settings::default())) };
            assert!(matches!(table.begin(&ask), Ok(Progress::Granted(_))));
        }
        let place = table.index_of(table.me().unwrap(), name).unwrap().unwrap();
        let head = table.layout.resource(place).unwrap().head.load(Relaxed);
        let first = table.layout.record(linked(head).unwrap()).unwrap();
        let second = table.layout.record(linked(first.next.load(Relaxed)).unwrap()).unwrap();
        second.next.store(head, Relaxed);
        assert!(table.relink(place).is_err());
        // A rebuild from the records repairs it.
        let bucket = table.layout.bucket_of(name.hash());
        assert!(table.rebuild(bucket).is_ok());
        assert!(table.relink(place).is_ok());
        assert_eq!(table.status_of(Some(name)).unwrap()["a"].holders.len(), 3);
    }
}
