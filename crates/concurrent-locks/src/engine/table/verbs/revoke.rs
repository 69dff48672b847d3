//! Break: an operator takes the lock from its holder.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    engine::{
        Ending,
        table::{
            Table,
            bucket::queue::{Queue, Wakes},
            map::word::State,
        },
    },
    words::{error::Error, event::EventKind, status::Holder},
};

impl Table {
    /// Takes the lock from the holder with this token, for an operator.
    pub(crate) fn break_lock(&self, name: crate::words::name::Name<'_>, token: u64) -> Result<Holder, Error> {
        let me = self.me()?;
        let nobody = || Error::nobody_holds(name.text(), token);
        let seen = self.status_of(Some(name))?.remove(name.text());
        let holder = seen.and_then(|status| status.holders.into_iter().find(|holder| holder.token == token));
        let holder = holder.ok_or_else(nobody)?;
        let bucket = self.layout.bucket_of(name.hash());
        let now = self.clock.now();
        let mut wakes = Wakes::new();
        let mut taken = None;
        self.with_bucket(me, bucket, |locked| {
            let Some(place) = self.find(locked, name)? else { return Ok(()) };
            let queue = Queue::of(self, place)?;
            // Re-entries share the token: all of them go.
            loop {
                let found = queue.holders().find_map(|entry| match entry {
                    Ok((_, record)) if record.token.load(Relaxed) != token => None,
                    other => Some(other),
                });
                let Some(found) = found else { break };
                let (index, record) = found?;
                let word = record.word();
                let pid = self.pid_of(word.slot());
                self.tally_release(queue.resource, record, word.mode(), now, Ending::Panicked, pid);
                record.commit(word.with(State::Free, word.mode()));
                queue.unlink(index, record, State::Held, word.mode())?;
                taken = Some((place, index));
            }
            queue.grant_waiters(locked, now, &mut wakes)
        })?;
        let (place, index) = taken.ok_or_else(nobody)?;
        self.emit_record(EventKind::Broken, self.layout.record(index)?, holder.mode, now, 0)?;
        self.deliver(me, place, bucket, &wakes)?;
        Ok(holder)
    }
}
