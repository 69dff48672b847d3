//! What one process has at a server: a session, a connection, and its requests.
//!
//! - C1. One mutex guards the state, and calls are written while it is held. So the order of calls on
//!   the connection is the order of the stages: nothing is cancelled before it is asked for.
//! - C2. Nobody is woken or told anything while it is held ([`After`]). A call on a connection that has
//!   ended is answered `Broken` at once, by the thread that sends it: such an answer takes no lock.
//! - C3. A connection that ends loses nothing: on the next one the session introduces itself again and
//!   says what every stage demands (R1).
//! - C4. A forked child never uses its parent's client; it makes its own (see [`super::Cluster`]).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    address::Address,
    clock,
    lease::{HEARTBEAT, Lease},
    protocol::{Call, Verb},
    reply::{Granted, Hello, Reply},
    request::{Asked, Hold, Leaving, Record, Stage, Tell, Wake},
    wire::{Attention, Failure, Link, Pace},
};
use crate::{
    engine::Ending,
    error::{Busy, Error, ErrorKind},
};

/// How long a server may take to answer before it counts as out of reach.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The same for requests that were not ready to wait so long. A server that has answered something within
/// this time is at work, and answers in order: its answers are waited for.
pub(super) const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// How many requests are asked at once on a connection.
const ASKED_AT_ONCE: usize = 256;

/// The layout of scripts and schema that this library speaks.
pub(super) const LAYOUT: u32 = 1;

pub(super) struct Client {
    pub(super) pid: u32,
    pub(super) address: Address,
    pub(super) url: String,
    /// Sixteen hexadecimal digits.
    pub(super) session: String,
    state: Mutex<State>,
    /// For the keeper.
    pub(super) changed: Condvar,
}

pub(super) struct State {
    pub(super) link: Option<Arc<Link>>,
    /// Counts connections, so that a late word of an old one is not taken for the present one's.
    pub(super) connection: u64,
    /// Why there is no link.
    pub(super) trouble: Option<Error>,
    pub(super) lease: Lease,
    pub(super) records: BTreeMap<u64, Record>,
    /// Requests that are to be asked when there is room for them, the first first: a connection with too many
    /// questions under way would keep renewals waiting behind them.
    backlog: VecDeque<u64>,
    /// How many are asked and not answered.
    asked: usize,
    /// When the last answer came.
    pub(super) answered: u64,
    /// When requests of futures give up, and what else has its time.
    pub(super) timers: BTreeSet<(u64, u64)>,
    /// A moment on the clock of leases, and what the server's clock (microseconds) showed then or later.
    anchor: (u64, u64),
    pub(super) keeper: super::keeper::Keeper,
}

/// What is done when the state's lock is given back (C2).
#[derive(Default)]
pub(super) struct After {
    pub(super) wakes: Vec<Wake>,
    pub(super) tells: Vec<(Tell, Error)>,
    pub(super) looks: Vec<u64>,
    /// A connection that is of no more use.
    pub(super) close: Option<Arc<Link>>,
    /// Dropped without the lock: what callers gave us may do anything when it is dropped.
    pub(super) dropped: Vec<Record>,
    pub(super) untold: Vec<Tell>,
}

