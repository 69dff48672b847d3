//! A process's client of a server: a session, a connection, and its requests.
//!
//! - C1. One mutex guards the state, and calls are written while it is held. So the order of calls on the
//!   connection is the order of the stages: nothing is cancelled before it is requested.
//! - C2. Nobody is woken and no callback runs while it is held ([`After`]). A call on a connection that has
//!   ended is answered `Broken` at once, by the thread that sends it: such an answer takes no lock.
//! - C3. A connection that ends loses nothing: on the next one the session repeats its handshake and
//!   resends what every stage requires (R1).
//! - C4. A forked child never uses its parent's client; it makes its own (see [`super::Cluster`]).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use super::{
    address::Address,
    clock,
    lease::Lease,
    orders::Orders,
    protocol::{Call, Verb},
    reconcile::MOST_REFUSALS,
    refusal,
    reply::Hello,
    request::{Stage, Wake},
    state::{After, State},
    wire::{Failure, Link, Pace},
};
use crate::{
    os::{fork_generation::ForkGeneration, owner_id},
    words::error::{Error, ErrorKind},
};

/// How long a server may take to answer before it counts as out of reach.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The same for requests that were not ready to wait so long. A server that has answered something within
/// this time is at work, and answers in order: its answers are waited for.
pub(super) const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// The layout of scripts and schema that this library speaks.
pub(super) const LAYOUT: u32 = 2;

pub(super) struct Client {
    /// The process that it belongs to.
    pub(super) process: ForkGeneration,
    pub(super) address: Address,
    pub(super) url: String,
    /// Sixteen hexadecimal digits.
    pub(super) session: String,
    state: Mutex<State>,
    /// For the renewal.
    pub(super) changed: Condvar,
    /// Whether a call was found to be carried out on another connection than ours.
    pub(super) multiplexed: Arc<AtomicBool>,
}

