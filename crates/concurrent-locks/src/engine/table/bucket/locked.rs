//! A locked bucket, as a guard; and recovery when its owner died or its bytes are damaged.

use std::{
    sync::atomic::{Ordering::Relaxed, fence},
    time::Duration,
};

use crate::{
    engine::table::{
        Table,
        machine::kernel,
        map::layout::{Bucket, Checked},
        process::attach::Attachment,
        protocol::{atomic_word::AtomicWord, short_lock},
    },
    words::error::{Error, ErrorKind},
};

/// How often to look before sleeping: a bucket is held for tens of nanoseconds.
const SPINS: u32 = 60;
/// How long to sleep before asking whether the owner lives.
const SLICE: Duration = Duration::from_millis(2);
/// How long a living owner may keep a bucket: it must be stopped (SIGSTOP, debugger) by then.
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// How long a reaper waits for a bucket; it comes again (R5).
const REAPER_WAITS: Duration = Duration::from_millis(10);

/// A bucket whose short lock this thread holds. Nothing done under it may block, allocate or run
/// foreign code.
pub(crate) struct Locked<'t> {
    pub(crate) bucket: &'t Bucket,
    pub(crate) index: u32,
    owned: bool,
}

impl<'t> Locked<'t> {
    /// Of a lock that was just taken.
    #[inline]
    pub(crate) fn held(bucket: &'t Bucket, index: u32) -> Locked<'t> {
        Locked { bucket, index, owned: true }
    }

    /// Of a lock that somebody further up holds and frees.
    pub(crate) fn borrowed(bucket: &'t Bucket, index: u32) -> Locked<'t> {
        Locked { bucket, index, owned: false }
    }

    /// The next ticket or token of this bucket.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        let next = self.bucket.counter.load(Relaxed).wrapping_add(1);
        self.bucket.counter.store(next, Relaxed);
        next
    }

    /// Numbers an arrival: its ticket, and its time, which never goes back in a bucket.
    #[inline]
    pub(crate) fn arrival(&self, now: u64) -> (u64, u64) {
        let ticket = self.count();
        let arrival = now.max(self.bucket.last_arrival.load(Relaxed));
        self.bucket.last_arrival.store(arrival, Relaxed);
        (ticket, arrival)
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.owned && short_lock::unlock(&self.bucket.lock) {
            kernel::futex_wake(&self.bucket.lock, 1);
        }
    }
}

impl Table {
    #[inline]
    pub(crate) fn lock_bucket(&self, me: &Attachment, index: u32) -> Result<Locked<'_>, Error> {
        let bucket = self.layout.bucket(index)?;
        if !short_lock::try_lock(&bucket.lock, me.name)
            && let Some(owner) = self.lock_bucket_slow(me, bucket, index, STUCK_AFTER)?
        {
            return Err(self.stuck(owner));
        }
        Ok(Locked::held(bucket, index))
    }

    /// Takes the lock, or returns the process that has kept it for as long as `patience`.
    #[cold]
    fn lock_bucket_slow(
        &self,
        me: &Attachment,
        bucket: &Bucket,
        index: u32,
        patience: Duration,
    ) -> Result<Option<short_lock::Name>, Error> {
        if me.may_spin {
            for _ in 0..SPINS {
                std::hint::spin_loop();
                if bucket.lock.get() == 0 && short_lock::try_lock(&bucket.lock, me.name) {
                    return Ok(None);
                }
            }
        }
        let started = kernel::monotonic();
        loop {
            let word = match short_lock::lock_or_announce(&bucket.lock, me.name) {
                Ok(()) => return Ok(None),
                Err(word) => word,
            };
            let Some(owner) = short_lock::Name::of(word) else {
                // Not a word anybody writes: damaged. Nobody holds it.
                self.count_damage();
                if short_lock::take_over(&bucket.lock, word, me.name) {
                    return self.rebuild_taken(bucket, index).map(|()| None);
                }
                continue;
            };
            if owner != me.name && self.is_dead(me, owner)? {
                if short_lock::take_over(&bucket.lock, word, me.name) {
                    return self.rebuild_taken(bucket, index).map(|()| None);
                }
                continue;
            }
            kernel::futex_wait(&bucket.lock, word, SLICE);
            if bucket.lock.get() == word && kernel::monotonic() - started > patience {
                return Ok(Some(owner));
            }
        }
    }

    /// After a take-over (S2): the lists may be half changed.
    fn rebuild_taken(&self, bucket: &Bucket, index: u32) -> Result<(), Error> {
        // What the dead process stored before it died is visible: its file lock was dropped after, and
        // we asked the kernel about that lock.
        fence(std::sync::atomic::Ordering::SeqCst);
        if let Err(violation) = self.rebuild(index) {
            if short_lock::unlock(&bucket.lock) {
                kernel::futex_wake(&bucket.lock, 1);
            }
            return Err(violation.into());
        }
        Ok(())
    }

    pub(crate) fn stuck(&self, owner: short_lock::Name) -> Error {
        let pid = self.layout.slot(owner.slot).map_or(0, |slot| slot.pid.load(Relaxed));
        Error::new(
            ErrorKind::Unreachable,
            format!(
                "{}: process {pid} has been stopped in the middle of a lock operation for {} s; continue it (kill -CONT {pid}) or end it",
                self.url,
                STUCK_AFTER.as_secs()
            ),
        )
    }

    /// Runs `work` under the bucket's lock. If it meets damage, the bucket is rebuilt from its
    /// records and the work is tried once more; if that fails too, the table is `Corrupt`.
    #[inline]
    pub(crate) fn with_bucket<R>(
        &self,
        me: &Attachment,
        index: u32,
        work: impl FnMut(&Locked<'_>) -> Checked<R>,
    ) -> Result<R, Error> {
        let locked = self.lock_bucket(me, index)?;
        self.work_in(&locked, work)
    }

    /// [`Table::with_bucket`], unless somebody else keeps the bucket: then says who.
    pub(crate) fn with_bucket_soon(
        &self,
        me: &Attachment,
        index: u32,
        work: impl FnMut(&Locked<'_>) -> Checked<()>,
    ) -> Result<Option<short_lock::Name>, Error> {
        let bucket = self.layout.bucket(index)?;
        if !short_lock::try_lock(&bucket.lock, me.name)
            && let Some(owner) = self.lock_bucket_slow(me, bucket, index, REAPER_WAITS)?
        {
            return Ok(Some(owner));
        }
        let locked = Locked::held(bucket, index);
        self.work_in(&locked, work).map(|()| None)
    }

    #[inline]
    fn work_in<R>(&self, locked: &Locked<'_>, mut work: impl FnMut(&Locked<'_>) -> Checked<R>) -> Result<R, Error> {
        let mut is_second_try = false;
        // One call in a loop, not two: so it is compiled into its place.
        loop {
            match work(locked) {
                Ok(result) => return Ok(result),
                Err(violation) if is_second_try => return Err(violation.into()),
                Err(_) => self.repair(locked)?,
            }
            is_second_try = true;
        }
    }

    #[cold]
    pub(crate) fn repair(&self, locked: &Locked<'_>) -> Checked<()> {
        self.count_damage();
        self.rebuild(locked.index)
    }

    pub(crate) fn count_damage(&self) {
        self.layout.header().counters.corrupt.fetch_add(1, Relaxed);
    }
}
