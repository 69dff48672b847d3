//! Deadlocks among the requests of all processes of a space: the snapshot for `crate::rule::wait_for`, and
//! acting on its answer.
//!
//! - D1. A snapshot is the answer to one `status` of the whole space, which is consistent. So a cycle in it
//!   existed at that moment.
//! - D2. A request is in its queue before its owner searches. So of the requests that close a cycle at
//!   least the last to enter sees all of it.
//! - D3. All processes that see a cycle choose the same victim, and only the victim refuses itself; the
//!   others nudge it. A nudge can be lost, so waiters repeat the search.
//! - D4. The victim leaves only if the others of the cycle still wait (`still`): nobody is refused for a
//!   cycle that has dissolved since the snapshot.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    client::Client,
    protocol::{self, Verb},
    reply::{Moved, Orders, Row, State, StatusReply},
    request::{Leaving, Stage},
    view::{self, Moment},
    wire::{self, Failure, Pace},
};
use crate::{
    os::owner_id::label_text,
    rule::{
        grant::Rank,
        wait_for::{Graph, Hold, Link, Reorder, Wait, victim},
    },
    words::{
        deadlock::{Cycle, CycleLink, DeadlockPolicy, DeadlockReport, Inversion, Suspect},
        error::Error,
    },
};

/// A graph and the rows it was made of; a wait's id is its row's index.
struct Snapshot {
    graph: Graph,
    rows: Vec<Row>,
    moment: Moment,
}

impl Snapshot {
    fn of(reply: StatusReply) -> Snapshot {
        let moment = Moment { now: reply.now };
        let (mut holds, mut waits, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for (resource, shown) in (0..).zip(reply.resources) {
            for mut row in shown.rows {
                let owner = u64::from_str_radix(&row.family, 16).unwrap_or(0);
                let (id, mode) = (rows.len() as u64, row.mode);
                match row.state {
                    State::Held => holds.push(Hold { owner, resource, mode }),
                    State::Waiting => waits.push(Wait {
                        id,
                        owner,
                        resource,
                        mode,
                        rank: Rank::from_parts(row.rank, row.ticket),
                        priority: row.priority,
                        arrival: row.ticket,
                    }),
                }
                row.name.clone_from(&shown.name);
                rows.push(row);
            }
        }
        Snapshot { graph: Graph::new(holds, waits), rows, moment }
    }

    fn row(&self, id: u64) -> &Row {
        &self.rows[id as usize]
    }

    /// A cycle with labels and names.
    fn tell(&self, cycle: &[Link]) -> Cycle {
        let links = cycle.iter().map(|link| {
            let row = self.row(link.wait.id);
            CycleLink {
                owner: row.owner,
                label: label_text(row.label.clone(), row.pid),
                pid: row.pid,
                host: row.host.clone(),
                waits_for: row.name.clone(),
                mode: row.mode,
                since: view::time(row.requested),
                waited: self.moment.since(row.requested),
                held: link.hard,
            }
        });
        Cycle { links: links.collect() }
    }
}

/// What to do about the cycle a request is part of.
enum Verdict {
    /// It is the victim itself.
    Leave(Leaving),
    Nudge(String),
    Reorder {
        moved: String,
        before: String,
        name: String,
    },
}

impl Client {
    /// Looks whether these requests are part of deadlocks. Does not wait for the answer.
    pub(super) fn look(&'static self, numbers: Vec<u64>) {
        let link = self.state().link.clone();
        let Some(link) = link else { return };
        let attention = link.attend();
        let answer = Box::new(move |result: Result<String, Failure>| {
            drop(attention);
            // Without an answer there is a later look (D3).
            if let Ok(text) = result
                && let Ok(reply) = self.read::<StatusReply>(&text)
            {
                let snapshot = Snapshot::of(reply);
                for number in numbers {
                    self.judge(&snapshot, number);
                }
            }
        });
        link.send(&protocol::Call { verb: Verb::Status, arguments: &[""] }, Pace::Now, answer);
    }

