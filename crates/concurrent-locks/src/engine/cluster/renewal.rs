//! The renewal: one thread per session that renews the lease, watches its deadlines and the time-outs
//! of futures, and repeats the search for deadlocks.
//!
//! - K1. It never waits for an answer, and never connects: no behaviour of the server can delay the report
//!   that a lock is lost.
//! - K2. It sleeps until the next moment it is needed; code that sets an earlier one wakes it.
//! - K3. Its work every [`LOOK`] costs the same however many requests there are; it goes through all of
//!   them only when something is due.

use std::{sync::PoisonError, thread, time::Duration};

use super::{
    client::{Client, LEAST_PATIENCE, left_until},
    clock,
    lease::{HEARTBEAT, LOOK},
    protocol::{Call, Verb},
    refusal,
    reply::Renewed,
    request::{Leaving, Stage},
    state::{After, State},
    wire::{Attention, Failure, Pace},
};
use crate::words::error::Error;

/// How often a wait is looked at again for a deadlock, at first; each time twice as long, up to a minute.
const FIRST_LOOK: u64 = HEARTBEAT;
const LAST_LOOK: u64 = 60_000_000_000;

/// How many requests that are held, and how many that wait, fit into one renewal.
const RENEWED_AT_ONCE: usize = 256;

#[derive(Default)]
pub(super) struct Renewal {
    runs: bool,
    /// When it wakes by itself.
    wakes_at: u64,
    /// When there is more to do than a look at the connection (K3).
    pub(super) due: u64,
    /// When the last renewal was sent on this connection; 0 before the first.
    renewed: u64,
    /// When the connection was made.
    connected: u64,
    /// How many of its answers are not there yet; the link's thread reads until they are.
    renewing: u32,
    /// While something is held, the link's thread reads what comes unasked.
    pub(super) watch: Option<Attention>,
    /// When something that blocks us could expire, according to the server.
    next: Option<u64>,
}

impl Renewal {
    /// The connection is new: the next renewal is due at once.
    pub(super) fn connected(&mut self) {
        self.renewed = 0;
        self.renewing = 0;
        self.connected = clock::now();
    }

    /// The connection is no more; answers when it was made.
    pub(super) fn disconnected(&mut self) -> u64 {
        self.renewing = 0;
        self.connected
    }
}

impl Client {
    /// Makes sure that the renewal wakes at `at` (K2).
    pub(super) fn keep(&'static self, state: &mut State, at: u64) {
        state.renewal.due = state.renewal.due.min(at);
        if !state.renewal.runs {
            state.renewal.runs = true;
            state.renewal.wakes_at = at;
            let name = format!("locks-renewal-{}", &self.session[..4]);
            if let Err(error) = thread::Builder::new().name(name).spawn(|| self.run()) {
                state.renewal.runs = false;
                state.trouble = Some(Error::io("start the renewal's thread", error));
            }
        } else if at < state.renewal.wakes_at {
            state.renewal.wakes_at = at;
            self.changed.notify_one();
        }
    }

    fn run(&'static self) {
        loop {
            self.with(|state, after| {
                if !state.look_at_connection() {
                    // Nobody may be reading, who would see it.
                    after.close = state.link.clone();
                }
                let now = clock::now();
                if now >= state.renewal.due {
                    self.look_after(state, after, now);
                }
            });
            let mut state = self.state();
            let at = state.renewal.due.min(state.next_look(clock::now()));
            state.renewal.wakes_at = at;
            let asleep = match at {
                u64::MAX => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                // A second at most: the machine may sleep meanwhile, and a condition variable's clock with it.
                _ => {
                    let left = left_until(at).min(Duration::from_secs(1));
                    self.changed
                        .wait_timeout(state, left)
                        .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
                }
            };
            drop(asleep);
        }
    }

    /// Everything that is due.
    fn look_after(&'static self, state: &mut State, after: &mut After, now: u64) {
        state.renewal.due = u64::MAX;
        self.expire_due(state, after, now);
        if state.link.is_some() && now >= state.renewal() {
            self.tell_orders(state);
            self.renew(state, now);
        }
        self.look_elsewhere(state);
        state.watch(now);
        let waiting = state.records.iter_mut().filter(|(_, record)| record.may_hold && record.look_at <= now);
        for (number, record) in waiting {
            if matches!(record.stage, Stage::Waiting) {
                let waited = now.saturating_sub(record.begun);
                record.look_at = now.saturating_add(waited.clamp(FIRST_LOOK, LAST_LOOK));
                after.looks.push(*number);
            } else {
                record.look_at = u64::MAX;
            }
        }
        state.renewal.due = state.renewal.due.min(state.next_moment(now));
    }

