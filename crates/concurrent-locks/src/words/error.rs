//! The one error type. Busy ([`ErrorKind::TimedOut`], [`ErrorKind::WouldBlock`]) and broken
//! ([`ErrorKind::Unreachable`], [`ErrorKind::Corrupt`]) are never confused.

use std::{fmt, io, sync::Arc, time::Duration};

use crate::words::{
    deadlock::Cycle,
    mode::Mode,
    status::{Holder, Silence},
    time::rfc3339,
};

/// What went wrong.
///
/// ```
/// # use concurrent_locks::{ErrorKind, LockManager};
/// # let locks = LockManager::connect("local:doc-error-kind").blocking()?;
/// let _held = locks.write("skills").note("compaction").blocking()?;
/// let error = locks.read("skills").try_now().unwrap_err();
/// match error.kind() {
///     ErrorKind::TimedOut | ErrorKind::WouldBlock => println!("busy: {error}"),
///     _ => return Err(error),
/// }
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The lock is busy and the time limit has expired.
    TimedOut,
    /// The lock is busy and the request was not to wait.
    WouldBlock,
    /// Waiting would close, or closed, a cycle of owners that wait for each other.
    Deadlock,
    /// The grant has ended: its lease or `max_hold` expired, an operator broke it, or it belonged to
    /// another process (fork). From a [fence](crate::fencing): a later grant has written.
    Lost,
    /// The lock space was closed or replaced.
    Closed,
    /// A fixed pool (resources, requests, processes) is used up.
    Full,
    /// The lock state is damaged beyond repair.
    Corrupt,
    /// The engine does not support this, or this system cannot run the engine.
    Unsupported,
    /// The name is not 1 to 255 bytes of UTF-8 without NUL.
    InvalidName,
    /// An argument or URL is invalid.
    InvalidInput,
    /// The engine is broken or out of reach; the lock may be free or not.
    Unreachable,
    /// The system denies access to the lock state.
    Permission,
}

/// What a busy lock looked like when the request gave up.
///
/// ```
/// # use concurrent_locks::LockManager;
/// # let locks = LockManager::connect("local:doc-busy").blocking()?;
/// let _held = locks.write("skills").note("compaction").blocking()?;
/// let error = locks.read("skills").try_now().unwrap_err();
/// assert_eq!(error.busy().unwrap().holders[0].note, "compaction");
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Busy {
    /// The holders.
    pub holders: Vec<Holder>,
    /// The request's place in the queue, from 1; `None` when it did not queue.
    pub position: Option<usize>,
    /// How many requests waited, this one included.
    pub waiters: usize,
    /// How long the request waited; zero for one that was given no time (`timeout` of zero).
    pub waited: Duration,
}