impl Client {
    /// A client without a connection.
    pub(super) fn new(address: &Address, url: &str) -> &'static Client {
        let session = owner_id::random() | 1;
        // Postgres takes it for a signed number: the sign is left out.
        let session = format!("{:016x}", session & !(1 << 63));
        Box::leak(Box::new(Client {
            process: ForkGeneration::current(),
            address: address.clone(),
            url: url.to_owned(),
            session,
            state: Mutex::new(State {
                link: None,
                connection: 0,
                trouble: None,
                lease: Lease::new(address.lease, address.guarded),
                records: BTreeMap::new(),
                backlog: VecDeque::new(),
                asked: 0,
                answered: 0,
                timers: BTreeSet::new(),
                anchor: (0, 0),
                renewal: super::renewal::Renewal::default(),
                orders: Orders::default(),
                looks_elsewhere: false,
            }),
            changed: Condvar::new(),
            multiplexed: Arc::default(),
        }))
    }

    /// In a forked child: closes its copy of the connection, so that the server sees the parent's end.
    /// Not while a thread that the child does not have was at work with it.
    pub(super) fn leave_to_parent(&self) {
        if let Ok(mut state) = self.state.try_lock() {
            state.link = None;
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes and notifies those concerned (C2).
    pub(super) fn with<R>(&'static self, change: impl FnOnce(&mut State, &mut After) -> R) -> R {
        let mut after = After::default();
        let result = change(&mut self.state(), &mut after);
        self.finish(after);
        result
    }

    fn finish(&'static self, after: After) {
        for wake in after.wakes {
            match wake {
                Wake::Nobody => {}
                Wake::Thread(thread) => thread.unpark(),
                Wake::Task(waker) => waker.wake(),
            }
        }
        for (tell, error) in after.tells {
            tell(error);
        }
        for number in after.says {
            self.say_what_is_left(number);
        }
        if !after.looks.is_empty() {
            self.look(after.looks);
        }
        if let Some(link) = after.close {
            link.close();
        }
    }

    pub(super) fn id(&self, number: u64) -> String {
        format!("{}.{number}", self.session)
    }

    /// The number of one of this session's requests.
    pub(super) fn number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&*self.session)?.strip_prefix('.')?.parse().ok()
    }

    pub(super) fn unreachable(&self, state: &State, what: &str) -> Error {
        let why = state.trouble.as_ref().map_or_else(|| "it does not answer".to_owned(), ToString::to_string);
        // A server that does not let us in any more is no better reached later.
        let kind = match state.trouble.as_ref().map(Error::kind) {
            Some(kind @ (ErrorKind::Permission | ErrorKind::Unsupported)) => kind,
            _ => ErrorKind::Unreachable,
        };
        Error::new(kind, format!("{} is out of reach, {what}: {why}", self.url))
    }

    /// The connection `number` is open: sends the handshake and resends every request (C3).
    pub(super) fn connected(&'static self, link: &Arc<Link>, connection: u64) {
        self.with(|state, after| {
            state.link = Some(Arc::clone(link));
            state.connection = connection;
            // Leases that expired before stay lost (L4).
            state.expire_leases(after, clock::now());
            state.orders.forget();
            if link.proves_life() {
                state.lease.guard(self.address.guarded);
            }
            // Where it no longer proves our life, the server must learn that first (`handshake_done`).
            if link.proves_life() || !state.lease.is_guarded() {
                state.lease.connected();
            }
            state.look_at_connection();
            state.backlog.clear();
            state.asked = 0;
            self.say_hello(link);
            let numbers: Vec<u64> = state.records.keys().copied().collect();
            for number in numbers {
                if let Some(record) = state.records.get_mut(&number) {
                    // Calls sent on the last connection may have been received.
                    record.uncertain |= matches!(record.stage, Stage::Asking | Stage::Waiting | Stage::Leaving(_));
                    record.attention = None;
                    if let Wake::Thread(thread) = &record.wake {
                        after.wakes.push(Wake::Thread(thread.clone()));
                    }
                }
                self.say(state, number, Pace::Gathered);
            }
            state.renewal.connected();
            self.keep(state, 0);
        });
    }

    fn say_hello(&'static self, link: &Arc<Link>) {
        let sent = clock::now();
        let guarded = if self.address.guarded && link.proves_life() { "1" } else { "0" };
        let lease = self.address.lease.as_micros().to_string();
        let (pid, host, program) =
            (std::process::id().to_string(), super::introduction::host(), super::introduction::program());
        let arguments = [&*self.session, &lease, &pid, &host, &program, guarded];
        let attention = link.attend();
        let answer = Box::new(move |result: Result<String, Failure>| {
            drop(attention);
            self.handshake_done(sent, guarded == "1", result);
        });
        link.send(&Call { verb: Verb::Hello, arguments: &arguments }, Pace::Now, answer);
    }

    fn handshake_done(&'static self, sent: u64, guarded: bool, result: Result<String, Failure>) {
        let hello = match result {
            Err(Failure::Broken(_)) => return,
            Err(Failure::Refused(why)) => Err(self.refused(&why)),
            Ok(text) => self.read::<Hello>(&text),
        };
        self.with(|state, after| match hello {
            Ok(hello) if hello.layout == LAYOUT => {
                state.trouble = None;
                state.expire_leases(after, clock::now());
                state.lease.guard(guarded);
                state.lease.connected();
                state.record_contact(after, sent);
                state.anchor = (sent, hello.now);
            }
            Ok(hello) => {
                let text = format!("{} has layout {}, this library supports {LAYOUT}", self.url, hello.layout);
                state.trouble = Some(Error::new(ErrorKind::Unsupported, text));
                after.close = state.link.clone();
            }
            Err(error) => {
                state.trouble = Some(error);
                after.close = state.link.clone();
            }
        });
    }

    /// Asks the server something that is about no request of ours, and waits for the answer.
    /// On a new connection it is asked again: only for what may be asked twice.
    pub(super) fn call(&'static self, verb: Verb, arguments: &[&str], patience: Duration) -> Result<String, Error> {
        let until = clock::now().saturating_add(patience.as_nanos() as u64);
        let mut refusals = 0;
        loop {
            let slot = Arc::new(Mutex::new(None));
            let link = self.state().link.clone();
            if let Some(link) = link {
                let (filled, caller) = (Arc::clone(&slot), thread::current());
                let answer = Box::new(move |result| {
                    *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                    caller.unpark();
                });
                link.send(&Call { verb, arguments }, Pace::Now, answer);
                let mut answer = None;
                let mut done = || {
                    answer = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                    answer.is_some()
                };
                let mut patience = Some(until);
                while let Some(until) = patience
                    && !link.wait(instant(until), &mut done)
                {
                    patience = self.state().more_patience().filter(|_| link.is_open());
                }
                match answer {
                    Some(Ok(text)) => return Ok(text),
                    Some(Err(Failure::Refused(why))) if refusal::passes(&why) && refusals < MOST_REFUSALS => {
                        refusals += 1;
                        continue;
                    }
                    Some(Err(Failure::Refused(why))) => return Err(self.refused(&why)),
                    Some(Err(Failure::Broken(_))) | None => {}
                }
            }
            let mut state = self.state();
            if clock::now() >= until {
                self.look_elsewhere(&mut state);
                return Err(self.unreachable(&state, verb.name()));
            }
            drop(state);
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// [`Client::call`] and the reading of its answer.
    pub(super) fn ask<T: serde::de::DeserializeOwned>(
        &'static self,
        verb: Verb,
        arguments: &[&str],
    ) -> Result<T, Error> {
        self.read(&self.call(verb, arguments, PATIENCE)?)
    }

    /// Blocks this thread until `done`, reading for all if nobody else does; `false` if it is not done
    /// at `until`.
    pub(super) fn wait(&'static self, until: u64, done: &mut dyn FnMut() -> bool) -> bool {
        loop {
            if done() {
                return true;
            }
            if clock::now() >= until {
                return false;
            }
            let link = self.state().link.clone();
            match link {
                Some(link) if link.is_open() => {
                    if link.wait(instant(until), done) {
                        return true;
                    }
                }
                _ => thread::park_timeout(Duration::from_millis(20).min(left_until(until))),
            }
        }
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T, Error> {
        serde_json::from_str(text).map_err(|error| self.nonsense(&format!("{error} in {text:.200}")))
    }

    pub(super) fn nonsense(&self, what: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{} sent an unexpected answer: {what}", self.url))
    }

    /// A server's refusal as our error.
    pub(super) fn refused(&self, why: &str) -> Error {
        Error::new(refusal::kind(why), format!("{} refuses: {why}", self.url))
    }
}

pub(super) fn left_until(until: u64) -> Duration {
    Duration::from_nanos(until.saturating_sub(clock::now()))
}

/// A moment on the clock of leases as a deadline for I/O; `None` is far away.
pub(super) fn instant(until: u64) -> Option<Instant> {
    Instant::now().checked_add(left_until(until))
}
