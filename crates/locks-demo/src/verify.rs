//! The check: the journals against the files. It reads the files with
//! its own queries and uses neither the locks nor the stores.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use agent_memories::Episode;
use anyhow::Context;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use super::{
    counters::{self, Effect, Memory},
    journal::{Account, Entry},
    work_folder::{POINTS, WorkFolder, topics},
};

/// What the check found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Updates that are done in a journal and missing in a file (or there twice).
    pub(super) lost_updates: u64,
    /// Where they are missing.
    pub(super) losses: Vec<Loss>,
    /// Files that cannot be read any more.
    pub(super) corrupt_files: Vec<String>,
    pub(super) points: PointsFound,
    /// Operations that were begun and neither done nor called off.
    pub(super) half_done: u64,
}

/// One figure that is not what the journals say.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Loss {
    pub(super) counter: String,
    pub(super) expected: i64,
    pub(super) found: i64,
}

/// Whether the points of all topics in both memories still add up.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct PointsFound {
    pub(super) before: i64,
    pub(super) after: i64,
    /// Points that half-done transfers took out (and did not put back), as their journals explain.
    pub(super) half_done: i64,
    /// Points that nothing explains.
    pub(super) missing: i64,
}

/// What a figure should be: this much for certain, and any part of what is half done.
#[derive(Debug, Default)]
struct Expected {
    certain: i64,
    /// Half-done additions of one. Without locks there may be very many of them.
    ones: i64,
    /// Half-done additions of other amounts.
    amounts: Vec<i64>,
}

impl Findings {
    pub(super) fn check(folder: &WorkFolder, episodes: &[Episode], account: &Account) -> anyhow::Result<Findings> {
        let mut findings = Findings::default();
        let found = findings.read_files(folder)?;
        let expected = findings.expect(episodes, account);
        findings.compare(&expected, &found);
        Ok(findings)
    }

    fn expect(&mut self, episodes: &[Episode], account: &Account) -> BTreeMap<String, Expected> {
        let mut expected: BTreeMap<String, Expected> = BTreeMap::new();
        for topic in topics(episodes) {
            for memory in [Memory::Episodic, Memory::Semantic] {
                expected.entry(counters::points(memory, &topic)).or_default().certain = POINTS;
            }
        }
        for agent in &account.agents {
            let mut open: HashMap<u64, &[Effect]> = HashMap::new();
            for entry in agent {
                match entry {
                    Entry::Begun { operation, effects, .. } => {
                        open.insert(*operation, effects);
                    }
                    Entry::Done { operation } => {
                        for effect in open.remove(operation).unwrap_or_default() {
                            expected.entry(effect.counter.clone()).or_default().certain += effect.add;
                        }
                    }
                    Entry::Refused { operation, .. } => {
                        open.remove(operation);
                    }
                    // A failed operation stays open: it may have got anywhere.
                    Entry::Failed { .. } | Entry::Deadlock { .. } | Entry::Section(_) => {}
                }
            }
            for effects in open.into_values().filter(|effects| !effects.is_empty()) {
                self.half_done += 1;
                for effect in effects {
                    expected.entry(effect.counter.clone()).or_default().allow(effect.add);
                }
            }
        }
        expected
    }

    fn compare(&mut self, expected: &BTreeMap<String, Expected>, found: &BTreeMap<String, i64>) {
        let nothing = Expected::default();
        for counter in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
            let expected = expected.get(counter).unwrap_or(&nothing);
            let found = found.get(counter).copied().unwrap_or(0);
            let nearest = expected.nearest(found);
            if counters::is_points(counter) {
                // A lost move is counted where moves are counted; here only the sum matters.
                self.points.before += POINTS;
                self.points.after += found;
                self.points.half_done -= nearest - expected.certain;
            } else if found != nearest {
                self.lost_updates += found.abs_diff(nearest);
                self.losses.push(Loss { counter: counter.clone(), expected: nearest, found });
            }
        }
        self.losses.sort_by_key(|loss| std::cmp::Reverse(loss.expected.abs_diff(loss.found)));
        self.points.missing = self.points.before - self.points.after - self.points.half_done;
    }

    fn read_files(&mut self, folder: &WorkFolder) -> anyhow::Result<BTreeMap<String, i64>> {
        let mut found = BTreeMap::new();
        if let Some(database) = self.open(&folder.episodic())? {
            figures(
                &database,
                &mut found,
                "SELECT site, count(*) FROM episodes GROUP BY site",
                counters::episode_rows,
            )?;
            figures(&database, &mut found, "SELECT site, episodes FROM sites", counters::episode_count)?;
            balances(&database, &mut found, Memory::Episodic, "SELECT site, points, moves FROM sites")?;
        }
        if let Some(database) = self.open(&folder.semantic())? {
            figures(&database, &mut found, "SELECT topic, observations FROM facts", counters::observations)?;
            balances(&database, &mut found, Memory::Semantic, "SELECT topic, points, moves FROM facts")?;
        }
        if let Some(database) = self.open(&folder.skills())? {
            figures(&database, &mut found, "SELECT skill, uses FROM skills", counters::skill_uses)?;
            figures(&database, &mut found, "SELECT skill, successes FROM skills", counters::skill_successes)?;
        }
        for (skill, fields) in self.parse(&folder.library())? {
            found.insert(counters::library_uses(&skill), number(&fields, "uses")?);
            found.insert(counters::library_successes(&skill), number(&fields, "successes")?);
        }
        for (site, fields) in self.parse(&folder.sites())? {
            found.insert(counters::visits(&site), number(&fields, "visits")?);
        }
        let sheet = fs::read_to_string(folder.roll_call())?;
        found.insert(counters::roll_call(), sheet.trim().parse().context("the roll-call sheet")?);
        Ok(found)
    }

    /// The database, or nothing and a note if it is damaged.
    fn open(&mut self, path: &Path) -> anyhow::Result<Option<Connection>> {
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let answer: rusqlite::Result<String> = database.query_row("PRAGMA integrity_check", [], |row| row.get(0));
        if answer.is_ok_and(|answer| answer == "ok") {
            return Ok(Some(database));
        }
        self.corrupt(path);
        Ok(None)
    }

    /// The file's objects by name, or nothing and a note if it is damaged.
    fn parse(&mut self, path: &Path) -> anyhow::Result<BTreeMap<String, serde_json::Value>> {
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_slice(&text).unwrap_or_else(|_| {
            self.corrupt(path);
            BTreeMap::new()
        }))
    }

    fn corrupt(&mut self, path: &Path) {
        self.corrupt_files.push(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned());
    }
}

