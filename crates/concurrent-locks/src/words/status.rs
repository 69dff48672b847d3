//! What can be seen of a lock: its holders and waiters at one moment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::words::mode::Mode;

/// Every resource that was asked for, by name.
pub type StatusMap = BTreeMap<String, Status>;

/// One resource at one moment. Serialises with the key names of the JSON interface (`docs/json.md`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The resource's name.
    pub resource_name: String,
    /// How many grants hold it in `read` mode.
    pub readers: usize,
    /// Whether somebody holds it in `write` mode.
    pub writer_active: bool,
    /// The writer's label, if there is a writer.
    pub current_writer: Option<String>,
    /// The readers' labels.
    pub current_readers: Vec<String>,
    /// How many `write` requests wait.
    pub pending_writes: usize,
    /// How many requests wait in all.
    pub pending_requests: usize,
    /// Who holds it.
    pub holders: Vec<Holder>,
    /// Who waits, in the order in which they will be served.
    pub waiters: Vec<Waiter>,
}

impl Status {
    /// Of the holders, in any order, and the waiters, in the order of the queue.
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

/// What is known of a process that holds or waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProcessState {
    /// Nobody here can tell: it is on another machine, or its engine does not say.
    #[default]
    Unknown,
    /// It lives.
    Alive,
    /// It has ended, but its command or what that started still runs and keeps what it held (`locks run` that was
    /// killed).
    Orphaned,
    /// It has ended and is not cleaned up yet: whoever asks for the lock next does so, and gets it.
    Dead,
}

/// One who holds a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    /// The owner's id, 16 hexadecimal digits.
    pub owner: String,
    /// The owner's label (`agent-7`), or `pid N` for an owner without one.
    pub label: String,
    /// The holding process, as it calls itself. For display only.
    pub pid: u32,
    /// The host name of the holding process.
    pub host: String,
    /// How it is held.
    pub mode: Mode,
    /// When it was granted, RFC 3339 in UTC.
    pub since: String,
    /// Milliseconds since the grant.
    pub held_ms: f64,
    /// The request's priority.
    pub priority: i8,
    /// The grant's fencing token.
    pub token: u64,
    /// What the request said it is for.
    pub note: String,
    /// What is known of the process.
    #[serde(default)]
    pub process: ProcessState,
}

/// One who waits for a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Waiter {
    /// The owner's id, 16 hexadecimal digits.
    pub owner: String,
    /// The owner's label (`agent-7`), or `pid N` for an owner without one.
    pub label: String,
    /// The waiting process, as it calls itself. For display only.
    pub pid: u32,
    /// The host name of the waiting process.
    pub host: String,
    /// How it wants to hold it.
    pub mode: Mode,
    /// When it was asked for, RFC 3339 in UTC.
    pub since: String,
    /// Milliseconds since it was asked for.
    pub waited_ms: f64,
    /// The request's priority.
    pub priority: i8,
    /// A waiter has no token yet: always `None`, `null` in JSON.
    pub token: Option<u64>,
    /// What the request said it is for.
    pub note: String,
    /// What is known of the process.
    #[serde(default)]
    pub process: ProcessState,
}

/// What the engine and its table look like from inside: the answer of `locks doctor`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// The engine's URL.
    pub url: String,
    /// Where the lock state lives, when that is a file or directory.
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
    /// Dead processes cleaned up since the table was made.
    pub reaped: u64,
    /// Buckets rebuilt from their records since the table was made.
    pub rebuilds: u64,
    /// Violations of an invariant that were found and repaired.
    pub corrupt: u64,
    /// Idle resources evicted to make room.
    pub evicted: u64,
    /// Deadlocks broken since the table was made.
    pub deadlocks: u64,
    /// What is wrong, in words; empty when all is well.
    pub problems: Vec<String>,
    /// Where a table lies; `None` for other engines.
    #[serde(default)]
    pub place: Option<Place>,
}

/// Where a table lies, as one process sees it. Two processes meet in it if device and inode are the
/// same for both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Place {
    /// The device of its file.
    pub device: u64,
    /// The inode of its file.
    pub inode: u64,
    /// The mount namespace of the process that looked, if the system tells.
    pub mount_namespace: Option<u64>,
    /// Folders by which a process that sees another table of the same space is noticed: none for a
    /// table that was named by its path.
    pub announced_in: Vec<String>,
}

/// How much of a fixed pool is used.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// In use now.
    pub used: u64,
    /// The pool's size.
    pub capacity: u64,
}

/// A process attached to the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Process {
    /// Its pid, as it calls itself.
    pub pid: u32,
    /// Its host name.
    pub host: String,
    /// Its program name.
    pub program: String,
    /// Whether the kernel says that it lives.
    pub alive: bool,
    /// The same, and what is left of it.
    #[serde(default)]
    pub state: ProcessState,
    /// Requests it holds or waits with.
    pub requests: u64,
}
