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
    engine: &'static dyn Engine,
    ticket: Ticket,
    identity: Option<Arc<Identity>>,
    /// Granted or refused: the engine has spent the ticket.
    over: bool,
}

impl Waiting {
    /// Counts with its owner until it has ended, so that the owner's other requests know that they
    /// may close a cycle.
    pub(crate) fn new(engine: &'static dyn Engine, ticket: Ticket, identity: Option<Arc<Identity>>) -> Waiting {
        if let Some(identity) = &identity {
            identity.holdings.begun();
        }
        Waiting { engine, ticket, identity, over: false }
    }

    pub(crate) fn engine(&self) -> &'static dyn Engine {
        self.engine
    }

    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// `None`: `go_on` returned `false`, and the request left the queue.
    pub(crate) fn park_while(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Grant>, Error> {
        if self.over {
            return Err(spent());
        }
        let result = self.engine.park(&self.ticket, go_on);
        self.finish();
        result
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        if self.over {
            return Poll::Ready(Err(spent()));
        }
        let result = self.engine.poll(&self.ticket, context);
        if result.is_ready() {
            self.finish();
        }
        result
    }

    /// Ends the wait without leaving the queue.
    fn finish(&mut self) {
        self.over = true;
        if let Some(identity) = &self.identity {
            identity.holdings.ended();
        }
    }
}

pub(crate) fn spent() -> Error {
    Error::new(ErrorKind::InvalidInput, "the future of a lock request was polled after completion")
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            self.finish();
            self.engine.abandon(&self.ticket);
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("queued", &!self.over).finish()
    }
}
