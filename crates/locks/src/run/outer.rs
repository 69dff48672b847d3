//! An outer `locks run`, whose environment this one was started in: what it holds, and how its children take
//! turns with that.
//!
//! What an outer owner holds, a nested run re-enters. Several that are started side by side would then all be
//! inside at once. So each of them first takes its *turn*: a lock of its own, named after the lock and the
//! owner inside whose hold it is taken, the innermost one. It is an ordinary lock: status shows it, order,
//! time limits and deadlock detection are those of all locks.

use std::hash::Hasher;

use concurrent_locks::{Error, LockManager, MAX_NAME_BYTES, OWNER_ID_VARIABLE, Owner};

use crate::output::Output;

/// The environment variable with the names that a `locks run` holds for its command, one a line.
pub(crate) const NAME_VARIABLE: &str = "LOCKS_NAME";

pub(crate) struct Outer<'a> {
    locks: &'a LockManager,
    inherited: Option<Owner>,
    /// The owners that it inherits from, the outermost first, as status shows them.
    ids: Vec<String>,
    /// What the innermost of them held when it started its command.
    names: Vec<String>,
}

impl Outer<'_> {
    /// The environment's data.
    pub(crate) fn look(locks: &LockManager) -> Result<Outer<'_>, Error> {
        let inherited = locks.inherited_owner()?;
        let list = |variable, separator| -> Vec<String> {
            let text = std::env::var(variable).unwrap_or_default();
            text.split(separator).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        // What cannot be inspected cannot be distinguished from an outer run that is there.
        let ids = if locks.capabilities().inspect { list(OWNER_ID_VARIABLE, '.') } else { Vec::new() };
        let names = if ids.is_empty() { Vec::new() } else { list(NAME_VARIABLE, '\n') };
        Ok(Outer { locks, inherited, ids, names })
    }

    /// The owner to inherit from, if its locks are here. They are elsewhere for another user and in another
    /// space, and nowhere when it has ended (a terminal multiplexer that was started inside a run).
    pub(crate) fn owner(&self) -> Result<Option<&Owner>, Error> {
        let mut is_here = self.names.is_empty();
        for name in &self.names {
            is_here = is_here || self.holder(name, 0)?.is_some();
        }
        Ok(self.inherited.as_ref().filter(|_| is_here))
    }

    /// Says which of these locks are others than those that the outer run holds by these names.
    pub(crate) fn tell_strangers(&self, wanted: &[String], output: &Output) -> Result<(), Error> {
        for name in wanted.iter().filter(|name| self.names.contains(name)) {
            if self.holder(name, 0)?.is_none() {
                output.notice(format_args!(
                    "the outer `locks run` that holds {name:?} is not among the locks of {}: it has ended, or belongs to another user or space; this is another lock of that name",
                    self.locks.url()
                ));
            }
        }
        Ok(())
    }

    /// The turns to take for these locks.
    pub(crate) fn turns(&self, wanted: &[String]) -> Result<Vec<String>, Error> {
        let mut turns = Vec::new();
        for name in wanted {
            let Some(mut inside) = self.holder(name, 0)? else { continue };
            let mut turn = turn(name, &self.ids[inside]);
            // A holder that is inside by such a turn re-entered for an owner further out: its turn shows it.
            while let Some(further) = self.holder(&turn, inside + 1)? {
                inside = further;
                turn = self::turn(name, &self.ids[inside]);
            }
            turns.push(turn);
        }
        Ok(turns)
    }

    /// The innermost of our owners, from this one on, that holds the lock.
    fn holder(&self, name: &str, from: usize) -> Result<Option<usize>, Error> {
        if from >= self.ids.len() {
            return Ok(None);
        }
        let Some(status) = self.locks.status(name).blocking()? else { return Ok(None) };
        let holds = |id: &String| {
            status.holders.iter().any(|holder| holder.owner.is_some_and(|owner| owner.to_string() == *id))
        };
        Ok(self.ids.iter().rposition(holds).filter(|place| *place >= from))
    }
}

/// The name of the lock by which the children of one owner take turns with a lock that it holds.
fn turn(name: &str, owner: &str) -> String {
    let whole = format!("{name} (inside {owner})");
    if whole.len() <= MAX_NAME_BYTES {
        return whole;
    }
    let mut hasher = Fnv::default();
    hasher.write(name.as_bytes());
    let rest = format!("...{:016x} (inside {owner})", hasher.finish());
    let room = MAX_NAME_BYTES - rest.len();
    let end = (0..=room).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{rest}", &name[..end])
}

/// FNV-1a: the same in every build, since different builds must meet.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_distinguished_also_where_names_are_long() {
        let owner = "00000000000000ab";
        assert_eq!(turn("repo", owner), "repo (inside 00000000000000ab)");
        let long = "ü".repeat(127);
        let names = [long.clone(), format!("{}x", &long[..252]), format!("{}y", &long[..252])];
        let turns: Vec<_> = names.iter().map(|name| turn(name, owner)).collect();
        assert!(turns.iter().all(|turn| turn.len() <= MAX_NAME_BYTES && turn.ends_with(&format!("(inside {owner})"))));
        assert!(turns[0] != turns[1] && turns[1] != turns[2]);
    }
}
