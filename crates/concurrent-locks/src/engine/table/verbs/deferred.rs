//! Deferred releases: locks that could not be released at once, because a process was stopped (SIGSTOP,
//! debugger, freezer) in the middle of a change of the same bucket. The caller gets the error that names
//! it; a thread releases the lock as soon as the stopped process continues or dies, so that neither a held
//! lock nor a waiter is left behind unnoticed.

use crate::{
    engine::{
        Ending, Grant, Ticket,
        table::{Table, verbs::leave::Leaving},
    },
    words::{
        error::{Error, ErrorKind},
        settings::Fairness,
    },
};

/// What is retried.
#[derive(Clone, Copy)]
pub(crate) enum DeferredRelease {
    Release(Grant, Ending, Fairness),
    Leave(Ticket),
}

impl Table {
    /// Retries in the background. Each try waits as long as an operation does for a stopped process.
    pub(crate) fn defer(&self, deferred: DeferredRelease) {
        let table = self.forever();
        let retry = move || {
            while table.retry(&deferred).is_err_and(|error| error.kind() == ErrorKind::Unreachable) {}
        };
        // Without a thread the lock stays until this process ends; its caller got the error.
        let _ = std::thread::Builder::new().name("locks-release".to_owned()).spawn(retry);
    }

    fn retry(&self, deferred: &DeferredRelease) -> Result<(), Error> {
        match deferred {
            DeferredRelease::Release(grant, ending, fairness) => self.release_grant(grant, *ending, *fairness),
            DeferredRelease::Leave(ticket) => self.cancel(ticket),
        }
    }

    /// Leaves the queue, or hands on what was granted in the same instant.
    pub(crate) fn cancel(&self, ticket: &Ticket) -> Result<(), Error> {
        let me = self.me()?;
        match self.leave(me, ticket, Leaving::Cancelled)? {
            Some(grant) => self.release_grant(&grant, Ending::Normal, ticket.fairness),
            None => Ok(()),
        }
    }

    /// After a wait that failed: a time-out and a deadlock have left the queue, others have not.
    pub(crate) fn settle(&self, ticket: &Ticket, error: &Error) {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::Deadlock | ErrorKind::Lost => {}
            ErrorKind::Unreachable => self.defer(DeferredRelease::Leave(*ticket)),
            // The first error is the one to report.
            _ => drop(self.cancel(ticket)),
        }
    }
}
