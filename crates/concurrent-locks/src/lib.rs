//! Named, fair read/write locks for tasks, threads and processes.
//!
//! A lock has a *name*; one URL determines its reach: `local:` this process, `host:` all processes of this
//! user on this machine through a shared table (no daemon), `file:DIR` the portable fallback, `redis://`
//! and `postgres://` many machines. Many readers or one writer, first come first served, with time limits,
//! priorities, crash recovery, fencing tokens, deadlock detection, and inspection of holders and waiters.
//!
//! ```
//! use concurrent_locks::{LockManager, Mode};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
//! let locks = LockManager::local(); // or LockManager::host()?, or connect("redis://...").await?
//! {
//!     let _shared = locks.read("episodic_db").await?;
//! }
//! let agent = locks.owner("agent-7")?;
//! let both = agent.lock_all([("accounts/a", Mode::Write), ("accounts/b", Mode::Write)]).await?;
//! assert_eq!(both.len(), 2);
//! # Ok(()) }
//! ```
//!
//! Where the rules are, from the outside in: [`Request`] (waiting and cancellation), [`Guard`] (holding),
//! [`Owner`] (identity), [`Error`] (failures), [`Status`] and [`Statistics`] (inspection).
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `macros` (default) | the attributes `#[read_lock]`, `#[write_lock]`, `#[distributed_lock]` |
//! | `redis` | the engine `redis://` |
//! | `postgres` | the engine `postgres://` |
//! | `tls` | encrypted connections to servers; builds `ring`, which needs a C compiler |
//! | `serde` | status, statistics, events and deadlocks as the JSON of the command |
//! | `stream` | `Events` is a `Stream` (of futures-core) |
//! | `full` | all of them |
//!
//! The default compiles no server, no TLS and no C: `local:`, `host:` and `file:` alone.

mod api;
#[cfg(all(test, not(loom)))]
mod differential;
mod engine;
pub mod fencing;
mod open;
mod os;
mod rule;
mod words;

#[doc(hidden)]
pub use api::bare::{Bare, BareName};
#[cfg(unix)]
pub use api::tree::TreeHold;
pub use api::{
    call::{Call, Calling},
    events::Events,
    guard::{Guard, GuardAll},
    local,
    lost::Lost,
    manager::LockManager,
    owner::Owner,
    queued::{Begun, Queued},
    request::{Acquire, Request},
    request_all::{AcquireAll, RequestAll},
    resource::Resource,
    upgrade::{QueuedUpgrade, Upgrade, Upgrading},
    verify::{Verify, Verifying},
};
#[cfg(feature = "macros")]
pub use concurrent_locks_macros::{distributed_lock, read_lock, write_lock};
pub use engine::Capabilities;
pub use words::{
    deadlock::{Cycle, CycleLink, DeadlockPolicy, DeadlockReport, Inversion, Suspect},
    error::{Busy, Error, ErrorKind},
    event::{Event, EventKind},
    histogram::Histogram,
    lease::{Lease, Standing},
    limits::{MAX_LABEL_BYTES, MAX_NOTE_BYTES},
    mode::Mode,
    name::MAX_NAME_BYTES,
    owner_id::OwnerId,
    settings::{Fairness, Settings},
    stats::{Operation, OperationKind, Statistics, StatisticsMap},
    status::{Health, Holder, Place, Process, ProcessState, Silence, Status, StatusMap, Usage, Waiter},
    variables::{OWNER_ID_VARIABLE, OWNER_VARIABLE, SPACE_VARIABLE, URL_VARIABLE},
};