/// Why a request, release or look failed. Its text names the lock, the holder, the queue position and what to do.
///
/// ```
/// # use concurrent_locks::LockManager;
/// # let locks = LockManager::connect("local:doc-error").blocking()?;
/// let _held = locks.write("skills").note("compaction").blocking()?;
/// let error = locks.read("skills").try_now().unwrap_err();
/// assert!(error.to_string().contains("compaction"));
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    resource: Option<String>,
    mode: Option<Mode>,
    busy: Option<Busy>,
    cycle: Option<Cycle>,
    /// Shared: one error goes to several callers.
    source: Option<Arc<io::Error>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        let message = message.into();
        Error(Box::new(Inner { kind, message, resource: None, mode: None, busy: None, cycle: None, source: None }))
    }

    pub(crate) fn io(doing: impl fmt::Display, error: io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            io::ErrorKind::StorageFull => ErrorKind::Full,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Unreachable,
        };
        let mut told = Error::new(kind, format!("{doing}: {error}"));
        told.0.source = Some(Arc::new(error));
        told
    }

    pub(crate) fn timed_out(resource: &str, mode: Mode, busy: Busy) -> Error {
        // Who gave it no time is not to read that time ran out.
        let message = if busy.waited.is_zero() {
            busy_now(resource, mode, &busy)
        } else {
            let waited = format!("timed out after {:.3} s waiting", busy.waited.as_secs_f64());
            format!("{waited} to {mode} {resource:?}: {}; wait longer, or {LOOK}", describe(&busy))
        };
        Error::new(ErrorKind::TimedOut, message).with_busy(resource, mode, busy)
    }

    pub(crate) fn would_block(resource: &str, mode: Mode, busy: Busy) -> Error {
        let message = busy_now(resource, mode, &busy);
        Error::new(ErrorKind::WouldBlock, message).with_busy(resource, mode, busy)
    }

    pub(crate) fn deadlock(resource: &str, mode: Mode, cycle: Cycle) -> Error {
        let message = format!("waiting to {mode} {resource:?} is a deadlock: {cycle}");
        let mut error = Error::new(ErrorKind::Deadlock, message);
        error.0.resource = Some(resource.to_owned());
        error.0.mode = Some(mode);
        error.0.cycle = Some(cycle);
        error
    }

    pub(crate) fn nobody_holds(resource: &str, token: u64) -> Error {
        let message = format!("nobody holds {resource:?} with token {token}; see `locks status`");
        Error::new(ErrorKind::InvalidInput, message).on(resource)
    }

    /// Only its own process sees the lock: the command cannot inspect it.
    #[must_use]
    pub(crate) fn seen_by_its_process(mut self) -> Error {
        if let Some(text) = self.0.message.strip_suffix(LOOK) {
            self.0.message = format!("{text}see `LockManager::status`");
        }
        self
    }

    /// The same, with the server's name.
    #[cfg(feature = "cluster")]
    #[must_use]
    pub(crate) fn at(mut self, server: impl fmt::Display) -> Error {
        let server = server.to_string();
        if !self.0.message.contains(&server) {
            self.0.message = format!("{server}: {}", self.0.message);
        }
        self
    }

    fn with_busy(mut self, resource: &str, mode: Mode, busy: Busy) -> Error {
        self.0.resource = Some(resource.to_owned());
        self.0.mode = Some(mode);
        self.0.busy = Some(busy);
        self
    }

    #[must_use]
    pub(crate) fn on(mut self, resource: &str) -> Error {
        self.0.resource = Some(resource.to_owned());
        self
    }

    /// What went wrong.
    ///
    /// ```
    /// # use concurrent_locks::{ErrorKind, LockManager};
    /// # let locks = LockManager::connect("local:doc-kind").blocking()?;
    /// let _held = locks.write("skills").note("compaction").blocking()?;
    /// let error = locks.read("skills").try_now().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::WouldBlock);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The resource it is about, where it is about one.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-error-resource").blocking()?;
    /// let _held = locks.write("skills").note("compaction").blocking()?;
    /// let error = locks.read("skills").try_now().unwrap_err();
    /// assert_eq!(error.resource(), Some("skills"));
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    /// The mode that was asked for.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-error-mode").blocking()?;
    /// let _held = locks.write("skills").note("compaction").blocking()?;
    /// let error = locks.read("skills").try_now().unwrap_err();
    /// assert_eq!(error.mode(), Some(Mode::Read));
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.0.mode
    }

    /// What a busy lock looked like: `Some` for `TimedOut` and `WouldBlock`.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-error-busy").blocking()?;
    /// let _held = locks.write("skills").note("compaction").blocking()?;
    /// let error = locks.read("skills").try_now().unwrap_err();
    /// assert_eq!(error.busy().unwrap().holders.len(), 1);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn busy(&self) -> Option<&Busy> {
        self.0.busy.as_ref()
    }

    /// The owners that wait for each other: `Some` for `Deadlock`.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-cycle").blocking()?;
    /// let mut one = locks.read("skills").blocking()?;
    /// let mut two = locks.read("skills").blocking()?;
    /// let waiting = one.upgrade().begin()?; // until `two` is gone
    /// let error = two.upgrade().blocking().unwrap_err();
    /// assert_eq!(error.cycle().unwrap().links[0].waits_for, "skills");
    /// # drop(waiting);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn cycle(&self) -> Option<&Cycle> {
        self.0.cycle.as_ref()
    }

    /// Whether the same request may succeed later, without a change to the program: what is busy becomes
    /// free (`TimedOut`, `WouldBlock`, `Deadlock`, `Full`), a server that is being restarted comes back
    /// (`Unreachable`).
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-is-retryable").blocking()?;
    /// let _held = locks.write("skills").note("compaction").blocking()?;
    /// let error = locks.read("skills").try_now().unwrap_err();
    /// assert!(error.is_retryable());
    /// assert!(!locks.read("").try_now().unwrap_err().is_retryable());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{Deadlock, Full, TimedOut, Unreachable, WouldBlock};
        matches!(self.0.kind, TimedOut | WouldBlock | Deadlock | Full | Unreachable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// The source is the system's error, where one is the cause; the text of this error has its text already.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|error| error as _)
    }
}

/// So that code which handles `io::Error` (SQLite wrappers, file stores) can use `?` on a lock.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.kind() {
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::WouldBlock => io::ErrorKind::WouldBlock,
            ErrorKind::Deadlock => io::ErrorKind::Deadlock,
            ErrorKind::Permission => io::ErrorKind::PermissionDenied,
            ErrorKind::InvalidName | ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// How to inspect a busy lock.
const LOOK: &str = "see `locks status`";

fn busy_now(resource: &str, mode: Mode, busy: &Busy) -> String {
    format!("{resource:?} cannot be acquired to {mode} now: {}; wait for it, or {LOOK}", describe(busy))
}

fn describe(busy: &Busy) -> String {
    let mut text = String::new();
    for (index, holder) in busy.holders.iter().take(3).enumerate() {
        text.push_str(if index == 0 { "held by " } else { ", " });
        text.push_str(&format!("{} (pid {} on {}, {}", holder.label, holder.pid, holder.host, holder.mode));
        if let Some(since) = holder.since {
            text.push_str(&format!(" since {}, for {:.3} s", rfc3339(since), holder.held.as_secs_f64()));
        }
        if !holder.note.is_empty() {
            text.push_str(&format!(", note: {}", holder.note));
        }
        if let Some(Silence { silent, lease_left }) = holder.silence {
            let (silent, left) = (silent.as_secs_f64(), lease_left.as_secs_f64());
            text.push_str(&format!("; silent for {silent:.1} s: its lease ends in {left:.1} s, then the lock is free"));
        }
        text.push(')');
    }
    if busy.holders.len() > 3 {
        text.push_str(&format!(" and {} more", busy.holders.len() - 3));
    }
    if busy.holders.is_empty() {
        text.push_str("nobody held it when the request gave up, but earlier requests were waiting");
    }
    if let Some(position) = busy.position {
        text.push_str(&format!("; place {position} of {} in the queue", busy.waiters));
    } else if busy.waiters > 0 {
        text.push_str(&format!("; {} waiting", busy.waiters));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_error_of_the_system_is_the_source_and_its_text_is_shown() {
        let error = Error::io("cannot reach the server", io::ErrorKind::ConnectionRefused.into());
        assert!(error.is_retryable());
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>()).unwrap();
        assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string(), format!("cannot reach the server: {source}"));
    }

    #[test]
    fn what_has_no_cause_in_the_system_has_no_source() {
        let error = Error::new(ErrorKind::Corrupt, "a table of nonsense");
        assert!(error.source().is_none() && !error.is_retryable());
    }
}
