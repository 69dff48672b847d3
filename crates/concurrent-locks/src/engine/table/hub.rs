//! The hub: one thread per process and table, started when the first future waits. It wakes the
//! futures that other processes granted, serves their time-outs, and looks for the dead and for
//! deadlocks on their behalf. A grant made in the same process wakes the future directly.
//!
//! - H1. While the hub sleeps, it looks again at `next_look` at the latest. Whoever needs it earlier rings
//!   its doorbell.
//! - H2. For a while after the last wait it looks once a slice all the same, so that futures that wait
//!   again and again for a short time need not ring: a ring costs more than their hand-off.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    Table,
    atomic_word::AtomicWord,
    attach::Attachment,
    kernel::{self, WATCH_MAX, Watch},
    occupancy::Occupancy,
    park::{DETECT_EVERY, SLICE, Suspicion},
    verbs::record_of,
    wait_word::{self, Found, Wake},
};
use crate::{
    engine::{Grant, Ticket},
    error::{Error, ErrorKind},
};

/// How long the hub sleeps when no future waits; the doorbell ends it.
const IDLE: Duration = Duration::from_secs(3600);
/// How long after the last wait it goes on to look once a slice (H2).
const LINGER: Duration = Duration::from_secs(1);
/// It looks only when the doorbell rings.
const AT_THE_BELL: u64 = u64::MAX;

/// The futures of this process that wait.
pub(super) struct Hub {
    futures: Mutex<Futures>,
}

#[derive(Default)]
struct Futures {
    running: bool,
    waiting: HashMap<u32, Future>,
    deadlines: BTreeSet<(u64, u32)>,
    /// H1, on the table's clock.
    next_look: u64,
    /// When somebody was last seen to wait, and whether somebody has begun to since.
    last_wait: u64,
    begun: bool,
}

struct Future {
    waker: Waker,
    ticket: Ticket,
}

