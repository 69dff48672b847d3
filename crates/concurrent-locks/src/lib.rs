//! Named, fair read/write locks for tasks, threads and processes.
//!
//! A lock has a *name*; one URL decides how far it reaches: `local:` this process, `host:` every
//! process on this machine through a shared table (no daemon), `file:DIR` the portable fallback.
//! Many readers or one writer, first come first served, with time limits, priorities, recovery
//! from crashes, fencing tokens, deadlock detection, and sight of who holds what and who waits.
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
//! The order of rules, from the outside in: [`Request`] says what waits and how it is cancelled,
//! [`Guard`] what is held, [`Owner`] who holds it, [`Error`] why not, [`Status`] and
//! [`Statistics`] what can be seen.

mod api;
#[cfg(all(test, not(loom)))]
mod differential;
mod engine;
pub mod fencing;
mod open;
mod os;
mod rule;
mod words;

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
    settings::{Fairness, Settings},
    stats::{Operation, Statistics, StatisticsMap},
    status::{Health, Holder, Place, Process, ProcessState, Status, StatusMap, Usage, Waiter},
    variables::{OWNER_ID_VARIABLE, OWNER_VARIABLE, SPACE_VARIABLE, URL_VARIABLE},
};
