//! The process that a waiter watches, and when it checks for itself: one rule for threads and futures.
//!
//! - B1. The first in line watches the holders; every other waiter watches the one before it. So a death
//!   wakes, in each queue, only the waiter that it concerns, and a grant or a normal end wakes only the one
//!   that is granted.
//! - B2. A waiter that becomes first in line is not notified: it has watched the one before it, which now
//!   holds. It finds the other holders at its next check.
//! - B3. A check queries the death of all of them, watched or not: the first in line may be stopped.
//! - B4. The word of a waiter's own process is not watched: it ends with the waiter.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use crate::{
    engine::table::{
        Table,
        bucket::queue::Queue,
        machine::kernel,
        map::{
            layout::{Record, linked},
            word::State,
        },
        process::attach::Attachment,
        protocol::wait_word,
    },
    words::error::Error,
};

/// The first sleep without a check, and the longest one of a waiter that a death cannot wake.
pub(crate) const SLICE: Duration = Duration::from_millis(50);
/// How many processes a waiter watches besides its own word.
pub(crate) const WATCHED: usize = 12;
/// How many holders are looked at, and how many waiters that were passed over.
const LOOKED_AT: usize = 8;

/// What stands before a waiter.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ahead {
    slots: [u32; WATCHED],
    count: usize,
    /// The process of the waiter before it, if that is another one.
    before: Option<u32>,
    /// Only holders stand before it, and those who were passed over.
    pub(crate) is_first: bool,
    /// Nobody holds: it may be for this waiter to take what lies free.
    pub(crate) is_free: bool,
    /// The death of one of those whom it watches cannot wake it.
    is_blind: bool,
    /// When a hand-off to another process that was not taken up becomes one that is passed over.
    pub(crate) overdue_at: Option<u64>,
}

impl Ahead {
    fn add(&mut self, slot: u32) {
        if self.count < WATCHED && !self.slots[..self.count].contains(&slot) {
            self.slots[self.count] = slot;
            self.count += 1;
        }
    }

    /// All whose death it must notice.
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots[..self.count]
    }

    /// Those whose death wakes it (B1).
    pub(crate) fn watched(&self) -> &[u32] {
        if self.is_first { self.slots() } else { self.before.as_slice() }
    }

    /// How long the waiter may sleep after a look at `now`, in nanoseconds (P1).
    pub(crate) fn pause(&self, record: &Record, now: u64) -> u64 {
        let slice = SLICE.as_nanos() as u64;
        let waited = now.saturating_sub(record.requested.load(Relaxed));
        let longest = if self.is_first && self.is_blind { SLICE } else { kernel::LONGEST_SLEEP };
        let pause = waited.clamp(slice, longest.as_nanos() as u64);
        self.overdue_at.map_or(pause, |at| pause.min(at.saturating_sub(now).max(slice)))
    }
}

impl Table {
    /// What stands before a waiter. Read without the lock: a hint, which is made again at every look.
    pub(crate) fn ahead_of(&self, me: &Attachment, record: &Record) -> Ahead {
        let mut ahead = Ahead { is_first: true, ..Ahead::default() };
        let Ok((place, _)) = self.place_of(record) else { return ahead };
        let Ok(queue) = Queue::of(self, place) else { return ahead };
        ahead.is_free = queue.is_free();
        let shared = me.liveness.is_some();
        for (_, holder) in queue.starting_at(&queue.resource.head).take(LOOKED_AT).map_while(Result::ok) {
            let word = holder.word();
            if word.state() != State::Held || word.slot() == me.slot || !shared {
                continue;
            }
            ahead.add(word.slot());
            if wait_word::is_untaken(&holder.grant) {
                let overdue_at = holder.granted.load(Relaxed).saturating_add(holder.pass_over_after());
                ahead.overdue_at = Some(ahead.overdue_at.map_or(overdue_at, |at| at.min(overdue_at)));
            }
        }
        let mut before = record.prev.load(Relaxed);
        for _ in 0..LOOKED_AT {
            let Some(Ok(other)) = linked(before).map(|index| self.layout.record(index)) else { break };
            if other.word().state() != State::Waiting {
                break;
            }
            if wait_word::is_passed_over(&other.grant) {
                before = other.prev.load(Relaxed);
                continue;
            }
            ahead.is_first = false;
            ahead.before = Some(other.word().slot()).filter(|slot| shared && *slot != me.slot);
            ahead.before.into_iter().for_each(|slot| ahead.add(slot));
            break;
        }
        ahead.is_blind =
            shared && (!kernel::can_wait_for_many() || ahead.watched().iter().any(|slot| !self.can_be_watched(*slot)));
        ahead
    }

    /// A look (P1): finishes what a lost wake-up, a dead or a sleeping process left undone before this
    /// waiter. `looked` is when it looked the last time. Does not ask for deaths.
    pub(crate) fn look_ahead(
        &self,
        me: &Attachment,
        record: &Record,
        ahead: &Ahead,
        looked: u64,
        now: u64,
    ) -> Result<(), Error> {
        if ahead.overdue_at.is_some_and(|at| at <= now) {
            self.pass_over(me, record, looked)?;
        }
        if ahead.is_first || ahead.is_free { self.look_at_queue(me, record) } else { Ok(()) }
    }
}
