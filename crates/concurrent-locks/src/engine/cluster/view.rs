//! The server's answers in the API's types: status, statistics, events, health.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    client::Client,
    protocol::Verb,
    reply::{self, Left, Row, State, StatusReply, Tally},
    request::{Hold, Record},
    state::BROKEN,
};
use crate::{
    os::owner_id::label_text,
    words::{
        error::{Busy, Error},
        event::Event,
        histogram::{BUCKETS, Histogram},
        mode::Mode,
        name::Name,
        stats::{Operation, OperationKind, Statistics, StatisticsMap},
        status::{Health, Holder, NoToken, Process, ProcessState, Silence, Status, StatusMap, Usage, Waiter},
    },
};

/// When the server looked: microseconds since 1970 on its own clock.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: u64,
}

impl Moment {
    /// From `at` until then.
    pub(super) fn since(self, at: u64) -> Duration {
        Duration::from_micros(self.now.saturating_sub(at))
    }
}

pub(super) fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_micros(micros)).unwrap_or(UNIX_EPOCH)
}

/// Who misses a renewal (there are three in a lease) is silent. What came by hand-off and was never confirmed has no
/// lease yet.
fn silence(row: &Row, moment: Moment) -> Option<Silence> {
    let silent = moment.now.saturating_sub(row.seen);
    let misses = row.seen > 0 && row.seen >= row.since && silent > row.lease / 2;
    let time = Duration::from_micros;
    misses.then(|| Silence { silent: time(silent), lease_left: time(row.lease.saturating_sub(silent)) })
}

fn holder(row: &Row, moment: Moment) -> Holder {
    Holder {
        owner: Some(row.owner),
        label: label_text(row.label.clone(), row.pid),
        pid: row.pid,
        host: row.host.clone(),
        mode: row.mode,
        since: Some(time(row.since)),
        held: moment.since(row.since),
        priority: row.priority,
        token: row.token,
        note: row.note.clone(),
        process: ProcessState::Unknown,
        silence: silence(row, moment),
    }
}

fn waiter(row: &Row, moment: Moment) -> Waiter {
    Waiter {
        owner: Some(row.owner),
        label: label_text(row.label.clone(), row.pid),
        pid: row.pid,
        host: row.host.clone(),
        mode: row.mode,
        since: Some(time(row.requested)),
        waited: moment.since(row.requested),
        priority: row.priority,
        no_token: NoToken,
        note: row.note.clone(),
        process: ProcessState::Unknown,
    }
}

pub(super) fn statuses(reply: &StatusReply) -> StatusMap {
    let moment = Moment { now: reply.now };
    let resources = reply.resources.iter().map(|resource| {
        let of = |state| resource.rows.iter().filter(move |row| row.state == state);
        let holders = of(State::Held).map(|row| holder(row, moment)).collect();
        let waiters = of(State::Waiting).map(|row| waiter(row, moment)).collect();
        (resource.name.clone(), Status::of(resource.name.clone(), holders, waiters))
    });
    resources.collect()
}

fn statistics(tally: Tally) -> Statistics {
    // Rounding must not put it beyond the extremes.
    let micros = Duration::from_micros;
    let mean = |sum: u64, count: u64, min: u64, max: u64| match count {
        0 => Duration::ZERO,
        _ => micros(sum).div_f64(count as f64).clamp(micros(min), micros(max.max(min))),
    };
    let quantile = |counts: &BTreeMap<String, u64>, quantile, min, max: u64| {
        let count = |bucket: usize| counts.get(&bucket.to_string()).copied().unwrap_or(0);
        let nanos = Histogram::from_counts((0..BUCKETS).map(count)).quantile(quantile);
        // A bucket's middle may lie beyond the true extremes, which are known.
        Duration::from_nanos(nanos).clamp(micros(min), micros(max.max(min)))
    };
    Statistics {
        resource_name: tally.name,
        total_acquisitions: tally.acquisitions,
        total_releases: tally.releases,
        total_timeouts: tally.timeouts,
        total_errors: tally.errors,
        total_deadlocks: tally.deadlocks,
        avg_wait: mean(tally.wait_sum, tally.acquisitions, tally.wait_min, tally.wait_max),
        min_wait: micros(tally.wait_min),
        max_wait: micros(tally.wait_max),
        p50_wait: quantile(&tally.waits, 0.5, tally.wait_min, tally.wait_max),
        p99_wait: quantile(&tally.waits, 0.99, tally.wait_min, tally.wait_max),
        avg_hold: mean(tally.hold_sum, tally.releases, tally.hold_min, tally.hold_max),
        min_hold: micros(tally.hold_min),
        max_hold: micros(tally.hold_max),
        p50_hold: quantile(&tally.holds, 0.5, tally.hold_min, tally.hold_max),
        p99_hold: quantile(&tally.holds, 0.99, tally.hold_min, tally.hold_max),
        current_holders: tally.holders,
        current_waiters: tally.waiters,
        recent_operations: tally.operations.into_iter().map(|shown| operation(shown, tally.mode)).collect(),
        mode: tally.mode,
    }
}

