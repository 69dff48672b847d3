//! The straight line: a request for a lock that is free, and its release while nobody waits, which is what almost
//! every request is. No closure that may run twice, no list of those to wake, no ticket, no error.
//!
//! - SL1. Whatever is unusual is found before anything is stored that others can see; then nothing was done, and
//!   the general way (`acquire.rs`, `release.rs`) starts over.
//! - SL2. What is stored is what the general way stores, in its order: a SIGKILL leaves nothing new. Before the
//!   commit (T1) that is a free record with the data of a request that never was, and a bucket whose counter has
//!   skipped a number; after it a record that is held (free) and not yet linked (still linked), counted as before:
//!   whoever takes the dead one's bucket lock rebuilds that from the records.

use std::{num::NonZeroU64, sync::atomic::Ordering::Relaxed};

use crate::{
    engine::{
        Ask, Ending, Grant,
        table::{
            Table,
            bucket::{locked::Locked, queue::Queue},
            map::{
                layout::{Bucket, Checked},
                word::{State, handle, record_of},
            },
            process::{attach::Attachment, records},
            protocol::short_lock,
        },
    },
    rule::grant::Rank,
};

impl Table {
    /// Takes a free lock: handle and token. `None`: nothing was done.
    #[inline]
    pub(crate) fn take_straight(&self, ask: &Ask<'_>) -> Option<(NonZeroU64, u64)> {
        let me = self.fork_page.get()?;
        let (bucket_index, bucket) = self.bucket_for(ask).ok()?;
        let now = self.clock.now();
        if ask.may_hold || !self.is_usual(me, now) {
            return None;
        }
        let index = records::take_kept(me)?;
        let taken = self.take_with(me, bucket, bucket_index, index, ask, now);
        if taken.is_none() {
            self.return_record(me, index);
        }
        taken
    }

    /// Whether an operation needs to look at nothing besides the lock.
    #[inline]
    fn is_usual(&self, me: &Attachment, now: u64) -> bool {
        self.is_open() && Self::was_in_place(me, now) && !self.is_watched(now)
    }

    #[inline]
    fn take_with(
        &self,
        me: &Attachment,
        bucket: &Bucket,
        bucket_index: u32,
        index: u32,
        ask: &Ask<'_>,
        now: u64,
    ) -> Option<(NonZeroU64, u64)> {
        let record = self.layout.record(index).ok()?;
        let word = self.fill(me, record, ask, now);
        let handle = NonZeroU64::new(handle(index, word))?;
        if !short_lock::try_lock(&bucket.lock, me.name) {
            return None;
        }
        let locked = Locked::held(bucket, bucket_index);
        let place = self.find_known(&locked, ask.name, ask.hint)?;
        let queue = Queue::of(self, place).ok()?;
        let resource = queue.resource;
        let conflicts = queue.held().meets(ask.mode.conflicts());
        if conflicts || resource.waiters.load(Relaxed) | resource.window.load(Relaxed) != 0 {
            return None;
        }
        let (ticket, arrival) = locked.arrival(now);
        record.resource.store(place + 1, Relaxed);
        record.set_rank(Rank::of(arrival, ask.terms.priority, ticket), ticket);
        let token = self.token(ticket);
        if queue.admit(index, record, word, token, now).is_err() && self.repair(&locked).is_err() {
            record.commit(word);
            return None;
        }
        self.tally_grant_at_once(resource, ask.mode);
        Some((handle, token))
    }

    /// Gives a lock back that nobody waits for. `false`: nothing was done.
    #[inline]
    pub(crate) fn release_straight(&self, grant: &Grant, ending: Ending) -> Checked<bool> {
        let Some(me) = self.fork_page.get() else { return Ok(false) };
        let index = record_of(grant.handle);
        let record = self.layout.record(index)?;
        let now = self.clock.now();
        let word = record.word();
        let is_ours = handle(index, word) == grant.handle && word.slot() == me.slot && word.state() == State::Held;
        if !is_ours || !self.is_usual(me, now) {
            return Ok(false);
        }
        let (place, bucket_index) = self.place_of(record)?;
        let bucket = self.layout.bucket(bucket_index)?;
        let queue = Queue::of(self, place)?;
        if !short_lock::try_lock(&bucket.lock, me.name) {
            return Ok(false);
        }
        let locked = Locked::held(bucket, bucket_index);
        // Looked at again: an operator may have broken the lock.
        if record.word() != word || queue.resource.waiters.load(Relaxed) != 0 {
            return Ok(false);
        }
        self.tally_release(queue.resource, record, word.mode(), now, ending, me.pid);
        record.commit(word.with(State::Free, word.mode()));
        if queue.unlink(index, record, State::Held, word.mode()).is_err() {
            self.repair(&locked)?;
        }
        drop(locked);
        self.return_record(me, index);
        Ok(true)
    }
}
