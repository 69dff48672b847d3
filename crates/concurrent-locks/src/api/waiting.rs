//! A queued request of any kind: finished by a thread or a future, or abandoned when it is dropped.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    api::identity::Identity,
    engine::{Engine, Grant, Ticket},
    words::error::{Error, ErrorKind},
};

/// A request that had to queue. Dropping it leaves the queue; if it was granted at the same instant, the
/// grant is handed on.
pub(crate) struct Waiting {
    /// `None` once it is granted or refused.
    queued: Option<Queued>,
}

struct Queued {
    engine: &'static dyn Engine,
    ticket: Ticket,
    identity: Option<Arc<Identity>>,
}

impl Waiting {
    /// Counts with its owner until it has ended, so that the owner's other requests know that they
    /// may close a cycle.
    pub(crate) fn queued(engine: &'static dyn Engine, ticket: Ticket, identity: Option<&Arc<Identity>>) -> Waiting {
        if let Some(identity) = identity {
            identity.holdings.begun();
        }
        Waiting { queued: Some(Queued { engine, ticket, identity: identity.cloned() }) }
    }

    pub(crate) fn park(self) -> Result<Grant, Error> {
        // A wait that continues ends in a grant or an error.
        self.park_while(&mut || true).and_then(|grant| grant.ok_or_else(spent))
    }

    /// `None`: `go_on` returned `false`, and the request left the queue.
    pub(crate) fn park_while(mut self, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Grant>, Error> {
        let Some(queued) = &self.queued else { return Err(spent()) };
        let result = queued.engine.park(&queued.ticket, go_on);
        self.finish();
        result
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        let Some(queued) = &self.queued else { return Poll::Ready(Err(spent())) };
        let result = queued.engine.poll(&queued.ticket, context);
        if result.is_ready() {
            self.finish();
        }
        result
    }

    /// Ends the wait without leaving the queue: the engine has already consumed the ticket.
    fn finish(&mut self) -> Option<Queued> {
        let queued = self.queued.take()?;
        if let Some(identity) = &queued.identity {
            identity.holdings.ended();
        }
        Some(queued)
    }
}

pub(crate) fn spent() -> Error {
    Error::new(ErrorKind::InvalidInput, "the future of a lock request was polled after completion")
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(queued) = self.finish() {
            queued.engine.abandon(&queued.ticket);
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("queued", &self.queued.is_some()).finish()
    }
}
