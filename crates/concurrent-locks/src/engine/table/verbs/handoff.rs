//! Hand-off: choosing the successors of a release, waking them, and the wake window that relaxes the order.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    engine::{
        Ask,
        table::{
            Table,
            bucket::{
                locked::Locked,
                queue::{Queue, Wakes},
            },
            map::{
                layout::{Checked, Record},
                word::State,
            },
            process::attach::Attachment,
            protocol::wait_word,
        },
    },
    words::{error::Error, event::EventKind, settings::Fairness},
};

/// How long a wake window stays open, in nanoseconds: about one wake-up of a sleeping thread.
const WINDOW: u64 = 50_000;

/// States of a resource's wake window (`Fairness::Window`), in `Resource::window`:
/// closed -> open (a release woke the head and left the lock free) -> closed (the head took it), or
/// open -> due (the head found it taken) -> closed (the next release hands over).
const CLOSED: u32 = 0;
const WINDOW_OPEN: u32 = 1;
const DUE: u32 = 2;

impl Table {
    /// After a release: hands over, or opens the wake window.
    #[inline]
    pub(crate) fn pass_on(
        &self,
        locked: &Locked<'_>,
        queue: &Queue<'_>,
        now: u64,
        fairness: Fairness,
        wakes: &mut Wakes,
    ) -> Checked<()> {
        let resource = queue.resource;
        if resource.waiters.load(Relaxed) == 0 {
            return Ok(());
        }
        self.pass_on_to_waiters(locked, queue, now, fairness, wakes)
    }

    fn pass_on_to_waiters(
        &self,
        locked: &Locked<'_>,
        queue: &Queue<'_>,
        now: u64,
        fairness: Fairness,
        wakes: &mut Wakes,
    ) -> Checked<()> {
        let resource = queue.resource;
        if fairness == Fairness::Window && queue.is_free() {
            match resource.window.load(Relaxed) {
                CLOSED => {
                    if let Some(head) = queue.waiters().next() {
                        let (index, record) = head?;
                        let wake = wait_word::nudge(&record.grant);
                        if wake != wait_word::Wake::None {
                            resource.window.store(WINDOW_OPEN, Relaxed);
                            resource.window_opened.store(now, Relaxed);
                            wakes.push(index, wake);
                            return Ok(());
                        }
                    }
                }
                WINDOW_OPEN if now.saturating_sub(resource.window_opened.load(Relaxed)) < WINDOW => return Ok(()),
                _ => {}
            }
        }
        resource.window.store(CLOSED, Relaxed);
        queue.grant_waiters(locked, now, wakes)
    }

    /// Whether a new request may take a lock that is free for a head that is waking up.
    #[inline]
    pub(crate) fn may_enter_window(&self, queue: &Queue<'_>, ask: &Ask<'_>, now: u64) -> bool {
        let resource = queue.resource;
        ask.terms.fairness == Fairness::Window
            && resource.window.load(Relaxed) == WINDOW_OPEN
            && now.saturating_sub(resource.window_opened.load(Relaxed)) < WINDOW
            && queue.is_free()
    }

    /// A waiter that was woken without a grant looks at the queue: it takes a lock that lies free
    /// for it, or makes the next release hand over. Also finishes what a lost wake-up left undone.
    pub(crate) fn look_at_queue(&self, me: &Attachment, record: &Record) -> Result<(), Error> {
        let (place, bucket) = self.place_of(record)?;
        let now = self.clock.now();
        let mut wakes = Wakes::new();
        self.with_bucket(me, bucket, |locked| {
            if record.word().state() != State::Waiting {
                return Ok(());
            }
            let queue = Queue::of(self, place)?;
            queue.grant_waiters(locked, now, &mut wakes)?;
            let resource = queue.resource;
            let still_waits = record.word().state() == State::Waiting;
            let window = if still_waits && resource.window.load(Relaxed) != CLOSED { DUE } else { CLOSED };
            resource.window.store(window, Relaxed);
            Ok(())
        })?;
        self.deliver(me, place, bucket, &wakes)
    }

    /// Wakes those that a step granted, outside of the lock; continues granting if the batch was full.
    #[inline]
    pub(crate) fn deliver(&self, me: &Attachment, place: u32, bucket: u32, wakes: &Wakes) -> Result<(), Error> {
        if wakes.is_empty() { Ok(()) } else { self.deliver_all(me, place, bucket, wakes) }
    }

    fn deliver_all(&self, me: &Attachment, place: u32, bucket: u32, wakes: &Wakes) -> Result<(), Error> {
        self.wake_all(me, wakes)?;
        let mut more = wakes.more;
        while more {
            let mut wakes = Wakes::new();
            let now = self.clock.now();
            self.with_bucket(me, bucket, |locked| Queue::of(self, place)?.grant_waiters(locked, now, &mut wakes))?;
            self.wake_all(me, &wakes)?;
            more = wakes.more;
        }
        Ok(())
    }

    fn wake_all(&self, me: &Attachment, wakes: &Wakes) -> Result<(), Error> {
        for (index, wake) in wakes.iter() {
            let record = self.layout.record(index)?;
            let word = record.word();
            if word.state() == State::Held {
                let waited = record.granted.load(Relaxed).saturating_sub(record.requested.load(Relaxed));
                self.emit_record(EventKind::Grant, record, word.mode(), record.granted.load(Relaxed), waited)?;
            }
            self.wake(me, index, wake)?;
        }
        Ok(())
    }
}
