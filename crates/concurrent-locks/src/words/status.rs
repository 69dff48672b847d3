//! The status of a lock: its holders and waiters at one moment.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::words::{mode::Mode, owner_id::OwnerId};

/// The requested resources by name.
pub type StatusMap = BTreeMap<String, Status>;

/// A snapshot of one resource. Serialises with the key names of the JSON interface (`docs/json.md`).
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Status {
    /// The resource's name.
    pub resource_name: String,
    /// How many grants hold it in `read` mode.
    pub readers: usize,
    /// Whether there is a holder in `write` mode.
    pub writer_active: bool,
    /// The writer's label, if there is a writer.
    pub current_writer: Option<String>,
    /// The readers' labels.
    pub current_readers: Vec<String>,
    /// How many `write` requests wait.
    pub pending_writes: usize,
    /// How many requests wait in all.
    pub pending_requests: usize,
    /// The holders.
    pub holders: Vec<Holder>,
    /// The waiters, in grant order.
    pub waiters: Vec<Waiter>,
}

impl Status {
    /// From the holders, in any order, and the waiters, in queue order.
    pub(crate) fn of(resource_name: String, holders: Vec<Holder>, waiters: Vec<Waiter>) -> Status {
        let labels = |mode| holders.iter().filter(move |holder| holder.mode == mode).map(|holder| holder.label.clone());
        let current_readers: Vec<String> = labels(Mode::Read).collect();
        let current_writer = labels(Mode::Write).next();
        Status {
            resource_name,
            readers: current_readers.len(),
            writer_active: current_writer.is_some(),
            current_writer,
            current_readers,
            pending_writes: waiters.iter().filter(|waiter| waiter.mode == Mode::Write).count(),
            pending_requests: waiters.len(),
            holders,
            waiters,
        }
    }
}

/// The state of a process that holds or waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ProcessState {
    /// Unknown: it is on another machine, or its engine does not report it.
    #[default]
    Unknown,
    /// It is alive.
    Alive,
    /// It has ended, but its command or a process of that still runs and keeps its locks (a killed `locks
    /// run`).
    Orphaned,
    /// It has ended and is not cleaned up yet: the next request for the lock does so, and gets it.
    Dead,
}

/// A holder of a resource.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Holder {
    /// The owner; `None` where the engine does not show it (another process's lock of `file:` without a record).
    #[cfg_attr(feature = "serde", serde(with = "crate::words::json::maybe_owner"))]
    pub owner: Option<OwnerId>,
    /// The owner's label (`agent-7`), or `pid N` for an owner without one.
    pub label: String,
    /// The holding process's id, in its own PID namespace. For display only.
    pub pid: u32,
    /// The host name of the holding process.
    pub host: String,
    /// The mode in which it is held.
    pub mode: Mode,
    /// When it was granted; `None` where the engine does not show it.
    #[cfg_attr(feature = "serde", serde(with = "crate::words::json::maybe_in_rfc3339"))]
    pub since: Option<SystemTime>,
    /// Time since the grant.
    #[cfg_attr(feature = "serde", serde(rename = "held_ms", with = "crate::words::json::in_milliseconds"))]
    pub held: Duration,
    /// The request's priority.
    pub priority: i8,
    /// The grant's fencing token.
    pub token: u64,
    /// The request's note.
    pub note: String,
    /// The state of the process.
    #[cfg_attr(feature = "serde", serde(default))]
    pub process: ProcessState,
    /// Where locks have leases: set if its process has not renewed its own lately.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub silence: Option<Silence>,
}

/// A process that does not renew its lease: it is stopped, cut off, or dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Time since the last contact.
    pub silent: Duration,
    /// Time until its lease ends, if it stays silent; then its locks are free.
    pub lease_left: Duration,
}

/// The token of a waiter: none, `null` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct NoToken;

/// A waiter for a resource.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Waiter {
    /// The owner; `None` where the engine does not show it (another process's lock of `file:` without a record).
    #[cfg_attr(feature = "serde", serde(with = "crate::words::json::maybe_owner"))]
    pub owner: Option<OwnerId>,
    /// The owner's label (`agent-7`), or `pid N` for an owner without one.
    pub label: String,
    /// The waiting process's id, in its own PID namespace. For display only.
    pub pid: u32,
    /// The host name of the waiting process.
    pub host: String,
    /// The requested mode.
    pub mode: Mode,
    /// When it was requested; `None` where the engine does not show it.
    #[cfg_attr(feature = "serde", serde(with = "crate::words::json::maybe_in_rfc3339"))]
    pub since: Option<SystemTime>,
    /// Time since the request.
    #[cfg_attr(feature = "serde", serde(rename = "waited_ms", with = "crate::words::json::in_milliseconds"))]
    pub waited: Duration,
    /// The request's priority.
    pub priority: i8,
    /// A waiter has no token yet, and JSON says so.
    #[cfg_attr(feature = "serde", serde(rename = "token"))]
    pub(crate) no_token: NoToken,
    /// The request's note.
    pub note: String,
    /// The state of the process.
    #[cfg_attr(feature = "serde", serde(default))]
    pub process: ProcessState,
}

/// The state of the engine and its table: the answer of `locks doctor`.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Health {
    /// The engine's URL.
    pub url: String,
    /// Where the lock state is, if that is a file or directory.
    pub path: Option<String>,
    /// Layout version of the table.
    pub layout: u32,
    /// Permission bits of the file, e.g. `0600`.
    pub permissions: Option<String>,
    /// Resources known / possible.
    pub resources: Usage,
    /// Requests held or waiting / possible.
    pub requests: Usage,
    /// Processes attached / possible.
    pub processes: Usage,
    /// The processes attached now.
    pub attached: Vec<Process>,
    /// Dead processes cleaned up since the table was created.
    pub reaped: u64,
    /// Buckets rebuilt from their records since the table was created.
    pub rebuilds: u64,
    /// Violations of an invariant that were found and repaired.
    pub corrupt: u64,
    /// Idle resources evicted to make room.
    pub evicted: u64,
    /// Deadlocks broken since the table was created.
    pub deadlocks: u64,
    /// Descriptions of problems; empty if there are none.
    pub problems: Vec<String>,
    /// Where a table is; `None` for other engines.
    #[cfg_attr(feature = "serde", serde(default))]
    pub place: Option<Place>,
}

/// Where a table is, as one process sees it. Two processes use the same table if device and inode are the
/// same for both.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Place {
    /// The device of its file.
    pub device: u64,
    /// The inode of its file.
    pub inode: u64,
    /// The mount namespace of the inspecting process, if the system reports it.
    pub mount_namespace: Option<u64>,
    /// Folders through which processes with a different table of the same space are detected: none for a
    /// table that was named by its path.
    pub announced_in: Vec<String>,
}

/// How much of a fixed pool is used.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Usage {
    /// In use now.
    pub used: u64,
    /// The pool's size.
    pub capacity: u64,
}

/// A process attached to the table.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Process {
    /// Its pid, in its own PID namespace.
    pub pid: u32,
    /// Its host name.
    pub host: String,
    /// Its program name.
    pub program: String,
    /// Whether the kernel reports it alive.
    pub alive: bool,
    /// The same in more detail.
    #[cfg_attr(feature = "serde", serde(default))]
    pub state: ProcessState,
    /// Its requests, held or waiting.
    pub requests: u64,
}
