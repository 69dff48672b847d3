//! The demo as its user sees it: real processes, real databases, a real kill.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// For what takes a moment on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_locks-demo"));
    command.env_remove("LOCKS_SPACE").env_remove("CONCURRENT_LOCKS_URL");
    command
}

fn run(arguments: &[&str]) -> Output {
    demo().args(arguments).output().unwrap()
}

/// The report of a run with `--json`.
fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("no JSON ({error}): {}{}", String::from_utf8_lossy(&output.stdout), stderr(output))
    })
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait_until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_fleet_loses_nothing_and_recovers_from_a_kill() {
    let output = run(&["--agents", "4", "--seconds", "3", "--json"]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["verdict"], "nothing_lost");
    assert_eq!(report["agents"], 4);
    assert_eq!(report["with_locks"], true);
    assert_eq!(report["lost_updates"], 0);
    assert_eq!(report["corrupt_files"], 0);
    assert_eq!(report["points"]["missing"], 0);
    assert_eq!(report["overlaps"], 0);
    assert_eq!(report["timeouts"], 0);
    assert_eq!(report["failures"], 0);
    assert!(report["operations"].as_u64().unwrap() > 4);
    assert!(report["max_wait_ms"].as_f64().unwrap() > 0.0);
    assert!(report["deadlocks"].is_u64());
    // The agent was killed with half of a write done, and others got its locks.
    assert_eq!(report["killed_agents"], 1);
    assert!(report["half_done"].as_u64().unwrap() >= 1);
    assert!(report["points"]["half_done"].as_i64().unwrap() > 0);
    assert!(report["recovered_ms"].as_f64().unwrap() >= 0.0);
    let agents = report["per_agent"].as_array().unwrap();
    assert_eq!(agents.len(), 4);
    assert_eq!(agents.iter().filter(|agent| agent["killed"] == true).count(), 1);
    // All agents but the first queued for the roll call, so somebody waited for somebody.
    assert!(!report["waits"].as_array().unwrap().is_empty());
    assert!(report["locks"].as_array().unwrap().iter().any(|lock| lock["resource"] == "roll_call"));
    assert!(report["dir"].is_null());
}

#[test]
fn without_locks_updates_are_lost() {
    let output = run(&["--agents", "4", "--seconds", "1", "--without-locks", "--json"]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "losses are what was asked for: {report:#}");
    assert_eq!(report["verdict"], "lost");
    assert_eq!(report["with_locks"], false);
    assert_eq!(report["killed_agents"], 1);
    assert!(report["recovered_ms"].is_null());
    // Certain, not likely: at the roll call no agent writes before every agent has read.
    assert!(report["lost_updates"].as_u64().unwrap() >= 3);
    let roll_call = report["losses"].as_array().unwrap().iter().find(|loss| loss["counter"] == "roll-call").unwrap();
    assert_eq!((&roll_call["expected"], &roll_call["found"]), (&Value::from(4), &Value::from(1)));
}

