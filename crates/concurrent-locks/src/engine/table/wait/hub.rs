//! The hub: one thread per process and table, started when the first future waits. It wakes the futures
//! that other processes granted, handles their time-outs, and checks for deaths and deadlocks on their
//! behalf. A grant made in the same process wakes the future directly.
//!
//! - H1. While the hub sleeps, it checks again at `wakes_at` at the latest. Code that needs it earlier
//!   signals its `wake_count`.
//! - H2. For a while after a wait has begun it wakes once a slice anyway, so that futures that wait
//!   repeatedly for a short time need not signal: a signal costs more than their hand-off.
//! - H3. Each future has checks of its own (P1), made by the hub. It watches the processes that its futures
//!   watch (`ahead.rs`), as of the futures' last checks, or of when it first met them.

use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::Ordering::{Acquire, Release},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    engine::{
        Grant, Ticket,
        table::{
            Table,
            machine::kernel::{self, WATCH_MAX, Watch},
            map::{layout::Record, word::record_of},
            process::{
                attach::Attachment,
                sleepers::{Future, Futures, UNMET},
            },
            protocol::{
                atomic_word::AtomicWord,
                wait_word::{self, Found, Wake},
            },
            verbs::acquire::granted,
            wait::{
                ahead::SLICE,
                park::{DETECT_AFTER, Suspicions},
            },
        },
    },
    words::error::{Error, ErrorKind},
};

/// How long the hub sleeps when no future waits; the `wake_count` ends it.
const IDLE: Duration = Duration::from_secs(3600);
/// How long after a wait began it keeps waking once a slice (H2), in nanoseconds.
const LINGER: u64 = 1_000_000_000;
/// A slice, in nanoseconds.
const SLICE_NANOS: u64 = 50_000_000;
const _: () = assert!(SLICE.as_nanos() == SLICE_NANOS as u128);
/// It wakes only when the `wake_count` rings.
const AT_THE_BELL: u64 = u64::MAX;

/// When `pause` has passed, at the earliest a quarter of it before, so that looks of many futures fall together.
fn in_company(now: u64, pause: u64) -> u64 {
    let step = (pause / 4).max(1);
    let then = now.saturating_add(pause);
    (then - then % step).min(UNMET - 1)
}

