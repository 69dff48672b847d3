//! How `locks run` may be written: flock's spellings, lines of shell, reports; and the messages when it is wrong.

use std::fs;

use serde_json::Value;

use crate::space::{Space, is_alive, until};

fn stderr(space: &Space, line: &[&str]) -> (Option<i32>, String) {
    let output = space.finish(line);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn flocks_spellings_are_understood() {
    let space = Space::new();
    for options in [
        &["-e"][..],
        &["--exclusive"],
        &["-s"],
        &["--shared"],
        &["--nb"],
        &["--wait", "60"],
        &["-xn"],
        &["-en"],
        &["-n", "-w", "3"],
        &["-F"],
        &["--no-fork"],
        &["-w", "inf"],
        &["-E", "1"],
    ] {
        let line: Vec<_> = ["run"].iter().chain(options).chain(&["x", "--", "sh", "-c", "exit 7"]).copied().collect();
        assert_eq!(space.code(&line), Some(7), "{options:?}");
    }
    let holder = space.hold("x", &[]);
    for options in [&["--nb"][..], &["-n", "-w", "60"], &["--wait", "0.1"]] {
        let line: Vec<_> = ["run"].iter().chain(options).chain(&["x", "--", "true"]).copied().collect();
        assert_eq!(space.code(&line), Some(75), "{options:?}");
    }
    holder.let_go();
    let (code, told) = stderr(&space, &["run", "--verbose", "x", "--", "true"]);
    assert!(code == Some(0) && told.contains("acquired after"), "{told}");
}

#[test]
fn a_line_of_shell_takes_one_name() {
    let space = Space::new();
    let output = space.finish(["run", "x", "-c", "echo $LOCKS_NAME | tr x y"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\n");
    // The habit of flock(1) without the dashes would lock `sh` as well.
    let (code, told) = stderr(&space, &["run", "-n", "x", "sh", "-c", "touch started"]);
    assert!(code == Some(64) && told.contains("put `--` before it"), "{told}");
    assert!(!space.path("started").exists());
}

#[test]
fn what_is_missing_is_reported_and_no_tip_leads_astray() {
    let space = Space::new();
    for (line, advice) in [
        (&["run", "x", "true"][..], "Put `--` before the command"),
        (&["run", "x", "git", "commit", "-am", "text"], "put `--` before the command"),
        (&["run", "x", "make", "--jobs", "4"], "put `--` before the command"),
        (&["run", "-w", "-5", "x", "--", "true"], "a time cannot be negative"),
        (&["run", "-w", "1e20", "x", "--", "true"], "too long"),
        (&["rnu", "x", "--", "true"], "Did you mean `locks run`?"),
        (&["run", "x", "--", "echo hi"], "-c 'LINE'"),
    ] {
        let (code, told) = stderr(&space, line);
        assert!(told.contains(advice) && !told.contains("to pass") && !told.contains("similar"), "{line:?}: {told}");
        assert_eq!(code, Some(if line.contains(&"echo hi") { 127 } else { 64 }));
    }
    let (_, told) = stderr(&space, &["run", "--tiemout", "5", "x", "--", "true"]);
    assert!(told.contains("--timeout"), "a likely mistake is named: {told}");
}

#[test]
fn quiet_means_not_a_word_of_a_busy_lock() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    for line in [&["run", "-q", "-n", "x", "--", "true"][..], &["run", "-q", "-w", "0.05", "x", "--", "true"]] {
        assert_eq!(stderr(&space, line), (Some(75), String::new()));
    }
    holder.let_go();
    assert!(!stderr(&space, &["run", "-q", "x", "--", "no-such-command"]).1.is_empty(), "other failures are reported");
}

#[test]
fn a_wait_is_reported_also_without_a_terminal() {
    let space = Space::new();
    let holder = space.hold("x", &["-o", "agent-7"]);
    let log = fs::File::create(space.path("log")).unwrap();
    let mut waiter = space.locks(["run", "x", "--", "true"]).stderr(log).spawn().unwrap();
    let told =
        until("a line", || Some(fs::read_to_string(space.path("log")).unwrap()).filter(|log| log.ends_with('\n')));
    assert!(told.contains("waiting for \"x\", held by agent-7"), "{told}");
    holder.let_go();
    assert!(waiter.wait().unwrap().success());
    assert_eq!(fs::read_to_string(space.path("log")).unwrap().lines().count(), 1, "a log gets one line");
}

#[test]
fn a_report_has_a_file_of_its_own() {
    let space = Space::new();
    let read = || serde_json::from_str::<Value>(&fs::read_to_string(space.path("report")).unwrap()).unwrap();
    let (code, told) =
        stderr(&space, &["run", "--json", "--report", "report", "x", "--", "sh", "-c", "echo mine >&2; exit 3"]);
    assert_eq!((code, told.as_str()), (Some(3), "mine\n"));
    assert_eq!((&read()["exit_code"], read()["tokens"].as_object().unwrap().len()), (&3.into(), 1));
    let holder = space.hold("x", &[]);
    stderr(&space, &["run", "--report", "report", "-n", "x", "--", "true"]);
    assert_eq!(read()["error"]["kind"], "would_block");
    holder.let_go();
    let (code, told) = stderr(&space, &["run", "--report", "no/such/folder", "x", "--", "touch", "started"]);
    assert!(code == Some(74) && told.contains("no/such/folder") && !space.path("started").exists(), "{told}");
}

#[test]
fn all_failures_are_json_when_json_is_asked_for() {
    let space = Space::new();
    for (line, kind) in [
        (&["run", "--json", "-w", "nonsense", "x", "--", "true"][..], "usage"),
        (&["--json", "rnu"], "usage"),
        (&["run", "--json", "x"], "usage"),
        (&["run", "--json", "--lease", "1s", "x", "--", "true"], "usage"),
        (&["run", "--json", "", "--", "true"], "invalid_name"),
    ] {
        let (code, told) = stderr(&space, line);
        let failure: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
        assert_eq!((code, &failure["error"]["kind"]), (Some(64), &kind.into()), "{line:?}");
    }
    for bond in ["hold", "term", "kill", "leave"] {
        let (code, told) = stderr(&space, &["run", "--json", "--if-killed", bond, "x", "--", "no-such-command"]);
        assert_eq!(code, Some(127));
        let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines[0]["warning"].as_str().unwrap().contains("no-such-command"), "{told}");
        assert_eq!(lines[1]["exit_code"], 127);
    }
}

#[test]
fn what_does_not_fit_into_the_environment_is_reported_before_anything_is_acquired() {
    let space = Space::new();
    let names: Vec<_> = (0..600).map(|number| format!("{number:0250}")).collect();
    let mut line = vec!["run"];
    line.extend(names.iter().map(String::as_str));
    line.extend(["--", "touch", "started"]);
    let (code, told) = stderr(&space, &line);
    assert!(code == Some(64) && told.contains("LOCKS_NAME"), "{told}");
    assert!(space.json(["status"]).as_object().unwrap().is_empty() && !space.path("started").exists());
}

#[test]
fn without_a_fork_the_command_takes_our_place_and_keeps_the_lock() {
    let space = Space::new();
    let mut holder = space.start(["run", "--no-fork", "x", "--", "sh", "-c", "echo $$; read line"]);
    assert_eq!(holder.line(), holder.pid().to_string());
    assert!(is_alive(holder.pid()));
    assert_eq!(space.code(["run", "-n", "x", "--", "true"]), Some(75));
    holder.tell("");
    assert_eq!(holder.code(), Some(0));
    assert_eq!(space.code(["run", "-w", "60", "x", "--", "true"]), Some(0));
    assert_eq!(space.code(["run", "-F", "x", "--", "no-such-command"]), Some(127));
    assert_eq!(space.code(["run", "-w", "60", "x", "--", "true"]), Some(0));
}

#[test]
fn a_lost_lock_is_named() {
    let space = Space::new();
    let script = "locks break -q -y second -t $(echo \"$LOCKS_TOKEN\" | tail -1)";
    let (code, told) = stderr(&space, &["run", "first", "second", "--", "sh", "-c", script]);
    assert_eq!(code, Some(70));
    assert!(told.contains("the lock \"second\" was lost") && !told.contains("\"first\""), "{told}");
}
