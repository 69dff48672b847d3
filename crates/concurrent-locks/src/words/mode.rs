//! Lock modes, and the table of which exclude each other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The mode in which a request holds a resource.
///
/// Compatibility is a table (`CONFLICTS`), not an `if`: intention modes for hierarchical locks
/// (Gray, Lorie, Putzolu, Traiger: *Granularity of Locks*, 1976) can be added by adding a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Shared: any number of owners hold it together.
    Read = 0,
    /// Exclusive: one owner holds it alone.
    Write = 1,
}

/// `CONFLICTS[m]` is the set of modes that another owner must not hold while `m` is held.
const CONFLICTS: [ModeSet; 2] = [ModeSet::of(Mode::Write), ModeSet::of(Mode::Read).with(Mode::Write)];

impl Mode {
    /// Every mode, weakest first.
    pub const ALL: [Mode; 2] = [Mode::Read, Mode::Write];

    /// Whether two owners may not hold `self` and `other` of one resource at the same time.
    #[must_use]
    pub const fn conflicts_with(self, other: Mode) -> bool {
        CONFLICTS[self as usize].has(other)
    }

    /// The modes that another owner must not hold, or wait for ahead of this one.
    pub(crate) const fn conflicts(self) -> ModeSet {
        CONFLICTS[self as usize]
    }

    /// Whether holding `self` already grants everything that `other` requests.
    #[must_use]
    pub const fn covers(self, other: Mode) -> bool {
        self as u8 >= other as u8
    }

    /// The word used in JSON, on the command line and in messages: `read` or `write`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Read => "read",
            Mode::Write => "write",
        }
    }

    pub(crate) const fn from_bits(bits: u64) -> Mode {
        if bits & 1 == 0 { Mode::Read } else { Mode::Write }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of modes, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct ModeSet(u8);

impl ModeSet {
    pub(crate) const EMPTY: ModeSet = ModeSet(0);

    pub(crate) const fn of(mode: Mode) -> ModeSet {
        ModeSet(1 << mode as u8)
    }

    #[must_use]
    pub(crate) const fn with(self, mode: Mode) -> ModeSet {
        ModeSet(self.0 | 1 << mode as u8)
    }

    #[must_use]
    pub(crate) const fn union(self, other: ModeSet) -> ModeSet {
        ModeSet(self.0 | other.0)
    }

    pub(crate) const fn has(self, mode: Mode) -> bool {
        self.0 & (1 << mode as u8) != 0
    }

    pub(crate) const fn meets(self, other: ModeSet) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_symmetric_and_only_readers_share() {
        for a in Mode::ALL {
            for b in Mode::ALL {
                assert_eq!(a.conflicts_with(b), b.conflicts_with(a));
            }
        }
        assert!(!Mode::Read.conflicts_with(Mode::Read));
        assert!(Mode::Write.conflicts_with(Mode::Write));
        assert!(Mode::Write.covers(Mode::Read) && !Mode::Read.covers(Mode::Write));
    }
}
