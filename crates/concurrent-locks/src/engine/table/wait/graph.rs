//! Deadlocks in the table: the snapshot for `crate::rule::wait_for`, and acting on its answer.
//!
//! - G1. The graph is built from requests whose record did not change between two scans. Each of
//!   them stood from the end of the first scan to the start of the second, so all edges of a cycle
//!   stood at one moment: a cycle found is real.
//! - G2. A request enters the queue before its owner looks (with a full fence between), so of the
//!   requests that close a cycle at least the last to enter sees all of it.
//! - G3. The graph joins all tables of this process, because an owner may wait in one and hold in
//!   another.
//! - G4. Everybody who sees a cycle names the same victim, and only the victim refuses itself; who
//!   sees that another is the victim nudges it.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{
        Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
        fence,
    },
    time::Duration,
};

use crate::{
    engine::{
        Grant, Ticket,
        table::{
            Table,
            bucket::queue::{Queue, Wakes},
            inspect::view::Seen,
            map::{
                layout::{Checked, ORDERS},
                word::{State, record_of},
            },
            process::{attach::Attachment, opened},
            protocol::wait_word,
            verbs::leave::Leaving,
        },
    },
    rule::{
        grant::Rank,
        wait_for::{Graph, Hold, Link, Reorder, Wait, victim},
    },
    words::{
        deadlock::{Cycle, CycleLink, DeadlockPolicy, DeadlockReport, Inversion, Suspect},
        error::Error,
        name::Name,
        owner_id::OwnerId,
    },
};

/// How many tables of one process are joined (G3); an id has six bits for the table.
const JOINED: usize = 64;

/// A graph and the requests it was made of, by the id the graph knows them by.
struct Snapshot {
    graph: Graph,
    waiting: HashMap<u64, (&'static Table, Seen)>,
}

impl Table {
    /// The id of a request in a graph: the sequence and index of its record, and its table.
    fn graph_id(&self, sequence: u64, record: u32) -> u64 {
        sequence << 32 | (self.number as u64 % JOINED as u64) << 26 | u64::from(record)
    }

    fn graph_id_of(&self, ticket: &Ticket) -> u64 {
        self.graph_id(ticket.handle >> 32, record_of(ticket.handle))
    }

    /// This table, and the others that this process uses (G3).
    fn joined(&self) -> Vec<&'static Table> {
        let mut tables = vec![self.forever()];
        if self.observer.is_some() {
            return tables;
        }
        let others = opened::tables().filter(|other| other.number < JOINED && other.number != self.number);
        tables.extend(others.filter(|other| other.fork_page.get().is_some()));
        tables
    }

    /// The wait-for graph of one moment (G1).
    fn snapshot(&self) -> Checked<Snapshot> {
        fence(SeqCst);
        let tables = self.joined();
        let mut first = HashSet::new();
        for table in &tables {
            first.extend(table.requests(|_| true)?.iter().map(|seen| (table.number, seen.word.0, seen.ticket)));
        }
        let (mut holds, mut waits) = (Vec::new(), Vec::new());
        let mut waiting = HashMap::new();
        let now = self.clock.now();
        for table in tables {
            // Each table has its own scale of time: arrivals are brought to that of this one.
            let skew = now.wrapping_sub(if table.number == self.number { now } else { table.clock.now() });
            for seen in table.requests(|_| true)? {
                if !first.contains(&(table.number, seen.word.0, seen.ticket)) {
                    continue;
                }
                let resource = (table.number as u64) << 32 | u64::from(seen.resource);
                let (owner, mode) = (seen.root_owner, seen.word.mode());
                if seen.word.state() == State::Held {
                    holds.push(Hold { owner, resource, mode });
                } else {
                    let id = table.graph_id(seen.word.sequence().into(), seen.record);
                    let (rank, priority, arrival) = (seen.rank, seen.priority, seen.requested.wrapping_add(skew));
                    waits.push(Wait { id, owner, resource, mode, rank, priority, arrival });
                    waiting.insert(id, (table, seen));
                }
            }
        }
        Ok(Snapshot { graph: Graph::new(holds, waits), waiting })
    }

