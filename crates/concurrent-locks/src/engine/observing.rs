//! An engine that only looks: what sees, and an [`Engine`] around it that takes no locks.

use std::{
    panic::{RefUnwindSafe, UnwindSafe},
    task::{Context, Poll},
    time::Duration,
};

use super::{Ask, Capabilities, Ending, Engine, Grant, Progress, Tenure, Ticket, unsupported};
use crate::words::{
    deadlock::DeadlockReport,
    error::Error,
    event::Event,
    name::Name,
    settings::Fairness,
    stats::StatisticsMap,
    status::{Health, Holder, StatusMap},
};

/// Inspection of locks without taking part: creates nothing, changes nothing, waits for no lock.
pub(crate) trait Observer: Send + Sync + UnwindSafe + RefUnwindSafe {
    fn url(&self) -> &str;
    fn capabilities(&self) -> Capabilities;
    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error>;
    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error>;
    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error>;
    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error>;
    fn health(&self) -> Result<Health, Error>;
    /// See [`Engine::unseen`].
    fn unseen(&self) -> Vec<String>;
    /// See [`Engine::absence`].
    fn absence(&self) -> Option<String>;
}

/// An engine whose looks change nothing anyway.
impl Observer for &'static dyn Engine {
    fn url(&self) -> &str {
        (**self).url()
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        (**self).status(name)
    }

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        (**self).statistics(name)
    }

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        (**self).deadlocks(suspect_after)
    }

    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        (**self).events(cursor, wait)
    }

    fn health(&self) -> Result<Health, Error> {
        (**self).health()
    }

    fn unseen(&self) -> Vec<String> {
        (**self).unseen()
    }

    fn absence(&self) -> Option<String> {
        (**self).absence()
    }
}

/// The engine of [`LockManager::observe`](crate::LockManager::observe).
pub(crate) struct Observing(pub(crate) Box<dyn Observer>);

impl Observing {
    #[cold]
    fn refuse(&self, what: &str) -> Error {
        let url = self.0.url();
        unsupported(url, &format!("{what} here, where it is only observed"), "use LockManager::connect")
    }
}

impl Engine for Observing {
    fn url(&self) -> &str {
        self.0.url()
    }

    fn enter(&self) -> Result<(), Error> {
        Err(self.refuse("have owners"))
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn begin(&self, _ask: &Ask<'_>) -> Result<Progress, Error> {
        Err(self.refuse("grant locks"))
    }

    fn poll(&self, _ticket: &Ticket, _context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        Poll::Ready(Err(self.refuse("grant locks")))
    }

    fn park(&self, _ticket: &Ticket, _go_on: &mut dyn FnMut() -> bool) -> Result<Option<Grant>, Error> {
        Err(self.refuse("grant locks"))
    }

    fn abandon(&self, _ticket: &Ticket) {}

    fn release(&self, _grant: &Grant, _ending: Ending, _fairness: Fairness) -> Result<(), Error> {
        Err(self.refuse("take locks back"))
    }

    fn downgrade(&self, _grant: &Grant) -> Result<Grant, Error> {
        Err(self.refuse("change grants"))
    }

    fn tenure(&self, _grant: &Grant) -> Tenure {
        Tenure::default()
    }

    fn name_of(&self, _grant: &Grant) -> Result<String, Error> {
        Err(self.refuse("grant locks"))
    }

    fn record_order(&self, _earlier: Name<'_>, _later: Name<'_>, _label: &str) -> Result<(), Error> {
        Err(self.refuse("record orders"))
    }

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        self.0.status(name)
    }

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        self.0.statistics(name)
    }

    fn reset_statistics(&self, _name: Option<Name<'_>>) -> Result<(), Error> {
        Err(self.refuse("reset statistics"))
    }

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        self.0.deadlocks(suspect_after)
    }

    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        self.0.events(cursor, wait)
    }

    fn revoke(&self, _name: Name<'_>, _token: u64) -> Result<Holder, Error> {
        Err(self.refuse("break locks"))
    }

    fn health(&self) -> Result<Health, Error> {
        self.0.health()
    }

    fn unseen(&self) -> Vec<String> {
        self.0.unseen()
    }

    fn absence(&self) -> Option<String> {
        self.0.absence()
    }
}
