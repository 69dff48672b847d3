//! Waiting for the locks: until they are granted, refused, or a signal ends the wait.

use std::{
    future::IntoFuture,
    pin::pin,
    task::{Context, Poll},
    time::{Duration, Instant},
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

/// Waits for the locks, at most for so long in all.
pub(crate) fn acquire(
    request: &RequestAll,
    patience: Option<Duration>,
    happenings: &Happenings,
    notice: &mut Notice<'_>,
) -> Result<Acquired, Error> {
    let asked = Instant::now();
    loop {
        let left = patience.map(|patience| patience.saturating_sub(asked.elapsed()));
        match wait(request.clone().timeout(left), happenings, notice)? {
            // A stopped process must not be next: it requests again when it continues.
            Acquired::Interrupted(SIGTSTP) => stop(),
            acquired => return Ok(acquired),
        }
    }
}

/// Dropping the request's future leaves the queue, so that a signal ends the wait as cleanly as a time-out
/// does.
fn wait(request: RequestAll, happenings: &Happenings, notice: &mut Notice<'_>) -> Result<Acquired, Error> {
    let waker = happenings.waker();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(request.into_future());
    loop {
        if let Poll::Ready(guards) = future.as_mut().poll(&mut context) {
            return guards.map(Acquired::Guards);
        }
        match happenings.next(notice.interval()) {
            None => notice.tell(),
            Some(Happening::Woken | Happening::Signal { number: SIGCHLD | SIGCONT, .. }) => {}
            Some(Happening::Signal { number, .. }) => return Ok(Acquired::Interrupted(number)),
        }
    }
}

/// Stops this process as SIGTSTP would have, had we not listened to it.
pub(crate) fn stop() {
    // It can only fail for a signal that does not exist.
    let _ = low_level::emulate_default_handler(SIGTSTP);
}

/// Tells who holds the lock that is waited for and how many are before us: a person at a terminal whenever it
/// changes, a log once.
pub(crate) struct Notice<'a> {
    locks: &'a LockManager,
    owner: &'a Owner,
    names: &'a [String],
    output: &'a Output,
    looks: u32,
    told: Option<String>,
}

impl<'a> Notice<'a> {
    /// How long a wait is not worth a word to a person, and how often to look again.
    const INTERVAL: Duration = Duration::from_secs(1);
    /// Between looks of one who has nothing more to say: the request itself wakes whoever waits for it.
    const LONG: Duration = Duration::from_secs(3600);

    pub(crate) fn new(locks: &'a LockManager, owner: &'a Owner, names: &'a [String], output: &'a Output) -> Notice<'a> {
        Notice { locks, owner, names, output, looks: 0, told: None }
    }

    /// Until the next look.
    fn interval(&self) -> Duration {
        let may_speak = self.output.tells() && (self.told.is_none() || self.output.is_watched());
        if may_speak { Self::INTERVAL } else { Self::LONG }
    }

    /// Says what is new since the last time.
    fn tell(&mut self) {
        self.looks += 1;
        let may_speak = self.output.is_watched() || self.looks > 1 && self.told.is_none();
        if !self.output.tells() || !may_speak {
            return;
        }
        // A look that fails is no reason to end the wait: the request itself will say what is wrong.
        let Some((who, text)) = self.names.iter().find_map(|name| self.look(name)) else { return };
        if self.told.as_ref() != Some(&who) {
            self.output.notice(&text);
            self.told = Some(who);
        }
    }

    /// The message about this lock, if it is the one being waited for: its holders, without and with times.
    fn look(&self, name: &str) -> Option<(String, String)> {
        let status = self.locks.status(name).blocking().ok()??;
        let (own, pid) = (self.owner.id(), std::process::id());
        let place = status.waiters.iter().position(|waiter| waiter.owner == Some(own) && waiter.pid == pid)? + 1;
        let place = format!("place {place} of {}", status.waiters.len());
        let holders = |with_times: bool| {
            let holders = status.holders.iter().map(|holder| {
                let note = if holder.note.is_empty() { String::new() } else { format!(": {}", plain(&holder.note)) };
                let time = if with_times { format!(" for {:.0} s", holder.held.as_secs_f64()) } else { String::new() };
                format!("{} (pid {}, {}{time}{note})", plain(&holder.label), holder.pid, holder.mode)
            });
            holders.collect::<Vec<_>>().join(", ")
        };
        let text = format!("waiting for {name:?}, held by {}; {place}", holders(true));
        Some((holders(false) + &place, text))
    }
}