impl Hub {
    pub(super) fn new() -> Hub {
        Hub { futures: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Futures> {
        self.futures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the future that waits with this record, if one does.
    pub(super) fn wake_future(&self, record: u32) {
        let waker = self.lock().waiting.get(&record).map(|future| future.waker.clone());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What a round of the hub found to do.
struct Round {
    /// H1.
    next_look: u64,
    anybody: bool,
    anybody_holds: bool,
}

impl Table {
    /// Looks whether the request is granted; else arranges for the waker to be woken.
    pub(super) fn poll_future(&self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
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
                    return Ok(Some(self.granted(ticket.handle, record)));
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
        if let Some(future) = futures.waiting.get_mut(&index) {
            future.waker.clone_from(waker);
            future.ticket = *ticket;
            return Ok(());
        }
        futures.waiting.insert(index, Future { waker: waker.clone(), ticket: *ticket });
        futures.begun = true;
        if ticket.deadline != u64::MAX {
            futures.deadlines.insert((ticket.deadline, index));
        }
        if !futures.running {
            let table = self.forever();
            std::thread::Builder::new()
                .name("locks-hub".to_owned())
                .spawn(move || table.run_hub())
                .map_err(|error| Error::io("cannot start the thread that wakes waiting futures", &error))?;
            futures.running = true;
        } else if futures.next_look == AT_THE_BELL || ticket.deadline < futures.next_look {
            // It will have looked at all that waits by now: the others need not ring too.
            futures.next_look = 0;
            drop(futures);
            let slot = self.layout.slot(me.slot)?;
            slot.doorbell.fetch_add(1, Release);
            kernel::futex_wake(&slot.doorbell, 1);
        }
        Ok(())
    }

    /// Forgets the waker of a future that waits no more.
    pub(super) fn forget_future(&self, me: &Attachment, index: u32) {
        let mut futures = me.hub.lock();
        if let Some(future) = futures.waiting.remove(&index) {
            futures.deadlines.remove(&(future.ticket.deadline, index));
            drop(futures);
            // Dropping a waker may run foreign code: not under the lock.
            drop(future);
        }
    }

    fn run_hub(&'static self) {
        let Some(me) = self.fork_page.get() else { return };
        let mut looked = self.clock.now();
        let mut detected = looked;
        let mut suspicions: HashMap<u32, Suspicion> = HashMap::new();
        loop {
            let Ok(slot) = self.layout.slot(me.slot) else { return };
            let bell = slot.doorbell.get();
            for letter in &slot.mailbox {
                if let Some(record) = super::layout::linked(letter.swap(0, Acquire)) {
                    me.hub.wake_future(record);
                }
            }
            let now = self.clock.now();
            let all = slot.spare.swap(0, Acquire) != 0;
            let slice_over = now.saturating_sub(looked) >= SLICE.as_nanos() as u64;
            if slice_over {
                looked = now;
            }
            // In a table that was deleted or replaced, everybody learns it at once.
            let gone = slice_over && self.check_in_place(me).is_err();
            let round = self.wake_due(me, now, all || slice_over, gone);
            if slice_over && round.anybody {
                self.finish_lost_grants(me);
            }
            if round.anybody_holds && now.saturating_sub(detected) >= DETECT_EVERY.as_nanos() as u64 {
                detected = now;
                // A deadlock that is not seen now is looked for again in 100 ms.
                let _ = self.nudge_victims();
            }
            let pause = self.ask_for_the_dead(me, slice_over && round.anybody, &mut suspicions);
            let awake = round.next_look != AT_THE_BELL;
            let left = Duration::from_nanos(round.next_look.saturating_sub(self.clock.now()));
            let timeout = if awake { left.min(pause) } else { IDLE };
            let mut watches = vec![Watch { word: &slot.doorbell, expected: bell }];
            if awake {
                watches.extend(self.other_slots(me).filter_map(|slot| self.watch_death(slot)).take(WATCH_MAX - 1));
            }
            kernel::futex_wait_any(&watches, timeout);
        }
    }

    /// Wakes futures whose time is over, and, when asked for all, those that were granted or nudged.
    fn wake_due(&self, me: &Attachment, now: u64, look_at_all: bool, wake_all: bool) -> Round {
        let mut futures = me.hub.lock();
        let mut due = Vec::new();
        while let Some(&(deadline, record)) = futures.deadlines.first() {
            if deadline > now {
                break;
            }
            futures.deadlines.pop_first();
            due.extend(futures.waiting.get(&record).map(|future| future.waker.clone()));
        }
        if look_at_all {
            for (record, future) in &futures.waiting {
                let word = self.layout.record(*record).map(|record| record.grant.get());
                if wake_all || !matches!(word, Ok(wait_word::ARMED | wait_word::IDLE)) {
                    due.push(future.waker.clone());
                }
            }
        }
        let anybody = !futures.waiting.is_empty();
        if std::mem::take(&mut futures.begun) || anybody {
            futures.last_wait = now;
        }
        let lingers = now.saturating_sub(futures.last_wait) < LINGER.as_nanos() as u64;
        let next_slice = if anybody || lingers { now + SLICE.as_nanos() as u64 } else { AT_THE_BELL };
        let next_deadline = futures.deadlines.first().map_or(AT_THE_BELL, |(deadline, _)| *deadline);
        futures.next_look = next_slice.min(next_deadline);
        let round = Round {
            next_look: futures.next_look,
            anybody,
            anybody_holds: futures.waiting.values().any(|future| future.ticket.may_hold),
        };
        drop(futures);
        due.into_iter().for_each(Waker::wake);
        round
    }

    /// Grants that a dead process left undone, once a slice (P1): one look per waiting resource.
    fn finish_lost_grants(&self, me: &Attachment) {
        let tickets: Vec<Ticket> = {
            let futures = me.hub.lock();
            let mut seen = std::collections::HashSet::new();
            let place = |record: &u32| self.layout.record(*record).map_or(0, |record| record.resource.load(Relaxed));
            futures
                .waiting
                .iter()
                .filter(|(record, _)| seen.insert(place(record)))
                .map(|(_, future)| future.ticket)
                .collect()
        };
        for ticket in tickets {
            // An error here is met again, and told, by the future itself when it looks.
            let _ = self.look_at_queue(me, &ticket);
        }
    }

    /// Live slots of other processes.
    fn other_slots<'a>(&'a self, me: &'a Attachment) -> impl Iterator<Item = u32> + 'a {
        let used = if me.liveness.is_some() { self.slots_used() } else { 0 };
        (0..used).filter(move |index| {
            *index != me.slot
                && self.layout.slot(*index).is_ok_and(|slot| Occupancy::of(slot.state.load(Acquire)) == Occupancy::Live)
        })
    }

    /// Asks for the death of marked processes (of all, once a slice); the pause until the next question.
    fn ask_for_the_dead(&self, me: &Attachment, all: bool, suspicions: &mut HashMap<u32, Suspicion>) -> Duration {
        let mut pause = SLICE;
        for slot in self.other_slots(me) {
            if !all && !self.is_marked(slot) {
                suspicions.remove(&slot);
                continue;
            }
            let suspicion = suspicions.entry(slot).or_default();
            // As above: the future meets the error itself.
            let _ = suspicion.ask(self, me, slot);
            pause = pause.min(suspicion.pause());
        }
        pause
    }
}
