//! The owners ahead of a request that waits on a thread that cannot continue while that thread waits.
//!
//! - **B1** The rule is that of the queue: a request waits for every holder and every earlier waiter that conflicts
//!   with it, and for those that they wait for. Two reads do not conflict.
//! - **B2** Who needs this thread cannot ask while it waits: who is not before the request at the first look will not
//!   be later. It is looked before every sleep all the same, since a look sees a queue that moves meanwhile.

use std::time::{Duration, Instant};

use concurrent_locks::{LockManager, Mode, OwnerId, Status};
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::IntoPyDict};

use crate::{
    context::Context,
    home::{self, Kind},
    made::{made, string},
    owner,
};

/// An owner that cannot continue while a thread waits.
pub(crate) enum Stops {
    /// What its event loop runs, and what the thread was about before the loop ran.
    EventLoop,
    /// All its greenlets, because no hub runs them. For one of them that includes what the thread was about
    /// before it switched to it; the thread itself, outside of them, may wait for its own time-out.
    Greenlets { asks_one: bool },
    /// Whoever awaits this future: that of the call which an executor runs on this thread.
    Caller(Py<PyAny>),
}

impl Stops {
    /// What a wait stops where greenlets are in use, and no hub runs them.
    pub(crate) fn greenlets(context: &Context<'_>) -> Stops {
        Stops::Greenlets { asks_one: matches!(context, Context::Greenlet { .. }) }
    }
}

/// How often a server is asked.
const ASK_SERVER: Duration = Duration::from_millis(250);

/// Finds the owners ahead of one request.
pub(crate) struct Look {
    pub(crate) locks: &'static LockManager,
    /// The guard as it is shown.
    pub(crate) guard: String,
    pub(crate) wanted: Vec<(String, Mode)>,
    /// The id of the owner that asks.
    pub(crate) me: OwnerId,
    pub(crate) stops: Stops,
    /// An upgrade waits for the other holders only.
    pub(crate) upgrading: bool,
    pub(crate) looked: Option<Instant>,
}

/// An owner ahead of the request.
struct InTheWay {
    label: String,
    kind: Kind,
    holds: bool,
}

impl Look {
    /// Raises if the wait would be for ever. Called before every sleep.
    pub(crate) fn look(&mut self, py: Python<'_>) -> PyResult<()> {
        let looked = self.looked.replace(Instant::now());
        let is_server = self.locks.capabilities().lease;
        // Where a server decides, its answer comes first: the lock may be free.
        if looked.is_none() && is_server {
            self.looked = Instant::now().checked_sub(ASK_SERVER);
            return Ok(());
        }
        if is_server && looked.is_some_and(|looked| looked.elapsed() < ASK_SERVER) {
            self.looked = looked;
            return Ok(());
        }
        for (name, mode) in &self.wanted {
            // If the engine cannot be inspected, the wait itself reports the error.
            let Ok(Some(status)) = py.detach(|| self.locks.status(name).blocking()) else { continue };
            if let Some(blocker) = self.in_the_way(py, &status, *mode)? {
                return Err(self.refusal(py, name, *mode, &blocker)?);
            }
        }
        Ok(())
    }

    fn in_the_way(&self, py: Python<'_>, status: &Status, mode: Mode) -> PyResult<Option<InTheWay>> {
        let holders = status.holders.iter().map(|one| (one.owner, &one.label, one.mode, true));
        let waiters = status.waiters.iter().map(|one| (one.owner, &one.label, one.mode, false));
        let place = status.waiters.iter().position(|one| one.owner == Some(self.me));
        let earlier = match place {
            _ if self.upgrading => 0,
            Some(place) => place,
            // Granted meanwhile; or held, among several of which another is waited for.
            None if status.holders.iter().any(|one| one.owner == Some(self.me)) => return Ok(None),
            // The next one of several.
            None => status.waiters.len(),
        };
        let mut found = None;
        for (id, label, its_mode, holds) in holders.chain(waiters.take(earlier)).filter(|(id, ..)| *id != Some(self.me))
        {
            if found.is_none() {
                let kind = id.map(|id| self.stopped(py, id)).transpose()?.flatten();
                found = kind.map(|kind| InTheWay { label: label.clone(), kind, holds });
            }
            // B1: a read is in the way of a write, be it this one or one that stands between.
            if found.is_some() && its_mode == Mode::Write {
                return Ok(found);
            }
        }
        Ok(found.filter(|_| mode == Mode::Write))
    }

    /// The kind of the owner, if it cannot continue while this thread waits.
    fn stopped(&self, py: Python<'_>, id: OwnerId) -> PyResult<Option<Kind>> {
        let here = |kinds: &[Kind]| {
            let homes = home::of(py, id);
            homes.iter().rev().find(|home| home.is_on_this_thread() && kinds.contains(&home.kind)).map(|home| home.kind)
        };
        Ok(match &self.stops {
            Stops::EventLoop => here(&[Kind::Task, Kind::TrioTask, Kind::Callback, Kind::Greenlet, Kind::Thread]),
            Stops::Greenlets { asks_one: true } => here(&[Kind::Greenlet, Kind::Thread]),
            Stops::Greenlets { asks_one: false } => here(&[Kind::Greenlet]),
            Stops::Caller(future) => {
                let Some(task) = owner::task_of(py, id) else { return Ok(None) };
                let awaited = py.import("concurrent_locks._awaited")?;
                awaited.call_method1("awaits", (task, future))?.is_truthy()?.then_some(Kind::Task)
            }
        })
    }

    fn refusal(&self, py: Python<'_>, name: &str, mode: Mode, blocker: &InTheWay) -> PyResult<PyErr> {
        let InTheWay { label, kind, holds } = blocker;
        let does = if *holds { format!("holds {name:?}") } else { format!("is before it in the queue of {name:?}") };
        let (guard, kind) = (&self.guard, kind.text());
        let error = |class: &str, text: String| {
            let class = py.import("concurrent_locks.errors")?.getattr(class)?;
            let options = [("resource_name", name), ("mode", mode.as_str())];
            Ok(PyErr::from_value(class.call((text,), Some(&options.into_py_dict(py)?))?))
        };
        match self.stops {
            Stops::EventLoop => Ok(PyRuntimeError::new_err(format!(
                "waiting for {guard} here would block the running event loop for ever: {label}, {kind} of this thread, \
                 {does} and could not go on; use `async with`, or another thread (`asyncio.to_thread`)"
            ))),
            Stops::Greenlets { .. } => error(
                "UnsupportedError",
                format!(
                    "waiting for {guard} here would block this thread for ever: {label}, {kind} of it, {does} and could \
                     not go on; greenlets can wait for each other under gevent and eventlet only"
                ),
            ),
            Stops::Caller(_) => error(
                "DeadlockError",
                format!(
                    "waiting to {mode} {name:?} is a deadlock with oneself: {label} (a task of this process) {does}, and \
                     awaits the call that waits here; call it before the lock is taken or after it is released, \
                     or directly, without a thread: what a task holds it may take again"
                ),
            ),
        }
    }
}

/// The future of the call that an executor runs on this thread, if it does.
pub(crate) fn executors_call(py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
    if !made(py).modules.bind(py).contains(string!(py, executors))? {
        return Ok(None);
    }
    let future = py.import("concurrent_locks._awaited")?.call_method0("call")?;
    Ok((!future.is_none()).then(|| future.unbind()))
}