    /// Leases and times that have passed.
    fn expire_due(&'static self, state: &mut State, after: &mut After, now: u64) {
        state.expire_leases(after, now);
        while let Some((at, number)) = state.timers.first().copied()
            && at <= now
        {
            state.timers.remove(&(at, number));
            let Some(record) = state.records.get_mut(&number) else { continue };
            record.timer = None;
            match &record.stage {
                Stage::Waiting | Stage::Asking if record.deadline <= now && record.answered => {
                    self.leave(state, number);
                    state.set_timer(number, now + LEAST_PATIENCE.as_nanos() as u64);
                }
                Stage::Waiting | Stage::Asking if record.answered => {
                    let deadline = record.deadline;
                    state.set_timer(number, deadline);
                }
                Stage::Asking | Stage::Leaving(Leaving::TimedOut) => {
                    if let Some(later) = state.more_patience() {
                        state.set_timer(number, later);
                        continue;
                    }
                    let error = self.unreachable(state, "and it is unknown whether the lock is free");
                    if let Some(record) = state.records.get_mut(&number) {
                        record.uncertain = true;
                    }
                    state.settle(after, number, Err(error));
                }
                // The server has refused to let it go.
                Stage::Abandoned => self.say(state, number, Pace::Gathered),
                Stage::Held(hold) | Stage::Settled(Ok(hold)) if hold.ends <= now => {
                    state.lose(after, number, "it was held for its maximum time (max_hold)");
                }
                _ => {}
            }
        }
    }

    /// Heartbeat, safety net for pushes that were lost, and the detection of dead holders, in one. Many requests
    /// are split into several calls, so that none keeps the server busy for long.
    fn renew(&'static self, state: &mut State, now: u64) {
        let Some(link) = state.link.clone() else { return };
        let (mut held, mut waiting) = (Vec::new(), Vec::new());
        for (number, record) in &state.records {
            if record.hold().is_some() {
                held.push(self.id(*number));
            } else if record.waits() {
                waiting.push((self.id(*number), record.asked.name.as_str()));
            }
        }
        // Requests for one resource together: then it is looked at once.
        waiting.sort_unstable_by_key(|(_, name)| *name);
        let lease = self.address.lease.as_micros().to_string();
        state.renewal.renewed = now;
        state.renewal.next = None;
        for chunk in 0..held.len().max(waiting.len()).div_ceil(RENEWED_AT_ONCE).max(1) {
            let held = part(&held, chunk).join(",");
            let waiting = part(&waiting, chunk);
            let ids = waiting.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(",");
            let mut names: Vec<_> = waiting.iter().map(|(_, name)| *name).collect();
            names.dedup();
            let arguments = [&*self.session, &lease, &held, &ids, &names.join("\u{1f}")];
            state.renewal.renewing += 1;
            let attention = link.attend();
            let answer = Box::new(move |result| {
                self.renewed(now, result);
                drop(attention);
            });
            link.send(&Call { verb: Verb::Renew, arguments: &arguments }, Pace::Now, answer);
        }
    }

    fn renewed(&'static self, sent: u64, result: Result<String, Failure>) {
        let reply = match result {
            Ok(text) => self.read::<Renewed>(&text).map_err(|error| (error, false)),
            Err(Failure::Refused(why)) => Err((self.refused(&why), refusal::passes(&why))),
            // Told by the end of the connection, too (C2).
            Err(Failure::Broken(_)) => return,
        };
        self.with(|state, after| {
            state.renewal.renewing = state.renewal.renewing.saturating_sub(1);
            state.answered = clock::now();
            match reply {
                Ok(reply) if reply.unknown.is_some() => after.close = state.link.clone(),
                Ok(reply) => {
                    state.trouble = None;
                    state.record_contact(after, sent);
                    state.anchor_at(sent, reply.now);
                    let next = reply.next.map(|micros| state.local(micros).saturating_add(10_000_000));
                    state.renewal.next = [state.renewal.next, next].into_iter().flatten().min();
                    self.told(state, after, &reply, sent);
                }
                // Nothing is wrong with the next one.
                Err((_, true)) => {}
                // Not renewed: the deadline says what that means.
                Err((error, _)) => state.trouble = Some(error),
            }
            let due = state.renewal();
            self.keep(state, due);
        });
    }

