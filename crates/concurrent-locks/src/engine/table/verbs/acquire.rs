//! Acquire: takes the lock, refuses, or queues. What is free and asks for nothing unusual goes by `straight.rs`.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use crate::{
    engine::{
        Ask, Grant, Progress, Wait, nanos,
        table::{
            Table,
            bucket::{
                locked::Locked,
                queue::{Own, Queue},
                resources::Place,
            },
            map::{
                layout::{Bucket, Checked, Record, linked},
                memory::prefetch,
                word::{State, Word, handle},
            },
            process::attach::Attachment,
            protocol::wait_word,
        },
    },
    os::owner_id,
    rule::grant::{Rank, Standing},
    words::{error::Error, event::EventKind},
};

/// How often a request for a new name searches the whole table for room.
const SEARCHES: u32 = 32;

/// What became of an arrival.
enum Arrival {
    Granted(Grant),
    Queued,
    Busy,
    Full,
}

impl Table {
    pub(crate) fn token(&self, count: u64) -> u64 {
        self.token_base.wrapping_add(count)
    }

    /// Takes the lock, refuses, or queues.
    #[inline]
    pub(crate) fn acquire(&self, ask: &Ask<'_>) -> Result<Progress, Error> {
        self.acquire_within(SEARCHES, ask)
    }

    fn acquire_within(&self, searches: u32, ask: &Ask<'_>) -> Result<Progress, Error> {
        let me = self.me()?;
        let (bucket, _) = self.bucket_for(ask)?;
        let now = self.clock.now();
        // Before a record is taken: an error here must not keep one.
        self.check_in_place_sometimes(me, now)?;
        let index = self.take_record(me)?;
        let record = self.layout.record(index)?;
        let word = self.fill(me, record, ask, now);
        match self.with_bucket(me, bucket, |locked| self.arrive(me, locked, index, record, word, ask, now)) {
            Ok(Arrival::Granted(grant)) => {
                if self.is_watched(now) {
                    self.emit_record(EventKind::Grant, record, ask.mode, now, 0)?;
                }
                Ok(Progress::Granted(grant))
            }
            Ok(Arrival::Queued) => self.queued(me, handle(index, word), record, ask, now),
            Ok(Arrival::Busy) => {
                // The history takes the requester from the record.
                let error = self.refuse(me, record, ask, now);
                self.return_record(me, index);
                Err(error)
            }
            Ok(Arrival::Full) => {
                self.return_record(me, index);
                // What is found may be taken by others before we come back: not for ever. What the dead
                // held makes room, too.
                if searches > 0 && (self.find_room()? || self.reap_all(me)? > 0) {
                    self.acquire_within(searches - 1, ask)
                } else {
                    Err(self.full())
                }
            }
            Err(error) => {
                record.commit(word);
                self.return_record(me, index);
                Err(error)
            }
        }
    }

    /// The bucket of a request's name. It is fetched, as is the place that a handle remembers, while other things are
    /// done.
    #[inline]
    pub(crate) fn bucket_for(&self, ask: &Ask<'_>) -> Checked<(u32, &Bucket)> {
        let index = self.layout.bucket_of(ask.name.hash());
        let bucket = self.layout.bucket(index)?;
        prefetch(bucket);
        if let Some(place) = ask.hint.and_then(|hint| linked(hint.load(Relaxed) as u32)) {
            self.layout.prefetch_resource(place);
        }
        Ok((index, bucket))
    }

    /// Writes the request into its record, before anybody else can see it.
    #[inline]
    pub(crate) fn fill(&self, me: &Attachment, record: &Record, ask: &Ask<'_>, now: u64) -> Word {
        let sequence = record.word().sequence().wrapping_add(1);
        let note = if ask.note.is_empty() { 0 } else { record.note.store(ask.note) };
        let (owner, label, family) = match ask.who {
            None => (owner_id::anonymous(), 0, 0),
            Some(who) => (who.id, record.label.store(&who.label), who.ancestors.first().copied().unwrap_or(0)),
        };
        record.set_attributes(ask.terms.priority, label, note, ask.may_hold || label != 0);
        record.owner.store(owner, Relaxed);
        record.family.store(family, Relaxed);
        record.requested.store(now, Relaxed);
        Word::new(State::Free, ask.mode, me.slot, sequence)
    }

