//! Lock modes, and the table of which exclude each other.

use std::fmt;

/// The mode in which a request holds a resource.
///
/// A mode is a row: which modes exclude it and which it covers are data, and the rule, the counts of holders and
/// the bits of a record go by them. So intention modes for hierarchical locks (Gray, Lorie, Putzolu, Traiger:
/// *Granularity of Locks*, 1976) are further rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Mode {
    /// Shared: any number of owners hold it together.
    Read = 0,
    /// Exclusive: one owner holds it alone.
    Write = 1,
}

/// What there is to know of a mode.
struct Row {
    name: &'static str,
    /// What another owner must not hold while this is held.
    conflicts: ModeSet,
    /// What an owner that holds this need not request: a partial order, this mode included.
    covers: ModeSet,
}

/// By mode.
const ROWS: [Row; Mode::COUNT] = [
    Row { name: "read", conflicts: ModeSet::of(Mode::Write), covers: ModeSet::of(Mode::Read) },
    Row {
        name: "write",
        conflicts: ModeSet::of(Mode::Read).with(Mode::Write),
        covers: ModeSet::of(Mode::Read).with(Mode::Write),
    },
];

impl Mode {
    /// Every mode. A mode that covers another stands behind it.
    pub const ALL: [Mode; 2] = [Mode::Read, Mode::Write];

    pub(crate) const COUNT: usize = Mode::ALL.len();

    /// How many bits of a word name a mode.
    pub(crate) const BITS: u32 = 2;

    /// The modes that exclude every mode: beside one of them only its own owner enters.
    pub(crate) const EXCLUSIVE: ModeSet = {
        let (mut set, mut index) = (ModeSet::EMPTY, 0);
        while index < Mode::COUNT {
            if ROWS[index].conflicts.0 == ModeSet::EVERY.0 {
                set = set.with(Mode::ALL[index]);
            }
            index += 1;
        }
        set
    };

    /// Whether two owners may not hold `self` and `other` of one resource at the same time.
    #[must_use]
    pub const fn conflicts_with(self, other: Mode) -> bool {
        self.conflicts().has(other)
    }

    /// The modes that another owner must not hold, or wait for ahead of this one.
    pub(crate) const fn conflicts(self) -> ModeSet {
        ROWS[self as usize].conflicts
    }

    /// Whether holding `self` already grants everything that `other` requests.
    #[must_use]
    pub const fn covers(self, other: Mode) -> bool {
        ROWS[self as usize].covers.has(other)
    }

    /// The word used in JSON, on the command line and in messages: `read` or `write`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        ROWS[self as usize].name
    }

    /// The mode of the lowest [`Mode::BITS`] bits. Damaged bits are some mode, too.
    pub(crate) const fn from_bits(bits: u64) -> Mode {
        Mode::ALL[(bits & ((1 << Mode::BITS) - 1)) as usize % Mode::COUNT]
    }
}

const _: () = assert!(Mode::COUNT <= 1 << Mode::BITS, "a word has no room for so many modes");

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
    pub(crate) const EVERY: ModeSet = ModeSet((1 << Mode::COUNT) - 1);

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

    /// The modes for which it is so.
    #[inline]
    pub(crate) fn filter(is_so: impl Fn(Mode) -> bool) -> ModeSet {
        Mode::ALL.into_iter().filter(|mode| is_so(*mode)).fold(ModeSet::EMPTY, ModeSet::with)
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

    fn pairs() -> impl Iterator<Item = (Mode, Mode)> {
        Mode::ALL.into_iter().flat_map(|a| Mode::ALL.map(|b| (a, b)))
    }

    /// Whatever modes there are.
    #[test]
    fn the_rows_fit_each_other() {
        for (a, b) in pairs() {
            assert_eq!(a.conflicts_with(b), b.conflicts_with(a), "{a} and {b}");
            let is_stronger = Mode::ALL.iter().all(|other| !b.conflicts_with(*other) || a.conflicts_with(*other));
            assert!(!a.covers(b) || is_stronger, "{a} covers {b}, but not what {b} excludes");
            assert!(!a.covers(b) || a as usize >= b as usize, "{a} stands before {b}");
            assert_eq!(a.covers(b) && b.covers(a), a == b, "{a} and {b}");
        }
        for (index, mode) in Mode::ALL.into_iter().enumerate() {
            assert_eq!((mode as usize, Mode::from_bits(index as u64 | 1 << Mode::BITS)), (index, mode));
            assert_eq!(Mode::EXCLUSIVE.has(mode), Mode::ALL.iter().all(|other| mode.conflicts_with(*other)));
        }
        assert!((0..1 << Mode::BITS).all(|bits| Mode::ALL.contains(&Mode::from_bits(bits))));
    }

    #[test]
    fn only_readers_share() {
        assert!(!Mode::Read.conflicts_with(Mode::Read));
        assert!(Mode::Read.conflicts_with(Mode::Write));
        assert!(Mode::Write.conflicts_with(Mode::Write));
        assert!(Mode::Write.covers(Mode::Read) && !Mode::Read.covers(Mode::Write));
    }
}