    /// The answer of a renewal about our requests.
    fn told(&'static self, state: &mut State, after: &mut After, reply: &Renewed, sent: u64) {
        for granted in &reply.granted {
            if let Some(number) = self.number(&granted.request) {
                Client::granted(state, after, number, &granted.grant, sent, 0);
            }
        }
        for id in &reply.lost {
            let Some(number) = self.number(id) else { continue };
            let Some(record) = state.records.get_mut(&number) else { continue };
            match record.stage {
                // It was silent for too long, and has lost its place: it asks again.
                Stage::Waiting => {
                    let at = state.ask_again(number);
                    state.set_timer(number, at);
                    self.say(state, number, Pace::Now);
                }
                _ => state.lose(after, number, "the server no longer has it (its lease ended, or it was broken)"),
            }
        }
    }
}

impl State {
    /// Has the connection read while something has been held for longer than a moment: its end, and word that an
    /// operator broke a lock, come unasked.
    fn watch(&mut self, now: u64) {
        if self.held_since().is_some_and(|since| now >= since.saturating_add(LOOK)) {
            self.renewal.watch = self.renewal.watch.take().or_else(|| self.attend());
        } else {
            self.renewal.watch = None;
        }
    }

    /// Since when something has been held.
    fn held_since(&self) -> Option<u64> {
        self.records.values().filter_map(|record| record.hold()).map(|hold| hold.since).min()
    }

    /// When the first grant could be lost.
    fn loss(&self) -> Option<u64> {
        let deadline = |learned| self.lease.deadline(learned);
        self.records.values().filter_map(|record| record.hold()).map(|hold| deadline(hold.learned)).min()
    }

    /// When the session must make contact next.
    fn renewal(&self) -> u64 {
        if self.renewal.renewing > 0 {
            return u64::MAX;
        }
        let confirmed = |learned| self.lease.deadline(learned) == self.lease.deadline(0);
        let (mut any, mut waits) = (false, false);
        for record in self.records.values() {
            let hold = record.hold();
            any |= hold.is_some() || record.waits();
            waits |= record.waits() || hold.is_some_and(|hold| !confirmed(hold.learned));
        }
        if !any {
            return u64::MAX;
        }
        let renewed = self.renewal.renewed;
        // Who only holds need not say that it lives while its calls say so. Who waits has to look after the queue, and
        // on a new connection a session must learn what it lost.
        let told = if waits || renewed == 0 { renewed } else { renewed.max(self.lease.last_contact()) };
        let due = told.saturating_add(self.lease.interval(waits));
        self.renewal.next.filter(|_| waits).map_or(due, |next| due.min(next))
    }

    /// When the renewal goes through the requests for the sake of one that comes now. (To watch, if it is held then:
    /// many have ended before that.)
    pub(super) fn beat(&self) -> u64 {
        if self.renewal.watch.is_none() { LOOK } else { self.lease.interval(true) }
    }

    /// When the connection is looked at (L5).
    fn next_look(&self, now: u64) -> u64 {
        let looks = self.lease.is_guarded() && self.link.is_some() && !self.records.is_empty();
        if looks { now.saturating_add(LOOK) } else { u64::MAX }
    }

    /// The next moment at which something is due.
    fn next_moment(&self, now: u64) -> u64 {
        let looks = self.records.values().filter(|record| record.may_hold && record.waits());
        let look = looks.map(|record| record.look_at).min();
        let timer = self.timers.first().map(|(at, _)| *at);
        let due = if self.link.is_some() { self.renewal() } else { u64::MAX };
        let unwatched = self.renewal.watch.is_none();
        let watch = self.held_since().filter(|_| unwatched).map(|since| since.max(now).saturating_add(LOOK));
        // While there is something to look after, it looks: so nothing that comes up in between has to wake it. (A
        // request that waits for its answer now may wait for its turn then.)
        let beat = if self.records.is_empty() { u64::MAX } else { now.saturating_add(self.lease.interval(true)) };
        [look, timer, watch, self.loss(), Some(due), Some(beat)].into_iter().flatten().min().unwrap_or(u64::MAX)
    }
}

fn part<T>(all: &[T], chunk: usize) -> &[T] {
    all.chunks(RENEWED_AT_ONCE).nth(chunk).unwrap_or_default()
}
