//! The calls that a request needs at each stage, and the effects of their answers.

use std::{sync::Arc, time::Duration};

use super::{
    client::Client,
    clock,
    lease::HEARTBEAT,
    protocol::{Call, Verb},
    refusal,
    reply::{Granted, Reply},
    request::{Asked, Leaving, Stage},
    state::{After, State, lost_error},
    wire::{Failure, Link, Pace},
};
use crate::{
    engine::Ending,
    words::{
        error::{Busy, Error},
        owner_id::OwnerId,
    },
};

/// How often in turn a request is sent again that the server refuses for a passing reason.
pub(super) const MOST_REFUSALS: u32 = 3;

/// How many requests are asked at once on a connection.
const ASKED_AT_ONCE: usize = 256;

impl Client {
    /// Sends what the stage of a request requires (R1). Without a connection it is sent on the next one.
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
            Stage::Abandoned => {
                let arguments = [&*self.session, &id, &asked.name, "cancel", "0", ""];
                self.send(link, number, Verb::Cancel, &arguments, pace);
            }
            Stage::Releasing(ending) => {
                record.releases += 1;
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
            // It may have been abandoned meanwhile, and the server notified.
            if state.records.get(&number).is_some_and(|record| matches!(record.stage, Stage::Asking | Stage::Waiting)) {
                self.say(state, number, Pace::Gathered);
            }
        }
    }

    fn say_acquire(&'static self, link: &Arc<Link>, number: u64, id: &str, asked: &Asked, pace: Pace) {
        let ancestors = asked.ancestors.iter().map(|id| OwnerId(*id).to_string()).collect::<Vec<_>>().join(".");
        let arguments = [
            &*self.session,
            id,
            &asked.name,
            asked.mode.as_str(),
            &OwnerId(asked.owner).to_string(),
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
            // It is sent again on the next connection (R1).
            Err(Failure::Broken(_)) => return,
            Err(Failure::Refused(why)) => Err((self.refused(&why), refusal::passes(&why))),
            Ok(text) => self.read::<Reply>(&text).map_err(|error| (error, false)),
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
                    state.record_contact(after, sent);
                    if let Some(record) = state.records.get_mut(&number) {
                        record.refusals = 0;
                    }
                    self.apply(state, after, number, verb, sent, reply);
                }
                Err((_, true)) if state.may_resend(number) => self.say(state, number, Pace::Gathered),
                Err((error, _)) => state.refuse(after, number, error),
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
                if !std::mem::replace(&mut record.answered, true) {
                    record.deadline = record.deadline.saturating_add(now.saturating_sub(record.begun));
                }
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
                // The way to the server and back is no wait.
                let waited = if record.asked.at_once { 0 } else { now.saturating_sub(record.begun) };
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
            (Verb::Cancel, Stage::Abandoned) => state.forget(after, number),
            (Verb::Release, Stage::Releasing(_)) => {
                // Sent twice: the first may have been received, and its answer lost.
                let lost = reply.lost.is_some() && record.releases == 1;
                let lost = lost.then(|| lost_error(&record.asked.name, "the server no longer had it"));
                state.released(after, number, lost.map_or(Ok(()), Err));
            }
            // Resent on a new connection, or overtaken by a push (R2).
            _ => {}
        }
    }

    /// Sends it if it still has to be sent: its stage was changed without the connection at hand.
    pub(super) fn say_what_is_left(&'static self, number: u64) {
        self.with(|state, _| {
            let Some(record) = state.records.get(&number) else { return };
            if matches!(record.stage, Stage::Asking | Stage::Leaving(_)) {
                self.say(state, number, Pace::Now);
            }
            let at = state.timers.first().map_or(u64::MAX, |(at, _)| *at);
            self.keep(state, at);
        });
    }

    /// A request that the server has queued was granted by another session's verb, or the grant is reported again.
    pub(super) fn granted(
        state: &mut State,
        after: &mut After,
        number: u64,
        granted: &Granted,
        sent: u64,
        learned: u64,
    ) {
        // What was granted before it asked again was lost: such news was on its way for long.
        let asked_again = state.records.get(&number).map_or(0, |record| record.asked_again);
        if asked_again != 0 && state.local(granted.since) < asked_again {
            return;
        }
        if let Some(hold) = state.hold_of(number, granted, sent, learned) {
            state.settle(after, number, Ok(hold));
        }
    }
}
