//! The cluster engines (`redis://`, `postgres://`): locks across machines, on a server people already run.
//!
//! Written once for both servers. The server decides: a script or function per verb applies the grant rule,
//! atomically, to the state on the server ([`protocol`]). This module has the client's side:
//!
//! - [`client`]: a session and a connection, shared by all threads and futures, and their state
//!   ([`state`]); requests as state machines ([`request`]) whose stage determines the next call
//!   ([`reconcile`]), so that a lost connection costs nothing but time;
//! - [`connecting`]: reconnecting, and unsolicited messages; [`hosts`]: the choice of the server;
//! - [`renewal`]: the thread that renews the [`lease`] and knows when it expires;
//! - [`deadlocks`]: cycles through all processes of the space;
//! - [`wire`]: the connection itself, and for each kind of server a dialect ([`redis`], [`postgres`]).
//!
//! The consequences of a failing server, connection or process are described in `docs/engines/`.

mod address;
mod client;
mod clock;
mod connecting;
mod deadlocks;
mod hosts;
mod introduction;
mod lease;
mod observe;
mod orders;
#[cfg(feature = "postgres")]
mod postgres;
mod protocol;
mod reconcile;
#[cfg(feature = "redis")]
mod redis;
mod refusal;
mod renewal;
mod reply;
mod request;
mod state;
mod verbs;
mod view;
mod wire;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use once_cell::race::OnceBox;

pub(crate) use self::address::Address;
use self::{client::Client, observe::ClusterObserver};
use crate::{
    engine::{Ask, Capabilities, Ending, Engine, Grant, Progress, Tenure, Ticket, check_max_hold, observing::Observer},
    os::{fork_generation::ForkGeneration, process_end, roll::Roll},
    words::{
        deadlock::DeadlockReport,
        error::Error,
        event::Event,
        lease::{Lease, Standing},
        name::Name,
        settings::Fairness,
        stats::StatisticsMap,
        status::{Health, Holder, StatusMap},
    },
};

const CAPABILITIES: Capabilities = Capabilities {
    across_processes: true,
    fair: true,
    priority: true,
    upgrade: true,
    downgrade: true,
    inspect: true,
    revoke: true,
    deadlocks: true,
    lease: true,
};

/// The locks of one space of one server.
pub(crate) struct Cluster {
    address: Address,
    url: String,
    /// Counts on in a forked child, so that no handle of its parent's names a request of its own.
    handles: AtomicU64,
    first: &'static Generation,
}

/// All of this process, for its end.
static OPENED: Roll<&'static Cluster> = Roll::new();

extern "C" fn detach_all() {
    for cluster in OPENED.iter() {
        // Nobody is left to be notified.
        let _ = cluster.detach();
    }
}

/// What a process has of the engine, and what the child has that was forked while it was used.
struct Generation {
    client: &'static Client,
    next: OnceBox<&'static Generation>,
}

impl Generation {
    fn new(address: &Address, url: &str) -> &'static Generation {
        Box::leak(Box::new(Generation { client: Client::new(address, url), next: OnceBox::new() }))
    }
}

impl Cluster {
    /// Connects to the server: if it is missing or refuses the login, that is better reported now than at the
    /// first lock.
    pub(crate) fn open(address: Address) -> Result<&'static dyn Engine, Error> {
        let url = address.to_string();
        let first = Generation::new(&address, &url);
        first.client.connect()?;
        let cluster: &'static Cluster =
            Box::leak(Box::new(Cluster { address, url, handles: AtomicU64::new(1), first }));
        if OPENED.iter().next().is_none() {
            process_end::at_exit(detach_all);
        }
        OPENED.push(cluster);
        Ok(cluster)
    }

    /// The same locks, only to look at them.
    pub(crate) fn observe(address: Address) -> Result<Box<dyn Observer>, Error> {
        let observer = ClusterObserver::new(Address { observed: true, ..address });
        observer.engine()?;
        Ok(Box::new(observer))
    }

    /// What this process has: in a forked child, something new.
    fn client(&self) -> &'static Client {
        let process = ForkGeneration::current();
        let mut generation = self.first;
        while generation.client.process != process {
            generation = generation.next.get().copied().unwrap_or_else(|| {
                generation.client.leave_to_parent();
                let own = Generation::new(&self.address, &self.url);
                let next = *generation.next.get_or_init(|| Box::new(own));
                if std::ptr::eq(next, own) {
                    own.client.connect_soon(None);
                }
                next
            });
        }
        generation.client
    }
}

impl Engine for Cluster {
    fn url(&self) -> &str {
        &self.url
    }

    fn enter(&self) -> Result<(), Error> {
        self.client();
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Progress, Error> {
        if let Some(max_hold) = ask.max_hold.time() {
            check_max_hold(self, max_hold)?;
        }
        let (client, number) = (self.client(), self.handles.fetch_add(1, Ordering::Relaxed));
        if ask.parks { client.begin(number, ask) } else { Ok(Progress::Queued(client.ask_for(number, ask))) }
    }

    fn poll(&self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        self.client().poll(ticket, context)
    }

    fn park(&self, ticket: &Ticket, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Grant>, Error> {
        self.client().park(ticket, go_on)
    }

    fn abandon(&self, ticket: &Ticket) {
        self.client().abandon(ticket);
    }

    fn release(&self, grant: &Grant, ending: Ending, _fairness: Fairness) -> Result<(), Error> {
        self.client().release(grant, ending)
    }

    fn downgrade(&self, grant: &Grant) -> Result<Grant, Error> {
        self.client().downgrade(grant)
    }

    fn tenure(&self, grant: &Grant) -> Tenure {
        self.client().tenure(grant)
    }

    fn name_of(&self, grant: &Grant) -> Result<String, Error> {
        self.client().name_of(grant)
    }

    fn verify(&self, grant: &Grant) -> Standing {
        self.client().verify(grant)
    }

    fn verify_later(&self, grant: &Grant, tell: Box<dyn FnOnce(Standing) + Send>) {
        self.client().verify_later(grant, tell);
    }

    fn lease(&self, grant: &Grant) -> Option<Lease> {
        Some(self.client().lease(grant))
    }

    fn on_lost(&self, grant: &Grant, tell: Box<dyn FnOnce(Error) + Send>) {
        self.client().on_lost(grant, tell);
    }

    fn detach(&self) -> Result<(), Error> {
        let mut generation = Some(self.first);
        while let Some(this) = generation {
            if this.client.process.is_current() {
                return this.client.detach();
            }
            generation = this.next.get().copied();
        }
        // A forked child that has asked for nothing.
        Ok(())
    }

    fn record_order(&self, earlier: Name<'_>, later: Name<'_>, label: &str) -> Result<(), Error> {
        self.client().record_order(earlier.text(), later.text(), label);
        Ok(())
    }

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        self.client().status(name)
    }

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        self.client().statistics(name)
    }

    fn reset_statistics(&self, name: Option<Name<'_>>) -> Result<(), Error> {
        self.client().reset_statistics(name)
    }

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        self.client().deadlocks(suspect_after)
    }

    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        self.client().events(cursor, wait)
    }

    fn revoke(&self, name: Name<'_>, token: u64) -> Result<Holder, Error> {
        self.client().revoke(name, token)
    }

    fn health(&self) -> Result<Health, Error> {
        self.client().health()
    }
}
