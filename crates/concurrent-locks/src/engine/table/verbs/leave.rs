//! Leaving the queue: a time-out, a cancelled future, the victim of a deadlock.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    engine::{
        Grant, Ticket,
        table::{
            Table,
            bucket::queue::{Queue, Wakes},
            map::{
                layout::Violation,
                word::{State, handle, record_of},
            },
            past::history::Outcome,
            process::attach::Attachment,
            protocol::wait_word::{self, Found},
            verbs::acquire::granted,
        },
    },
    words::{error::Error, event::EventKind},
};

/// Why a waiter leaves the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    TimedOut,
    Cancelled,
    Deadlock,
}

impl Table {
    /// Takes a waiting request out of the queue, unless it was granted in the meantime.
    pub(crate) fn leave(&self, me: &Attachment, ticket: &Ticket, why: Leaving) -> Result<Option<Grant>, Error> {
        let index = record_of(ticket.handle);
        let record = self.layout.record(index)?;
        let now = self.clock.now();
        if handle(index, record.word()) != ticket.handle || record.word().slot() != me.slot {
            return Err(self.lost_request());
        }
        // However it ends, nobody polls this request again; what stayed here would be taken for the
        // record's next request, whose time-out would then not be served.
        self.forget_future(me, index);
        let (place, bucket) = self.place_of(record)?;
        let mut wakes = Wakes::new();
        let mut is_granted = false;
        let waited = now.saturating_sub(record.requested.load(Relaxed));
        let mode = record.word().mode();
        self.with_bucket(me, bucket, |locked| {
            let word = record.word();
            if word.state() == State::Held {
                // Under the lock, where nobody can take it back meanwhile (W4).
                is_granted = wait_word::look(&record.grant) == Found::Granted;
                return if is_granted { Ok(()) } else { Err(Violation("a holder that was not notified")) };
            }
            let queue = Queue::of(self, place)?;
            if word.state() == State::Waiting {
                let outcome = match why {
                    Leaving::TimedOut => Outcome::TimedOut,
                    Leaving::Cancelled => Outcome::Cancelled,
                    Leaving::Deadlock => Outcome::Deadlock,
                };
                self.tally_refusal(queue.resource, record, mode, now, waited, outcome);
                record.commit(word.with(State::Free, mode));
                queue.unlink(index, record, State::Waiting, mode)?;
            }
            // A leaving writer may admit the readers behind it.
            queue.grant_waiters(locked, now, &mut wakes)
        })?;
        if is_granted {
            return Ok(Some(granted(ticket.handle, record)));
        }
        let kind = match why {
            Leaving::TimedOut => EventKind::Timeout,
            Leaving::Cancelled => EventKind::Cancel,
            Leaving::Deadlock => EventKind::Deadlock,
        };
        self.emit_record(kind, record, mode, now, waited)?;
        self.return_record(me, index);
        self.deliver(me, place, bucket, &wakes)?;
        Ok(None)
    }
}
