//! Every bad outcome of `host:`, with its test: what is refused when a table is opened, what users
//! learn when it is deleted, full, stopped, killed, forked or scribbled over, and that all is well
//! afterwards.
//!
//! Everything is real: processes (this program again, in a role of [`child`]), signals, mounts,
//! namespaces, bytes. What this machine does not allow is skipped visibly.
#![cfg(target_os = "linux")]

mod child;
mod clock_step;
mod elsewhere;
mod ended;
mod forked;
mod full;
mod gone;
mod hostile;
mod idle;
mod image;
mod killed;
mod namespaces;
mod observing;
mod opening;
mod patience;
mod sandbox;
mod sharing;
mod space;
mod stale;
mod stopped;
mod surroundings;