    /// Looks whether this wait is part of a deadlock, and if so breaks it: by a new order, by
    /// refusing this request, or by nudging the victim. `Some`: it was granted in the meantime.
    pub(crate) fn break_deadlock(&self, me: &Attachment, ticket: &Ticket) -> Result<Option<Grant>, Error> {
        let record = self.layout.record(record_of(ticket.handle))?;
        let owner = record.root_owner();
        // Each new order frees somebody, so this ends; the bound is against a table that lies.
        for _ in 0..64 {
            let snapshot = self.snapshot()?;
            let Some(cycle) = snapshot.graph.cycle_through(owner) else { return Ok(None) };
            if let Some(reorder) = snapshot.graph.dissolve(&cycle) {
                self.reorder(&snapshot, &reorder)?;
                continue;
            }
            let chosen = victim(&cycle).wait.id;
            if chosen != self.graph_id_of(ticket) {
                if let Some((table, seen)) = snapshot.waiting.get(&chosen) {
                    table.nudge(seen.record)?;
                }
                return Ok(None);
            }
            if ticket.policy == DeadlockPolicy::Report {
                return Ok(None);
            }
            return self.refuse_victim(me, ticket, &snapshot, cycle);
        }
        Ok(None)
    }

    /// Ends this request with the explanation of the cycle.
    fn refuse_victim(
        &self,
        me: &Attachment,
        ticket: &Ticket,
        snapshot: &Snapshot,
        mut cycle: Vec<Link>,
    ) -> Result<Option<Grant>, Error> {
        let own = cycle.iter().position(|link| link.wait.id == self.graph_id_of(ticket)).unwrap_or(0);
        cycle.rotate_left(own);
        let told = Self::tell(snapshot, &cycle)?;
        let record = self.layout.record(record_of(ticket.handle))?;
        let mode = record.word().mode();
        let name = self.layout.resource(self.place_of(record)?.0)?.name_text();
        if let Some(grant) = self.leave(me, ticket, Leaving::Deadlock)? {
            return Ok(Some(grant));
        }
        self.layout.header().counters.deadlocks.fetch_add(1, Relaxed);
        Err(Error::deadlock(&name, mode, told))
    }

    /// A cycle with labels and names.
    fn tell(snapshot: &Snapshot, cycle: &[Link]) -> Result<Cycle, Error> {
        let mut links = Vec::with_capacity(cycle.len());
        for link in cycle {
            let Some((table, seen)) = snapshot.waiting.get(&link.wait.id) else { continue };
            let (times, (pid, host)) = (table.times(), table.process_of(seen.word.slot()));
            links.push(CycleLink {
                owner: OwnerId(seen.owner),
                label: seen.label(pid),
                pid,
                host,
                waits_for: table.layout.resource(seen.resource)?.name_text(),
                mode: link.wait.mode,
                since: times.wall(seen.requested),
                waited: times.since(seen.requested),
                held: link.hard,
            });
        }
        Ok(Cycle { links })
    }

    /// Puts one waiter before another of the same queue, if both still wait there.
    fn reorder(&self, snapshot: &Snapshot, reorder: &Reorder) -> Result<(), Error> {
        let waiting = |id| snapshot.waiting.get(&id);
        let (Some((table, moved)), Some((_, before))) = (waiting(reorder.move_wait), waiting(reorder.before)) else {
            return Ok(());
        };
        table.put_before(moved, before)
    }

