//! `locks run`: the command's own end is ours, its environment tells of the lock, and the lock does its job.

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio, time::Instant};

use crate::{
    snapshot,
    space::{Running, Space, until},
};

#[test]
fn the_exit_code_is_the_commands() {
    let space = Space::new();
    for code in [0, 1, 7, 75, 255] {
        assert_eq!(space.code(["run", "x", "--", "sh", "-c", &format!("exit {code}")]), Some(code));
    }
}

#[test]
fn an_end_by_signal_is_128_and_its_number() {
    let space = Space::new();
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("INT", 130)] {
        assert_eq!(space.code(["run", "x", "--", "sh", "-c", &format!("kill -{signal} $$")]), Some(code));
    }
}

#[test]
fn a_command_that_cannot_be_started_ends_as_in_a_shell() {
    let space = Space::new();
    fs::write(space.path("plain"), "no program").unwrap();
    fs::set_permissions(space.path("plain"), fs::Permissions::from_mode(0o644)).unwrap();
    for bond in ["hold", "term", "kill", "leave"] {
        let missing = space.finish(["run", "--if-killed", bond, "x", "--", "no-such-command"]);
        assert_eq!(missing.status.code(), Some(127));
        assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-command"), "{missing:?}");
        assert_eq!(space.code(["run", "--if-killed", bond, "x", "--", "./plain"]), Some(126));
    }
    snapshot!(space.finish(["run", "x", "--", "no-such-command"]), @r#"
    exit code 127
    --- stderr
    locks: cannot run "no-such-command": No such file or directory (os error 2)
    "#);
    assert!(space.status("x")["holders"].as_array().unwrap().is_empty());
}

#[test]
fn what_follows_the_dashes_is_the_commands() {
    let space = Space::new();
    let output = space.finish(["run", "x", "--", "echo", "--json", "-n", "--", "--help"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--json -n -- --help\n");
}

#[test]
fn the_command_has_our_stdin_and_stdout() {
    let space = Space::new();
    let mut cat = space.start(["run", "x", "--", "cat"]);
    cat.tell("hello");
    cat.expect("hello");
}

#[test]
fn closed_streams_stay_nobodys_and_no_file_takes_their_place() {
    let space = Space::new();
    let look = "in=$(readlink /proc/$$/fd/0) out=$(readlink /proc/$$/fd/1) err=$(readlink /proc/$$/fd/2)";
    let line = format!("locks run x -- sh -c '{look}; echo $in $out $err > streams' <&- >&- 2>&-");
    assert!(space.program("sh").args(["-c", &line]).status().unwrap().success());
    assert_eq!(fs::read_to_string(space.path("streams")).unwrap(), "/dev/null /dev/null /dev/null\n");
}

#[test]
fn a_reader_that_went_away_ends_the_command_but_not_us() {
    let space = Space::new();
    assert_eq!(space.code(["run", "x", "--", "sh", "-c", "kill -PIPE $$"]), Some(141));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(space.locks(["status"]).stdout(writer).status().unwrap().code(), Some(0));
}

#[test]
fn a_waiter_that_has_nothing_more_to_say_sleeps_between_the_looks_of_the_lock() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    let waiters = [&["-q"][..], &[]].map(|quiet| space.start([&["run"], quiet, &["x", "--", "true"]].concat()));
    let locks = space.library();
    let waited = |seconds: f64| {
        until("a long wait", || {
            let waiters = locks.status("x").blocking().unwrap()?.waiters;
            (waiters.len() == 2 && waiters.iter().all(|waiter| waiter.waited.as_secs_f64() >= seconds)).then_some(())
        });
    };
    // By then the second has said who holds the lock.
    waited(4.0);
    let (before, began) = (waiters.each_ref().map(sleeps), Instant::now());
    waited(10.0);
    for (waiter, before) in waiters.iter().zip(before) {
        // One thread looks once a second, and the other does not: together they looked three times.
        let (slept, most) = (sleeps(waiter) - before, 2 * (began.elapsed().as_secs() + 1));
        assert!(slept <= most, "{slept} sleeps, {most} at most");
    }
    holder.let_go();
}

/// How often the threads of a process have gone to sleep.
fn sleeps(process: &Running) -> u64 {
    let count = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap().map(|task| count(task.unwrap())).sum()
}

#[test]
fn the_environment_tells_name_token_and_owner() {
    let space = Space::new();
    let script = "echo \"$LOCKS_NAME $LOCKS_TOKEN $LOCKS_OWNER ${#LOCKS_OWNER_ID}\"";
    let tell = || {
        let output = space.finish(["run", "--owner", "agent-7", "repo", "--", "sh", "-c", script]);
        String::from_utf8(output.stdout).unwrap()
    };
    let token = |told: &str| {
        let words: Vec<_> = told.split_whitespace().collect();
        assert_eq!((words[0], words[2], words[3]), ("repo", "agent-7", "16"));
        words[1].parse::<u64>().unwrap()
    };
    let (first, second) = (token(&tell()), token(&tell()));
    assert!(first < second, "tokens must grow: {first}, {second}");
}

#[test]
fn several_names_are_listed_one_a_line_in_one_order_with_their_tokens() {
    let space = Space::new();
    let output = space.finish(["run", "b", "a", "b", "--", "sh", "-c", "echo \"$LOCKS_NAME\"; echo \"$LOCKS_TOKEN\""]);
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert_eq!(&lines[..2], ["a", "b"]);
    assert!(lines[2..].iter().all(|token| token.parse::<u64>().is_ok()), "{told}");
}

#[test]
fn an_owner_without_a_label_is_called_after_the_command() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    assert_eq!(space.status("x")["holders"][0]["label"], format!("sh[{}]", holder.pid()));
    holder.let_go();
    let long = space.path(&"ü".repeat(60));
    std::os::unix::fs::symlink("/bin/sh", &long).unwrap();
    let output = space.locks(["run", "x", "--"]).arg(&long).args(["-c", "echo $LOCKS_OWNER"]).output().unwrap();
    let label = String::from_utf8(output.stdout).unwrap();
    assert!(label.trim_end().len() <= 40 && label.starts_with('ü') && label.ends_with("]\n"), "{label}");
}

#[test]
fn a_busy_lock_is_75_in_time_and_the_message_names_the_holder() {
    let space = Space::new();
    let holder = space.hold("repo", &["--owner", "agent-7", "--note", "nightly build"]);
    snapshot!(space.finish(["run", "--timeout", "0.2", "repo", "--", "true"]), @r#"
    exit code 75
    --- stderr
    locks: timed out after [DURATION] waiting to write "repo": held by agent-7 (pid [PID] on [HOST], write since [TIME], for [DURATION], note: nightly build); place 1 of 1 in the queue; wait longer, or see `locks status`
    "#);
    snapshot!(space.finish(["run", "--nonblock", "repo", "--", "true"]), @r#"
    exit code 75
    --- stderr
    locks: "repo" cannot be acquired to write now: held by agent-7 (pid [PID] on [HOST], write since [TIME], for [DURATION], note: nightly build); wait for it, or see `locks status`
    "#);
    snapshot!(space.finish(["run", "--timeout", "0", "repo", "--", "true"]), @r#"
    exit code 75
    --- stderr
    locks: "repo" cannot be acquired to write now: held by agent-7 (pid [PID] on [HOST], write since [TIME], for [DURATION], note: nightly build); wait for it, or see `locks status`
    "#);
    snapshot!(space.finish(["run", "--read", "-w", "10ms", "-E", "9", "repo", "--", "true"]), @r#"
    exit code 9
    --- stderr
    locks: timed out after [DURATION] waiting to read "repo": held by agent-7 (pid [PID] on [HOST], write since [TIME], for [DURATION], note: nightly build); place 1 of 1 in the queue; wait longer, or see `locks status`
    "#);
    assert_eq!(space.code(["run", "-n", "-E", "0", "repo", "--", "false"]), Some(0));
    holder.let_go();
    assert_eq!(space.code(["run", "-n", "repo", "--", "true"]), Some(0));
}

#[test]
fn readers_share_and_keep_writers_out() {
    let space = Space::new();
    let reader = space.hold("x", &["--read"]);
    assert_eq!(space.code(["run", "-n", "--read", "x", "--", "true"]), Some(0));
    assert_eq!(space.code(["run", "-n", "--write", "x", "--", "true"]), Some(75));
    reader.let_go();
    let writer = space.hold("x", &["--write"]);
    assert_eq!(space.code(["run", "-n", "--read", "x", "--", "true"]), Some(75));
    writer.let_go();
}

#[test]
fn several_names_are_all_or_nothing() {
    let space = Space::new();
    let holder = space.hold("b", &[]);
    assert_eq!(space.code(["run", "-n", "a", "b", "--", "true"]), Some(75));
    assert_eq!(space.code(["run", "-w", "0.1", "a", "b", "--", "true"]), Some(75));
    assert_eq!(space.code(["run", "-n", "a", "--", "true"]), Some(0), "a was kept though b was busy");
    holder.let_go();
    assert_eq!(space.code(["run", "-n", "a", "b", "--", "true"]), Some(0));
}

#[test]
fn waiters_get_the_lock_when_it_is_released() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    let mut waiters: Vec<_> = (0..3).map(|_| space.start(["run", "x", "--", "true"])).collect();
    space.until_waiters("x", 3);
    holder.let_go();
    for waiter in &mut waiters {
        assert_eq!(waiter.code(), Some(0));
    }
}

#[test]
fn a_higher_priority_is_served_first() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    let _patient = space.start(["run", "--owner", "patient", "--priority", "-100", "x", "--", "true"]);
    space.until_waiters("x", 1);
    let _urgent = space.start(["run", "--owner", "urgent", "--priority", "100", "x", "--", "true"]);
    space.until_waiters("x", 2);
    let status = space.status("x");
    let labels: Vec<_> = status["waiters"].as_array().unwrap().iter().map(|waiter| &waiter["label"]).collect();
    assert_eq!(labels, ["urgent", "patient"]);
    holder.let_go();
}

#[test]
fn nested_runs_re_enter_what_the_outer_ones_hold() {
    let space = Space::new();
    let script = "echo $LOCKS_TOKEN; exec locks run -n repo -- sh -c 'echo $LOCKS_TOKEN'";
    let output = space.finish(["run", "repo", "--", "sh", "-c", script]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let tokens: Vec<_> = told.lines().collect();
    assert!(tokens.len() == 2 && tokens[0] == tokens[1], "a re-entry has the same token: {output:?}");

    let same = ["run", "--owner", "a", "x", "--", "locks", "run", "--owner", "a", "-n", "x", "--", "true"];
    assert_eq!(space.code(same), Some(0), "the same label is the same owner");
    let other = ["run", "--owner", "a", "x", "--", "locks", "run", "--owner", "b", "-n", "x", "--", "true"];
    assert_eq!(space.code(other), Some(75), "another label is another owner");
}

#[test]
fn commands_side_by_side_exclude_each_other() {
    let space = Space::new();
    let script = "mkfifo begun end; locks run b -- sh -c 'echo > begun; read line < end' & read line < begun
        locks run -n b -- true; echo $?; locks run -n a -- true; echo $?; echo > end; wait";
    let output = space.finish(["run", "a", "--", "sh", "-c", script]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "75\n0\n", "{output:?}");
}

#[test]
fn writers_are_alone() {
    let space = Space::new();
    fs::write(space.path("count"), "0").unwrap();
    let script =
        "for i in 1 2 3 4 5; do locks run count -- sh -c 'n=$(cat count); echo $((n + 1)) > count' || exit 1; done";
    let mut workers: Vec<_> =
        (0..8).map(|_| space.program("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap()).collect();
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success());
    }
    assert_eq!(fs::read_to_string(space.path("count")).unwrap().trim(), "40");
}

#[test]
fn json_reports_on_stderr_because_stdout_is_the_commands() {
    let space = Space::new();
    let output = space.finish(["run", "--json", "--owner", "agent-7", "a", "b", "--", "sh", "-c", "echo mine; exit 3"]);
    assert_eq!(output.stdout, b"mine\n");
    let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (&report["label"], &report["exit_code"], &report["lost"]),
        (&"agent-7".into(), &3.into(), &false.into())
    );
    assert_eq!(report["tokens"].as_object().unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);

    let holder = space.hold("a", &[]);
    let output = space.finish(["run", "--json", "-n", "a", "--", "true"]);
    let failure: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(failure["error"]["kind"], "would_block");
    assert_eq!(failure["error"]["holders"][0]["pid"], holder.pid());
    holder.let_go();
}

#[test]
fn only_errors_are_said_when_quiet() {
    let space = Space::new();
    let output = space.finish(["run", "--quiet", "x", "--", "true"]);
    assert!(output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
    assert!(!space.finish(["run", "--quiet", "x", "--", "no-such-command"]).stderr.is_empty());
}
