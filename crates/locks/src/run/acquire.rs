//! Waiting for the locks: until they are granted, refused, or a signal ends the wait.

use std::{
    future::IntoFuture,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use concurrent_locks::{Error, GuardAll, LockManager, Owner, RequestAll};
use signal_hook::{
    consts::{SIGCHLD, SIGCONT, SIGTSTP},
    low_level,
};

use super::happenings::{Happening, Happenings};
use crate::{output::Output, table::plain};

/// How the wait ended, where nothing is wrong.
pub(crate) enum Acquired {
    Guards(GuardAll),
    /// A signal came first: the request has left the queue.
    Interrupted(i32),
}

/// Waits for the locks. Dropping the request's future leaves the queue, so that a signal ends the
/// wait as cleanly as a time-out does.
pub(crate) fn acquire(
    request: RequestAll,
    happenings: &Happenings,
    notice: &mut Notice<'_>,
) -> Result<Acquired, Error> {
    let waker = happenings.waker();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(request.into_future());
    loop {
        if let Poll::Ready(guards) = future.as_mut().poll(&mut context) {
            return guards.map(Acquired::Guards);
        }
        match happenings.next(Notice::INTERVAL) {
            None => notice.tell(),
            Some(Happening::Woken | Happening::Signal { number: SIGCHLD | SIGCONT, .. }) => {}
            Some(Happening::Signal { number: SIGTSTP, .. }) => stop(),
            Some(Happening::Signal { number, .. }) => return Ok(Acquired::Interrupted(number)),
        }
    }
}

/// Stops this process as SIGTSTP would have, had we not listened to it.
pub(crate) fn stop() {
    // It can only fail for a signal that does not exist.
    let _ = low_level::emulate_default_handler(SIGTSTP);
}

/// Tells a waiting person who holds the lock and how many are before it.
pub(crate) struct Notice<'a> {
    locks: &'a LockManager,
    owner: &'a Owner,
    names: &'a [String],
    output: &'a Output,
    told: String,
}

impl<'a> Notice<'a> {
    /// How long a wait is not worth a word, and how often to look again.
    const INTERVAL: Duration = Duration::from_secs(1);

    pub(crate) fn new(locks: &'a LockManager, owner: &'a Owner, names: &'a [String], output: &'a Output) -> Notice<'a> {
        Notice { locks, owner, names, output, told: String::new() }
    }

    /// Says what is new since the last time.
    fn tell(&mut self) {
        if !self.output.tells_progress() {
            return;
        }
        // A look that fails is no reason to end the wait: the request itself will say what is wrong.
        let Some(text) = self.names.iter().find_map(|name| self.look(name)) else { return };
        if text != self.told {
            self.output.notice(&text);
            self.told = text;
        }
    }

    /// What to say of this lock, if it is the one being waited for.
    fn look(&self, name: &str) -> Option<String> {
        let status = self.locks.status(name).ok()??;
        let (own, pid) = (self.owner.id(), std::process::id());
        let place = status.waiters.iter().position(|waiter| waiter.owner == own && waiter.pid == pid)? + 1;
        let holders = status.holders.iter().map(|holder| {
            let note = if holder.note.is_empty() { String::new() } else { format!(": {}", plain(&holder.note)) };
            format!("{} (pid {}, {} since {}{note})", plain(&holder.label), holder.pid, holder.mode, holder.since)
        });
        let holders = holders.collect::<Vec<_>>().join(", ");
        Some(format!("waiting for {name:?}, held by {holders}; place {place} of {}", status.waiters.len()))
    }
}
