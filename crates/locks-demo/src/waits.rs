//! Who waited for whom, from the sections in the journals.

use std::collections::BTreeMap;

use concurrent_locks::Mode;
use serde::Serialize;

use super::{
    agent::label,
    fleet::Kill,
    journal::{Account, Entry, Held},
};

/// Times closer together than this (microseconds) may be either way round: they are rounded and
/// come from several processes.
const BLUR: u64 = 2;

/// One agent's waiting for another, over the run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WaitedFor {
    pub(super) waiter: String,
    pub(super) holder: String,
    /// How many requests waited while the other held what they wanted.
    pub(super) times: u64,
    /// For how long the other held it meanwhile.
    pub(super) total_ms: f64,
    pub(super) max_ms: f64,
}

/// The waiting of a run.
#[derive(Debug)]
pub(super) struct Waits {
    /// Waits of every section in microseconds, shortest first.
    sorted: Vec<u64>,
    /// The longest first.
    pub(super) pairs: Vec<WaitedFor>,
    /// Sections that overlapped although they exclude each other.
    pub(super) overlaps: u64,
    /// From the kill until each lock of the killed agent was granted to another, the last of them.
    pub(super) recovered_ms: Option<f64>,
}

/// When an agent held a resource.
#[derive(Clone, Copy, Debug)]
struct Hold {
    agent: usize,
    mode: Mode,
    /// When this lock was granted, by the clock of the locks.
    own_grant: u64,
    /// When the agent went to work with all that it had asked for.
    granted: u64,
    released: u64,
}

impl Waits {
    pub(super) fn of(account: &Account, kill: Option<&Kill>) -> Waits {
        let sections: Vec<(usize, &Held)> = account
            .agents
            .iter()
            .enumerate()
            .flat_map(|(agent, entries)| entries.iter().map(move |entry| (agent, entry)))
            .filter_map(|(agent, entry)| match entry {
                Entry::Section(held) => Some((agent, held)),
                _ => None,
            })
            .collect();
        let holds = holds(&sections, kill);
        let mut sorted: Vec<u64> = sections.iter().map(|(_, held)| held.granted - held.asked).collect();
        sorted.sort_unstable();
        Waits {
            sorted,
            pairs: pairs(&sections, &holds),
            overlaps: holds.values().map(|holds| overlaps(holds)).sum(),
            recovered_ms: kill.and_then(|kill| recovered(kill, &holds)),
        }
    }

    pub(super) fn max_ms(&self) -> f64 {
        self.sorted.last().map_or(0.0, |micros| milliseconds(*micros))
    }

    pub(super) fn mean_ms(&self) -> f64 {
        milliseconds(self.sorted.iter().sum()) / self.sorted.len().max(1) as f64
    }

    pub(super) fn p99_ms(&self) -> f64 {
        self.sorted.get(self.sorted.len() * 99 / 100).map_or(0.0, |micros| milliseconds(*micros))
    }
}

pub(super) fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// The holds of each resource, in the order of their grants.
fn holds<'a>(sections: &[(usize, &'a Held)], kill: Option<&'a Kill>) -> BTreeMap<&'a str, Vec<Hold>> {
    let mut holds: BTreeMap<&str, Vec<Hold>> = BTreeMap::new();
    for (agent, held) in sections {
        for (resource, own_grant) in &held.locks {
            let hold = Hold {
                agent: *agent,
                mode: held.mode,
                own_grant: *own_grant,
                granted: held.granted,
                released: held.released,
            };
            holds.entry(resource).or_default().push(hold);
        }
    }
    // The killed agent could not write down the section that it was killed in.
    for (kill, resource) in kill.iter().flat_map(|kill| kill.resources.iter().map(move |resource| (kill, resource))) {
        let (granted, released) = (kill.parked, kill.killed);
        let hold = Hold { agent: kill.agent, mode: Mode::Write, own_grant: granted, granted, released };
        holds.entry(resource).or_default().push(hold);
    }
    for holds in holds.values_mut() {
        holds.sort_by_key(|hold| hold.granted);
    }
    holds
}

