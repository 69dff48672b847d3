//! A request as this process sees it: a state machine.
//!
//! ```text
//!            answer: queued            grant              taken            released  
//!  Asking ─────────────────▶ Waiting ────────▶ Settled ─────────▶ Held ─────────────▶ Releasing ─▶ (forgotten)
//!     │ answer: granted, busy   │  time over,     ▲                │ deadline passed, told so
//!     └─────────────────────────┼──▶ Leaving ─────┘                ▼
//!     dropped: Abandoned ◀───────┘   answer: left, granted         Lost
//! ```
//!
//! - R1. The stage of a request alone determines what is sent about it, and every verb is idempotent by the
//!   request's id. So after a lost connection each request is simply resent.
//! - R2. Answers and pushes may come in any order and twice; each is applied only where the stage
//!   expects it, and ignored elsewhere.
//! - R3. A request whose caller has gone (`Abandoned`, `Releasing`) is kept until the server has answered:
//!   nothing leaks there.
//! - R4. A grant that is lost before its caller has taken it is not a loss: nobody entered. The request
//!   queues again, or leaves the queue if it has timed out.

use std::{collections::BTreeMap, task::Waker, thread::Thread};

use super::wire::Attention;
use crate::{
    engine::{Ending, Grant},
    words::{
        deadlock::{Cycle, DeadlockPolicy},
        error::Error,
        mode::Mode,
    },
};

/// What was asked for; with it the request can be sent again.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) owner: u64,
    pub(super) ancestors: Vec<u64>,
    pub(super) label: String,
    pub(super) note: String,
    pub(super) priority: i8,
    pub(super) waits: bool,
    /// Whether it was given no time to wait.
    pub(super) at_once: bool,
    /// Microseconds; 0 is without limit.
    pub(super) max_hold: u64,
}

/// A grant as the server made it. Times on the clock of leases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) token: u64,
    pub(super) mode: Mode,
    pub(super) owner: u64,
    pub(super) waited: u64,
    /// When it was granted.
    pub(super) since: u64,
    /// When we learned of it from somebody else's verb (L2); 0 if it was the answer to our own.
    pub(super) learned: u64,
    /// When it ends whatever the session does; `u64::MAX` is never.
    pub(super) ends: u64,
}

impl Hold {
    pub(super) fn grant(&self, handle: u64) -> Grant {
        Grant { handle, token: self.token, mode: self.mode }
    }
}

/// Why a request leaves the queue.
#[derive(Clone, Debug)]
pub(super) enum Leaving {
    TimedOut,
    /// Waiting on would be a deadlock, as long as these requests (ids, joined by commas) wait too.
    Deadlock {
        cycle: Cycle,
        still: String,
    },
}

#[derive(Debug)]
pub(super) enum Stage {
    /// There is no answer yet.
    Asking,
    Waiting,
    /// The server is asked to let it go; it may be granted all the same.
    Leaving(Leaving),
    /// Granted or refused; nobody has taken it yet.
    Settled(Result<Hold, Error>),
    Held(Hold),
    /// It was held, and is held no more (L4).
    Lost(Error),
    /// Nobody waits for it any more; the server must still be notified.
    Abandoned,
    /// Released; the server must still be notified.
    Releasing(Ending),
    /// The server has been notified; the releasing thread takes the answer.
    Released(Result<(), Error>),
}

/// The waker for a change of the stage.
#[derive(Debug, Default)]
pub(super) enum Wake {
    #[default]
    Nobody,
    Thread(Thread),
    Task(Waker),
}

/// The callback for a loss.
pub(super) type Tell = Box<dyn FnOnce(Error) + Send>;

pub(super) struct Record {
    pub(super) asked: Asked,
    pub(super) stage: Stage,
    pub(super) wake: Wake,
    /// When it was asked for.
    pub(super) begun: u64,
    /// When the caller gives up; `u64::MAX` is never.
    pub(super) deadline: u64,
    /// When the renewal is to look at it ([`super::state::State::set_timer`]).
    pub(super) timer: Option<u64>,
    pub(super) policy: DeadlockPolicy,
    /// Whether this wait can close a cycle.
    pub(super) may_hold: bool,
    /// When to look for a deadlock again.
    pub(super) look_at: u64,
    /// Whether a thread waits for it, and reads for itself; else the link's own thread reads for it.
    pub(super) blocking: bool,
    /// Keeps the link's thread reading while a future needs it.
    pub(super) attention: Option<Attention>,
    /// Whether the server has answered once: from then on its caller waits for as long as it wants to.
    pub(super) answered: bool,
    /// When it was asked for again after its grant or its place was lost; 0 if never. A grant of before is none.
    pub(super) asked_again: u64,
    /// How often in turn the server refused for a passing reason.
    pub(super) refusals: u32,
    /// How often its release was sent to the server.
    pub(super) releases: u32,
    /// The server may have it although its caller gets an error: abandon it when that is taken.
    pub(super) uncertain: bool,
    /// By a number of each, so that one can be taken back.
    pub(super) tell: BTreeMap<u64, Tell>,
    /// The grant as its caller took it, also after it is lost.
    pub(super) taken: Option<Hold>,
}

impl Record {
    /// Whether the server keeps it in a queue, as far as we know.
    pub(super) fn waits(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Leaving(_))
    }

    /// Whether the server has still to answer what its caller is done with.
    pub(super) fn ends(&self) -> bool {
        matches!(self.stage, Stage::Leaving(_) | Stage::Abandoned | Stage::Releasing(_))
    }

    /// What it holds, taken by its caller or not.
    pub(super) fn hold(&self) -> Option<&Hold> {
        match &self.stage {
            Stage::Held(hold) | Stage::Settled(Ok(hold)) => Some(hold),
            _ => None,
        }
    }
}
