//! The state of a client, guarded by one mutex: its connection, its lease, its requests and their deadlines.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    client::LEAST_PATIENCE,
    clock,
    lease::Lease,
    orders::Orders,
    reconcile::MOST_REFUSALS,
    renewal::Renewal,
    reply::Granted,
    request::{Hold, Leaving, Record, Stage, Tell, Wake},
    wire::{Attention, Link},
};
use crate::words::error::{Error, ErrorKind};

pub(super) struct State {
    pub(super) link: Option<Arc<Link>>,
    /// Counts connections, so that a late word of an old one is not taken for the present one's.
    pub(super) connection: u64,
    /// Why there is no link, or none on which the server has let us in.
    pub(super) trouble: Option<Error>,
    pub(super) lease: Lease,
    pub(super) records: BTreeMap<u64, Record>,
    /// Requests that are to be asked when there is room for them, the first first: a connection with too many
    /// questions under way would keep renewals waiting behind them.
    pub(super) backlog: VecDeque<u64>,
    /// How many are asked and not answered.
    pub(super) asked: usize,
    /// When the last answer came.
    pub(super) answered: u64,
    /// When requests of futures give up, and other timers.
    pub(super) timers: BTreeSet<(u64, u64)>,
    /// A moment on the clock of leases, and what the server's clock (microseconds) showed then or later.
    pub(super) anchor: (u64, u64),
    pub(super) renewal: Renewal,
    /// In which order owners took what they hold, as far as it must still be sent to the server.
    pub(super) orders: Orders,
    /// Whether somebody looks for another host that serves us, since this one is silent.
    pub(super) looks_elsewhere: bool,
}

/// What is done when the state's lock is released (C2).
#[derive(Default)]
pub(super) struct After {
    pub(super) wakes: Vec<Wake>,
    pub(super) tells: Vec<(Tell, Error)>,
    pub(super) looks: Vec<u64>,
    /// Requests that say what their stage demands.
    pub(super) says: Vec<u64>,
    /// A connection that is of no more use.
    pub(super) close: Option<Arc<Link>>,
    /// Dropped without the lock: what callers gave us may do anything when it is dropped.
    pub(super) dropped: Vec<Record>,
    pub(super) untold: Vec<Tell>,
}

impl State {
    /// A call that was sent at `sent` is answered. A lease that had expired stays lost: the server may have granted it
    /// to somebody else, although we are in contact again (L4).
    pub(super) fn record_contact(&mut self, after: &mut After, sent: u64) {
        self.expire_leases(after, clock::now());
        self.lease.answered(sent);
    }

    /// Looks whether the connection is open, where that matters (L5); `false` if it has ended.
    pub(super) fn look_at_connection(&mut self) -> bool {
        let Some(link) = self.link.as_ref().filter(|_| self.lease.is_guarded()) else { return true };
        let at = clock::now();
        let open = !link.has_ended();
        self.lease.looked(at, open);
        if !open {
            // Something may be lost earlier than it was.
            self.renewal.due = 0;
        }
        open
    }

    /// The same if that was not done for a while.
    pub(super) fn look_again(&mut self, now: u64) {
        if self.lease.is_due_to_be_looked_at(now) {
            self.look_at_connection();
        }
    }

    /// Grants whose lease has ended.
    pub(super) fn expire_leases(&mut self, after: &mut After, now: u64) {
        // No grant ends earlier than one that is not confirmed.
        if now < self.lease.deadline(u64::MAX) {
            return;
        }
        let lease = self.lease;
        let over = |_: &Record, hold: &Hold| now >= lease.deadline(hold.learned);
        self.revoke_matching(after, over, "the server did not answer for the length of the lease");
    }

    /// Of what is held, that which `is_lost` says.
    pub(super) fn revoke_matching(&mut self, after: &mut After, is_lost: impl Fn(&Record, &Hold) -> bool, why: &str) {
        let lost = |record: &Record| record.hold().is_some_and(|hold| is_lost(record, hold));
        let numbers: Vec<u64> =
            self.records.iter().filter(|(_, record)| lost(record)).map(|(number, _)| *number).collect();
        for number in numbers {
            self.lose(after, number, why);
        }
    }

    /// Until when an answer that is late is waited for; `None`: the server is silent.
    pub(super) fn more_patience(&self) -> Option<u64> {
        let now = clock::now();
        let least = LEAST_PATIENCE.as_nanos() as u64;
        let works = self.link.as_ref().is_some_and(|link| link.is_open()) && now.saturating_sub(self.answered) < least;
        works.then(|| now.saturating_add(least))
    }

    /// A grant as we keep it. `sent`: when the call was sent whose answer reported it.
    pub(super) fn hold_of(&self, number: u64, granted: &Granted, sent: u64, learned: u64) -> Option<Hold> {
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

    /// The server refuses what the stage demanded, so that was not done. A pending release or cancel is sent
    /// again until it is (R3): the server may have no room or no rights for us only now.
    pub(super) fn refuse(&mut self, after: &mut After, number: u64, error: Error) {
        let Some(record) = self.records.get_mut(&number) else { return };
        match &record.stage {
            Stage::Releasing(_) if record.blocking => {
                record.uncertain = true;
                self.released(after, number, Err(error));
            }
            Stage::Releasing(_) | Stage::Abandoned => {
                record.stage = Stage::Abandoned;
                self.set_timer(number, clock::now().saturating_add(LEAST_PATIENCE.as_nanos() as u64));
            }
            Stage::Leaving(_) => {
                record.uncertain = true;
                self.settle(after, number, Err(error));
            }
            _ => self.settle(after, number, Err(error)),
        }
    }

    /// Whether what was refused for a passing reason is sent again.
    pub(super) fn may_resend(&mut self, number: u64) -> bool {
        let Some(record) = self.records.get_mut(&number) else { return false };
        record.refusals += 1;
        record.refusals <= MOST_REFUSALS
    }

    pub(super) fn released(&mut self, after: &mut After, number: u64, result: Result<(), Error>) {
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
            // R4
            Stage::Settled(Ok(_)) => {
                let at = self.ask_again(number);
                after.says.push(number);
                return self.set_timer(number, at);
            }
            _ => return,
        }
        self.set_timer(number, u64::MAX);
    }

    /// A request that waits has lost its grant or its place; answers when the renewal has to look at it.
    pub(super) fn ask_again(&mut self, number: u64) -> u64 {
        let Some(record) = self.records.get_mut(&number) else { return u64::MAX };
        let now = clock::now();
        record.asked_again = now;
        // The server may have it all the same.
        record.uncertain = true;
        let patience = LEAST_PATIENCE.as_nanos() as u64;
        if !record.asked.waits || now < record.deadline {
            record.stage = Stage::Asking;
        } else {
            record.stage = Stage::Leaving(Leaving::TimedOut);
        }
        match (record.blocking, &record.stage) {
            (true, _) => u64::MAX,
            (false, Stage::Asking) if record.answered => record.deadline,
            (false, _) => now.saturating_add(patience),
        }
    }

    /// Has the renewal look at a request at `at`, and at no other time; `u64::MAX` is never.
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

/// Why a lock is lost that was taken away.
pub(super) const BROKEN: &str = "it was broken by an operator";

pub(super) fn lost_error(name: &str, why: &str) -> Error {
    let text = format!("the lock {name:?} is lost: {why}; stop, and check what was written with its fencing token");
    Error::new(ErrorKind::Lost, text).on(name)
}