    fn put_before(&self, moved: &Seen, before: &Seen) -> Result<(), Error> {
        let me = self.me()?;
        let record = self.layout.record(moved.record)?;
        let other = self.layout.record(before.record)?;
        let (place, bucket) = self.place_of(record)?;
        let mut wakes = Wakes::new();
        self.with_bucket(me, bucket, |locked| {
            let still = record.word() == moved.word
                && other.word() == before.word
                && record.resource.load(Relaxed) == other.resource.load(Relaxed)
                && record.resource.load(Relaxed) == place + 1;
            if !still || record.rank() < other.rank() {
                return Ok(());
            }
            let queue = Queue::of(self, place)?;
            queue.unlink(moved.record, record, State::Waiting, moved.word.mode())?;
            // Right before the other: its arrival less a nanosecond. Among others that were put
            // there, the own ticket decides.
            let ticket = record.ticket.load(Relaxed);
            let arrival = other.rank().virtual_arrival().saturating_sub(1);
            record.set_rank(Rank::from_parts(arrival, ticket), ticket);
            queue.link_waiter(moved.record, record)?;
            queue.grant_waiters(locked, self.clock.now(), &mut wakes)
        })?;
        self.deliver(me, place, bucket, &wakes)
    }

    fn nudge(&self, record: u32) -> Result<(), Error> {
        let wake = wait_word::nudge(&self.layout.record(record)?.grant);
        self.wake(self.me()?, record, wake)
    }

    /// Tells the victims of all deadlocks that stand now to look.
    pub(crate) fn nudge_victims(&self) -> Result<(), Error> {
        let snapshot = self.snapshot()?;
        for cycle in snapshot.graph.cycles() {
            if let Some((table, seen)) = snapshot.waiting.get(&victim(&cycle).wait.id) {
                table.nudge(seen.record)?;
            }
        }
        Ok(())
    }

    pub(crate) fn deadlock_report(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        if self.observer.is_none() {
            self.me()?;
        }
        let snapshot = self.snapshot()?;
        let cycles =
            snapshot.graph.cycles().iter().map(|cycle| Self::tell(&snapshot, cycle)).collect::<Result<_, _>>()?;
        let statuses = self.status_of(None)?;
        let suspects = statuses.values().flat_map(|status| Suspect::among(status, suspect_after)).collect();
        let broken = self.layout.header().counters.deadlocks.load(Relaxed);
        Ok(DeadlockReport { cycles, suspects, inversions: self.inversions()?, broken })
    }

    /// Keeps "`earlier` was held while `later` was taken" once (lockdep's idea: an order that is
    /// taken both ways can deadlock, although it has not yet). A full memory of orders keeps no more.
    pub(crate) fn keep_order(&self, earlier: Name<'_>, later: Name<'_>, label: &str) -> Checked<()> {
        let mut hasher = DefaultHasher::new();
        (earlier.hash(), later.hash()).hash(&mut hasher);
        let key = hasher.finish().max(1);
        for step in 0..16 {
            let order = self.layout.order((key as u32).wrapping_add(step) & (ORDERS - 1))?;
            match order.key.compare_exchange(0, key, AcqRel, Acquire) {
                Ok(_) => {
                    order.first.store(earlier.text());
                    order.second.store(later.text());
                    let label_len = order.label.store(label) as u64;
                    let lens = earlier.bytes().len() as u64 | (later.bytes().len() as u64) << 8 | label_len << 16;
                    order.lens.store(lens | 1 << 24, Release);
                    return Ok(());
                }
                Err(found) if found == key => return Ok(()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn inversions(&self) -> Checked<Vec<Inversion>> {
        let mut orders = HashMap::new();
        for index in 0..ORDERS {
            let order = self.layout.order(index)?;
            let lens = order.lens.load(Acquire);
            if order.key.load(Acquire) == 0 || lens & 1 << 24 == 0 {
                continue;
            }
            let byte = |shift: u32| (lens >> shift & 0xff) as usize;
            orders.insert((order.first.load(byte(0)), order.second.load(byte(8))), order.label.load(byte(16).min(40)));
        }
        Ok(Inversion::among(&orders))
    }
}
