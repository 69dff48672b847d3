//! The verbs: acquire, release, give up, downgrade, break. Each changes the authoritative state by one store of a
//! record's word, under the bucket's lock:
//!
//! ```text
//! acquire     free -> held        (or free -> waiting)
//! hand-off    waiting -> held     (by whoever makes room: `bucket/queue.rs`)
//! release     held -> free
//! give up     waiting -> free     (time-out, cancel, deadlock)
//! downgrade   held write -> held read
//! ```
//!
//! Before the store nothing happened; after it a rebuild finishes the rest. A process that dies
//! between the two leaves the bucket's lock behind, which is how the next one knows.

pub(crate) mod acquire;
pub(crate) mod deferred;
pub(crate) mod handoff;
pub(crate) mod leave;
pub(crate) mod pass_over;
mod refusal;
pub(crate) mod release;
mod revoke;
mod straight;
