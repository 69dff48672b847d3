//! Replays a history on an engine, beside the specification.

#![cfg_attr(not(feature = "cluster"), allow(dead_code, reason = "what only servers need"))]

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    history::{Cast, Deed, NAMES, Step},
    specification::{Outcome, Request, Specification},
    tokens::Tokens,
};
use crate::{
    engine::{Ask, Ending, Engine, Grant, Progress, Terms, Ticket, Wait, Who, table::advance_clock},
    words::{
        deadlock::DeadlockPolicy,
        error::{Error, ErrorKind},
        name::Name,
        owner_id::OwnerId,
        settings::{Fairness, Settings},
    },
};

/// How an engine learns the virtual time (D4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// The table's clock is fed.
    Fed,
    /// A server's clock is its own. But to have come a second later is the same as a priority of one less, so
    /// each virtual second takes so much off the priorities. A history must not last as long in real time.
    ByPriority,
}

/// What a virtual second is worth in priorities, so in real seconds.
const STRETCH: i16 = 8;

/// Moves priorities to the middle of their range.
const MIDDLE: i16 = 9;

/// How long requests wait if nobody grants them: until a step looks.
const PATIENCE: Duration = Duration::from_nanos(1);

/// A history of a server that fails and took so long proves nothing: virtual seconds may have met real ones
/// (`STRETCH`), and a request that a busy server does not answer within a second fails as unreachable.
const TOO_LONG: Duration = Duration::from_millis(900);
const _: () = assert!(TOO_LONG.as_millis() < STRETCH as u128 * 1000 / 3);

/// Replays until it was quick enough to judge by.
pub(super) fn patiently(engine: &'static dyn Engine, steps: &[Step]) -> Result<(), String> {
    for _ in 0..10 {
        let start = Instant::now();
        let outcome = replay(engine, Pace::ByPriority, steps);
        if outcome.is_ok() || start.elapsed() < TOO_LONG {
            return outcome;
        }
    }
    Err(format!("ten replays took longer than {TOO_LONG:?} each: this server is too slow to tell"))
}

/// Replays the steps on two fresh resources, then releases what is held until nobody waits.
pub(super) fn replay(engine: &'static dyn Engine, pace: Pace, steps: &[Step]) -> Result<(), String> {
    let mut cast = Cast::new();
    // The second name begins with the first: who reads a range of keys must not read both.
    let names = ["", "/2"].map(|end| format!("history-{}{end}", cast.number()));
    let mut replay = Replay {
        engine,
        pace,
        names,
        resources: Default::default(),
        tokens: Default::default(),
        tickets: HashMap::new(),
        grants: HashMap::new(),
    };
    if pace == Pace::Fed {
        // The table's time must not go back from one history to the next.
        advance_clock(Duration::from_secs(3600));
    }
    for step in steps {
        replay.step(&mut cast, step)?;
    }
    while replay.resources.iter().any(|resource| !resource.holders.is_empty()) {
        replay.step(&mut cast, &Step::Release { holder: 0 })?;
    }
    (0..NAMES).try_for_each(|name| replay.compare(name)).map_err(|problem| format!("in the end, {problem}"))
}

struct Replay {
    engine: &'static dyn Engine,
    pace: Pace,
    names: [String; NAMES],
    resources: [Specification; NAMES],
    tokens: [Tokens; NAMES],
    /// Of the waiters, and of the holders, by the number of the request.
    tickets: HashMap<u64, Ticket>,
    grants: HashMap<u64, Grant>,
}

impl Replay {
    fn step(&mut self, cast: &mut Cast, step: &Step) -> Result<(), String> {
        let second = cast.second();
        let deed = cast.apply(&mut self.resources, step);
        if self.pace == Pace::Fed {
            advance_clock(Duration::from_secs((cast.second() - second).into()));
        }
        let Some(deed) = deed else { return Ok(()) };
        self.act(&deed)
            .and_then(|()| self.compare(deed.name()))
            .and_then(|()| self.collect(deed.name()))
            .map_err(|problem| format!("{problem}\nafter {deed:#?}\nspecified: {:#?}", self.resources[deed.name()]))
    }

