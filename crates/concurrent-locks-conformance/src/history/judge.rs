//! The judge: the invariants of every history.

use std::collections::BTreeMap;

use concurrent_locks::Mode;

use crate::history::{Outcome, Record};

/// Which of the rules hold whatever happens; the others always do.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Rules 1 and 4. Not where a server loses what it knew.
    pub exclusive: bool,
    /// Rule 6. Where all priorities are equal, and nobody loses a place in a queue.
    pub fair: bool,
}

/// One who held a resource, with its request.
#[derive(Clone, Copy)]
struct Hold<'a> {
    record: &'a Record,
    token: u64,
    from: u64,
    to: u64,
    /// What its owner held of the resource when it asked, and went on to hold until it was granted.
    standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Stranger,
    Upgrades,
    /// Its token is that of an earlier request of the owner: no grant of its own.
    ReEnters,
}

/// Finds the first broken rule:
///
/// 1. Holds that conflict never overlap, but for those of one owner.
/// 2. A token is of one owner.
/// 3. Tokens rise: what was asked for when a greater one was seen already has one that is greater still.
/// 4. Of grants that conflict the one with the smaller token is seen first.
/// 5. An owner that requests what it already holds gets the token of that hold.
/// 6. A request that had its place before another was made, and conflicts with it, is granted before
///    it. Upgrades and re-entries come before all others.
///
/// A hold is known from the inside only: it began before it was seen and ended after the guard
/// began to drop, or was believed in no longer. So an overlap that is found is one; and the order of
/// two grants is the order of their tokens, which rule 3 ties to time.
///
/// # Errors
/// A description of the violation.
pub fn judge(records: &[Record], rules: Rules) -> Result<(), String> {
    let mut resources: BTreeMap<&str, Vec<Hold<'_>>> = BTreeMap::new();
    for record in records {
        if let Outcome::Held { token, from, to } = record.outcome {
            let hold = Hold { record, token, from, to, standing: Standing::Stranger };
            resources.entry(&record.name).or_default().push(hold);
        }
    }
    for holds in resources.values_mut() {
        holds.sort_by_key(|hold| (hold.token, hold.record.asked));
        for index in 0..holds.len() {
            holds[index].standing = standing(holds, index)?;
        }
        for (index, later) in holds.iter().enumerate() {
            for earlier in &holds[..index] {
                pair(earlier, later, rules)?;
            }
        }
    }
    Ok(())
}