fn pairs(sections: &[(usize, &Held)], holds: &BTreeMap<&str, Vec<Hold>>) -> Vec<WaitedFor> {
    let longest: BTreeMap<&str, u64> = holds
        .iter()
        .map(|(resource, holds)| (*resource, holds.iter().map(|hold| hold.released - hold.granted).max().unwrap_or(0)))
        .collect();
    let mut pairs: BTreeMap<(usize, usize), WaitedFor> = BTreeMap::new();
    for (waiter, held) in sections {
        let mut blockers: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
        for (resource, _) in &held.locks {
            let holds = &holds[resource.as_str()];
            let end = holds.partition_point(|hold| hold.granted < held.granted);
            // No hold that began before this can have lasted into the wait.
            let earliest = held.asked.saturating_sub(longest[resource.as_str()]);
            for hold in holds[..end].iter().rev().take_while(|hold| hold.granted >= earliest) {
                let span = (hold.granted.max(held.asked), hold.released.min(held.granted));
                if span.0 < span.1 && hold.mode.conflicts_with(held.mode) {
                    blockers.entry(hold.agent).or_default().push(span);
                }
            }
        }
        for (holder, spans) in blockers {
            let waited = milliseconds(length(spans));
            let pair = pairs.entry((*waiter, holder)).or_insert_with(|| WaitedFor {
                waiter: label(*waiter as u32),
                holder: label(holder as u32),
                times: 0,
                total_ms: 0.0,
                max_ms: 0.0,
            });
            pair.times += 1;
            pair.total_ms += waited;
            pair.max_ms = pair.max_ms.max(waited);
        }
    }
    let mut pairs: Vec<_> = pairs.into_values().collect();
    pairs.sort_by(|a, b| b.total_ms.total_cmp(&a.total_ms));
    pairs
}

/// The time that the spans cover, what they have in common counted once.
fn length(mut spans: Vec<(u64, u64)>) -> u64 {
    spans.sort_unstable();
    let (mut covered, mut until) = (0, 0);
    for (from, to) in spans {
        covered += to.saturating_sub(from.max(until));
        until = until.max(to);
    }
    covered
}

fn overlaps(holds: &[Hold]) -> u64 {
    let (mut any, mut write) = (0, 0);
    let mut overlaps = 0;
    for hold in holds {
        let excluded_until = if hold.mode == Mode::Write { any } else { write };
        overlaps += u64::from(hold.granted + BLUR < excluded_until);
        any = any.max(hold.released);
        if hold.mode == Mode::Write {
            write = write.max(hold.released);
        }
    }
    overlaps
}

fn recovered(kill: &Kill, holds: &BTreeMap<&str, Vec<Hold>>) -> Option<f64> {
    let mut last = 0;
    for resource in &kill.resources {
        let grants = holds.get(resource.as_str())?.iter().filter(|hold| hold.agent != kill.agent);
        let next = grants.map(|hold| hold.own_grant).filter(|grant| *grant >= kill.killed).min()?;
        last = last.max(next - kill.killed);
    }
    Some(milliseconds(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(mode: Mode, granted: u64, released: u64) -> Hold {
        Hold { agent: 0, mode, own_grant: granted, granted, released }
    }

    #[test]
    fn only_sections_that_exclude_each_other_overlap() {
        let reads = [hold(Mode::Read, 0, 100), hold(Mode::Read, 50, 150)];
        assert_eq!(overlaps(&reads), 0);
        assert_eq!(overlaps(&[reads[0], reads[1], hold(Mode::Write, 120, 130)]), 1);
        assert_eq!(overlaps(&[hold(Mode::Write, 0, 100), hold(Mode::Read, 50, 60)]), 1);
        assert_eq!(overlaps(&[hold(Mode::Write, 0, 100), hold(Mode::Write, 100, 200)]), 0);
    }

    #[test]
    fn a_wait_is_charged_to_who_held_meanwhile() {
        let held = |asked, granted, released| {
            let locks = vec![("r".to_owned(), granted)];
            Held { locks, mode: Mode::Write, asked, granted, released }
        };
        let (first, second) = (held(0, 0, 3000), held(1000, 3000, 4000));
        let account = Account { agents: vec![vec![Entry::Section(first)], vec![Entry::Section(second)]] };
        let waits = Waits::of(&account, None);
        assert_eq!(waits.pairs.len(), 1);
        let pair = &waits.pairs[0];
        assert_eq!((pair.waiter.as_str(), pair.holder.as_str(), pair.times), ("agent-1", "agent-0", 1));
        assert!((pair.total_ms - 2.0).abs() < 1e-9);
        assert!((waits.max_ms() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_lock_is_recovered_when_another_agent_is_granted_it() {
        let section = |at: u64| {
            Entry::Section(Held {
                locks: vec![("r".to_owned(), at)],
                mode: Mode::Write,
                asked: 0,
                granted: at + 500,
                released: at + 600,
            })
        };
        let resources = vec!["r".to_owned()];
        let kill = Kill { agent: 1, resources, parked: 1000, killed: 5000 };
        let recovered = |agents| Waits::of(&Account { agents }, Some(&kill)).recovered_ms;
        assert_eq!(recovered(vec![vec![section(100), section(7000), section(9000)], vec![]]), Some(2.0));
        assert_eq!(recovered(vec![vec![section(100)], vec![section(6000)]]), None);
    }

    #[test]
    fn common_time_counts_once() {
        assert_eq!(length(vec![(0, 10), (5, 15), (20, 30)]), 25);
    }
}
