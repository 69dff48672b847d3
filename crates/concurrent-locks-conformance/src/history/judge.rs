//! The judge: what must be true of every history.

use std::collections::BTreeMap;

use crate::history::{Outcome, Record};

/// One who held a resource, with its request.
#[derive(Clone, Copy)]
struct Hold<'a> {
    record: &'a Record,
    token: u64,
    from: u64,
    to: u64,
}

/// Finds the first broken rule:
///
/// 1. Holds that conflict never overlap.
/// 2. No two grants of a resource have one token, and tokens follow the order of grants.
/// 3. If the engine is `fair` (and all priorities are equal): a request that had its place before
///    another was made, and conflicts with it, is granted before it.
///
/// A hold is known from the inside only: it began before it was seen and ended after the guard
/// began to drop. So an overlap that is found is one; and the order of two grants is the order of
/// their tokens, which rule 2 ties to time.
///
/// # Errors
/// What is broken, in words.
pub fn judge(records: &[Record], fair: bool) -> Result<(), String> {
    let mut resources: BTreeMap<&str, Vec<Hold<'_>>> = BTreeMap::new();
    for record in records {
        if let Outcome::Held { token, from, to } = record.outcome {
            resources.entry(&record.name).or_default().push(Hold { record, token, from, to });
        }
    }
    for holds in resources.values_mut() {
        holds.sort_by_key(|hold| hold.token);
        for (index, later) in holds.iter().enumerate() {
            for earlier in &holds[..index] {
                pair(earlier, later, fair)?;
            }
        }
    }
    Ok(())
}

/// Judges two holds of one resource, `earlier` with the smaller token.
fn pair(earlier: &Hold<'_>, later: &Hold<'_>, fair: bool) -> Result<(), String> {
    let broken = |rule: &str| Err(format!("{rule}:\n  {}\n  {}", earlier.record, later.record));
    if earlier.token == later.token {
        return broken("two grants with one token");
    }
    // Whether they conflict or not, who was granted first cannot have been asked for after the
    // other was seen to hold.
    if later.from < earlier.record.asked {
        return broken("the later token was seen before the earlier was asked for");
    }
    if !earlier.record.mode.conflicts_with(later.record.mode) {
        return Ok(());
    }
    if earlier.from < later.to && later.from < earlier.to {
        return broken("two conflicting holds overlap");
    }
    if later.from < earlier.from {
        return broken("tokens do not follow the order of grants");
    }
    if fair && later.record.placed < earlier.record.asked {
        return broken("a request was overtaken by one that was made when it waited already");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use concurrent_locks::Mode;

    use super::*;

    fn held(mode: Mode, [asked, placed, token, from, to]: [u64; 5]) -> Record {
        Record { name: "a".to_owned(), mode, asked, placed, outcome: Outcome::Held { token, from, to } }
    }

    fn verdict(records: &[Record], fair: bool) -> String {
        judge(records, fair).err().unwrap_or_default()
    }

    #[test]
    fn a_good_history_passes() {
        let writer = held(Mode::Write, [0, 1, 1, 1, 10]);
        let readers = [held(Mode::Read, [2, 3, 2, 11, 20]), held(Mode::Read, [4, 5, 3, 12, 19])];
        let last = held(Mode::Write, [6, 7, 4, 21, 22]);
        assert_eq!(verdict(&[&[writer, last][..], &readers].concat(), true), "");
    }

    #[test]
    fn each_broken_rule_is_found() {
        let writer = held(Mode::Write, [0, 1, 5, 1, 10]);
        assert!(verdict(&[writer.clone(), held(Mode::Read, [2, 3, 6, 9, 20])], false).contains("overlap"));
        assert!(verdict(&[writer.clone(), held(Mode::Read, [2, 3, 5, 11, 20])], false).contains("one token"));
        assert!(verdict(&[writer.clone(), held(Mode::Read, [0, 3, 4, 11, 20])], false).contains("order of grants"));
        let reader = held(Mode::Read, [0, 1, 5, 1, 10]);
        assert!(verdict(&[reader, held(Mode::Read, [11, 12, 4, 13, 20])], false).contains("asked for"));
        let overtaken = [held(Mode::Write, [2, 3, 7, 31, 40]), held(Mode::Write, [4, 5, 6, 11, 30])];
        assert!(verdict(&overtaken, true).contains("overtaken"));
        assert_eq!(verdict(&overtaken, false), "");
    }
}
