//! The verbs: acquire, release, give up, downgrade, break. Each changes the truth by one store of a
//! record's word, under the bucket's lock:
//!
//! ```text
//! acquire     free -> held        (or free -> waiting)
//! hand-off    waiting -> held     (by whoever makes room: `queue.rs`)
//! release     held -> free
//! give up     waiting -> free     (time-out, cancel, deadlock)
//! downgrade   held write -> held read
//! ```
//!
//! Before the store nothing happened; after it a rebuild finishes the rest. A process that dies
//! between the two leaves the bucket's lock behind, which is how the next one knows.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    Table,
    attach::Attachment,
    history::Outcome,
    layout::{Checked, Record, Violation, linked},
    locked::Locked,
    queue::{Own, Queue, Wakes},
    resources::Place,
    wait_word::{self, Found},
    word::{State, Word},
};
use crate::{
    engine::{Ask, Ending, Grant, Ticket, Wait, nanos},
    error::{Busy, Error, ErrorKind},
    event::EventKind,
    grant::{Rank, Standing},
    manager::Fairness,
    mode::Mode,
    owner,
    status::Holder,
};

/// Attribute bit: the owner may hold the resource itself.
pub(super) const MAY_HOLD: u64 = 1 << 24;

/// How often a request for a new name searches the whole table for room.
const SEARCHES: u32 = 32;

/// A handle is a record and the sequence of its word: it names one request for ever.
fn handle(index: u32, word: Word) -> u64 {
    u64::from(word.sequence()) << 32 | u64::from(index)
}

pub(super) fn record_of(handle: u64) -> u32 {
    handle as u32
}

/// What became of an arrival.
enum Arrival {
    Granted,
    Queued,
    Busy,
    Full,
}

/// Why a waiter leaves the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    TimedOut,
    Cancelled,
    Deadlock,
}

impl Table {
    pub(super) fn token(&self, count: u64) -> u64 {
        self.token_base.wrapping_add(count)
    }

    /// Takes the lock, refuses, or queues.
    #[inline]
    pub(super) fn acquire(&self, ask: &Ask<'_>, grant: &mut Grant) -> Result<Option<Ticket>, Error> {
        self.acquire_within(SEARCHES, ask, grant)
    }

