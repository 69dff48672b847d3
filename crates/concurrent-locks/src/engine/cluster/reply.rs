//! The answers of a server, as `docs/design/cluster-protocol.md` defines them.

use serde::Deserialize;

/// The answer to a verb about one request: one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reply {
    pub(super) granted: Option<Granted>,
    pub(super) queued: Option<Empty>,
    pub(super) busy: Option<Left>,
    pub(super) released: Option<Empty>,
    pub(super) left: Option<Left>,
    pub(super) stays: Option<Empty>,
    pub(super) gone: Option<Empty>,
    pub(super) lost: Option<Empty>,
    pub(super) held: Option<Empty>,
    /// The server does not know this session.
    pub(super) unknown: Option<Empty>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Empty {}

/// A request that holds. Times in microseconds; `since` on the server's clock.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Granted {
    pub(super) token: u64,
    pub(super) since: u64,
    pub(super) waited: u64,
    /// Whom it acts for, in hexadecimal.
    pub(super) owner: String,
}

/// What a request that gave up leaves behind.
#[derive(Debug, Deserialize)]
pub(super) struct Left {
    pub(super) now: u64,
    pub(super) holders: Vec<Row>,
    #[serde(default)]
    pub(super) waiters: usize,
    /// From 1; absent if it did not queue.
    #[serde(default)]
    pub(super) position: Option<usize>,
}

/// A request as the server keeps it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    pub(super) request: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) state: State,
    pub(super) mode: crate::words::mode::Mode,
    pub(super) owner: crate::words::owner_id::OwnerId,
    pub(super) family: String,
    pub(super) label: String,
    pub(super) note: String,
    pub(super) priority: i8,
    pub(super) pid: u32,
    pub(super) host: String,
    pub(super) requested: u64,
    pub(super) since: u64,
    pub(super) token: u64,
    pub(super) rank: i64,
    pub(super) ticket: u64,
    /// Its session's last contact, and how long it stays valid from then on. 0 if that is not known: the
    /// functions of an older schema do not report it.
    #[serde(default)]
    pub(super) seen: u64,
    #[serde(default)]
    pub(super) lease: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Held,
    Waiting,
}

#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    pub(super) now: u64,
    pub(super) layout: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Renewed {
    pub(super) now: u64,
    pub(super) lost: Vec<String>,
    pub(super) granted: Vec<RenewedGrant>,
    /// When the earliest holder in our way could expire.
    pub(super) next: Option<u64>,
    pub(super) unknown: Option<Empty>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RenewedGrant {
    pub(super) request: String,
    #[serde(flatten)]
    pub(super) grant: Granted,
}

/// The server's pushes to a session: one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Push {
    pub(super) granted: Option<RenewedGrant>,
    pub(super) lost: Option<String>,
    pub(super) look: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StatusReply {
    pub(super) now: u64,
    pub(super) resources: Vec<ResourceRows>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ResourceRows {
    pub(super) name: String,
    /// Holders by token, then waiters by rank.
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Moved {
    pub(super) moved: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Revoked {
    pub(super) revoked: Option<Row>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StatisticsReply {
    pub(super) resources: Vec<Tally>,
    /// Where to continue; absent at the end.
    #[serde(default)]
    pub(super) next: Option<String>,
}

/// What is counted of one resource and mode. Times in microseconds.
#[derive(Debug, Deserialize)]
pub(super) struct Tally {
    pub(super) name: String,
    pub(super) mode: crate::words::mode::Mode,
    pub(super) acquisitions: u64,
    pub(super) releases: u64,
    pub(super) timeouts: u64,
    pub(super) errors: u64,
    pub(super) deadlocks: u64,
    pub(super) wait_sum: u64,
    pub(super) wait_min: u64,
    pub(super) wait_max: u64,
    pub(super) hold_sum: u64,
    pub(super) hold_min: u64,
    pub(super) hold_max: u64,
    /// By bucket of `histogram.rs`.
    pub(super) waits: std::collections::BTreeMap<String, u64>,
    pub(super) holds: std::collections::BTreeMap<String, u64>,
    pub(super) holders: u64,
    pub(super) waiters: u64,
    pub(super) operations: Vec<Operation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    #[serde(rename = "type")]
    pub(super) kind: crate::words::stats::OperationKind,
    pub(super) timestamp: u64,
    /// How long it waited or was held.
    pub(super) time: u64,
    pub(super) requester: String,
    pub(super) pid: u32,
    pub(super) token: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Orders {
    pub(super) orders: Vec<Order>,
    pub(super) deadlocks: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub(super) first: String,
    pub(super) second: String,
    pub(super) label: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Events {
    pub(super) events: Vec<Event>,
    pub(super) next: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) sequence: u64,
    pub(super) kind: crate::words::event::EventKind,
    pub(super) at: u64,
    pub(super) resource: String,
    pub(super) mode: crate::words::mode::Mode,
    pub(super) owner: crate::words::owner_id::OwnerId,
    pub(super) label: String,
    pub(super) pid: u32,
    pub(super) token: u64,
    pub(super) elapsed: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Health {
    pub(super) layout: u32,
    pub(super) resources: u64,
    pub(super) requests: u64,
    pub(super) sessions: Vec<Session>,
    pub(super) reaped: u64,
    pub(super) deadlocks: u64,
    pub(super) server: String,
    pub(super) problems: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Session {
    pub(super) pid: u32,
    pub(super) host: String,
    pub(super) program: String,
    pub(super) requests: u64,
    pub(super) alive: bool,
}