    /// Does it on the engine.
    fn act(&mut self, deed: &Deed) -> Result<(), String> {
        match deed {
            Deed::Ask { request, ancestors, labelled, may_hold, waits, outcome } => {
                return self.ask(request, ancestors, *labelled, *may_hold, *waits, *outcome);
            }
            Deed::Release(request) => {
                let grant = self.grant_of(request)?;
                self.engine.release(&grant, Ending::Normal, Fairness::Strict).map_err(failed("release"))?;
            }
            Deed::Downgrade(request) => {
                let grant = self.grant_of(request)?;
                let now = self.engine.downgrade(&grant).map_err(failed("downgrade"))?;
                self.grants.insert(request.number, now);
            }
            Deed::Break(request, broken) => {
                let token = self.tokens[request.name].of(request.token).ok_or("a holder without a token")?;
                let name = Name::new(&self.names[request.name]).map_err(failed("name"))?;
                self.engine.revoke(name, token).map_err(failed("revoke"))?;
                // Whoever waits enters now, and not when those whom it was taken from release it.
                self.compare(request.name)?;
                for request in broken {
                    let grant = self.grant_of(request)?;
                    expect(
                        self.engine.release(&grant, Ending::Normal, Fairness::Strict),
                        ErrorKind::Lost,
                        "a release after it was broken",
                    )?;
                }
            }
            Deed::Cancel(request) => self.engine.abandon(&self.ticket_of(request)?),
            Deed::TimeOut(request) => {
                // It timed out as soon as it arrived.
                if self.pace == Pace::Fed {
                    advance_clock(PATIENCE);
                }
                let outcome = self.engine.park(&self.ticket_of(request)?, &mut || true);
                expect(outcome, ErrorKind::TimedOut, "a wait without time")?;
            }
        }
        Ok(())
    }

    fn ask(
        &mut self,
        request: &Request,
        ancestors: &[u64],
        labelled: bool,
        may_hold: bool,
        waits: bool,
        outcome: Outcome,
    ) -> Result<(), String> {
        let (priority, may_hold) = match self.pace {
            Pace::Fed => (request.priority, may_hold),
            // Servers look for what an owner holds in any case; without it, nobody looks for deadlocks.
            Pace::ByPriority => {
                let priority = i16::from(request.priority) - i16::from(request.second) + MIDDLE;
                (i8::try_from(priority * STRETCH).map_err(|error| error.to_string())?, false)
            }
        };
        let label = if labelled { "owner" } else { "" };
        let who = Who { id: request.owner, label: label.to_owned(), ancestors: ancestors.to_vec() };
        let terms = Terms {
            priority,
            policy: DeadlockPolicy::Report,
            // A history takes every grant up at once.
            pass_over_after: u32::MAX,
            ..Terms::of(&Settings::default())
        };
        let name = Name::new(&self.names[request.name]).map_err(failed("name"))?;
        let note = request.number.to_string();
        let ask = Ask { who: Some(&who), note: &note, may_hold, ..Ask::new(name, request.mode, terms) };
        let ask = ask.waiting(if waits { Wait::For(PATIENCE) } else { Wait::No });
        match (self.engine.begin(&ask), outcome) {
            (Ok(Progress::Granted(grant)), Outcome::Granted) => drop(self.grants.insert(request.number, grant)),
            (Ok(Progress::Queued(ticket)), Outcome::Waits) => {
                self.tickets.insert(request.number, Ticket { may_hold: false, ..ticket });
            }
            (Err(error), Outcome::Refused) if error.kind() == ErrorKind::WouldBlock => {}
            (actual, specified) => return Err(format!("the request is {actual:?}, not {specified:?}")),
        }
        Ok(())
    }

