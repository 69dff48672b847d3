//! Where owners of this process run: which of them can continue only when a thread is free.
//!
//! A thread that waits stops its event loop, and with it every task of it; or all greenlets of the thread. If one of
//! those holds what is waited for, the wait is for ever. So a waiter there first checks the owners ahead of it.
//!
//! - **H1** An owner lives where it last asked. A name that several tasks and threads give lives in all their places.
//! - **H2** What is known here comes from this process: a forked child knows nothing of its parent's owners (O2).

use std::{
    cell::Cell,
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use concurrent_locks::OwnerId;
use pyo3::prelude::*;

use crate::{context::Context, fork, gil::GilCell};

/// What an owner is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Task,
    TrioTask,
    Greenlet,
    Callback,
    Thread,
}

impl Kind {
    pub(crate) fn of(context: &Context<'_>) -> Kind {
        match context {
            Context::Task { .. } => Kind::Task,
            Context::Trio { .. } => Kind::TrioTask,
            Context::Greenlet { .. } => Kind::Greenlet,
            Context::Callback { .. } => Kind::Callback,
            Context::Thread => Kind::Thread,
        }
    }

    /// With an article.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Kind::Task | Kind::TrioTask => "a task",
            Kind::Greenlet => "a greenlet",
            Kind::Callback => "a callback",
            Kind::Thread => "a thread",
        }
    }
}

/// A thread, and what the owner was on it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Home {
    thread: u64,
    pub(crate) kind: Kind,
}

impl Home {
    pub(crate) fn is_on_this_thread(self) -> bool {
        self.thread == this_thread()
    }
}

struct Homes {
    epoch: u64,
    /// The latest one last.
    places: Vec<Home>,
}

/// By the owner's id.
static HOMES: GilCell<Option<HashMap<OwnerId, Homes>>> = GilCell::new(None);

/// So many places of one name are known.
const KNOWN: usize = 64;

/// A number that no other thread of this process has or had.
fn this_thread() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NUMBER: Cell<u64> = const { Cell::new(0) });
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

/// This owner asks on this thread.
pub(crate) fn moved_in(py: Python<'_>, id: OwnerId, kind: Kind) {
    let home = Home { thread: this_thread(), kind };
    let mut homes = HOMES.open(py);
    let homes = homes.get_or_insert_default();
    match homes.get_mut(&id) {
        Some(known) if known.epoch == fork::epoch() => {
            known.places.retain(|place| *place != home);
            if known.places.len() == KNOWN {
                known.places.remove(0);
            }
            known.places.push(home);
        }
        _ => _ = homes.insert(id, Homes { epoch: fork::epoch(), places: vec![home] }),
    }
}

/// This owner is gone.
pub(crate) fn moved_out(py: Python<'_>, id: OwnerId) {
    if let Some(homes) = HOMES.open(py).as_mut() {
        homes.remove(&id);
    }
}

/// Where an owner lives; nowhere if it is not of this process.
pub(crate) fn of(py: Python<'_>, id: OwnerId) -> Vec<Home> {
    let homes = HOMES.open(py);
    let known = homes.as_ref().and_then(|homes| homes.get(&id));
    known.filter(|known| known.epoch == fork::epoch()).map_or_else(Vec::new, |known| known.places.clone())
}