fn operation(shown: reply::Operation, mode: Mode) -> Operation {
    let lasted = Some(Duration::from_micros(shown.time));
    let released = match shown.kind {
        OperationKind::Release => true,
        OperationKind::Error => shown.token != 0,
        _ => false,
    };
    Operation {
        mode,
        at: time(shown.timestamp),
        waited: lasted.filter(|_| !released),
        held: lasted.filter(|_| released),
        requester: label_text(shown.requester, shown.pid),
        token: shown.token,
        kind: shown.kind,
    }
}

impl Client {
    /// What a busy lock looked like.
    pub(super) fn busy(&self, left: Left, waited: u64) -> Busy {
        let moment = Moment { now: left.now };
        Busy {
            holders: left.holders.iter().map(|row| holder(row, moment)).collect(),
            position: left.position,
            waiters: left.waiters,
            waited: Duration::from_nanos(waited),
        }
    }

    pub(super) fn status(&'static self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        let reply: StatusReply = self.ask(Verb::Status, &[text(name)])?;
        let mut statuses = statuses(&reply);
        // Who holds and waits says nothing of resources that are idle; what is counted of them does.
        if let Some(name) = name
            && statuses.is_empty()
            && !self.statistics(Some(name))?.is_empty()
        {
            let name = name.text().to_owned();
            statuses.insert(name.clone(), Status::of(name, Vec::new(), Vec::new()));
        }
        Ok(statuses)
    }

    pub(super) fn statistics(&'static self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        let mut map = StatisticsMap::new();
        let mut cursor = Some(String::new());
        while let Some(from) = cursor {
            let reply: reply::StatisticsReply = self.ask(Verb::Statistics, &[text(name), &from])?;
            for tally in reply.resources {
                map.entry(tally.name.clone()).or_default().insert(tally.mode, statistics(tally));
            }
            cursor = reply.next;
        }
        Ok(map)
    }

    pub(super) fn reset_statistics(&'static self, name: Option<Name<'_>>) -> Result<(), Error> {
        self.ask::<reply::Empty>(Verb::ResetStatistics, &[text(name)]).map(drop)
    }

    pub(super) fn revoke(&'static self, name: Name<'_>, token: u64) -> Result<Holder, Error> {
        let status: StatusReply = self.ask(Verb::Status, &[name.text()])?;
        let revoked: reply::Revoked = self.ask(Verb::Revoke, &[name.text(), &token.to_string()])?;
        let row = revoked.revoked.ok_or_else(|| Error::nobody_holds(name.text(), token))?;
        // Others are notified by a push; our own is lost when this call has ended.
        let broken = |record: &Record, hold: &Hold| record.asked.name == name.text() && hold.token == token;
        self.with(|state, after| state.revoke_matching(after, broken, BROKEN));
        Ok(holder(&row, Moment { now: status.now }))
    }

    /// Events from `cursor` on; asks again and again until there is one.
    pub(super) fn events(&'static self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        let started = std::time::Instant::now();
        let mut cursor = cursor.map(|cursor| cursor.to_string()).unwrap_or_default();
        let mut pause = Duration::from_millis(5);
        loop {
            let reply: reply::Events = self.ask(Verb::Events, &[&cursor, "1000"])?;
            let left = wait.saturating_sub(started.elapsed());
            if !reply.events.is_empty() || left.is_zero() {
                return Ok((reply.events.into_iter().map(event).collect(), reply.next));
            }
            cursor = reply.next.to_string();
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    pub(super) fn health(&'static self) -> Result<Health, Error> {
        let mut reply: reply::Health = self.ask(Verb::Health, &[])?;
        if self.address.guarded && self.state().link.as_ref().is_some_and(|link| !link.proves_life()) {
            reply.problems.push(POOLED.to_owned());
        }
        let usage = |used| Usage { used, capacity: u64::MAX };
        // A session that has ended and left nothing is none any more; the server forgets it later.
        let present = reply.sessions.into_iter().filter(|session| session.alive || session.requests > 0);
        let attached: Vec<Process> = present
            .map(|session| Process {
                pid: session.pid,
                host: session.host,
                program: session.program,
                alive: session.alive,
                state: if session.alive { ProcessState::Alive } else { ProcessState::Dead },
                requests: session.requests,
            })
            .collect();
        Ok(Health {
            url: self.url.clone(),
            path: Some(reply.server),
            layout: reply.layout,
            resources: usage(reply.resources),
            requests: usage(reply.requests),
            processes: usage(attached.len() as u64),
            attached,
            reaped: reply.reaped,
            deadlocks: reply.deadlocks,
            problems: reply.problems,
            ..Health::default()
        })
    }
}

/// What it means that the connection is not ours alone.
const POOLED: &str = "a pooler (PgBouncer or the like) stands between us and PostgreSQL, so a crashed process is known \
                      to be dead only when its lease expires, and waiters learn of their grant within a second: name \
                      PostgreSQL itself in listen= if that can be reached";

fn text<'a>(name: Option<Name<'a>>) -> &'a str {
    name.map_or("", |name| name.text())
}

fn event(shown: reply::Event) -> Event {
    Event {
        sequence: shown.sequence,
        kind: shown.kind,
        at: time(shown.at),
        resource: shown.resource,
        mode: shown.mode,
        owner: shown.owner,
        label: label_text(shown.label, shown.pid),
        pid: shown.pid,
        token: shown.token,
        elapsed: Duration::from_micros(shown.elapsed),
    }
}
