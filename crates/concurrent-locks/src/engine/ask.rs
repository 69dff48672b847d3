//! What crosses the seam: one request, built once by the API and read by the engine where it lies, and what
//! becomes of it. Plain data without destructors.

use std::{sync::atomic::AtomicU64, time::Duration};

use crate::words::{
    deadlock::DeadlockPolicy,
    mode::Mode,
    name::Name,
    settings::{Fairness, Settings},
};

/// A time or none, in eight bytes: requests and guards are moved about more often than they are asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(u64);

impl Limit {
    pub(crate) const NONE: Limit = Limit(u64::MAX);

    /// To the nanosecond, up to 584 years.
    #[inline]
    pub(crate) fn of(time: Option<Duration>) -> Limit {
        time.map_or(Limit::NONE, |time| Limit(nanos(time).min(u64::MAX - 1)))
    }

    #[inline]
    pub(crate) fn time(self) -> Option<Duration> {
        (self != Limit::NONE).then(|| Duration::from_nanos(self.0))
    }
}

/// Nanoseconds, up to 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a request is ready to queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: busy is `WouldBlock`.
    No,
    /// At most so long: busy is `TimedOut`.
    For(Duration),
    Forever,
}

/// A labelled owner as engines know it.
#[derive(Debug, Default)]
pub(crate) struct Who {
    pub(crate) id: u64,
    /// Empty for an owner without a label.
    pub(crate) label: String,
    /// Owners of the processes that wait for this one to end, the outermost first: what they hold,
    /// this owner re-enters.
    pub(crate) ancestors: Vec<u64>,
}

/// How a request is served. Its guard keeps it, because an upgrade asks in the same way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How long an upgrade waits that does not say.
    pub(crate) upgrade_timeout: Limit,
    /// How many milliseconds a hand-off to it may lie before it goes to the next. Where a process cannot hand over
    /// to another one itself, the engine has a time of its own.
    pub(crate) pass_over_after: u32,
    pub(crate) priority: i8,
    pub(crate) policy: DeadlockPolicy,
    pub(crate) fairness: Fairness,
}

impl Terms {
    #[inline]
    pub(crate) fn of(settings: &Settings) -> Terms {
        Terms {
            upgrade_timeout: Limit::of(settings.write_timeout),
            pass_over_after: u32::try_from(settings.pass_over_after.as_millis()).unwrap_or(u32::MAX),
            priority: 0,
            policy: settings.deadlocks,
            fairness: settings.fairness,
        }
    }
}

/// One request for one resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) name: Name<'a>,
    /// Where the engine may remember how it found the resource (a handle's memory).
    pub(crate) hint: Option<&'a AtomicU64>,
    /// `None` for an owner of its own, whose id the engine draws.
    pub(crate) who: Option<&'a Who>,
    pub(crate) note: &'a str,
    /// How long it is ready to queue, if it waits at all.
    pub(crate) timeout: Limit,
    /// The longest it may be held; some only if the engine grants on leases, and not zero.
    pub(crate) max_hold: Limit,
    pub(crate) terms: Terms,
    pub(crate) mode: Mode,
    /// Whether the owner may hold something already. `false` spares the look for re-entry and cycles.
    pub(crate) may_hold: bool,
    pub(crate) waits: bool,
    /// Whether the asking thread may wait for the answer of a server; a future does not, and queues meanwhile.
    pub(crate) parks: bool,
}

impl<'a> Ask<'a> {
    /// A request of nobody in particular that waits for ever, in a thread.
    #[inline]
    pub(crate) fn new(name: Name<'a>, mode: Mode, terms: Terms) -> Ask<'a> {
        Ask {
            name,
            hint: None,
            who: None,
            note: "",
            timeout: Limit::NONE,
            max_hold: Limit::NONE,
            terms,
            mode,
            may_hold: false,
            waits: true,
            parks: true,
        }
    }

    pub(crate) fn wait(&self) -> Wait {
        match self.timeout.time() {
            _ if !self.waits => Wait::No,
            Some(time) => Wait::For(time),
            None => Wait::Forever,
        }
    }

    pub(crate) fn waiting(self, wait: Wait) -> Ask<'a> {
        let timeout = if let Wait::For(time) = wait { Some(time) } else { None };
        Ask { timeout: Limit::of(timeout), waits: wait != Wait::No, ..self }
    }

    pub(crate) fn ancestors(&self) -> &'a [u64] {
        self.who.map_or(&[], |who| &who.ancestors)
    }

    /// The ticket of this request, queued.
    pub(crate) fn ticket(&self, handle: u64, deadline: u64) -> Ticket {
        let Terms { policy, fairness, .. } = self.terms;
        Ticket { handle, deadline, policy, fairness, may_hold: self.may_hold }
    }
}

/// A grant as the engine knows it. Plain data: dropping it releases nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The engine's key to its own record of the grant.
    pub(crate) handle: u64,
    pub(crate) token: u64,
    pub(crate) mode: Mode,
}

/// What the engine's record of a grant says besides; nothing of a grant that is not of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tenure {
    pub(crate) owner: u64,
    /// Between request and grant.
    pub(crate) waited: Duration,
    pub(crate) held_for: Duration,
    /// The longest it may be held.
    pub(crate) max_hold: Option<Duration>,
}

/// A queued request. Plain data: it must end in `poll`, `park` or `abandon`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// The engine's key to its own record of the request.
    pub(crate) handle: u64,
    /// When the request gives up, on the engine's clock; `u64::MAX` is never.
    pub(crate) deadline: u64,
    pub(crate) policy: DeadlockPolicy,
    pub(crate) fairness: Fairness,
    /// Whether the owner holds something, so that this wait can close a cycle.
    pub(crate) may_hold: bool,
}

/// What became of a request that was begun and not refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress {
    Granted(Grant),
    Queued(Ticket),
}
