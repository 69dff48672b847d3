//! Passing over: a hand-off that its process does not acknowledge (it is stopped, frozen, or its event loop is
//! busy) goes to the next waiter, and the sleeper is back in the queue, at its old place.
//!
//! - K1. A hand-off is acknowledged by one exchange of the wait word, and taken back by another (W4): so
//!   nobody trusts a grant that was given to another.
//! - K2. It is taken back under the bucket's lock: first the wait word, then the record's word, then links
//!   and counts. A rebuild after the first makes the grant again, one after the second completes the
//!   withdrawal.
//! - K3. A waiter that was passed over blocks nobody until it responds: the rule skips it. With it, all
//!   requests of its process in this queue are asked to check, so that each of them does not take its time
//!   again.
//! - K4. Only another process takes a hand-off back, after two checks between which the sleeper could have
//!   run: not because the whole machine was suspended.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    engine::table::{
        Table,
        bucket::queue::{Queue, Wakes},
        map::{
            layout::{Checked, Record},
            word::State,
        },
        process::attach::Attachment,
        protocol::wait_word::{self, Wake},
    },
    words::{error::Error, event::EventKind, mode::Mode},
};

/// A request whose grant was taken back.
#[derive(Clone, Copy)]
struct Sleeper {
    index: u32,
    slot: u32,
    mode: Mode,
}

impl Table {
    /// Takes back what was handed to other processes before `looked`, and lies there for too long.
    pub(crate) fn pass_over(&self, me: &Attachment, waiter: &Record, looked: u64) -> Result<(), Error> {
        let (place, bucket) = self.place_of(waiter)?;
        let now = self.clock.now();
        // Each one that is taken back is passed over from then on: there is an end.
        loop {
            let (mut granted, mut asked) = (Wakes::new(), Wakes::new());
            let mut sleeper = None;
            self.with_bucket(me, bucket, |locked| {
                let queue = Queue::of(self, place)?;
                sleeper = self.take_back(me, &queue, looked, now)?.or(sleeper);
                let Some(sleeper) = sleeper else { return Ok(()) };
                for entry in queue.waiters() {
                    let (index, record) = entry?;
                    if record.word().slot() == sleeper.slot {
                        match wait_word::pass_over(&record.grant) {
                            Wake::None => {}
                            wake => asked.push(index, wake),
                        }
                    }
                }
                queue.grant_waiters(locked, now, &mut granted)
            })?;
            let Some(Sleeper { index, mode, .. }) = sleeper else { return Ok(()) };
            let record = self.layout.record(index)?;
            let waited = now.saturating_sub(record.requested.load(Relaxed));
            self.emit_record(EventKind::Wait, record, mode, now, waited)?;
            // However it sleeps, it checks when it continues.
            self.wake_again(index, record)?;
            for (index, wake) in asked.iter() {
                self.wake(me, index, wake)?;
            }
            self.deliver(me, place, bucket, &granted)?;
        }
    }

    /// Takes one overdue hand-off back, under the bucket's lock (K2).
    fn take_back(&self, me: &Attachment, queue: &Queue<'_>, looked: u64, now: u64) -> Checked<Option<Sleeper>> {
        for entry in queue.holders() {
            let (index, record) = entry?;
            let word = record.word();
            let granted = record.granted.load(Relaxed);
            let overdue = granted <= looked && now.saturating_sub(granted) >= record.pass_over_after();
            if word.slot() == me.slot || !overdue || !wait_word::take_back(&record.grant) {
                continue;
            }
            self.untally_grant(queue.resource, word.mode(), granted.saturating_sub(record.requested.load(Relaxed)));
            record.commit(word.with(State::Waiting, word.mode()));
            queue.unlink(index, record, State::Held, word.mode())?;
            queue.link_waiter(index, record)?;
            return Ok(Some(Sleeper { index, slot: word.slot(), mode: word.mode() }));
        }
        Ok(None)
    }
}
