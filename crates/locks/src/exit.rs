//! Exit codes: the one table. `docs/cli.md` repeats it and a test compares the two.

use std::{fmt, io, process::ExitStatus};

use concurrent_locks::{Error, ErrorKind};

/// How `locks` ends, where it does not end with the exit code of the command it ran.
///
/// The numbers from 64 to 78 are those of sysexits.h, those from 126 are the shell's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Success = 0,
    Negative = 1,
    Usage = 64,
    Unavailable = 69,
    Lost = 70,
    Ended = 73,
    Io = 74,
    Busy = 75,
    Deadlock = 76,
    NotExecutable = 126,
    NotFound = 127,
}

/// The table as the help shows it.
pub(crate) const HELP: &str = "\
Exit codes:
  N      `locks run`: the command's own exit code
  0      Success
  1      `doctor` found a problem, `break` no such grant, or `status -q` a held lock
  64     The command line, a name or a URL is invalid
  69     The locks are broken or out of reach: damaged, full, no permission
  70     The command succeeded, but its lock was lost meanwhile (broken by an operator)
  73     The command was ended because its lock was lost, or about to be (leases)
  74     Input, output or another service of the system failed
  75     The lock could not be acquired in time (-E changes it)
  76     Waiting for the lock would be a deadlock
  126    The command cannot be executed
  127    The command was not found
  128+N  The command, or the wait for the lock, was ended by signal N";

impl Exit {
    /// The exit code of a failed verb.
    pub(crate) fn of(error: &anyhow::Error) -> Exit {
        if error.is::<UsageError>() {
            return Exit::Usage;
        }
        error.downcast_ref::<Error>().map_or(Exit::Io, |error| match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Exit::Busy,
            ErrorKind::Deadlock => Exit::Deadlock,
            ErrorKind::InvalidName | ErrorKind::InvalidInput => Exit::Usage,
            _ => Exit::Unavailable,
        })
    }

    /// The exit code of a command that could not be started, as shells have it.
    pub(crate) fn of_start(error: &io::Error) -> Exit {
        if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::NotExecutable }
    }
}

/// The number that a verb ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u8);

impl From<Exit> for Code {
    fn from(exit: Exit) -> Code {
        Code(exit as u8)
    }
}

impl From<u8> for Code {
    fn from(code: u8) -> Code {
        Code(code)
    }
}

/// Arguments that are invalid together, found after they were read.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The exit code for an end by this signal, as in shells.
pub(crate) fn of_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// The exit code that passes on how a command ended.
pub(crate) fn of_status(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(signal)) => of_signal(signal),
        (None, None) => u8::MAX,
    }
}
