//! The queue of one resource: holders first, then waiters in rank order, in one doubly linked list.
//!
//! All of it is derived from the records (T1) and changed only under the bucket's lock. The rule
//! itself is `crate::rule::grant`; here it is applied to the list.
//!
//! - Q1. Holders are a prefix of the list; `first_waiter` is the first that is not a holder.
//! - Q2. `readers`, `writers` and `waiters` count the records of the list by word.
//! - Q3. A grant commits the word first; then come links, counts and the wake word (W1). A crash in
//!   between is finished by a rebuild.
//! - Q4. Waiters that were passed over (`pass_over.rs`) keep their place, and the rule skips them.

use std::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, Release},
};

use crate::{
    engine::table::{
        Table,
        bucket::locked::Locked,
        map::{
            layout::{Checked, Record, Resource, Violation, linked},
            word::{State, Word},
        },
        protocol::wait_word::{self, Wake},
    },
    rule::grant::{Rank, Standing, Step, Walk, admits, strongest_covering},
    words::mode::{Mode, ModeSet},
};

/// How many grants are made in one tenure of the bucket's lock; the rest follow in the next.
const BATCH: usize = 16;

/// Records whose waiters must be woken once the bucket is unlocked (nothing foreign runs under it).
///
/// All zeros when new, because every release makes one.
pub(crate) struct Wakes {
    records: [u32; BATCH],
    wakes: [Wake; BATCH],
    count: usize,
    /// The walk stopped because the batch was full: there is more to grant.
    pub(crate) more: bool,
}

impl Wakes {
    pub(crate) fn new() -> Wakes {
        Wakes { records: [0; BATCH], wakes: [Wake::None; BATCH], count: 0, more: false }
    }

    pub(crate) fn push(&mut self, record: u32, wake: Wake) {
        if self.count < BATCH {
            self.records[self.count] = record;
            self.wakes[self.count] = wake;
            self.count += 1;
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn is_full(&self) -> bool {
        self.count == BATCH
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Wake)> + '_ {
        self.records.into_iter().zip(self.wakes).take(self.count)
    }
}

/// What an owner holds of a resource itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Own {
    /// By mode: how many grants, and the greatest of their tokens.
    counts: [u32; Mode::COUNT],
    tokens: [u64; Mode::COUNT],
}

impl Own {
    fn modes(&self) -> ModeSet {
        ModeSet::filter(|mode| self.counts[mode as usize] > 0)
    }

    pub(crate) fn standing(&self, wanted: Mode) -> Standing {
        Standing::of(self.modes(), wanted)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.modes() == ModeSet::EMPTY
    }

    /// The token of a grant that is made now (rule 7); `fresh` is the one of a grant of its own.
    pub(crate) fn token(&self, wanted: Mode, fresh: u64) -> u64 {
        strongest_covering(self.modes(), wanted).map_or(fresh, |strongest| self.tokens[strongest as usize])
    }
}

/// Counts the steps along a list: damaged bytes may form a loop.
pub(crate) struct Steps {
    left: u32,
}

impl Steps {
    /// As many as there are records: no list of requests is longer.
    pub(crate) fn along_requests(table: &Table) -> Steps {
        Steps { left: table.layout.geometry().records() }
    }

    /// As many as there are resources: no bucket's chain is longer.
    pub(crate) fn along_resources(table: &Table) -> Steps {
        Steps { left: table.layout.geometry().resources }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Checked<()> {
        self.left = self.left.checked_sub(1).ok_or(Violation("a list has no end"))?;
        Ok(())
    }
}

/// One resource's queue, in a locked bucket.
pub(crate) struct Queue<'t> {
    table: &'t Table,
    pub(crate) resource: &'t Resource,
}

impl<'t> Queue<'t> {
    #[inline]
    pub(crate) fn of(table: &'t Table, index: u32) -> Checked<Queue<'t>> {
        Ok(Queue { table, resource: table.layout.resource(index)? })
    }

    #[inline]
    fn record(&self, index: u32) -> Checked<&'t Record> {
        self.table.layout.record(index)
    }