#[test]
fn people_get_tables_and_a_verdict() {
    let output = run(&["--agents", "2", "--seconds", "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in
        ["AGENT", "WHO WAITED", "LOCK", "agent-1", "killed in mid-write", "its locks passed on after", "per second"]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(text.trim_end().lines().last().unwrap().starts_with("Nothing was lost:"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where there is no terminal");
    assert!(output.stderr.is_empty(), "no progress where there is no terminal");
}

#[test]
fn a_folder_is_kept_and_used_again_but_never_one_with_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let dir = dir.to_str().unwrap();
    for _ in 0..2 {
        let output = run(&["--agents", "2", "--seconds", "1", "--json", "--dir", dir]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(report(&output)["dir"], dir);
        for file in ["episodic_memory.db", "semantic_memory.db", "skill_memory.db", "skills.json", "sites.json"] {
            assert!(Path::new(dir).join(file).exists(), "{file}");
        }
    }
    let own = folder.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("skills.json"), "mine").unwrap();
    let output = run(&["--agents", "2", "--seconds", "1", "--dir", own.to_str().unwrap()]);
    assert_ne!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("is not empty"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(own.join("skills.json")).unwrap(), "mine");
}

#[test]
fn other_episodes_can_be_worked_on() {
    let folder = tempfile::tempdir().unwrap();
    let episodes = folder.path().join("mine.jsonl");
    let episode = r#"{"agent":"me","task":"t","kind":"k","site":"only.example","skill":"only","outcome":"partial","importance":3,"text":"x"}"#;
    fs::write(&episodes, format!("{episode}\n")).unwrap();
    let dir = folder.path().join("run");
    let (dir, episodes) = (dir.to_str().unwrap(), episodes.to_str().unwrap());
    let output = run(&["--agents", "2", "--seconds", "1", "--json", "--dir", dir, "--episodes", episodes]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let skills: Value = serde_json::from_slice(&fs::read(Path::new(dir).join("skills.json")).unwrap()).unwrap();
    assert_eq!(skills.as_object().unwrap().keys().collect::<Vec<_>>(), ["only"]);
}

#[test]
fn bad_episodes_are_named_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.jsonl");
    let good = include_str!("../../../examples/data/episodes.jsonl").lines().next().unwrap();
    fs::write(&path, format!("{good}\n{{\"agent\": 7}}\n")).unwrap();
    let output = run(&["--episodes", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains("bad.jsonl: line 2, column 11: "), "{}", stderr(&output));

    let output = run(&["--episodes", folder.path().join("none.jsonl").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("none.jsonl: No such file"), "{}", stderr(&output));
}

#[test]
fn other_locks_can_be_named_if_they_can_do_it() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("host:{}", folder.path().join("shared.table").display());
    let output = run(&["--agents", "2", "--seconds", "1", "--json", "--url", &url]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(report(&output)["table"], url);

    let output = run(&["--agents", "2", "--seconds", "1", "--url", "local:"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("needs locks that reach other processes"), "{}", stderr(&output));
}

#[test]
fn fewer_than_two_agents_are_no_fleet() {
    assert_eq!(run(&["--agents", "1"]).status.code(), Some(64));
    assert_eq!(run(&["--seconds", "0"]).status.code(), Some(64));
}

/// A demo that runs for a long time, seen to be at work.
fn at_work(dir: &Path) -> Child {
    let child = demo()
        .args(["--agents", "3", "--seconds", "3000", "--json", "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let done = |number| {
        let journal = fs::read_to_string(dir.join(format!("journals/agent-{number}.jsonl"))).unwrap_or_default();
        journal.contains("\"add episode\"")
    };
    wait_until("all agents are at work", || (0..3).all(done));
    child
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// The agents of a demo: the processes whose parent it is.
fn agents(parent: &Child) -> Vec<Pid> {
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in brackets come the state and the parent.
        let parent_of = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok());
        parent_of == Some(parent.id())
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(is_child)
        .filter_map(Pid::from_raw)
        .collect()
}

fn gone(pid: Pid) -> bool {
    test_kill_process(pid).is_err() || {
        // Whoever adopts the orphans may be slow to bury them: a zombie does not work any more.
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
    }
}

#[test]
fn an_interrupt_ends_the_agents_and_still_reports() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = at_work(&folder.path().join("run"));
    let agents = agents(&child);
    assert_eq!(agents.len(), 3);
    kill_process(pid(&child), Signal::INT).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{report:#}");
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["verdict"], "nothing_lost");
    assert!(report["operations"].as_u64().unwrap() > 3);
    assert!(agents.into_iter().all(gone));
}

#[test]
fn agents_do_not_outlive_a_killed_demo() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = at_work(&folder.path().join("run"));
    let agents = agents(&child);
    assert_eq!(agents.len(), 3);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the agents are gone", || agents.iter().all(|agent| gone(*agent)));
}

/// What the page says of it: the first words in backquotes of each row of its tables.
fn rows(chapter: &str) -> BTreeSet<String> {
    let page = include_str!("../../../docs/demo.md");
    let text = page.split("\n## ").find(|text| text.starts_with(chapter)).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split(['`', ' ']).next().unwrap().to_owned()).collect()
}

#[test]
fn the_page_has_every_option_and_every_field() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let options = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let options: BTreeSet<_> = options.map(|line| format!("--{}", line.split([' ', ',']).next().unwrap())).collect();
    assert_eq!(options, rows("# The demo"));

    let report = report(&run(&["--agents", "2", "--seconds", "1", "--json"]));
    let mut fields: BTreeSet<_> = report.as_object().unwrap().keys().cloned().collect();
    // Only there when an operation failed.
    fields.insert("first_failure".to_owned());
    assert_eq!(fields, rows("The report as JSON"));
}
