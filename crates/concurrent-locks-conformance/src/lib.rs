//! One suite of cases that every engine passes.
//!
//! A case is a plain function that gets a [`Bench`]: a fresh lock space and, where it needs them,
//! other processes ([`LockTaker`]). It states what it needs of the engine ([`Need`]); what the
//! engine's capabilities lack is shown as ignored, never passed over in silence. An engine is a
//! file of a few lines in `tests/` that says how to make a fresh [`Space`] and calls [`run`].
//!
//! `cargo test -p concurrent-locks-conformance --test host` runs all cases against `host:`, and
//! `-- deadlock` behind it those with "deadlock" in their name; nextest works as well. A random
//! case says its seed, and `CONFORMANCE_SEED` sets it.
//!
//! Three habits keep the cases honest:
//!
//! - **No sleep and hope.** A case waits for a fact ([`until`], [`Polled::ready`],
//!   [`LockTaker::answer`]) and fails when the fact has not come after [`DEADLINE`].
//! - **No speed.** Nothing is asserted about how fast something is, only about order and content.
//! - **No mocks.** Other processes are processes, and they die by SIGKILL.
//!
//! Random histories ([`history`]) say what no single case can: whatever happens, holds that
//! conflict never overlap, tokens follow the order of grants, and nobody is overtaken.

mod bench;
mod case;
mod cases;
pub mod history;
mod polled;
mod runner;
mod section;
mod taker;
mod wait;

pub use bench::{Bench, Space};
pub use case::{Case, Need};
pub use cases::all as all_cases;
pub use polled::Polled;
pub use runner::{cannot_run, run};
pub use section::Section;
pub use taker::{LockTaker, TakerAnswer};
pub use wait::{DEADLINE, until};