impl Client {
    /// A client without a connection.
    pub(super) fn new(address: &Address, url: &str) -> &'static Client {
        let seed = RandomState::new();
        let session = seed.hash_one((std::process::id(), clock::now(), &url)) | 1;
        // Postgres takes it for a signed number: the sign is left out.
        let session = format!("{:016x}", session & !(1 << 63));
        Box::leak(Box::new(Client {
            pid: std::process::id(),
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
                keeper: super::keeper::Keeper::default(),
            }),
            changed: Condvar::new(),
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

    /// Changes the state, then wakes and tells whom that concerns (C2).
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

    /// Says what the stage of a request demands (R1). Without a connection it is said on the next one.
    pub(super) fn say(&'static self, state: &mut State, number: u64, pace: Pace) {
        let State { link: Some(link), records, backlog, asked: under_way, .. } = state else { return };
        let Some(record) = records.get_mut(&number) else { return };
        if !record.blocking && record.attention.is_none() {
            record.attention = Some(link.attend());
        }
        let id = self.id(number);
        let asked = &record.asked;
        match &record.stage {
            Stage::Asking | Stage::Waiting if *under_way >= ASKED_AT_ONCE => backlog.push_back(number),
            Stage::Asking | Stage::Waiting => {
                *under_way += 1;
                self.say_acquire(link, number, &id, asked, pace);
            }
            Stage::Leaving(why) => {
                let (why, still) = match why {
                    Leaving::TimedOut => ("timeout", ""),
                    Leaving::Deadlock { still, .. } => ("deadlock", still.as_str()),
                };
                let arguments = [&*self.session, &id, &asked.name, why, "1", still];
                self.send(link, number, Verb::Cancel, &arguments, pace);
            }
            Stage::Forsaken => {
                let arguments = [&*self.session, &id, &asked.name, "cancel", "0", ""];
                self.send(link, number, Verb::Cancel, &arguments, pace);
            }
            Stage::Releasing(ending) => {
                let ending = if *ending == Ending::Panicked { "panicked" } else { "normal" };
                self.send(link, number, Verb::Release, &[&*self.session, &id, &asked.name, ending], pace);
            }
            // Told by a renewal.
            Stage::Settled(_) | Stage::Held(_) | Stage::Lost(_) | Stage::Released(_) => {}
        }
    }

    /// A question is answered: there is room for the next.
    fn say_next(&'static self, state: &mut State) {
        state.asked = state.asked.saturating_sub(1);
        while state.asked < ASKED_AT_ONCE
            && let Some(number) = state.backlog.pop_front()
        {
            // It may have been forsaken meanwhile, and the server told so.
            if state.records.get(&number).is_some_and(|record| matches!(record.stage, Stage::Asking | Stage::Waiting)) {
                self.say(state, number, Pace::Gathered);
            }
        }
    }

    fn say_acquire(&'static self, link: &Arc<Link>, number: u64, id: &str, asked: &Asked, pace: Pace) {
        let ancestors = asked.ancestors.iter().map(|id| format!("{id:016x}")).collect::<Vec<_>>().join(".");
        let arguments = [
            &*self.session,
            id,
            &asked.name,
            asked.mode.as_str(),
            &format!("{:016x}", asked.owner),
            &ancestors,
            &asked.label,
            &asked.note,
            &asked.priority.to_string(),
            if asked.waits { "1" } else { "0" },
            &asked.max_hold.to_string(),
        ];
        self.send(link, number, Verb::Acquire, &arguments, pace);
    }

    fn send(&'static self, link: &Arc<Link>, number: u64, verb: Verb, arguments: &[&str], pace: Pace) {
        let sent = clock::now();
        let answer = Box::new(move |result| self.answered(number, verb, sent, result));
        link.send(&Call { verb, arguments }, pace, answer);
    }

    /// The answer to a verb about a request, or word that there will be none.
    fn answered(&'static self, number: u64, verb: Verb, sent: u64, result: Result<String, Failure>) {
        let reply = match result {
            // It is said again on the next connection (R1).
            Err(Failure::Broken(_)) => return,
            Err(Failure::Refused(why)) => Err(self.refused(&why)),
            Ok(text) => self.read::<Reply>(&text),
        };
        self.with(|state, after| {
            state.answered = clock::now();
            if verb == Verb::Acquire {
                self.say_next(state);
            }
            match reply {
                Ok(reply) if reply.unknown.is_some() => {
                    after.close = state.link.clone();
                    return;
                }
                Ok(reply) => {
                    state.lease.answered(sent);
                    self.apply(state, after, number, verb, sent, reply);
                }
                Err(error) => state.refuse(after, number, error),
            }
            let at = state.timers.first().map_or(u64::MAX, |(at, _)| *at);
            self.keep(state, at);
        });
    }

    fn apply(&'static self, state: &mut State, after: &mut After, number: u64, verb: Verb, sent: u64, reply: Reply) {
        if let Some(granted) = &reply.granted {
            let hold = state.hold_of(number, granted, sent, 0);
            return state.settle(after, number, hold.ok_or_else(|| self.nonsense("a grant of an unknown request")));
        }
        let Some(record) = state.records.get_mut(&number) else { return };
        let now = clock::now();
        match (verb, &record.stage) {
            (Verb::Acquire, Stage::Asking) if reply.queued.is_some() => {
                record.stage = Stage::Waiting;
                // The time to wait begins when it is known that it waits, so that the server counts no less.
                record.deadline = record.deadline.saturating_add(now.saturating_sub(record.begun));
                if record.may_hold {
                    record.look_at = now.saturating_add(HEARTBEAT);
                    after.looks.push(number);
                }
                if record.blocking {
                    after.wakes.push(std::mem::take(&mut record.wake));
                } else {
                    let deadline = record.deadline;
                    state.set_timer(number, deadline);
                }
            }
            (Verb::Acquire, Stage::Asking) => {
                if let Some(left) = reply.busy {
                    let busy = self.busy(left, now.saturating_sub(record.begun));
                    let error = Error::would_block(&record.asked.name, record.asked.mode, busy);
                    state.settle(after, number, Err(error));
                }
            }
            (Verb::Cancel, Stage::Leaving(_)) if reply.stays.is_some() => {
                record.stage = Stage::Waiting;
                after.looks.push(number);
            }
            (Verb::Cancel, Stage::Leaving(why)) => {
                let waited = now.saturating_sub(record.begun);
                let busy = match reply.left {
                    Some(left) => self.busy(left, waited),
                    None => Busy { waited: Duration::from_nanos(waited), ..Busy::default() },
                };
                let (name, mode) = (&record.asked.name, record.asked.mode);
                let error = match why {
                    Leaving::TimedOut => Error::timed_out(name, mode, busy),
                    Leaving::Deadlock { cycle, .. } => Error::deadlock(name, mode, cycle.clone()),
                };
                state.settle(after, number, Err(error));
            }
            (Verb::Cancel, Stage::Forsaken) => state.forget(after, number),
            (Verb::Release, Stage::Releasing(_)) => {
                // Said twice, the first may have been heard, and its answer lost.
                let lost = reply.lost.is_some() && !record.said_again;
                let lost = lost.then(|| lost_error(&record.asked.name, "the server no longer had it"));
                state.released(after, number, lost.map_or(Ok(()), Err));
            }
            // Said again on a new connection, or overtaken by a push (R2).
            _ => {}
        }
    }

    /// A request that the server has queued was granted by somebody else's verb, or is told so anew.
    pub(super) fn granted(
        state: &mut State,
        after: &mut After,
        number: u64,
        granted: &Granted,
        sent: u64,
        learned: u64,
    ) {
        if let Some(hold) = state.hold_of(number, granted, sent, learned) {
            state.settle(after, number, Ok(hold));
        }
    }

    /// The connection `number` is there: introduces the session and says everything again (C3).
    pub(super) fn connected(&'static self, link: &Arc<Link>, connection: u64) {
        self.with(|state, after| {
            state.link = Some(Arc::clone(link));
            state.connection = connection;
            state.trouble = None;
            state.lease.connected();
            state.backlog.clear();
            state.asked = 0;
            self.say_hello(link);
            let numbers: Vec<u64> = state.records.keys().copied().collect();
            for number in numbers {
                if let Some(record) = state.records.get_mut(&number) {
                    record.said_again = true;
                    record.attention = None;
                    if let Wake::Thread(thread) = &record.wake {
                        after.wakes.push(Wake::Thread(thread.clone()));
                    }
                }
                self.say(state, number, Pace::Gathered);
            }
            state.keeper.connected();
            self.keep(state, 0);
        });
    }

    fn say_hello(&'static self, link: &Arc<Link>) {
        let sent = clock::now();
        let guarded = if self.address.guarded { "1" } else { "0" };
        let lease = self.address.lease.as_micros().to_string();
        let (pid, host, program) = (self.pid.to_string(), super::introduction::host(), super::introduction::program());
        let arguments = [&*self.session, &lease, &pid, &host, &program, guarded];
        let attention = link.attend();
        let answer = Box::new(move |result: Result<String, Failure>| {
            drop(attention);
            self.greeted(sent, result);
        });
        link.send(&Call { verb: Verb::Hello, arguments: &arguments }, Pace::Now, answer);
    }

    fn greeted(&'static self, sent: u64, result: Result<String, Failure>) {
        let hello = match result {
            Err(Failure::Broken(_)) => return,
            Err(Failure::Refused(why)) => Err(self.refused(&why)),
            Ok(text) => self.read::<Hello>(&text),
        };
        self.with(|state, after| match hello {
            Ok(hello) if hello.layout == LAYOUT => {
                state.lease.answered(sent);
                state.anchor = (sent, hello.now);
            }
            Ok(hello) => {
                let text = format!("{} has layout {}, this library speaks {LAYOUT}", self.url, hello.layout);
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
                    Some(Err(Failure::Refused(why))) => return Err(self.refused(&why)),
                    Some(Err(Failure::Broken(_))) | None => {}
                }
            }
            let state = self.state();
            if clock::now() >= until {
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

    fn nonsense(&self, what: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{} answers what it should not: {what}", self.url))
    }

    /// A server's refusal as our error.
    pub(super) fn refused(&self, why: &str) -> Error {
        let starts = |words: &[&str]| words.iter().any(|word| why.starts_with(word));
        let kind = if starts(&["NOPERM", "NOAUTH", "WRONGPASS", "42501", "28"]) {
            ErrorKind::Permission
        } else if starts(&["OOM", "53", "MISCONF"]) {
            ErrorKind::Full
        } else {
            ErrorKind::Corrupt
        };
        Error::new(kind, format!("{} refuses: {why}", self.url))
    }
}

impl State {
    /// Until when an answer that is late is waited for; `None`: the server is silent.
    pub(super) fn more_patience(&self) -> Option<u64> {
        let now = clock::now();
        let least = LEAST_PATIENCE.as_nanos() as u64;
        let works = self.link.as_ref().is_some_and(|link| link.is_open()) && now.saturating_sub(self.answered) < least;
        works.then(|| now.saturating_add(least))
    }

    /// A grant as we keep it. `sent`: when the call was sent whose answer tells of it.
    fn hold_of(&self, number: u64, granted: &Granted, sent: u64, learned: u64) -> Option<Hold> {
        let record = self.records.get(&number)?;
        let now = clock::now();
        let since = self.local(granted.since).clamp(record.begun, now);
        let max_hold = record.asked.max_hold.saturating_mul(1000);
        Some(Hold {
            token: granted.token,
            mode: record.asked.mode,
            owner: u64::from_str_radix(&granted.owner, 16).ok()?,
            waited: granted.waited.saturating_mul(1000),
            since,
            learned,
            ends: if max_hold == 0 { u64::MAX } else { since.min(sent.max(record.begun)).saturating_add(max_hold) },
        })
    }

    /// The earliest moment on the clock of leases at which the server's clock can have shown `micros`.
    pub(super) fn local(&self, micros: u64) -> u64 {
        let (local, server) = self.anchor;
        let offset = (i128::from(micros) - i128::from(server)) * 1000;
        u64::try_from(i128::from(local) + offset).unwrap_or(0)
    }

    pub(super) fn anchor_at(&mut self, sent: u64, server: u64) {
        self.anchor = (sent, server);
    }

    /// A request that waits for its answer or its turn has it.
    pub(super) fn settle(&mut self, after: &mut After, number: u64, result: Result<Hold, Error>) {
        let Some(record) = self.records.get_mut(&number) else { return };
        if matches!(record.stage, Stage::Asking | Stage::Waiting | Stage::Leaving(_)) {
            let ends = result.as_ref().map_or(u64::MAX, |hold| hold.ends);
            record.stage = Stage::Settled(result);
            after.wakes.push(std::mem::take(&mut record.wake));
            self.set_timer(number, ends);
        }
    }

    /// The server refuses what the stage demanded.
    fn refuse(&mut self, after: &mut After, number: u64, error: Error) {
        let Some(record) = self.records.get(&number) else { return };
        match &record.stage {
            Stage::Forsaken => self.forget(after, number),
            Stage::Releasing(_) => self.released(after, number, Err(error)),
            _ => self.settle(after, number, Err(error)),
        }
    }

    fn released(&mut self, after: &mut After, number: u64, result: Result<(), Error>) {
        let Some(record) = self.records.get_mut(&number) else { return };
        if record.blocking {
            record.stage = Stage::Released(result);
            after.wakes.push(std::mem::take(&mut record.wake));
        } else {
            self.forget(after, number);
        }
    }

    pub(super) fn forget(&mut self, after: &mut After, number: u64) {
        self.set_timer(number, u64::MAX);
        after.dropped.extend(self.records.remove(&number));
    }

    /// What was held is held no more (L4).
    pub(super) fn lose(&mut self, after: &mut After, number: u64, why: &str) {
        let Some(record) = self.records.get_mut(&number) else { return };
        let error = lost_error(&record.asked.name, why);
        match &record.stage {
            Stage::Held(_) => {
                let tells = std::mem::take(&mut record.tell);
                after.tells.extend(tells.into_values().map(|tell| (tell, error.clone())));
                record.stage = Stage::Lost(error);
            }
            Stage::Settled(Ok(_)) => {
                record.stage = Stage::Settled(Err(error));
                record.uncertain = true;
            }
            _ => return,
        }
        self.set_timer(number, u64::MAX);
    }

    /// Has the keeper look at a request at `at`, and at no other time; `u64::MAX` is never.
    pub(super) fn set_timer(&mut self, number: u64, at: u64) {
        let Some(record) = self.records.get_mut(&number) else { return };
        if let Some(old) = record.timer.take() {
            self.timers.remove(&(old, number));
        }
        if at != u64::MAX {
            record.timer = Some(at);
            self.timers.insert((at, number));
        }
    }

    pub(super) fn attend(&self) -> Option<Attention> {
        self.link.as_ref().map(|link| link.attend())
    }
}

pub(super) fn lost_error(name: &str, why: &str) -> Error {
    let text = format!("the lock {name:?} is lost: {why}; stop, and check what was written with its fencing token");
    Error::new(ErrorKind::Lost, text).on(name)
}

pub(super) fn left_until(until: u64) -> Duration {
    Duration::from_nanos(until.saturating_sub(clock::now()))
}

/// A moment on the clock of leases as a deadline for I/O; `None` is far away.
pub(super) fn instant(until: u64) -> Option<Instant> {
    Instant::now().checked_add(left_until(until))
}
