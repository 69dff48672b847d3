//! `locks status`, `stats`, `watch` and `doctor` as people read them.

use rustix::process::Signal;

use crate::{
    snapshot,
    space::{Space, until},
};

#[test]
fn an_empty_space_is_told_as_such() {
    let space = Space::new();
    snapshot!(space.finish(["status"]), @r#"
    exit code 0
    --- stdout
    no locks
    "#);
    snapshot!(space.finish(["stats"]), @r#"
    exit code 0
    --- stdout
    no locks
    "#);
    snapshot!(space.finish(["status", "repo"]), @r#"
    exit code 0
    --- stdout
    repo: free, and not used yet
    "#);
    snapshot!(space.finish(["stats", "repo"]), @r#"
    exit code 0
    --- stdout
    repo: not used yet
    "#);
}

#[test]
fn status_shows_who_holds_and_who_waits_in_order() {
    let space = Space::new();
    assert_eq!(space.code(["run", "idle", "--", "true"]), Some(0));
    let holder = space.hold("repo", &["--owner", "agent-7", "--note", "nightly build"]);
    let _first = space.start(["run", "--owner", "agent-8", "repo", "--", "true"]);
    space.until_waiters("repo", 1);
    let _second = space.start(["run", "--read", "--owner", "agent-9", "--priority", "-5", "repo", "--", "true"]);
    space.until_waiters("repo", 2);
    snapshot!(space.finish(["status"]), @r#"
    exit code 0
    --- stdout
    LOCK STATE  OWNER PROCESS  MODE FOR  TOKEN PRIORITY  NOTE
    repo  held  agent-7  [PID]@[HOST]  write [DURATION]  [TOKEN]  0  nightly build
    repo  waits, 1.  agent-8  [PID]@[HOST]  write [DURATION]  -  0
    repo  waits, 2.  agent-9  [PID]@[HOST]  read [DURATION]  -  -5
    1 more free (--all lists them)
    "#);
    snapshot!(space.finish(["status", "--all"]), @r#"
    exit code 0
    --- stdout
    LOCK STATE  OWNER PROCESS  MODE FOR  TOKEN PRIORITY  NOTE
    idle  free
    repo  held  agent-7  [PID]@[HOST]  write [DURATION]  [TOKEN]  0  nightly build
    repo  waits, 1.  agent-8  [PID]@[HOST]  write [DURATION]  -  0
    repo  waits, 2.  agent-9  [PID]@[HOST]  read [DURATION]  -  -5
    "#);
    snapshot!(space.finish(["status", "idle"]), @r#"
    exit code 0
    --- stdout
    LOCK STATE  OWNER PROCESS  MODE FOR  TOKEN PRIORITY  NOTE
    idle  free
    "#);
    holder.let_go();
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let space = Space::new();
    let holder = space.hold("evil\u{1b}[2Jname", &["--note", "tab\there", "--owner", "bell\u{7}"]);
    let output = space.finish(["status"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("evil\\u{1b}[2Jname") && told.contains("tab\\there") && told.contains("bell\\u{7}"),
        "{told}"
    );
    assert!(!told.chars().any(|letter| letter.is_control() && letter != '\n'), "{told:?}");
    holder.let_go();
}

#[test]
fn stats_count_and_forget() {
    let space = Space::new();
    for _ in 0..3 {
        assert_eq!(space.code(["run", "repo", "--", "true"]), Some(0));
    }
    let holder = space.hold("repo", &["--read"]);
    assert_eq!(space.code(["run", "-w", "0.01", "repo", "--", "true"]), Some(75));
    snapshot!(space.finish(["stats", "repo", "--reset"]), @r#"
    exit code 0
    --- stdout
    LOCK MODE  ACQUIRED TIMEOUTS  ERRORS DEADLOCKS  WAIT avg / p99 / max  HOLD avg / p99 / max  HOLDERS WAITERS
    repo  read  1  0  0  0 [DURATION] / [DURATION] / [DURATION] [DURATION] / [DURATION] / [DURATION]  1  0
    repo  write  3  1  0  0 [DURATION] / [DURATION] / [DURATION] [DURATION] / [DURATION] / [DURATION]  0  0
    "#);
    let write = &space.json(["stats", "repo"])["locks"]["write"];
    assert!(write.is_null() || write["total_acquisitions"] == 0, "{write}");
    holder.let_go();
}

#[test]
fn watch_shows_what_happens_until_it_has_seen_enough() {
    let space = Space::new();
    let mut watch = space.start(["watch", "--count", "2", "repo"]);
    // When it begins to look is its own affair: give it things to see until it has seen enough.
    let end = until("two events", || {
        assert_eq!(space.code(["run", "other", "--", "true"]), Some(0));
        assert_eq!(space.code(["run", "--owner", "agent-7", "repo", "--", "true"]), Some(0));
        watch.has_ended()
    });
    assert_eq!(end.code(), Some(0));
    let told = watch.rest();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines.iter().all(|line| line.contains("  repo  ") && line.contains("agent-7")), "{told}");
    assert!(["grant", "release"].iter().all(|kind| told.contains(kind)), "{told}");
}

#[test]
fn watch_ends_in_time_or_by_a_signal() {
    let space = Space::new();
    assert_eq!(space.code(["watch", "--seconds", "0.1"]), Some(0));
    let mut watch = space.start(["watch"]);
    watch.signal(Signal::INT);
    assert!(!watch.ended().success());
}

#[test]
fn doctor_finds_a_new_table_well() {
    let space = Space::new();
    let holder = space.hold("repo", &[]);
    let output = space.finish(["doctor"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    for fact in ["t.table", "0600", "all is well", "alive", &holder.pid().to_string()] {
        assert!(told.contains(fact), "{fact} is missing in {told}");
    }
    holder.let_go();
}

#[test]
fn no_colours_without_a_terminal() {
    let space = Space::new();
    let holder = space.hold("repo", &[]);
    for verb in [&["status"][..], &["stats"], &["doctor"], &["deadlocks"], &["watch", "--seconds", "0"]] {
        let output = space.finish(verb);
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{verb:?}");
    }
    holder.let_go();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let space = Space::new();
    let script = "locks status >&- ; echo $?; { locks status; echo $? >&2; } 2>code | true; cat code";
    let output = space.program("sh").args(["-c", script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.lines().last().is_some_and(|code| code == "0"), "{output:?}");
}