/// How the owner of a hold stood when it asked, as far as the history tells.
fn standing(holds: &[Hold<'_>], index: usize) -> Result<Standing, String> {
    let hold = &holds[index];
    let own: Vec<&Hold<'_>> = holds
        .iter()
        .enumerate()
        .filter(|(other, own)| {
            *other != index
                && own.record.owner == hold.record.owner
                && own.from <= hold.record.asked
                && hold.from <= own.to
        })
        .map(|(_, own)| own)
        .collect();
    let covering = || own.iter().filter(|own| own.record.mode.covers(hold.record.mode));
    if let Some(first) = covering().next()
        && covering().all(|own| own.token != hold.token)
    {
        return broken("a re-entry got another token", first, hold);
    }
    if index > 0 && holds[index - 1].token == hold.token {
        return Ok(Standing::ReEnters);
    }
    let upgrades = hold.record.mode == Mode::Write && own.iter().any(|own| own.record.mode == Mode::Read);
    Ok(if upgrades { Standing::Upgrades } else { Standing::Stranger })
}

/// Judges two holds of one resource, `earlier` with the smaller token, or the same and asked for first.
fn pair(earlier: &Hold<'_>, later: &Hold<'_>, rules: Rules) -> Result<(), String> {
    let own = earlier.record.owner == later.record.owner;
    if earlier.token == later.token {
        return if own { Ok(()) } else { broken("two owners with one token", earlier, later) };
    }
    let grants = [earlier, later].iter().all(|hold| hold.standing != Standing::ReEnters);
    // Whether they conflict or not, who was granted first cannot have been asked for after the
    // other was seen to hold.
    if grants && later.from < earlier.record.asked {
        return broken("the later token was seen before the earlier was asked for", earlier, later);
    }
    if own || !earlier.record.mode.conflicts_with(later.record.mode) {
        return Ok(());
    }
    if rules.exclusive && earlier.is_believed() && later.is_believed() {
        if earlier.from < later.to && later.from < earlier.to {
            return broken("two conflicting holds overlap", earlier, later);
        }
        if grants && later.from < earlier.from {
            return broken("tokens do not follow the order of grants", earlier, later);
        }
    }
    if rules.fair && grants && earlier.standing == Standing::Stranger && later.record.placed < earlier.record.asked {
        return broken("a request was overtaken by one that was made when it waited already", earlier, later);
    }
    Ok(())
}

fn broken<T>(rule: &str, earlier: &Hold<'_>, later: &Hold<'_>) -> Result<T, String> {
    Err(format!("{rule}:\n  {}\n  {}", earlier.record, later.record))
}

impl Hold<'_> {
    /// Whether there was a moment at which its owner took it for its own.
    fn is_believed(&self) -> bool {
        self.from < self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Rules = Rules { exclusive: true, fair: true };
    const UNFAIR: Rules = Rules { exclusive: true, fair: false };
    const FENCED: Rules = Rules { exclusive: false, fair: false };

    fn of(owner: u64, mode: Mode, [asked, placed, token, from, to]: [u64; 5]) -> Record {
        Record { name: "a".to_owned(), mode, owner, asked, placed, outcome: Outcome::Held { token, from, to } }
    }

    /// Of an owner of its own.
    fn held(mode: Mode, times: [u64; 5]) -> Record {
        of(1000 + times[0] * 100 + times[2], mode, times)
    }

    #[track_caller]
    fn assert_broken(records: &[Record], rules: Rules, rule: &str) {
        let verdict = judge(records, rules).err().unwrap_or_default();
        assert!(verdict.contains(rule), "{verdict:?}");
    }

    #[track_caller]
    fn assert_good(records: &[Record], rules: Rules) {
        assert_eq!(judge(records, rules), Ok(()));
    }

    #[test]
    fn a_good_history_passes() {
        let writer = held(Mode::Write, [0, 1, 1, 1, 10]);
        let readers = [held(Mode::Read, [2, 3, 2, 11, 20]), held(Mode::Read, [4, 5, 3, 12, 19])];
        let last = held(Mode::Write, [6, 7, 4, 21, 22]);
        assert_good(&[&[writer, last][..], &readers].concat(), STRICT);
    }

    #[test]
    fn each_broken_rule_is_found() {
        let writer = held(Mode::Write, [0, 1, 5, 1, 10]);
        assert_broken(&[writer.clone(), held(Mode::Read, [2, 3, 6, 9, 20])], UNFAIR, "overlap");
        assert_broken(&[writer.clone(), held(Mode::Read, [2, 3, 5, 11, 20])], FENCED, "one token");
        assert_broken(&[writer, held(Mode::Read, [0, 3, 4, 11, 20])], UNFAIR, "order of grants");
        let reader = held(Mode::Read, [0, 1, 5, 1, 10]);
        assert_broken(&[reader, held(Mode::Read, [11, 12, 4, 13, 20])], FENCED, "asked for");
        let overtaken = [held(Mode::Write, [2, 3, 7, 31, 40]), held(Mode::Write, [4, 5, 6, 11, 30])];
        assert_broken(&overtaken, STRICT, "overtaken");
        assert_good(&overtaken, UNFAIR);
    }

    #[test]
    fn what_nobody_believed_in_overlaps_with_nothing_and_has_a_token_all_the_same() {
        let writer = held(Mode::Write, [0, 1, 5, 1, 10]);
        let late = held(Mode::Write, [0, 1, 4, 9, 9]);
        assert_good(&[writer.clone(), late], UNFAIR);
        assert_broken(&[writer, held(Mode::Write, [2, 3, 4, 9, 9])], UNFAIR, "asked for");
    }

    #[test]
    fn an_owner_does_not_conflict_with_itself() {
        let outer = of(1, Mode::Write, [0, 1, 5, 2, 20]);
        let inner = of(1, Mode::Read, [3, 4, 5, 5, 10]);
        assert_good(&[outer.clone(), inner], STRICT);
        assert_broken(&[outer, of(2, Mode::Read, [3, 4, 6, 5, 10])], STRICT, "overlap");
    }

    #[test]
    fn a_re_entry_has_the_token_of_its_hold() {
        let outer = of(1, Mode::Write, [0, 1, 5, 2, 20]);
        assert_broken(&[outer.clone(), of(1, Mode::Write, [3, 4, 6, 5, 10])], FENCED, "re-entry");
        // Where the first hold had ended, a new token is right.
        assert_good(&[outer.clone(), of(1, Mode::Write, [21, 22, 6, 23, 30])], STRICT);
        // Where it was upgraded, the token is that of the stronger.
        let read = of(1, Mode::Read, [0, 1, 5, 2, 20]);
        let write = of(1, Mode::Write, [3, 4, 7, 5, 20]);
        let inner = |token| of(1, Mode::Read, [6, 7, token, 8, 9]);
        assert_good(&[read.clone(), write.clone(), inner(7)], STRICT);
        assert_broken(&[read, write, inner(8)], STRICT, "re-entry");
    }

    /// Others may have been granted meanwhile with greater tokens.
    #[test]
    fn a_re_entry_is_no_new_grant() {
        let outer = of(1, Mode::Read, [0, 1, 5, 2, 20]);
        let other = of(2, Mode::Read, [3, 4, 6, 5, 10]);
        let inner = of(1, Mode::Read, [7, 8, 5, 9, 10]);
        assert_good(&[outer, other, inner], STRICT);
    }

    #[test]
    fn an_upgrade_goes_first_and_excludes() {
        let read = of(1, Mode::Read, [0, 1, 5, 2, 20]);
        let waiter = of(2, Mode::Write, [3, 4, 7, 21, 30]);
        let upgrade = of(1, Mode::Write, [6, 7, 6, 8, 20]);
        assert_good(&[read.clone(), waiter.clone(), upgrade], STRICT);
        let stranger = of(3, Mode::Write, [6, 7, 6, 20, 21]);
        assert_broken(&[read.clone(), waiter, stranger], STRICT, "overtaken");
        let other = of(2, Mode::Read, [3, 4, 6, 5, 10]);
        assert_broken(&[read, other, of(1, Mode::Write, [6, 7, 7, 8, 20])], STRICT, "overlap");
    }

    #[test]
    fn where_exclusion_may_break_the_fence_may_not() {
        let holds = [of(1, Mode::Write, [0, 1, 5, 2, 20]), of(2, Mode::Write, [3, 4, 6, 5, 10])];
        assert_good(&holds, FENCED);
        assert_broken(&holds, UNFAIR, "overlap");
        assert_broken(&[holds[0].clone(), of(2, Mode::Write, [3, 4, 4, 5, 10])], FENCED, "asked for");
    }
}
