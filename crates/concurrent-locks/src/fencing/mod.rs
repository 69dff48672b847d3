//! Fences: how a resource refuses the late write of a process that no longer holds the lock.
//!
//! A process can stand still between "I hold the lock" and its write: stopped, swapped out, its
//! machine asleep. Meanwhile its lock is broken, or its lease runs out, and the next holder writes.
//! No check on the writer's side helps, because the writer can stand still after the check. The
//! resource must compare: each grant has a token ([`Guard::token`](crate::Guard::token)) greater
//! than those before it, each write brings the token along, and the resource remembers the greatest
//! and refuses what is smaller.
//!
//! | resource | fence |
//! |---|---|
//! | a file that is replaced as a whole | [`write_file`] |
//! | anything else beside a file: appends, several files, a repository | [`pass`] |
//! | SQLite | [`sqlite`] |
//! | PostgreSQL | [`postgres`] |
//! | Redis | [`redis`] |
//!
//! ```
//! use concurrent_locks::{ErrorKind, LockManager, fencing};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("skills.json");
//! let locks = LockManager::local();
//! let stopped = locks.write("skills.json").blocking()?;
//! let late = stopped.token();
//! locks.break_lock("skills.json", late).blocking()?; // an operator takes it away
//!
//! let next = locks.write("skills.json").blocking()?;
//! fencing::write_file(&path, next.token(), "new")?;
//!
//! let refused = fencing::write_file(&path, late, "late").unwrap_err();
//! assert_eq!(refused.kind(), ErrorKind::Lost);
//! assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
//! # Ok::<(), concurrent_locks::Error>(())
//! ```
//!
//! All fences have the same rules:
//!
//! 1. A token equal to the greatest passes: one grant may write many times, and an owner that
//!    re-enters has the token of its first grant.
//! 2. All writers of a resource take their tokens from the same lock. Tokens of two locks, or of the
//!    same name in two lock spaces, cannot be compared.
//! 3. Tokens of read grants count too, but writing is for write grants.
//! 4. A fence only rises. `docs/fencing.md` says what to do when tokens restart.

mod beside;
mod file;
pub mod postgres;
pub mod redis;
pub mod sqlite;
#[cfg(test)]
mod tests;

pub use beside::{Passage, pass};
pub use file::write_file;