impl Table {
    /// Looks whether the request is granted; else arranges for the waker to be woken.
    pub(crate) fn poll_future(&self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        match self.try_poll(ticket, context) {
            Ok(None) => Poll::Pending,
            Ok(Some(grant)) => Poll::Ready(Ok(grant)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn try_poll(&self, ticket: &Ticket, context: &mut Context<'_>) -> Result<Option<Grant>, Error> {
        let me = self.me()?;
        let index = record_of(ticket.handle);
        let record = self.layout.record(index)?;
        if record.word().slot() != me.slot {
            return Err(self.lost_request());
        }
        self.check_open()?;
        self.check_in_place_sometimes(me, self.clock.now())?;
        loop {
            match wait_word::look(&record.grant) {
                Found::Granted => {
                    self.forget_future(me, index);
                    return Ok(Some(granted(ticket.handle, record)));
                }
                Found::Nudged => {
                    match self.nudged(me, ticket) {
                        Ok(Some(grant)) => return Ok(Some(grant)),
                        // A stopped process in the way of this look is no reason to give up the place.
                        Err(error) if error.kind() != ErrorKind::Unreachable => return Err(error),
                        _ => continue,
                    }
                }
                Found::Nothing => {}
            }
            if self.clock.now() >= ticket.deadline {
                return self.time_out(me, ticket).map(Some);
            }
            self.remember_future(me, index, ticket, context.waker())?;
            if wait_word::arm(&record.grant, Wake::Future) {
                return Ok(None);
            }
        }
    }

    /// Stores the waker, and starts or rings the hub where it must know.
    fn remember_future(&self, me: &Attachment, index: u32, ticket: &Ticket, waker: &Waker) -> Result<(), Error> {
        let mut futures = me.hub.lock();
        if let Some(future) = futures.waiting.get_mut(&index)
            && future.ticket.handle == ticket.handle
        {
            future.waker.clone_from(waker);
            return Ok(());
        }
        let now = self.clock.now();
        let (waker, ticket) = (waker.clone(), *ticket);
        let future = Future { waker, ticket, looked: now, next_look: UNMET, watched: Box::default() };
        let old = futures.set(index, future);
        futures.fresh.push(index);
        let must_ring = futures.running && ticket.deadline.min(now.saturating_add(SLICE_NANOS)) < futures.wakes_at;
        if !futures.running {
            let table = self.forever();
            std::thread::Builder::new()
                .name("locks-hub".to_owned())
                .spawn(move || table.run_hub())
                .map_err(|error| Error::io("cannot start the thread that wakes waiting futures", error))?;
            futures.running = true;
        } else if must_ring {
            // It will have looked at all that waits by now: the others need not ring too.
            futures.wakes_at = 0;
        }
        drop(futures);
        // Dropping a waker may run foreign code: not under the lock.
        drop(old);
        if must_ring {
            let slot = self.layout.slot(me.slot)?;
            slot.wake_count.fetch_add(1, Release);
            kernel::futex_wake(&slot.wake_count, 1);
        }
        Ok(())
    }

    /// Forgets the waker of a future that waits no more.
    pub(crate) fn forget_future(&self, me: &Attachment, index: u32) {
        let future = me.hub.lock().remove(index);
        // As above: outside the lock.
        drop(future);
    }

    fn run_hub(&'static self) {
        let Some(me) = self.fork_page.get() else { return };
        let mut detected = self.clock.now();
        let mut suspicions = Suspicions::default();
        loop {
            let Ok(slot) = self.layout.slot(me.slot) else { return };
            let bell = slot.wake_count.get();
            for letter in &slot.mailbox {
                if let Some(record) = crate::engine::table::map::layout::linked(letter.swap(0, Acquire)) {
                    me.hub.wake_future(record);
                }
            }
            let now = self.clock.now();
            let due = self.take_due(me, now, slot.spare.swap(0, Acquire) != 0);
            let mut asked = HashSet::new();
            for (index, ticket, looked) in &due {
                let Ok(record) = self.layout.record(*index) else { continue };
                let ahead = self.ahead_of(me, record);
                // An error here occurs again, and is reported, at the future's own check.
                let _ = self.look_ahead(me, record, &ahead, *looked, now);
                for slot in ahead.slots() {
                    if asked.insert(*slot) {
                        // As above.
                        let _ = suspicions.ask(self, me, *slot);
                    }
                }
                self.meet_again(me, *index, ticket, record, now);
            }
            let may_hold = due.iter().any(|(_, ticket, _)| ticket.may_hold);
            if may_hold && now.saturating_sub(detected) >= DETECT_AFTER {
                detected = now;
                // A deadlock that is not seen now is looked for again at the next look.
                let _ = self.nudge_victims();
            }
            let (watched, timeout) = self.before_the_sleep(me);
            suspicions.concern(&watched);
            for slot in &watched {
                if self.is_marked(*slot) && asked.insert(*slot) {
                    // As above.
                    let _ = suspicions.ask(self, me, *slot);
                }
            }
            let mut watches = vec![Watch { word: &slot.wake_count, expected: bell }];
            watches.extend(watched.iter().filter_map(|slot| self.watch_death(*slot)).take(WATCH_MAX - 1));
            kernel::futex_wait_any(
                &watches,
                if watched.is_empty() { timeout } else { timeout.min(suspicions.pause()) },
            );
        }
    }

    /// Wakes the futures that have timed out, and, if an entry of the mailbox was lost, all that it may have been for.
    /// Answers with those that the hub has to look for, and when it looked for them last.
    fn take_due(&self, me: &Attachment, now: u64, letter_lost: bool) -> Vec<(u32, Ticket, u64)> {
        let mut futures = me.hub.lock();
        let mut awake = Vec::new();
        for index in Futures::due(&mut futures.deadlines, now) {
            awake.extend(futures.waiting.get(&index).map(|future| future.waker.clone()));
        }
        let due: Vec<_> = Futures::due(&mut futures.looks, now)
            .into_iter()
            .filter_map(|index| futures.waiting.get(&index).map(|future| (index, future.ticket, future.looked)))
            .collect();
        // In a table that was deleted or replaced, everybody learns it at once.
        let gone = !due.is_empty() && self.check_in_place(me).is_err();
        let of_all = if letter_lost || gone { futures.waiting.iter() } else { Default::default() };
        let of_due = due.iter().filter_map(|(index, ..)| futures.waiting.get_key_value(index));
        awake.extend(
            of_all
                .chain(of_due)
                .filter(|(index, _)| gone || self.is_called(**index))
                .map(|(_, future)| future.waker.clone()),
        );
        drop(futures);
        awake.into_iter().for_each(Waker::wake);
        due
    }

    /// Whether a future's word says more than that it sleeps.
    fn is_called(&self, index: u32) -> bool {
        let word = self.layout.record(index).map(|record| record.grant.get());
        !matches!(word, Ok(wait_word::ARMED | wait_word::IDLE))
    }

    /// After a look: whom it watches from now on, and when its next look is.
    fn meet_again(&self, me: &Attachment, index: u32, ticket: &Ticket, record: &Record, now: u64) {
        let ahead = self.ahead_of(me, record);
        let next_look = in_company(now, ahead.pause(record, now));
        let mut futures = me.hub.lock();
        if futures.waiting.get(&index).is_none_or(|future| future.ticket.handle != ticket.handle) {
            return;
        }
        if let Some(old) = futures.remove(index) {
            futures.set(index, Future { looked: now, next_look, watched: ahead.watched().into(), ..old });
        }
    }

    /// Meets those who have begun to wait. Whom to watch, and for how long at most.
    fn before_the_sleep(&self, me: &Attachment) -> (Vec<u32>, Duration) {
        let mut futures = me.hub.lock();
        let now = self.clock.now();
        for index in std::mem::take(&mut futures.fresh) {
            let Ok(record) = self.layout.record(index) else { continue };
            if let Some(old) = futures.remove(index) {
                let next_look = in_company(now, SLICE_NANOS);
                futures.set(index, Future { next_look, watched: self.ahead_of(me, record).watched().into(), ..old });
            }
            futures.last_begun = now;
        }
        let lingers = now.saturating_sub(futures.last_begun) < LINGER && futures.last_begun != 0;
        let first = |calendar: &BTreeSet<(u64, u32)>| calendar.first().map_or(AT_THE_BELL, |(at, _)| *at);
        let due = first(&futures.deadlines).min(first(&futures.looks));
        futures.wakes_at = if lingers { due.min(now.saturating_add(SLICE_NANOS)) } else { due };
        let timeout = match futures.wakes_at {
            AT_THE_BELL => IDLE,
            at => Duration::from_nanos(at.saturating_sub(now)),
        };
        (futures.watched.keys().copied().collect(), timeout)
    }
}
