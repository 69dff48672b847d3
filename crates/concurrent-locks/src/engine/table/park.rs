//! Waiting by a thread: it sleeps on its own word and on the death words of those it waits behind,
//! in one call.
//!
//! - P1. Every sleep has an end (`SLICE`), after which the waiter looks at everything itself: a lost
//!   wake-up costs at most one slice.
//! - P2. The death word only says when to ask; a process is dead when `liveness.rs` proves it. Until
//!   then the waiter asks again with growing pauses: a dying process keeps its file locks for a while.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    Table,
    attach::Attachment,
    kernel::{self, Watch},
    layout::{Record, linked},
    queue::Queue,
    verbs::record_of,
    wait_word::{self, Found, Wake},
    word::State,
};
use crate::{
    engine::{Engine, Grant, Ticket},
    error::{Error, ErrorKind},
};

/// The longest sleep without a look.
pub(super) const SLICE: Duration = Duration::from_millis(50);
/// How often a waiting owner that holds something looks for a deadlock again.
pub(super) const DETECT_EVERY: Duration = Duration::from_millis(100);
/// How long to look before sleeping, in pauses: 3 to 5 us. More harms when threads outnumber processors.
const SPINS: u32 = 200;
/// How many processes a waiter watches besides its own word.
const WATCHED: usize = 12;

/// Processes whose death this waiter must notice.
struct Blockers {
    slots: [u32; WATCHED],
    count: usize,
}

impl Blockers {
    fn add(&mut self, slot: u32) {
        if self.count < WATCHED && !self.slots[..self.count].contains(&slot) {
            self.slots[self.count] = slot;
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots[..self.count].iter().copied()
    }
}

impl Table {
    /// Blocks until the request is granted, refused, out of time, or not wanted any more.
    pub(super) fn wait_in_thread(
        &self,
        ticket: &Ticket,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Grant>, Error> {
        let me = self.me()?;
        let record = self.layout.record(record_of(ticket.handle))?;
        if record.word().slot() != me.slot {
            return Err(self.lost_request());
        }
        self.spin(me, record);
        let mut looked = self.clock.now();
        let mut detected = looked;
        let mut suspicion = Suspicion::default();
        loop {
            match wait_word::look(&record.grant) {
                Found::Granted => {
                    self.check_in_place_sometimes(me, self.clock.now())?;
                    return Ok(Some(self.granted(ticket.handle, record)));
                }
                Found::Nudged => {
                    if let Some(grant) = self.nudged(me, ticket)? {
                        return Ok(Some(grant));
                    }
                    if wait_word::look(&record.grant) == Found::Granted {
                        return Ok(Some(self.granted(ticket.handle, record)));
                    }
                }
                Found::Nothing => {}
            }
            let now = self.clock.now();
            if now >= ticket.deadline {
                return self.time_out(me, ticket).map(Some);
            }
            let slice_over = now.saturating_sub(looked) >= SLICE.as_nanos() as u64;
            if slice_over {
                looked = now;
                self.check_in_place(me)?;
                // A stopped process in the way of this look is no reason to give up the place.
                match self.look_at_queue(me, ticket) {
                    Err(error) if error.kind() != ErrorKind::Unreachable => return Err(error),
                    _ => {}
                }
            }
            if ticket.may_hold && now.saturating_sub(detected) >= DETECT_EVERY.as_nanos() as u64 {
                detected = now;
                if let Some(grant) = self.break_deadlock(me, ticket)? {
                    return Ok(Some(grant));
                }
            }
            let blockers = self.blockers(me, record);
            for slot in blockers.iter() {
                if self.is_marked(slot) || slice_over {
                    suspicion.ask(self, me, slot)?;
                }
            }
            if !go_on() {
                self.abandon(ticket);
                return Ok(None);
            }
            if !wait_word::arm(&record.grant, Wake::Thread) {
                continue;
            }
            let left = Duration::from_nanos(ticket.deadline - now);
            self.sleep(record, &blockers, left.min(suspicion.pause()).min(SLICE));
        }
    }

    /// A short look before sleeping: pays when the hold is shorter than a wake-up.
    fn spin(&self, me: &Attachment, record: &Record) {
        if !me.may_spin {
            return;
        }
        for _ in 0..SPINS {
            if record.grant.load(Relaxed) == wait_word::GRANTED {
                return;
            }
            std::hint::spin_loop();
        }
    }

    fn sleep(&self, record: &Record, blockers: &Blockers, timeout: Duration) {
        let own = Watch { word: &record.grant, expected: wait_word::ASLEEP };
        let mut watches = [own; WATCHED + 1];
        let mut count = 1;
        for watch in blockers.iter().filter_map(|slot| self.watch_death(slot)) {
            watches[count] = watch;
            count += 1;
        }
        kernel::futex_wait_any(&watches[..count], timeout);
    }

    /// The processes this waiter waits behind: of the holders, and of the nearest requests before
    /// it. Read without the lock: a hint, checked again every slice.
    fn blockers(&self, me: &Attachment, record: &Record) -> Blockers {
        let mut blockers = Blockers { slots: [0; WATCHED], count: 0 };
        if me.liveness.is_none() {
            return blockers;
        }
        let Ok((place, _)) = self.place_of(record) else { return blockers };
        let Ok(queue) = Queue::of(self, place) else { return blockers };
        for (_, holder) in queue.starting_at(&queue.resource.head).take(8).map_while(Result::ok) {
            if holder.word().state() == State::Held && holder.word().slot() != me.slot {
                blockers.add(holder.word().slot());
            }
        }
        let mut before = record.prev.load(Relaxed);
        for _ in 0..4 {
            let Some(Ok(other)) = linked(before).map(|index| self.layout.record(index)) else { break };
            if other.word().slot() != me.slot {
                blockers.add(other.word().slot());
                break;
            }
            before = other.prev.load(Relaxed);
        }
        blockers
    }

    /// A waiter that was nudged: it is the victim of a deadlock, or the lock lies free for it.
    pub(super) fn nudged(&self, me: &Attachment, ticket: &Ticket) -> Result<Option<Grant>, Error> {
        self.look_at_queue(me, ticket)?;
        if ticket.may_hold {
            return self.break_deadlock(me, ticket);
        }
        Ok(None)
    }
}

/// Asking whether a marked process is dead by now: at once, then with pauses that double (P2).
#[derive(Default)]
pub(super) struct Suspicion {
    pause: Option<Duration>,
}

impl Suspicion {
    const FIRST: Duration = Duration::from_micros(20);
    const LAST: Duration = Duration::from_millis(2);

    pub(super) fn ask(&mut self, table: &Table, me: &Attachment, slot: u32) -> Result<(), Error> {
        let marked = table.is_marked(slot);
        if marked && self.pause.is_none() {
            // The kernel woke one of those who watch: pass it on.
            if let Some(word) = table.layout.slot(slot).ok().and_then(|slot| table.death_word(slot)) {
                kernel::futex_wake(word, i32::MAX);
            }
        }
        let dead = table.reap(me, slot)?;
        self.pause = if dead || !marked {
            None
        } else {
            // A thread that ended in a process that goes on looks marked for ever: the pauses grow
            // to a slice, and looks at the byte then are as rare as without the mark.
            Some(
                self.pause
                    .map_or(Self::FIRST, |pause| (pause * 2).min(if pause >= Self::LAST { SLICE } else { Self::LAST })),
            )
        };
        Ok(())
    }

    pub(super) fn pause(&self) -> Duration {
        self.pause.unwrap_or(SLICE)
    }
}
