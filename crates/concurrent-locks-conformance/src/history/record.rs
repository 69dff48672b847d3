//! The life of one request, and its form as a line of text.

use std::{fmt, str::FromStr};

use concurrent_locks::Mode;
use rustix::time::{ClockId, clock_gettime};

/// One request, as the one who made it saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The resource.
    pub name: String,
    /// How it was to be held.
    pub mode: Mode,
    /// The requester: the same number means the same owner.
    pub owner: u64,
    /// Before the request was made.
    pub asked: u64,
    /// After the request had taken its place in the queue, or had been granted at once.
    pub placed: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was granted, and released later.
    Held {
        /// The fencing token.
        token: u64,
        /// After the grant was seen.
        from: u64,
        /// Before the guard was dropped, or when it was no longer believed in. Not after `from`: by
        /// the time it was seen it had ended.
        to: u64,
    },
    /// It timed out, was busy or was cancelled.
    GaveUp,
}

/// The clock of leases: the same for all processes of a machine, and it goes on while that is suspended.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Now, in nanoseconds of a clock that all processes of a machine share.
#[must_use]
pub fn now() -> u64 {
    let now = clock_gettime(CLOCK);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { name, mode, owner, asked, placed, outcome } = self;
        write!(f, "{name} {mode} {owner} {asked} {placed}")?;
        match outcome {
            Outcome::Held { token, from, to } => write!(f, " {token} {from} {to}"),
            Outcome::GaveUp => Ok(()),
        }
    }
}

impl FromStr for Record {
    type Err = String;

    fn from_str(line: &str) -> Result<Record, String> {
        let words: Vec<_> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().map_err(|error| format!("{line:?}: {error}"));
        let outcome = match words.len() {
            5 => Outcome::GaveUp,
            8 => Outcome::Held { token: number(5)?, from: number(6)?, to: number(7)? },
            _ => return Err(format!("not a record: {line:?}")),
        };
        let mode = if words[1] == "write" { Mode::Write } else { Mode::Read };
        Ok(Record {
            name: words[0].to_owned(),
            mode,
            owner: number(2)?,
            asked: number(3)?,
            placed: number(4)?,
            outcome,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_text() {
        for outcome in [Outcome::GaveUp, Outcome::Held { token: 7, from: 3, to: 4 }] {
            let record = Record { name: "a/b".to_owned(), mode: Mode::Write, owner: 9, asked: 1, placed: 2, outcome };
            assert_eq!(record.to_string().parse(), Ok(record));
        }
    }
}
