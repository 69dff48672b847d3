//! Waiting by a thread: it sleeps in one call on its own word and on the death words of the processes that
//! it watches (`ahead.rs`).
//!
//! - P1. Every sleep has an end, after which the waiter checks everything itself: after 50 ms at first,
//!   then after as long as it has waited already, after 1 s at most. So a lost wake-up at most doubles a
//!   wait, and costs at most a second; and long waits cost nothing meanwhile. A waiter that is first in
//!   line behind a process whose death cannot wake it checks every 50 ms.
//! - P2. The death word only hints when to check; a process is dead when `liveness.rs` proves it. Until
//!   then the waiter checks again with growing pauses: a dying process keeps its file locks for a while.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use crate::{
    engine::{
        Engine, Grant, Ticket,
        table::{
            Table,
            machine::kernel::{self, Watch},
            map::{layout::Record, word::record_of},
            process::attach::Attachment,
            protocol::wait_word::{self, Found, Wake},
            verbs::acquire::granted,
            wait::ahead::{Ahead, WATCHED},
        },
    },
    words::error::{Error, ErrorKind},
};

/// How soon a waiting owner that holds something looks for a deadlock again, in nanoseconds.
pub(crate) const DETECT_AFTER: u64 = 100_000_000;
/// How long to look before sleeping, in pauses: 3 to 5 us. More harms when threads outnumber processors.
const SPINS: u32 = 200;

impl Table {
    /// Blocks until the request is granted, refused, out of time, or not wanted any more.
    pub(crate) fn wait_in_thread(
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
        let mut suspicions = Suspicions::default();
        loop {
            match wait_word::look(&record.grant) {
                Found::Granted => {
                    self.check_in_place_sometimes(me, self.clock.now())?;
                    return Ok(Some(granted(ticket.handle, record)));
                }
                Found::Nudged => {
                    if let Some(grant) = self.nudged(me, ticket)? {
                        return Ok(Some(grant));
                    }
                    if wait_word::look(&record.grant) == Found::Granted {
                        return Ok(Some(granted(ticket.handle, record)));
                    }
                }
                Found::Nothing => {}
            }
            let now = self.clock.now();
            if now >= ticket.deadline {
                return self.time_out(me, ticket).map(Some);
            }
            let ahead = self.ahead_of(me, record);
            let mut pause = ahead.pause(record, looked);
            let is_due = now.saturating_sub(looked) >= pause;
            if is_due {
                self.check_in_place(me)?;
                // A stopped process in the way of this look is no reason to give up the place.
                match self.look_ahead(me, record, &ahead, looked, now) {
                    Err(error) if error.kind() != ErrorKind::Unreachable => return Err(error),
                    _ => {}
                }
                looked = now;
                pause = ahead.pause(record, looked);
                if ticket.may_hold && now.saturating_sub(detected) >= DETECT_AFTER {
                    detected = now;
                    if let Some(grant) = self.break_deadlock(me, ticket)? {
                        return Ok(Some(grant));
                    }
                }
            }
            suspicions.concern(ahead.slots());
            for slot in ahead.slots() {
                if is_due || self.is_marked(*slot) {
                    suspicions.ask(self, me, *slot)?;
                }
            }
            if !go_on() {
                self.abandon(ticket);
                return Ok(None);
            }
            if !wait_word::arm(&record.grant, Wake::Thread) {
                continue;
            }
            let next_look = Duration::from_nanos(looked.saturating_add(pause).saturating_sub(now));
            let left = Duration::from_nanos(ticket.deadline - now);
            self.sleep(record, &ahead, left.min(next_look).min(suspicions.pause()));
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

    fn sleep(&self, record: &Record, ahead: &Ahead, timeout: Duration) {
        let own = Watch { word: &record.grant, expected: wait_word::ASLEEP };
        let mut watches = [own; WATCHED + 1];
        let mut count = 1;
        for watch in ahead.watched().iter().filter_map(|slot| self.watch_death(*slot)) {
            watches[count] = watch;
            count += 1;
        }
        kernel::futex_wait_any(&watches[..count], timeout);
    }

    /// A waiter that was nudged: it is the victim of a deadlock, the lock lies free for it, or it
    /// was passed over.
    pub(crate) fn nudged(&self, me: &Attachment, ticket: &Ticket) -> Result<Option<Grant>, Error> {
        self.look_at_queue(me, self.layout.record(record_of(ticket.handle))?)?;
        if ticket.may_hold {
            return self.break_deadlock(me, ticket);
        }
        Ok(None)
    }
}

/// Asking whether marked processes are dead by now: at once, then with pauses that double (P2). A thread
/// that ended in a process that continues looks marked for ever.
#[derive(Default)]
pub(crate) struct Suspicions(Vec<(u32, Duration)>);

impl Suspicions {
    const FIRST: Duration = Duration::from_micros(20);

    /// Forgets all processes but these.
    pub(crate) fn concern(&mut self, slots: &[u32]) {
        self.0.retain(|(slot, _)| slots.contains(slot));
    }

    /// Asks for the death of a process, marked or not.
    pub(crate) fn ask(&mut self, table: &Table, me: &Attachment, slot: u32) -> Result<(), Error> {
        let known = self.0.iter().position(|(known, _)| *known == slot);
        let marked = table.is_marked(slot);
        if marked && known.is_none() {
            // The kernel woke one of those who watch: pass it on.
            if let Some(word) = table.layout.slot(slot).ok().and_then(|slot| table.death_word(slot)) {
                kernel::futex_wake(word, i32::MAX);
            }
        }
        let suspected = !table.reap(me, slot)? && marked;
        match known {
            Some(place) if suspected => self.0[place].1 = (self.0[place].1 * 2).min(kernel::LONGEST_SLEEP),
            Some(place) => drop(self.0.swap_remove(place)),
            None if suspected => self.0.push((slot, Self::FIRST)),
            None => {}
        }
        Ok(())
    }

    /// Until somebody is to be asked for again; nobody suspected shortens no sleep.
    pub(crate) fn pause(&self) -> Duration {
        self.0.iter().map(|(_, pause)| *pause).min().unwrap_or(Duration::MAX)
    }
}