    /// The list from a link on, at most as long as there are records.
    pub(crate) fn starting_at(&self, link: &AtomicU32) -> impl Iterator<Item = Checked<(u32, &'t Record)>> + use<'t> {
        let table = self.table;
        let mut next = link.load(Relaxed);
        let mut steps = Steps::along_requests(table);
        std::iter::from_fn(move || {
            let index = linked(next)?;
            let record = match steps.next().and_then(|()| table.layout.record(index)) {
                Ok(record) => record,
                Err(violation) => {
                    next = 0;
                    return Some(Err(violation));
                }
            };
            next = record.next.load(Relaxed);
            Some(Ok((index, record)))
        })
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = Checked<(u32, &'t Record)>> + use<'t> {
        let end = self.resource.first_waiter.load(Relaxed);
        self.starting_at(&self.resource.head)
            .take_while(move |entry| !matches!(entry, Ok((index, _)) if index + 1 == end))
    }

    pub(crate) fn waiters(&self) -> impl Iterator<Item = Checked<(u32, &'t Record)>> + use<'t> {
        self.starting_at(&self.resource.first_waiter)
    }

    #[inline]
    fn count_of(&self, mode: Mode) -> &'t AtomicU32 {
        &self.resource.held[mode as usize]
    }

    /// What the owner itself holds.
    pub(crate) fn own(&self, owner: u64) -> Checked<Own> {
        let mut own = Own::default();
        for entry in self.holders() {
            let (_, record) = entry?;
            if record.owner.load(Relaxed) == owner {
                let mode = record.word().mode() as usize;
                own.counts[mode] += 1;
                own.tokens[mode] = own.tokens[mode].max(record.token.load(Relaxed));
            }
        }
        Ok(own)
    }

    /// Whether nobody holds it.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.held() == ModeSet::EMPTY
    }

    /// The modes that are held.
    #[inline]
    pub(crate) fn held(&self) -> ModeSet {
        self.held_besides(&Own::default())
    }

    /// The modes that are held, less what `own` counts.
    #[inline]
    pub(crate) fn held_besides(&self, own: &Own) -> ModeSet {
        ModeSet::filter(|mode| self.count_of(mode).load(Relaxed) > own.counts[mode as usize])
    }

    /// Rule 2: whether a request that would stand at `rank` may be granted on arrival.
    #[inline]
    pub(crate) fn admits_arrival(&self, mode: Mode, rank: Rank, own: &Own) -> Checked<bool> {
        let held = self.held_besides(own);
        if !admits(mode, held, ModeSet::EMPTY) {
            return Ok(false);
        }
        // Only waiters that conflict stop it. As the holders do not, the first waiter does in
        // practice: the look is short.
        for entry in self.waiters() {
            let (_, record) = entry?;
            if record.rank() > rank {
                break;
            }
            if wait_word::is_passed_over(&record.grant) {
                continue;
            }
            if !admits(mode, held, ModeSet::of(record.word().mode())) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Grants an arrival: first what the grant says, then the commit (T1), then what is derived. `free` is the word of
    /// its free record.
    #[inline]
    pub(crate) fn admit(&self, index: u32, record: &Record, free: Word, token: u64, now: u64) -> Checked<()> {
        record.token.store(token, Relaxed);
        record.granted.store(now, Relaxed);
        record.grant.store(wait_word::ACKNOWLEDGED, Relaxed);
        record.commit(free.with(State::Held, free.mode()));
        self.link_holder(index, record, free.mode())
    }

    /// Puts a record among the holders. Its word says held already (Q3).
    #[inline]
    pub(crate) fn link_holder(&self, index: u32, record: &Record, mode: Mode) -> Checked<()> {
        let old_head = self.resource.head.load(Relaxed);
        record.prev.store(0, Relaxed);
        record.next.store(old_head, Relaxed);
        match linked(old_head) {
            Some(head) => self.record(head)?.prev.store(index + 1, Relaxed),
            None => self.resource.tail.store(index + 1, Relaxed),
        }
        self.resource.head.store(index + 1, Relaxed);
        bump(self.count_of(mode), 1);
        Ok(())
    }

    /// Puts a record among the waiters, by rank. Its word says waiting already.
    pub(crate) fn link_waiter(&self, index: u32, record: &Record) -> Checked<()> {
        let rank = record.rank();
        let first_waiter = self.resource.first_waiter.load(Relaxed);
        // Most arrivals stand last: look from the tail.
        let mut before = self.resource.tail.load(Relaxed);
        let mut steps = Steps::along_requests(self.table);
        while let Some(other) = linked(before) {
            steps.next()?;
            let other = self.record(other)?;
            if other.word().state() != State::Waiting || other.rank() <= rank {
                break;
            }
            before = other.prev.load(Relaxed);
        }
        let after = match linked(before) {
            Some(other) => self.record(other)?.next.load(Relaxed),
            None => self.resource.head.load(Relaxed),
        };
        record.prev.store(before, Relaxed);
        record.next.store(after, Relaxed);
        self.set_next(before, index + 1)?;
        self.set_prev(after, index + 1)?;
        if after == first_waiter {
            self.resource.first_waiter.store(index + 1, Relaxed);
        }
        bump(&self.resource.waiters, 1);
        Ok(())
    }

    fn set_next(&self, link: u32, to: u32) -> Checked<()> {
        match linked(link) {
            Some(record) => self.record(record)?.next.store(to, Relaxed),
            None => self.resource.head.store(to, Relaxed),
        }
        Ok(())
    }

    fn set_prev(&self, link: u32, to: u32) -> Checked<()> {
        match linked(link) {
            Some(record) => self.record(record)?.prev.store(to, Relaxed),
            None => self.resource.tail.store(to, Relaxed),
        }
        Ok(())
    }

    /// Takes a record out of the list. `was` is its word before it was freed.
    #[inline]
    pub(crate) fn unlink(&self, index: u32, record: &Record, was: State, mode: Mode) -> Checked<()> {
        let (prev, next) = (record.prev.load(Relaxed), record.next.load(Relaxed));
        self.set_next(prev, next)?;
        self.set_prev(next, prev)?;
        if self.resource.first_waiter.load(Relaxed) == index + 1 {
            self.resource.first_waiter.store(next, Relaxed);
        }
        let count = if was == State::Waiting { &self.resource.waiters } else { self.count_of(mode) };
        if count.load(Relaxed) == 0 {
            return Err(Violation("a count below zero"));
        }
        bump(count, -1);
        Ok(())
    }

    /// A holder changed its mode where it stands.
    pub(crate) fn recount(&self, from: Mode, to: Mode) {
        bump(self.count_of(from), -1);
        bump(self.count_of(to), 1);
    }

    /// Rule 3: grants every waiter that may be granted. Fills `wakes`, at most a batch.
    pub(crate) fn grant_waiters(&self, locked: &Locked<'_>, now: u64, wakes: &mut Wakes) -> Checked<()> {
        if self.resource.waiters.load(Relaxed) == 0 {
            return Ok(());
        }
        if self.is_closed()? {
            return Ok(());
        }
        let mut walk = Walk::new();
        let mut next = self.resource.first_waiter.load(Relaxed);
        let mut steps = Steps::along_requests(self.table);
        while let Some(index) = linked(next) {
            steps.next()?;
            let record = self.record(index)?;
            next = record.next.load(Relaxed);
            if wait_word::is_passed_over(&record.grant) {
                continue;
            }
            let mode = record.word().mode();
            if wakes.is_full() {
                wakes.more = true;
                return Ok(());
            }
            // Also where no holder conflicts: a read beside a read of the same owner re-enters (rule 7).
            let own = if record.may_hold() && !self.is_free() {
                self.own(record.owner.load(Relaxed))?
            } else {
                Own::default()
            };
            match walk.step(mode, self.held_besides(&own)) {
                Step::Grant => {
                    let token = own.token(mode, self.table.token(locked.count()));
                    self.grant_waiter(index, record, mode, token, now, wakes)?;
                }
                Step::Stay => {}
                Step::Stop => break,
            }
        }
        Ok(())
    }

    /// Whether somebody holds it alone and has no further requests, so that no waiter can be granted:
    /// spares the walk when many wait behind a writer.
    fn is_closed(&self) -> Checked<bool> {
        if !self.held().meets(Mode::EXCLUSIVE) {
            return Ok(false);
        }
        match linked(self.resource.head.load(Relaxed)) {
            Some(holder) => Ok(!self.record(holder)?.may_hold()),
            None => Err(Violation("a writer is counted but not in the queue")),
        }
    }

    /// Makes a waiter a holder.
    fn grant_waiter(
        &self,
        index: u32,
        record: &Record,
        mode: Mode,
        token: u64,
        now: u64,
        wakes: &mut Wakes,
    ) -> Checked<()> {
        let word = record.word();
        if word.state() != State::Waiting {
            return Err(Violation("a holder among the waiters"));
        }
        record.token.store(token, Relaxed);
        record.granted.store(now, Relaxed);
        record.commit(word.with(State::Held, mode));
        if self.resource.first_waiter.load(Relaxed) == index + 1 {
            // The first waiter becomes the last holder where it stands (Q1).
            self.resource.first_waiter.store(record.next.load(Relaxed), Relaxed);
            bump(&self.resource.waiters, -1);
            bump(self.count_of(mode), 1);
        } else {
            self.unlink(index, record, State::Waiting, mode)?;
            self.link_holder(index, record, mode)?;
        }
        self.table.tally_grant(self.resource, mode, now.saturating_sub(record.requested.load(Relaxed)));
        wakes.push(index, wait_word::grant(&record.grant));
        Ok(())
    }
}

impl Record {
    pub(crate) fn rank(&self) -> Rank {
        Rank::from_parts(self.virtual_arrival.load(Relaxed), self.ticket.load(Relaxed))
    }

    pub(crate) fn set_rank(&self, rank: Rank, ticket: u64) {
        self.virtual_arrival.store(rank.virtual_arrival(), Relaxed);
        self.ticket.store(ticket, Release);
    }

    /// The owner as the wait-for graph knows it: an owner waits for those who inherit from it to end, so
    /// what they wait for, it waits for. (One of several that still runs keeps it alive.)
    pub(crate) fn root_owner(&self) -> u64 {
        match self.family.load(Relaxed) {
            0 => self.owner.load(Relaxed),
            family => family,
        }
    }
}

#[inline]
fn bump(count: &AtomicU32, by: i32) {
    count.store(count.load(Relaxed).wrapping_add_signed(by), Relaxed);
}