    fn judge(&'static self, snapshot: &Snapshot, number: u64) {
        let id = self.id(number);
        let Some(place) = snapshot.rows.iter().position(|row| row.state == State::Waiting && row.request == id) else {
            return;
        };
        match verdict(snapshot, place as u64) {
            None => {}
            Some(Verdict::Leave(leaving)) => self.with(|state, _| {
                let Some(record) = state.records.get_mut(&number) else { return };
                if record.policy == DeadlockPolicy::Abort && matches!(record.stage, Stage::Waiting) {
                    record.stage = Stage::Leaving(leaving);
                    self.say(state, number, Pace::Now);
                }
            }),
            Some(Verdict::Nudge(victim)) => self.tell_server(Verb::Nudge, &[&victim], |_| {}),
            // The look after it sees what is left of the cycle.
            Some(Verdict::Reorder { moved, before, name }) => {
                self.tell_server(Verb::Reorder, &[&moved, &before, &name], move |text| {
                    if self.read::<Moved>(&text).is_ok_and(|reply| reply.moved) {
                        self.look(vec![number]);
                    }
                });
            }
        }
    }

    /// Sends what needs no caller to wait for it.
    pub(super) fn tell_server(
        &'static self,
        verb: Verb,
        arguments: &[&str],
        then: impl FnOnce(String) + Send + 'static,
    ) {
        let link = self.state().link.clone();
        if let Some(link) = link {
            self.tell(&link, verb, arguments, then);
        }
    }

    /// The same on this connection.
    pub(super) fn tell(
        &'static self,
        link: &Arc<wire::Link>,
        verb: Verb,
        arguments: &[&str],
        then: impl FnOnce(String) + Send + 'static,
    ) {
        let attention = link.attend();
        let answer = Box::new(move |result: Result<String, Failure>| {
            drop(attention);
            if let Ok(text) = result {
                then(text);
            }
        });
        link.send(&protocol::Call { verb, arguments }, Pace::Gathered, answer);
    }

    pub(super) fn deadlocks(&'static self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        self.with(|state, _| self.tell_orders(state));
        let reply: StatusReply = self.ask(Verb::Status, &[""])?;
        let statuses = view::statuses(&reply);
        let snapshot = Snapshot::of(reply);
        let cycles = snapshot.graph.cycles().iter().map(|cycle| snapshot.tell(cycle)).collect();
        let suspects = statuses.values().flat_map(|status| Suspect::among(status, suspect_after)).collect();
        let orders: Orders = self.ask(Verb::Orders, &[])?;
        let taken = orders.orders.into_iter().map(|order| ((order.first, order.second), order.label));
        let taken: HashMap<_, _> = taken.collect();
        Ok(DeadlockReport { cycles, suspects, inversions: Inversion::among(&taken), broken: orders.deadlocks })
    }
}

fn verdict(snapshot: &Snapshot, own: u64) -> Option<Verdict> {
    let family = u64::from_str_radix(&snapshot.row(own).family, 16).unwrap_or(0);
    let mut cycle = snapshot.graph.cycle_through(family)?;
    let id = |wait: u64| snapshot.row(wait).request.clone();
    if let Some(Reorder { move_wait, before }) = snapshot.graph.dissolve(&cycle) {
        let name = snapshot.row(move_wait).name.clone();
        return Some(Verdict::Reorder { moved: id(move_wait), before: id(before), name });
    }
    let chosen = victim(&cycle).wait.id;
    if chosen != own {
        return Some(Verdict::Nudge(id(chosen)));
    }
    let still =
        cycle.iter().filter(|link| link.wait.id != own).map(|link| id(link.wait.id)).collect::<Vec<_>>().join(",");
    let place = cycle.iter().position(|link| link.wait.id == own).unwrap_or(0);
    cycle.rotate_left(place);
    Some(Verdict::Leave(Leaving::Deadlock { cycle: snapshot.tell(&cycle), still }))
}