    fn acquire_within(&self, searches: u32, ask: &Ask<'_>, grant: &mut Grant) -> Result<Option<Ticket>, Error> {
        let me = self.me()?;
        let bucket = self.layout.bucket_of(ask.name.hash());
        super::memory::prefetch(self.layout.bucket(bucket)?);
        if let Some(place) = ask.hint.and_then(|hint| linked(hint.load(Relaxed) as u32)) {
            self.layout.prefetch_resource(place);
        }
        let now = self.clock.now();
        // Before a record is taken: an error here must not keep one.
        self.check_in_place_sometimes(me, now)?;
        let index = self.take_record(me)?;
        let record = self.layout.record(index)?;
        let word = self.fill(me, record, ask, now);
        match self.with_bucket(me, bucket, |locked| self.arrive(me, locked, index, record, word, ask, now, grant)) {
            Ok(Arrival::Granted) => {
                if self.is_watched(now) {
                    self.emit_record(EventKind::Grant, record, ask.mode, now, 0)?;
                }
                Ok(None)
            }
            Ok(Arrival::Queued) => self.queued(me, index, record, word, ask, now, grant),
            Ok(Arrival::Busy) => {
                // The history takes from the record who asked.
                let error = self.refuse(me, record, ask, now);
                self.return_record(me, index);
                Err(error)
            }
            Ok(Arrival::Full) => {
                self.return_record(me, index);
                // What is found may be taken by others before we come back: not for ever. What the dead
                // held makes room, too.
                if searches > 0 && (self.find_room()? || self.reap_all(me)? > 0) {
                    self.acquire_within(searches - 1, ask, grant)
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

    /// Writes the request into its record, before anybody else can see it.
    #[inline]
    fn fill(&self, me: &Attachment, record: &Record, ask: &Ask<'_>, now: u64) -> Word {
        let sequence = record.word().sequence().wrapping_add(1);
        let label = if ask.label.is_empty() { 0 } else { record.label.store(ask.label) };
        let note = if ask.note.is_empty() { 0 } else { record.note.store(ask.note) };
        let may_hold = if ask.may_hold || !ask.label.is_empty() { MAY_HOLD } else { 0 };
        let attributes = u64::from(ask.priority as u8) | (label as u64) << 8 | (note as u64) << 16 | may_hold;
        record.attributes.store(attributes, Relaxed);
        let owner = if ask.owner == 0 { owner::anonymous() } else { ask.owner };
        record.owner.store(owner, Relaxed);
        record.family.store(ask.ancestors.first().copied().unwrap_or(0), Relaxed);
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
        grant: &mut Grant,
    ) -> Checked<Arrival> {
        match record.word().state() {
            State::Free => {}
            // A second try after a rebuild, which linked what the first had committed.
            State::Held => {
                // Taken up here: nobody takes it back from now on (W4).
                let _ = wait_word::look(&record.grant);
                *grant = self.granted(handle(index, word), record);
                return Ok(Arrival::Granted);
            }
            State::Waiting => return Ok(Arrival::Queued),
        }
        let place = match self.find_or_make(me, locked, ask.name, ask.hint)? {
            Place::At(place) => place,
            Place::Full => return Ok(Arrival::Full),
        };
        let queue = Queue::of(self, place)?;
        let own = if ask.may_hold { self.own_of(&queue, record, ask)? } else { Own::default() };
        let standing = own.standing(ask.mode);
        let ticket = locked.count();
        let arrival = now.max(locked.bucket.last_arrival.load(Relaxed));
        locked.bucket.last_arrival.store(arrival, Relaxed);
        let rank = match standing {
            Standing::Upgrades => Rank::upgrade(ticket),
            Standing::Stranger | Standing::ReEnters => Rank::of(arrival, ask.priority, ticket),
        };
        record.resource.store(place + 1, Relaxed);
        record.set_rank(rank, ticket);
        let admitted = standing == Standing::ReEnters
            || queue.admits_arrival(ask.mode, rank, &own)?
            || self.may_enter_window(&queue, ask, now);
        if admitted {
            let token = own.token(ask.mode, self.token(ticket));
            record.token.store(token, Relaxed);
            record.granted.store(now, Relaxed);
            record.grant.store(wait_word::ACKNOWLEDGED, Relaxed);
            record.commit(word.with(State::Held, ask.mode));
            queue.link_holder(index, record, ask.mode)?;
            self.tally_grant(queue.resource, ask.mode, 0);
            // Before the unlock, which drains the stores: whoever moves the grant then need not wait for them.
            grant.handle = handle(index, word);
            grant.token = token;
            grant.mode = ask.mode;
            grant.since = now;
            grant.owner = record.owner.load(Relaxed);
            return Ok(Arrival::Granted);
        }
        if matches!(ask.wait, Wait::No | Wait::For(Duration::ZERO)) {
            return Ok(Arrival::Busy);
        }
        record.grant.store(wait_word::IDLE, Relaxed);
        record.set_pass_over_after(ask.pass_over_after);
        record.commit(word.with(State::Waiting, ask.mode));
        queue.link_waiter(index, record)?;
        Ok(Arrival::Queued)
    }

    /// What the asking owner holds itself. If an owner that it inherits from holds the resource, it
    /// asks as that one.
    fn own_of(&self, queue: &Queue<'_>, record: &Record, ask: &Ask<'_>) -> Checked<Own> {
        for ancestor in ask.ancestors {
            let own = queue.own(*ancestor)?;
            if !own.is_empty() {
                record.owner.store(*ancestor, Relaxed);
                return Ok(own);
            }
        }
        record.owner.store(ask.owner, Relaxed);
        queue.own(ask.owner)
    }

    /// After queueing: is this wait the end of a circle?
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "the rest of `acquire`")]
    fn queued(
        &self,
        me: &Attachment,
        index: u32,
        record: &Record,
        word: Word,
        ask: &Ask<'_>,
        now: u64,
        grant: &mut Grant,
    ) -> Result<Option<Ticket>, Error> {
        let deadline = match ask.wait {
            Wait::For(time) => now.saturating_add(nanos(time)),
            Wait::No | Wait::Forever => u64::MAX,
        };
        let ticket = Ticket {
            handle: handle(index, word),
            deadline,
            policy: ask.policy,
            fairness: ask.fairness,
            may_hold: ask.may_hold,
        };
        self.emit_record(EventKind::Wait, record, ask.mode, now, 0)?;
        if ask.may_hold
            && let Some(granted) = self.break_deadlock(me, &ticket).inspect_err(|error| self.settle(&ticket, error))?
        {
            *grant = granted;
            return Ok(None);
        }
        Ok(Some(ticket))
    }

    /// The grant that the caller acknowledges by taking it.
    pub(super) fn granted(&self, handle: u64, record: &Record) -> Grant {
        let granted = record.granted.load(Relaxed);
        Grant {
            handle,
            token: record.token.load(Relaxed),
            mode: record.word().mode(),
            waited: granted.saturating_sub(record.requested.load(Relaxed)),
            since: granted,
            owner: record.owner.load(Relaxed),
        }
    }

    /// Gives a held lock back.
    #[inline]
    pub(super) fn give_back(&self, grant: &Grant, ending: Ending, fairness: Fairness) -> Result<(), Error> {
        let me = self.me()?;
        let index = record_of(grant.handle);
        let now = self.clock.now();
        let record = self.layout.record(index)?;
        let word = record.word();
        if handle(index, word) != grant.handle || word.slot() != me.slot {
            return Err(self.lost(grant));
        }
        let (place, bucket) = self.place_of(record)?;
        let mut wakes = Wakes::new();
        let mut was_held = false;
        self.with_bucket(me, bucket, |locked| {
            let queue = Queue::of(self, place)?;
            let word = record.word();
            if word.state() == State::Held {
                was_held = true;
                self.tally_release(queue.resource, record, word.mode(), now, ending);
                record.commit(word.with(State::Free, word.mode()));
                queue.unlink(index, record, State::Held, word.mode())?;
            }
            self.pass_on(locked, &queue, now, fairness, &mut wakes)
        })?;
        if was_held && self.is_watched(now) {
            self.emit_record(EventKind::Release, record, grant.mode, now, now.saturating_sub(grant.since))?;
        }
        self.return_record(me, index);
        self.deliver(me, place, bucket, &wakes)?;
        if was_held { self.check_was_alone(me, grant, now) } else { Err(self.lost(grant)) }
    }

    /// Takes a waiting request out of the queue, unless it was granted in the meantime.
    pub(super) fn leave(&self, me: &Attachment, ticket: &Ticket, why: Leaving) -> Result<Option<Grant>, Error> {
        let index = record_of(ticket.handle);
        let record = self.layout.record(index)?;
        let now = self.clock.now();
        if handle(index, record.word()) != ticket.handle || record.word().slot() != me.slot {
            return Err(self.lost_request());
        }
        // However it ends, nobody polls this request again; what stayed here would be taken for the
        // record's next request, whose time-out would then not be served.
        self.forget_future(me, index);
        let (place, bucket) = self.place_of(record)?;
        let mut wakes = Wakes::new();
        let mut granted = false;
        let waited = now.saturating_sub(record.requested.load(Relaxed));
        let mode = record.word().mode();
        self.with_bucket(me, bucket, |locked| {
            let word = record.word();
            if word.state() == State::Held {
                // Under the lock, where nobody can take it back meanwhile (W4).
                granted = wait_word::look(&record.grant) == Found::Granted;
                return if granted { Ok(()) } else { Err(Violation("a holder that was not told")) };
            }
            let queue = Queue::of(self, place)?;
            if word.state() == State::Waiting {
                let outcome = match why {
                    Leaving::TimedOut => Outcome::TimedOut,
                    Leaving::Cancelled => Outcome::Cancelled,
                    Leaving::Deadlock => Outcome::Deadlock,
                };
                self.tally_refusal(queue.resource, record, mode, now, waited, outcome);
                record.commit(word.with(State::Free, mode));
                queue.unlink(index, record, State::Waiting, mode)?;
            }
            // A leaving writer may admit the readers behind it.
            queue.grant_waiters(locked, now, &mut wakes)
        })?;
        if granted {
            return Ok(Some(self.granted(ticket.handle, record)));
        }
        let kind = match why {
            Leaving::TimedOut => EventKind::Timeout,
            Leaving::Cancelled => EventKind::Cancel,
            Leaving::Deadlock => EventKind::Deadlock,
        };
        self.emit_record(kind, record, mode, now, waited)?;
        self.return_record(me, index);
        self.deliver(me, place, bucket, &wakes)?;
        Ok(None)
    }

    /// Write to read in one store; readers at the head of the queue join.
    pub(super) fn weaken(&self, grant: &Grant) -> Result<Grant, Error> {
        let me = self.me()?;
        let index = record_of(grant.handle);
        let record = self.layout.record(index)?;
        let now = self.clock.now();
        if handle(index, record.word()) != grant.handle || record.word().slot() != me.slot {
            return Err(self.lost(grant));
        }
        let (place, bucket) = self.place_of(record)?;
        let mut wakes = Wakes::new();
        let mut was_held = true;
        self.with_bucket(me, bucket, |locked| {
            let queue = Queue::of(self, place)?;
            let word = record.word();
            if word.state() != State::Held {
                was_held = false;
                return Ok(());
            }
            if word.mode() == Mode::Write {
                self.tally_release(queue.resource, record, Mode::Write, now, Ending::Normal);
                self.tally_grant(queue.resource, Mode::Read, 0);
                record.granted.store(now, Relaxed);
                record.commit(word.with(State::Held, Mode::Read));
                queue.recount(Mode::Write, Mode::Read);
            }
            queue.grant_waiters(locked, now, &mut wakes)
        })?;
        self.deliver(me, place, bucket, &wakes)?;
        if was_held { Ok(Grant { mode: Mode::Read, since: now, ..*grant }) } else { Err(self.lost(grant)) }
    }

    /// Takes the lock from the holder with this token, for an operator.
    pub(super) fn take_from(&self, name: crate::name::Name<'_>, token: u64) -> Result<Holder, Error> {
        let me = self.me()?;
        let nobody = || Error::nobody_holds(name.text(), token);
        let seen = self.status_of(Some(name))?.remove(name.text());
        let holder = seen.and_then(|status| status.holders.into_iter().find(|holder| holder.token == token));
        let holder = holder.ok_or_else(nobody)?;
        let bucket = self.layout.bucket_of(name.hash());
        let now = self.clock.now();
        let mut wakes = Wakes::new();
        let mut taken = None;
        self.with_bucket(me, bucket, |locked| {
            let Some(place) = self.find(locked, name)? else { return Ok(()) };
            let queue = Queue::of(self, place)?;
            // Re-entries share the token: all of them go.
            loop {
                let found = queue.holders().find_map(|entry| match entry {
                    Ok((_, record)) if record.token.load(Relaxed) != token => None,
                    other => Some(other),
                });
                let Some(found) = found else { break };
                let (index, record) = found?;
                let word = record.word();
                self.tally_release(queue.resource, record, word.mode(), now, Ending::Panicked);
                record.commit(word.with(State::Free, word.mode()));
                queue.unlink(index, record, State::Held, word.mode())?;
                taken = Some((place, index));
            }
            queue.grant_waiters(locked, now, &mut wakes)
        })?;
        let (place, index) = taken.ok_or_else(nobody)?;
        self.emit_record(EventKind::Broken, self.layout.record(index)?, holder.mode, now, 0)?;
        self.deliver(me, place, bucket, &wakes)?;
        Ok(holder)
    }

    /// The resource of a record that is waiting or held, and its bucket.
    #[inline]
    pub(super) fn place_of(&self, record: &Record) -> Checked<(u32, u32)> {
        let place = super::layout::linked(record.resource.load(Relaxed))
            .ok_or(super::layout::Violation("a request without a resource"))?;
        let hash = self.layout.resource(place)?.hash.load(Relaxed);
        Ok((place, self.layout.bucket_of(hash)))
    }

    /// The error of a busy lock that the request would not wait for.
    #[cold]
    fn refuse(&self, me: &Attachment, record: &Record, ask: &Ask<'_>, now: u64) -> Error {
        let timed_out = ask.wait != Wait::No;
        if timed_out {
            let bucket = self.layout.bucket_of(ask.name.hash());
            let tallied = self.with_bucket(me, bucket, |locked| {
                if let Some(place) = self.find(locked, ask.name)? {
                    let resource = self.layout.resource(place)?;
                    self.tally_refusal(resource, record, ask.mode, now, 0, Outcome::TimedOut);
                }
                Ok(())
            });
            if let Err(error) = tallied {
                return error;
            }
        }
        let busy = match self.busy(ask.name.text(), None, Duration::ZERO) {
            Ok(busy) => busy,
            Err(error) => return error,
        };
        self.with_advice(if timed_out {
            Error::timed_out(ask.name.text(), ask.mode, busy)
        } else {
            Error::would_block(ask.name.text(), ask.mode, busy)
        })
    }

    /// The error of a busy lock says how it can be looked at.
    fn with_advice(&self, busy: Error) -> Error {
        if self.file.is_none() { busy.seen_by_its_process() } else { busy }
    }

    /// The error of a request whose time is over. The queue is looked at before it is left.
    pub(super) fn time_out(&self, me: &Attachment, ticket: &Ticket) -> Result<Grant, Error> {
        let record = self.layout.record(record_of(ticket.handle))?;
        let mode = record.word().mode();
        let name = self.layout.resource(self.place_of(record)?.0)?.name_text();
        let waited = self.clock.now().saturating_sub(record.requested.load(Relaxed));
        let busy = self.busy(&name, Some(record.ticket.load(Relaxed)), Duration::from_nanos(waited))?;
        match self.leave(me, ticket, Leaving::TimedOut)? {
            Some(grant) => Ok(grant),
            None => Err(self.with_advice(Error::timed_out(&name, mode, busy))),
        }
    }

    fn busy(&self, name: &str, ticket: Option<u64>, waited: Duration) -> Result<Busy, Error> {
        let (holders, tickets) = self.holders_and_tickets(name)?;
        let position = ticket.and_then(|own| tickets.iter().position(|ticket| *ticket == own)).map(|place| place + 1);
        Ok(Busy { holders, position, waiters: tickets.len(), waited })
    }

    fn full(&self) -> Error {
        Error::new(
            ErrorKind::Full,
            format!(
                "{}: no room for another name: all {} are in use, or the memory for them is; give locks back, or make room \
                 where the table lies",
                self.url,
                self.layout.geometry().resources
            ),
        )
    }

    #[cold]
    pub(super) fn lost(&self, grant: &Grant) -> Error {
        Error::new(
            ErrorKind::Lost,
            format!(
                "the {} lock with token {} is not held by this process any more: it was broken by an operator, or taken before a fork",
                grant.mode, grant.token
            ),
        )
    }

    #[cold]
    pub(super) fn lost_request(&self) -> Error {
        Error::new(ErrorKind::Lost, "the waiting request is not of this process: it was made before a fork")
    }
}