    /// Whether the engine shows what the specification says (D3).
    fn compare(&mut self, name: usize) -> Result<(), String> {
        let key = Name::new(&self.names[name]).map_err(failed("name"))?;
        let shown = self.engine.status(Some(key)).map_err(failed("status"))?.remove(&self.names[name]);
        let (holders, waiters) = shown.map(|status| (status.holders, status.waiters)).unwrap_or_default();
        let Specification { holders: held, waiters: waiting, grants } = &self.resources[name];

        let mut seen: Vec<_> = holders.iter().map(|held| (number(&held.note), held.mode, held.owner)).collect();
        let mut specified: Vec<_> =
            held.iter().map(|held| (held.number, held.mode, Some(OwnerId(held.owner)))).collect();
        seen.sort_by_key(|held| held.0);
        specified.sort_by_key(|held| held.0);
        if seen != specified {
            return Err(format!("these hold: {seen:?}\nnot these:  {specified:?}"));
        }
        let seen: Vec<_> = waiters.iter().map(|waiter| (number(&waiter.note), waiter.mode, waiter.owner)).collect();
        let specified: Vec<_> =
            waiting.iter().map(|waiter| (waiter.number, waiter.mode, Some(OwnerId(waiter.owner)))).collect();
        if seen != specified {
            return Err(format!("these wait: {seen:?}\nnot these:  {specified:?}"));
        }
        for held in held {
            let shown = holders.iter().find(|shown| number(&shown.note) == held.number).ok_or("a holder is missing")?;
            let token = held.token.ok_or("a holder without a token")?;
            self.tokens[name].take_in(token, shown.token, grants)?;
        }
        Ok(())
    }

    /// Takes up the grants of those who waited, and looks whether every grant is what is shown of it.
    fn collect(&mut self, name: usize) -> Result<(), String> {
        for held in &self.resources[name].holders {
            if let Some(ticket) = self.tickets.remove(&held.number) {
                let grant = self.engine.park(&ticket, &mut || true).map_err(failed("take a grant up"))?;
                self.grants.insert(held.number, grant.ok_or("a wait ended that nobody ended")?);
            }
            let grant = self.grant_of_held(held)?;
            if (Some(grant.token), grant.mode, self.engine.tenure(&grant).owner)
                != (self.tokens[name].of(held.token), held.mode, held.owner)
            {
                return Err(format!("the holder received {grant:?}, which is not what is shown"));
            }
        }
        Ok(())
    }

    fn grant_of_held(&self, request: &Request) -> Result<Grant, String> {
        self.grants.get(&request.number).copied().ok_or_else(|| format!("no grant of {request:?}"))
    }

    fn grant_of(&mut self, request: &Request) -> Result<Grant, String> {
        self.grants.remove(&request.number).ok_or_else(|| format!("no grant of {request:?}"))
    }

    fn ticket_of(&mut self, request: &Request) -> Result<Ticket, String> {
        self.tickets.remove(&request.number).ok_or_else(|| format!("no ticket of {request:?}"))
    }
}

/// Releases what a failed history has left, so that the engine does not fill up while it shrinks.
impl Drop for Replay {
    fn drop(&mut self) {
        for ticket in self.tickets.values() {
            self.engine.abandon(ticket);
        }
        for grant in self.grants.values() {
            // It has failed already, and says more about it.
            let _ = self.engine.release(grant, Ending::Normal, Fairness::Strict);
        }
    }
}

fn expect<T: std::fmt::Debug>(outcome: Result<T, Error>, kind: ErrorKind, what: &str) -> Result<(), String> {
    match outcome {
        Err(error) if error.kind() == kind => Ok(()),
        other => Err(format!("{what} is {other:?}, not {kind:?}")),
    }
}

fn failed(what: &str) -> impl Fn(Error) -> String + '_ {
    move |error| format!("{what}: {error}")
}

/// The request that a note names.
fn number(note: &str) -> u64 {
    note.parse().unwrap_or(0)
}