impl Expected {
    fn allow(&mut self, add: i64) {
        if add == 1 {
            self.ones += 1;
        } else {
            self.amounts.push(add);
        }
    }

    /// Of all values that the half-done operations allow, the one nearest to what was found.
    fn nearest(&self, found: i64) -> i64 {
        let mut possible = BTreeSet::from([self.certain]);
        for add in &self.amounts {
            possible.extend(possible.iter().map(|value| value + add).collect::<Vec<_>>());
        }
        let nearest = possible.into_iter().map(|value| found.clamp(value, value + self.ones));
        nearest.min_by_key(|value| value.abs_diff(found)).unwrap_or(self.certain)
    }
}

fn figures(
    database: &Connection,
    found: &mut BTreeMap<String, i64>,
    query: &str,
    name: impl Fn(&str) -> String,
) -> anyhow::Result<()> {
    let mut query = database.prepare(query)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        found.insert(name(row.get_ref(0)?.as_str()?), row.get(1)?);
    }
    Ok(())
}

fn balances(
    database: &Connection,
    found: &mut BTreeMap<String, i64>,
    memory: Memory,
    query: &str,
) -> anyhow::Result<()> {
    let mut query = database.prepare(query)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let topic = row.get_ref(0)?.as_str()?;
        found.insert(counters::points(memory, topic), row.get(1)?);
        found.insert(counters::moves(memory, topic), row.get(2)?);
    }
    Ok(())
}

fn number(fields: &serde_json::Value, name: &str) -> anyhow::Result<i64> {
    fields.get(name).and_then(serde_json::Value::as_i64).with_context(|| format!("no number {name:?} in {fields}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_done_operations_explain_any_part_of_themselves_and_nothing_more() {
        let mut expected = Expected { certain: 10, ..Expected::default() };
        assert_eq!(expected.nearest(9), 10);
        expected.allow(1);
        expected.allow(-3);
        for possible in [7, 8, 10, 11] {
            assert_eq!(expected.nearest(possible), possible);
        }
        assert_eq!(expected.nearest(12), 11);
        assert_eq!(expected.nearest(5), 7);
        expected.allow(1);
        assert_eq!(expected.nearest(12), 12);
    }

    #[test]
    fn a_missing_update_is_counted_and_a_half_done_transfer_is_explained() {
        let points = |memory| counters::points(memory, "t");
        let expect = |certain, amounts| Expected { certain, ones: 0, amounts };
        let expected = BTreeMap::from([
            ("skills/uses/s".to_owned(), expect(3, vec![])),
            (points(Memory::Episodic), expect(POINTS, vec![-5])),
            (points(Memory::Semantic), expect(POINTS, vec![5])),
        ]);
        let found = BTreeMap::from([
            ("skills/uses/s".to_owned(), 1),
            (points(Memory::Episodic), POINTS - 5),
            (points(Memory::Semantic), POINTS),
        ]);
        let mut findings = Findings::default();
        findings.compare(&expected, &found);
        assert_eq!(findings.lost_updates, 2);
        assert_eq!((findings.points.half_done, findings.points.missing), (5, 0));
    }

    #[test]
    fn a_torn_file_is_damaged_and_its_updates_are_lost() {
        let directory = tempfile::tempdir().unwrap();
        let folder = WorkFolder::create(Some(directory.path())).unwrap();
        let episodes = Episode::parse_all(agent_memories::EPISODES).unwrap();
        folder.seed("", &episodes).unwrap();
        fs::write(folder.library(), "{ \"fill-form\": { \"uses\": 2,").unwrap();
        fs::write(folder.semantic(), "this was a database").unwrap();
        let done = |operation, counter| {
            let effects = vec![Effect::one(counter)];
            [Entry::Begun { operation, what: String::new(), effects }, Entry::Done { operation }]
        };
        let uses = [done(0, counters::library_uses("fill-form")), done(1, counters::library_uses("fill-form"))];
        let account = Account { agents: vec![uses.into_iter().flatten().collect()] };
        let findings = Findings::check(&folder, &episodes, &account).unwrap();
        assert_eq!(findings.corrupt_files, ["semantic_memory.db", "skills.json"]);
        assert_eq!(findings.lost_updates, 2);
        assert_eq!(findings.losses[0].counter, counters::library_uses("fill-form"));
    }
}