    /// The arrival of rule 2, 4 and 5, under the bucket's lock.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one step of one verb; a struct would only rename them")]
    fn arrive(
        &self,
        me: &Attachment,
        locked: &Locked<'_>,
        index: u32,
        record: &Record,
        word: Word,
        ask: &Ask<'_>,
        now: u64,
    ) -> Checked<Arrival> {
        match record.word().state() {
            State::Free => {}
            // A second try after a rebuild, which linked what the first had committed.
            State::Held => {
                // Taken up here: nobody takes it back from now on (W4).
                let _ = wait_word::look(&record.grant);
                return Ok(Arrival::Granted(granted(handle(index, word), record)));
            }
            State::Waiting => return Ok(Arrival::Queued),
        }
        let place = match self.find_or_make(me, locked, ask.name, ask.hint)? {
            Place::At(place) => place,
            Place::Full => return Ok(Arrival::Full),
        };
        let queue = Queue::of(self, place)?;
        let own = if ask.may_hold { own_of(&queue, record, ask)? } else { Own::default() };
        let standing = own.standing(ask.mode);
        let (ticket, arrival) = locked.arrival(now);
        let rank = match standing {
            Standing::Upgrades => Rank::upgrade(ticket),
            Standing::Stranger | Standing::ReEnters => Rank::of(arrival, ask.terms.priority, ticket),
        };
        record.resource.store(place + 1, Relaxed);
        record.set_rank(rank, ticket);
        let admitted = standing == Standing::ReEnters
            || queue.admits_arrival(ask.mode, rank, &own)?
            || self.may_enter_window(&queue, ask, now);
        if admitted {
            let token = own.token(ask.mode, self.token(ticket));
            queue.admit(index, record, word, token, now)?;
            self.tally_grant_at_once(queue.resource, ask.mode);
            return Ok(Arrival::Granted(Grant { handle: handle(index, word), token, mode: ask.mode }));
        }
        if matches!(ask.wait(), Wait::No | Wait::For(Duration::ZERO)) {
            return Ok(Arrival::Busy);
        }
        record.grant.store(wait_word::IDLE, Relaxed);
        record.set_pass_over_after(ask.terms.pass_over_after);
        record.commit(word.with(State::Waiting, ask.mode));
        queue.link_waiter(index, record)?;
        Ok(Arrival::Queued)
    }

    /// After queueing: does this wait close a cycle?
    #[cold]
    fn queued(
        &self,
        me: &Attachment,
        handle: u64,
        record: &Record,
        ask: &Ask<'_>,
        now: u64,
    ) -> Result<Progress, Error> {
        let deadline = match ask.wait() {
            Wait::For(time) => now.saturating_add(nanos(time)),
            Wait::No | Wait::Forever => u64::MAX,
        };
        let ticket = ask.ticket(handle, deadline);
        self.emit_record(EventKind::Wait, record, ask.mode, now, 0)?;
        if ask.may_hold
            && let Some(granted) = self.break_deadlock(me, &ticket).inspect_err(|error| self.settle(&ticket, error))?
        {
            return Ok(Progress::Granted(granted));
        }
        Ok(Progress::Queued(ticket))
    }
}

/// What the asking owner holds itself. If an owner that it inherits from holds the resource, it
/// asks as that one.
fn own_of(queue: &Queue<'_>, record: &Record, ask: &Ask<'_>) -> Checked<Own> {
    for ancestor in ask.ancestors() {
        let own = queue.own(*ancestor)?;
        if !own.is_empty() {
            record.owner.store(*ancestor, Relaxed);
            return Ok(own);
        }
    }
    let owner = ask.who.map_or_else(|| record.owner.load(Relaxed), |who| who.id);
    record.owner.store(owner, Relaxed);
    queue.own(owner)
}

/// The grant that the caller acknowledges by taking it.
pub(crate) fn granted(handle: u64, record: &Record) -> Grant {
    Grant { handle, token: record.token.load(Relaxed), mode: record.word().mode() }
}
