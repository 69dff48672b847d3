//! Release and downgrade: a grant ends, whole or in part, and the next in line is granted.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    engine::{
        Ending, Grant,
        table::{
            Table,
            bucket::queue::{Queue, Wakes},
            map::{
                layout::{Checked, Record, Violation, linked},
                word::{State, handle, record_of},
            },
        },
    },
    words::{error::Error, event::EventKind, mode::Mode, settings::Fairness},
};

impl Table {
    /// Gives a held lock back.
    #[inline]
    pub(crate) fn release_grant(&self, grant: &Grant, ending: Ending, fairness: Fairness) -> Result<(), Error> {
        let me = self.me()?;
        let index = record_of(grant.handle);
        let now = self.clock.now();
        let record = self.layout.record(index)?;
        let word = record.word();
        if handle(index, word) != grant.handle || word.slot() != me.slot {
            return Err(self.lost(grant));
        }
        let (place, bucket) = self.place_of(record)?;
        let mut wakes = Wakes::new();
        let mut was_held = false;
        self.with_bucket(me, bucket, |locked| {
            let queue = Queue::of(self, place)?;
            let word = record.word();
            if word.state() == State::Held {
                was_held = true;
                self.tally_release(queue.resource, record, word.mode(), now, ending, me.pid);
                record.commit(word.with(State::Free, word.mode()));
                queue.unlink(index, record, State::Held, word.mode())?;
            }
            self.pass_on(locked, &queue, now, fairness, &mut wakes)
        })?;
        if was_held && self.is_watched(now) {
            self.emit_record(
                EventKind::Release,
                record,
                grant.mode,
                now,
                now.saturating_sub(record.granted.load(Relaxed)),
            )?;
        }
        self.return_record(me, index);
        self.deliver(me, place, bucket, &wakes)?;
        if was_held { self.check_was_alone(me, grant, now) } else { Err(self.lost(grant)) }
    }

    /// Write to read in one store; readers at the head of the queue join.
    pub(crate) fn downgrade_grant(&self, grant: &Grant) -> Result<Grant, Error> {
        let me = self.me()?;
        let index = record_of(grant.handle);
        let record = self.layout.record(index)?;
        let now = self.clock.now();
        if handle(index, record.word()) != grant.handle || record.word().slot() != me.slot {
            return Err(self.lost(grant));
        }
        let (place, bucket) = self.place_of(record)?;
        let mut wakes = Wakes::new();
        let mut was_held = true;
        self.with_bucket(me, bucket, |locked| {
            let queue = Queue::of(self, place)?;
            let word = record.word();
            if word.state() != State::Held {
                was_held = false;
                return Ok(());
            }
            if word.mode() == Mode::Write {
                self.tally_release(queue.resource, record, Mode::Write, now, Ending::Normal, me.pid);
                self.tally_grant_at_once(queue.resource, Mode::Read);
                // The read grant begins now, and has waited as long as the write grant had.
                let waited = record.granted.load(Relaxed).saturating_sub(record.requested.load(Relaxed));
                record.granted.store(now, Relaxed);
                record.requested.store(now.saturating_sub(waited), Relaxed);
                record.commit(word.with(State::Held, Mode::Read));
                queue.recount(Mode::Write, Mode::Read);
            }
            queue.grant_waiters(locked, now, &mut wakes)
        })?;
        self.deliver(me, place, bucket, &wakes)?;
        if was_held { Ok(Grant { mode: Mode::Read, ..*grant }) } else { Err(self.lost(grant)) }
    }

    /// The resource of a record that is waiting or held, and its bucket.
    #[inline]
    pub(crate) fn place_of(&self, record: &Record) -> Checked<(u32, u32)> {
        let place = linked(record.resource.load(Relaxed)).ok_or(Violation("a request without a resource"))?;
        let hash = self.layout.resource(place)?.hash.load(Relaxed);
        Ok((place, self.layout.bucket_of(hash)))
    }
}
