//! The operations of the API on a request: begin it, wait for it, leave, release.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use super::{
    client::{Client, LEAST_PATIENCE, PATIENCE, left_until},
    clock,
    protocol::{Call, Verb},
    reply::Reply,
    request::{Asked, Leaving, Record, Stage, Tell, Wake},
    state::{State, lost_error},
    wire::{Failure, Pace},
};
use crate::{
    engine::{Ask, Ending, Grant, Progress, Tenure, Ticket, Wait, nanos},
    os::owner_id,
    words::{
        error::{Error, ErrorKind},
        lease::{Lease, Standing},
        limits::MAX_NOTE_BYTES,
        mode::Mode,
    },
};

/// The longest sleep of a thread that may be called back.
const SLICE: Duration = Duration::from_millis(50);

/// How often it is looked whether all answers have come.
const GLANCE: Duration = Duration::from_millis(5);

/// How long a thread that gives a lock back waits for the answer while the server is out of reach.
const RELEASE_ACK_TIMEOUT: Duration = Duration::from_secs(1);

impl Client {
    /// Sends the request; never waits.
    pub(super) fn ask_for(&'static self, number: u64, ask: &Ask<'_>) -> Ticket {
        let blocking = ask.parks;
        let begun = clock::now();
        let deadline = match ask.wait() {
            Wait::No => begun,
            Wait::For(time) => begun.saturating_add(nanos(time)),
            Wait::Forever => u64::MAX,
        };
        let asked = Asked {
            name: ask.name.text().to_owned(),
            mode: ask.mode,
            owner: ask.who.map_or_else(owner_id::anonymous, |who| who.id),
            ancestors: ask.ancestors().to_vec(),
            label: ask.who.map_or_else(String::new, |who| who.label.clone()),
            note: shortened(ask.note).to_owned(),
            priority: ask.terms.priority,
            waits: ask.waits,
            at_once: !ask.waits || ask.timeout.time() == Some(Duration::ZERO),
            max_hold: ask.max_hold.time().map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)),
        };
        let record = Record {
            asked,
            stage: Stage::Asking,
            wake: if blocking { Wake::Thread(thread::current()) } else { Wake::Nobody },
            begun,
            deadline,
            timer: None,
            policy: ask.terms.policy,
            may_hold: ask.may_hold,
            look_at: u64::MAX,
            blocking,
            attention: None,
            answered: false,
            asked_again: 0,
            refusals: 0,
            releases: 0,
            uncertain: false,
            tell: BTreeMap::new(),
            taken: None,
        };
        self.with(|state, _| {
            // What is granted here must not depend on a look of long ago (L5).
            state.look_again(begun);
            state.records.insert(number, record);
            let mut at = begun.saturating_add(state.beat());
            if !blocking {
                let unanswered = Self::unanswered_at(begun, deadline);
                state.set_timer(number, unanswered);
                at = at.min(unanswered);
            }
            self.say(state, number, if blocking { Pace::Now } else { Pace::Gathered });
            self.keep(state, at);
        });
        ask.ticket(number, deadline)
    }

    /// When a request has waited long enough for its first answer.
    pub(super) fn unanswered_at(begun: u64, deadline: u64) -> u64 {
        deadline.clamp(begun.saturating_add(nanos(LEAST_PATIENCE)), begun.saturating_add(nanos(PATIENCE)))
    }

    /// Sends the request and waits for the answer.
    pub(super) fn begin(&'static self, number: u64, ask: &Ask<'_>) -> Result<Progress, Error> {
        let ticket = self.ask_for(number, ask);
        let mut until = Self::unanswered_at(clock::now(), ticket.deadline);
        loop {
            while !self.wait(until, &mut || !matches!(self.stage_is_asking(number), Some(true))) {
                let more = self.state().more_patience();
                until = more.ok_or_else(|| self.give_up(number))?;
            }
            match self.take(number) {
                Some(result) => return result.map(Progress::Granted),
                // Its grant came too late to be believed in (R4).
                None if !ask.waits => {}
                None => return Ok(Progress::Queued(ticket)),
            }
        }
    }

    fn stage_is_asking(&self, number: u64) -> Option<bool> {
        Some(matches!(self.state().records.get(&number)?.stage, Stage::Asking))
    }

    /// The server cannot be asked: the caller gets this error, and the request is left as soon as it can be.
    pub(super) fn give_up(&'static self, number: u64) -> Error {
        self.with(|state, _| {
            let error = self.unreachable(state, "and it is unknown whether the lock is free");
            self.abandon_request(state, number);
            error
        })
    }

    /// Nobody waits for this request any more.
    fn abandon_request(&'static self, state: &mut State, number: u64) {
        let Some(record) = state.records.get_mut(&number) else { return };
        record.stage = Stage::Abandoned;
        record.wake = Wake::Nobody;
        // The answer has no thread that waits for it.
        record.blocking = false;
        state.set_timer(number, u64::MAX);
        self.say(state, number, Pace::Gathered);
    }

    /// The outcome of a request that has one; its caller has it from here on.
    fn take(&'static self, number: u64) -> Option<Result<Grant, Error>> {
        self.with(|state, after| {
            // It may have been stopped since the grant came.
            state.expire_leases(after, clock::now());
            let Some(record) = state.records.get_mut(&number) else {
                return Some(Err(Error::new(
                    ErrorKind::Lost,
                    "this request does not belong to this process: it was made before a fork",
                )));
            };
            let Stage::Settled(result) = &record.stage else { return None };
            let result = result.clone();
            match &result {
                Ok(hold) => {
                    record.stage = Stage::Held(*hold);
                    record.taken = Some(*hold);
                    if !record.blocking {
                        record.attention = None;
                    }
                }
                Err(_) if record.uncertain => self.abandon_request(state, number),
                Err(_) => state.forget(after, number),
            }
            Some(result.map(|hold| hold.grant(number)))
        })
    }

    pub(super) fn poll(&'static self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        if let Some(result) = self.take(ticket.handle) {
            return Poll::Ready(result);
        }
        let settled = self.with(|state, _| {
            let attention = state.attend();
            let Some(record) = state.records.get_mut(&ticket.handle) else { return true };
            if matches!(record.stage, Stage::Settled(_)) {
                return true;
            }
            record.wake = Wake::Task(context.waker().clone());
            if record.blocking {
                // It was begun by a thread and continues as a future.
                record.blocking = false;
                record.attention = attention;
                let deadline = record.deadline;
                state.set_timer(ticket.handle, deadline);
                self.keep(state, deadline);
            }
            false
        });
        if settled {
            // It came between the two looks.
            return self.take(ticket.handle).map_or(Poll::Pending, Poll::Ready);
        }
        Poll::Pending
    }

    pub(super) fn park(
        &'static self,
        ticket: &Ticket,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Grant>, Error> {
        let number = ticket.handle;
        self.with(|state, _| {
            if let Some(record) = state.records.get_mut(&number) {
                record.blocking = true;
                record.wake = Wake::Thread(thread::current());
                record.attention = None;
            }
            state.set_timer(number, u64::MAX);
        });
        let mut leaving = None;
        loop {
            if let Some(result) = self.take(number) {
                return result.map(Some);
            }
            if !go_on() {
                self.abandon(ticket);
                return Ok(None);
            }
            let now = clock::now();
            let mut until = leaving.unwrap_or_else(|| self.patience_for(number));
            if now >= until {
                if leaving.is_none() && self.was_answered(number) {
                    self.with(|state, _| self.leave(state, number));
                    until = now.saturating_add(nanos(LEAST_PATIENCE));
                    leaving = Some(until);
                } else {
                    let more = self.state().more_patience();
                    until = more.ok_or_else(|| self.give_up(number))?;
                    leaving = leaving.map(|_| until);
                }
            }
            let slice = now.saturating_add(nanos(SLICE)).min(until);
            self.wait(slice, &mut || {
                self.state().records.get(&number).is_none_or(|record| matches!(record.stage, Stage::Settled(_)))
            });
        }
    }

    fn was_answered(&self, number: u64) -> bool {
        self.state().records.get(&number).is_none_or(|record| record.answered || record.waits())
    }

    /// Until when a thread waits: for its turn as long as it wants to, for the first answer some seconds.
    fn patience_for(&self, number: u64) -> u64 {
        self.state().records.get(&number).map_or(0, |record| {
            let deadline = record.deadline;
            if record.answered || record.waits() { deadline } else { Self::unanswered_at(record.begun, deadline) }
        })
    }

    /// A request has timed out: asks the server to remove it.
    pub(super) fn leave(&'static self, state: &mut State, number: u64) {
        let Some(record) = state.records.get_mut(&number) else { return };
        if matches!(record.stage, Stage::Asking | Stage::Waiting) {
            record.stage = Stage::Leaving(Leaving::TimedOut);
            self.say(state, number, Pace::Now);
        }
    }

    pub(super) fn abandon(&'static self, ticket: &Ticket) {
        self.with(|state, after| {
            let number = ticket.handle;
            let Some(record) = state.records.get(&number) else { return };
            match record.stage {
                Stage::Settled(Err(_)) if !record.uncertain => state.forget(after, number),
                _ => self.abandon_request(state, number),
            }
        });
    }

    pub(super) fn release(&'static self, grant: &Grant, ending: Ending) -> Result<(), Error> {
        let number = grant.handle;
        let waits = self.with(|state, after| {
            state.expire_leases(after, clock::now());
            let Some(record) = state.records.get_mut(&number) else { return Err(not_ours()) };
            match &record.stage {
                Stage::Held(_) => {}
                Stage::Lost(error) => {
                    let error = error.clone();
                    // The server may have it still, if it was out of reach.
                    self.abandon_request(state, number);
                    return Err(error);
                }
                _ => return Err(not_ours()),
            };
            record.stage = Stage::Releasing(ending);
            after.untold.extend(std::mem::take(&mut record.tell).into_values());
            let blocking = record.blocking;
            if blocking {
                record.wake = Wake::Thread(thread::current());
            }
            state.set_timer(number, u64::MAX);
            self.tell_orders(state);
            self.say(state, number, Pace::Now);
            Ok(blocking)
        })?;
        if !waits {
            return Ok(());
        }
        let until = clock::now().saturating_add(nanos(RELEASE_ACK_TIMEOUT));
        let mut outcome = None;
        self.wait(until, &mut || {
            let mut state = self.state();
            let Some(record) = state.records.get(&number) else {
                outcome = Some(Ok(()));
                return true;
            };
            let Stage::Released(result) = &record.stage else { return false };
            outcome = Some(result.clone());
            if record.uncertain {
                self.abandon_request(&mut state, number);
            } else {
                state.records.remove(&number);
            }
            true
        });
        outcome.unwrap_or_else(|| {
            self.with(|state, _| {
                if let Some(record) = state.records.get_mut(&number) {
                    record.blocking = false;
                    record.wake = Wake::Nobody;
                }
                Err(self.unreachable(state, "and this release is resent later, unless the lease expires first"))
            })
        })
    }

    /// The process is about to end: waits until the server has confirmed everything sent, and detaches. What is
    /// still held is released by that.
    pub(super) fn detach(&'static self) -> Result<(), Error> {
        let until = clock::now().saturating_add(nanos(RELEASE_ACK_TIMEOUT));
        self.with(|state, _| self.tell_orders(state));
        let ends = || self.state().records.values().any(|record| record.ends());
        // By slices: another thread may read the answers, and wakes only those whose they are.
        while ends() && clock::now() < until {
            self.wait(clock::now().saturating_add(nanos(GLANCE)).min(until), &mut || !ends());
        }
        let (is_connected, left) = {
            let state = self.state();
            (state.link.is_some(), state.records.len())
        };
        if !is_connected && left == 0 {
            return Ok(());
        }
        let detached = self.call(Verb::Bye, &[&self.session], left_until(until).max(SLICE));
        self.with(|state, after| match detached {
            Ok(_) => {
                state.revoke_matching(after, |_, _| true, "its process has detached from the server");
                Ok(())
            }
            Err(_) if left == 0 => Ok(()),
            Err(error) => {
                let text =
                    format!("{left} locks could not be released, and stay held until their lease expires: {error}");
                Err(Error::new(error.kind(), text))
            }
        })
    }

    pub(super) fn downgrade(&'static self, grant: &Grant) -> Result<Grant, Error> {
        let name = self.name_of(grant)?;
        if grant.mode == Mode::Read {
            return Ok(*grant);
        }
        let reply: Reply = self.ask(Verb::Downgrade, &[&self.session, &self.id(grant.handle), &name])?;
        self.with(|state, after| {
            if reply.granted.is_none() {
                state.lose(after, grant.handle, "the server no longer had it");
            }
            let record = state.records.get_mut(&grant.handle).ok_or_else(not_ours)?;
            match &mut record.stage {
                Stage::Held(hold) => {
                    hold.mode = Mode::Read;
                    record.asked.mode = Mode::Read;
                    Ok(Grant { mode: Mode::Read, ..*grant })
                }
                Stage::Lost(error) => Err(error.clone()),
                _ => Err(not_ours()),
            }
        })
    }

    pub(super) fn tenure(&self, grant: &Grant) -> Tenure {
        let state = self.state();
        let Some(record) = state.records.get(&grant.handle) else { return Tenure::default() };
        let Some(taken) = record.taken else { return Tenure::default() };
        let max_hold = record.asked.max_hold;
        Tenure {
            owner: taken.owner,
            waited: Duration::from_nanos(taken.waited),
            held_for: Duration::from_nanos(clock::now().saturating_sub(taken.since)),
            max_hold: (max_hold != 0).then(|| Duration::from_micros(max_hold)),
        }
    }

    pub(super) fn name_of(&self, grant: &Grant) -> Result<String, Error> {
        let state = self.state();
        let record = state.records.get(&grant.handle).ok_or_else(not_ours)?;
        match &record.stage {
            Stage::Held(_) => Ok(record.asked.name.clone()),
            Stage::Lost(error) => Err(error.clone()),
            _ => Err(not_ours()),
        }
    }

    /// Asks the server whether the grant stands.
    pub(super) fn verify(&'static self, grant: &Grant) -> Standing {
        if let Err(known) = self.known_standing(grant.handle) {
            return known;
        }
        let patience = PATIENCE.min(self.lease(grant).remaining);
        let sent = clock::now();
        let result = self.call(Verb::Verify, &[&self.session, &self.id(grant.handle)], patience);
        self.verified(grant.handle, sent, result)
    }

    /// The same without waiting; `tell` is called when the lease expires, at the latest.
    pub(super) fn verify_later(&'static self, grant: &Grant, tell: TellStanding) {
        let number = grant.handle;
        let link = self.state().link.clone();
        let link = match (self.known_standing(number), link) {
            (Err(known), _) => return tell(known),
            (Ok(()), None) => return tell(Standing::Unknown),
            (Ok(()), Some(link)) => link,
        };
        let tell = Arc::new(Mutex::new(Some(tell)));
        let late = Arc::clone(&tell);
        let place = self.on_lost(grant, Box::new(move |_| tell_once(&late, Standing::Lost)));
        let (sent, attention) = (clock::now(), link.attend());
        let answer = Box::new(move |result: Result<String, Failure>| {
            drop(attention);
            let result = match result {
                Ok(text) => Ok(text),
                Err(Failure::Refused(why)) => Err(self.refused(&why)),
                // Without the state's lock (C2): if the lease has expired, that is reported without asking.
                Err(Failure::Broken(_)) => return tell_once(&tell, Standing::Unknown),
            };
            let standing = self.verified(number, sent, result);
            self.with(|state, after| {
                let record = state.records.get_mut(&number);
                after.untold.extend(record.zip(place).and_then(|(record, place)| record.tell.remove(&place)));
            });
            tell_once(&tell, standing);
        });
        let arguments = [&*self.session, &self.id(number)];
        link.send(&Call { verb: Verb::Verify, arguments: &arguments }, Pace::Gathered, answer);
    }

    /// `Err`: how it stands is known without asking.
    fn known_standing(&self, number: u64) -> Result<(), Standing> {
        let mut state = self.state();
        state.look_at_connection();
        state.standing(number).map(|_| ()).ok_or(Standing::Lost)
    }

    fn verified(&'static self, number: u64, sent: u64, result: Result<String, Error>) -> Standing {
        let reply = result.and_then(|text| self.read::<Reply>(&text));
        self.with(|state, after| {
            let renewed = match reply {
                Ok(reply) if reply.held.is_some() => {
                    state.record_contact(after, sent);
                    true
                }
                Ok(reply) => {
                    if reply.lost.is_some() {
                        state.lose(after, number, "the server no longer has it");
                    } else if reply.unknown.is_some() {
                        // The session sends its handshake again, and learns what it lost.
                        after.close = state.link.clone();
                    }
                    false
                }
                Err(_) => false,
            };
            match state.standing(number) {
                None => Standing::Lost,
                Some(_) if renewed => Standing::Renewed,
                Some(_) => Standing::Unknown,
            }
        })
    }

    /// What is left of a grant's lease.
    pub(super) fn lease(&self, grant: &Grant) -> Lease {
        let mut state = self.state();
        state.look_at_connection();
        match state.standing(grant.handle) {
            Some((until, longest)) => Lease::new(longest, left_until(until)),
            None => Lease::new(state.lease.length(0), Duration::ZERO),
        }
    }

    /// Answers where it waits, if it has to.
    pub(super) fn on_lost(&'static self, grant: &Grant, tell: Tell) -> Option<u64> {
        self.with(|state, after| {
            let Some(record) = state.records.get_mut(&grant.handle) else {
                after.tells.push((tell, not_ours()));
                return None;
            };
            match &record.stage {
                Stage::Lost(error) => after.tells.push((tell, error.clone())),
                Stage::Held(_) => {
                    static NUMBERS: AtomicU64 = AtomicU64::new(0);
                    let place = NUMBERS.fetch_add(1, Ordering::Relaxed);
                    record.tell.insert(place, tell);
                    return Some(place);
                }
                _ => after.untold.push(tell),
            }
            None
        })
    }
}

type TellStanding = Box<dyn FnOnce(Standing) + Send>;

fn tell_once(tell: &Mutex<Option<TellStanding>>, standing: Standing) {
    let tell = tell.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(tell) = tell {
        tell(standing);
    }
}

impl State {
    /// Until when a grant is ours, and how long it can be ours from one contact to its expiry; `None`
    /// if it is lost.
    pub(super) fn standing(&self, number: u64) -> Option<(u64, Duration)> {
        let Stage::Held(hold) = &self.records.get(&number)?.stage else { return None };
        let until = self.lease.deadline(hold.learned).min(hold.ends);
        let longest = Duration::from_nanos(hold.ends.saturating_sub(hold.since));
        (clock::now() < until).then(|| (until, longest.min(self.lease.length(hold.learned))))
    }
}

/// As much of a note as is kept, cut between characters.
fn shortened(note: &str) -> &str {
    let mut length = note.len().min(MAX_NOTE_BYTES);
    while !note.is_char_boundary(length) {
        length -= 1;
    }
    &note[..length]
}

fn not_ours() -> Error {
    lost_error("", "it does not belong to this process: it was acquired before a fork, or already released")
}
