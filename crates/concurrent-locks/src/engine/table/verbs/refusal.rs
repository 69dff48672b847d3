//! The errors of the verbs, which name the lock, its holders and the place in the queue.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use crate::{
    engine::{
        Ask, Grant, Ticket,
        table::{
            Table,
            map::{layout::Record, word::record_of},
            past::history::Outcome,
            process::attach::Attachment,
            verbs::leave::Leaving,
        },
    },
    words::error::{Busy, Error, ErrorKind},
};

impl Table {
    /// The error of a busy lock that the request would not wait for.
    #[cold]
    pub(crate) fn refuse(&self, me: &Attachment, record: &Record, ask: &Ask<'_>, now: u64) -> Error {
        let timed_out = ask.waits;
        if timed_out {
            let bucket = self.layout.bucket_of(ask.name.hash());
            let tallied = self.with_bucket(me, bucket, |locked| {
                if let Some(place) = self.find(locked, ask.name)? {
                    let resource = self.layout.resource(place)?;
                    self.tally_refusal(resource, record, ask.mode, now, 0, Outcome::TimedOut);
                }
                Ok(())
            });
            if let Err(error) = tallied {
                return error;
            }
        }
        let busy = match self.busy(ask.name.text(), None, Duration::ZERO) {
            Ok(busy) => busy,
            Err(error) => return error,
        };
        self.with_advice(if timed_out {
            Error::timed_out(ask.name.text(), ask.mode, busy)
        } else {
            Error::would_block(ask.name.text(), ask.mode, busy)
        })
    }

    /// The error of a busy lock says how it can be looked at.
    pub(crate) fn with_advice(&self, busy: Error) -> Error {
        if self.file.is_none() { busy.seen_by_its_process() } else { busy }
    }

    /// The error of a request that timed out. The queue is read before it is left.
    pub(crate) fn time_out(&self, me: &Attachment, ticket: &Ticket) -> Result<Grant, Error> {
        let record = self.layout.record(record_of(ticket.handle))?;
        let mode = record.word().mode();
        let name = self.layout.resource(self.place_of(record)?.0)?.name_text();
        let waited = self.clock.now().saturating_sub(record.requested.load(Relaxed));
        let busy = self.busy(&name, Some(record.ticket.load(Relaxed)), Duration::from_nanos(waited))?;
        match self.leave(me, ticket, Leaving::TimedOut)? {
            Some(grant) => Ok(grant),
            None => Err(self.with_advice(Error::timed_out(&name, mode, busy))),
        }
    }

    pub(crate) fn busy(&self, name: &str, ticket: Option<u64>, waited: Duration) -> Result<Busy, Error> {
        let (holders, tickets) = self.holders_and_tickets(name)?;
        let position = ticket.and_then(|own| tickets.iter().position(|ticket| *ticket == own)).map(|place| place + 1);
        Ok(Busy { holders, position, waiters: tickets.len(), waited })
    }

    pub(crate) fn full(&self) -> Error {
        Error::new(
            ErrorKind::Full,
            format!(
                "{}: no room for another name: all {} are in use, or their memory is exhausted; release locks, or make room \
                 on the table's file system",
                self.url,
                self.layout.geometry().resources
            ),
        )
    }

    #[cold]
    pub(crate) fn lost(&self, grant: &Grant) -> Error {
        Error::new(
            ErrorKind::Lost,
            format!(
                "the {} lock with token {} is no longer held by this process: it was broken by an operator, or acquired before a fork",
                grant.mode, grant.token
            ),
        )
    }

    #[cold]
    pub(crate) fn lost_request(&self) -> Error {
        Error::new(ErrorKind::Lost, "the waiting request does not belong to this process: it was made before a fork")
    }
}
