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
//! let locks = LockManager::local(); // or LockManager::host()?, or connect("host:")?
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

mod bounds;
mod deadlock;
#[cfg(all(test, not(loom)))]
mod differential;
mod engine;
mod error;
mod event;
pub mod fencing;
mod fork_generation;
mod grant;
mod guard;
mod histogram;
mod holdings;
mod kernel_lock;
mod lease;
#[cfg(test)]
mod leased_engine;
mod lost;
mod manager;
mod mode;
mod name;
mod number_file;
mod own_file;
mod owner;
mod process_end;
mod queued;
mod request;
mod request_all;
mod resource;
mod stats;
mod status;
#[cfg(unix)]
mod tree;
mod upgrade;
mod url;
mod verify;
mod wait_for;
mod waiting;

pub use concurrent_locks_macros::{distributed_lock, read_lock, write_lock};
pub use deadlock::{Cycle, CycleLink, DeadlockPolicy, DeadlockReport, Inversion, Suspect};
pub use engine::Capabilities;
pub use error::{Busy, Error, ErrorKind};
pub use event::{Event, EventKind};
pub use guard::{Guard, GuardAll};
pub use histogram::Histogram;
pub use lease::{Lease, Standing};
pub use lost::Lost;
pub use manager::{Fairness, LockManager, SPACE_VARIABLE, Settings, URL_VARIABLE};
pub use mode::Mode;
pub use name::MAX_NAME_BYTES;
pub use owner::{MAX_LABEL_BYTES, OWNER_ID_VARIABLE, OWNER_VARIABLE, Owner};
pub use queued::{Begun, Queued};
pub use request::{Acquire, MAX_NOTE_BYTES, Request};
pub use request_all::{AcquireAll, RequestAll};
pub use resource::Resource;
pub use stats::{Operation, Statistics, StatisticsMap};
pub use status::{Health, Holder, Place, Process, ProcessState, Silence, Status, StatusMap, Usage, Waiter};
#[cfg(unix)]
pub use tree::TreeHold;
pub use upgrade::{QueuedUpgrade, Upgrade, Upgrading};
pub use verify::{Verify, Verifying};
