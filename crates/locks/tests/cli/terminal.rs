//! On a terminal: colours, who is being waited for, Ctrl-C. The terminal is made by script(1).

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::space::{Running, Space, until};

/// A shell command on a terminal of its own, if script(1) is there.
fn on_a_terminal(space: &Space, command: &str) -> Option<Running> {
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: script(1) of util-linux is not installed");
        return None;
    }
    let mut script = space.program("script");
    script.args(["-q", "-e", "-f", "-c", command, "/dev/null"]).env("TERM", "xterm");
    Some(Running::start(&mut script))
}

#[test]
fn a_long_wait_tells_who_holds_the_lock_and_ctrl_c_ends_it() {
    let space = Space::new();
    let holder = space.hold("repo", &["--owner", "agent-7", "--note", "nightly build"]);
    let Some(mut terminal) = on_a_terminal(&space, "exec locks run repo -- true") else { return };
    let told = terminal.line();
    for word in ["waiting for \"repo\"", "agent-7", "nightly build", &holder.pid().to_string(), "place 1 of 1"] {
        assert!(told.contains(word), "{word} is missing in {told:?}");
    }
    terminal.tell("\u{3}");
    assert_eq!(terminal.code(), Some(130));
    assert_eq!(space.status("repo")["pending_requests"], 0);
    holder.let_go();
}

#[test]
fn ctrl_z_leaves_the_queue() {
    let space = Space::new();
    let holder = space.hold("repo", &[]);
    let Some(mut terminal) = on_a_terminal(&space, "exec locks run repo -- echo late") else { return };
    space.until_waiters("repo", 1);
    let pid = space.status("repo")["waiters"][0]["pid"].as_u64().unwrap() as i32;
    terminal.tell("\u{1a}");
    space.until_waiters("repo", 0);
    assert_eq!(space.code(["run", "-n", "repo", "--", "true"]), Some(75));
    holder.let_go();
    assert_eq!(space.code(["run", "-w", "60", "repo", "--", "true"]), Some(0));
    // script(1) stops with its child, and goes on with it.
    let code = until("the end of the wait", || {
        terminal.signal(Signal::CONT);
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::CONT);
        terminal.has_ended()
    });
    assert_eq!(code.code(), Some(0));
    assert!(terminal.rest().contains("late"));
}

#[test]
fn what_is_typed_reaches_the_command() {
    let space = Space::new();
    let script =
        "trap 'echo got it' INT; trap 'echo done; exit 4' TERM; echo ready $PPID; while :; do sleep 0.02; done";
    let Some(mut terminal) = on_a_terminal(&space, &format!("exec locks run repo -- sh -c {}", quoted(script))) else {
        return;
    };
    let ready = terminal.line();
    let pid: i32 = ready.trim_start_matches("ready ").trim().parse().unwrap();
    terminal.tell("\u{3}");
    // The terminal echoes what is typed in between.
    until("the command to get what was typed", || terminal.line().contains("got it").then_some(()));
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    assert_eq!(terminal.code(), Some(4));
}

#[test]
fn what_is_typed_is_not_sent_a_second_time() {
    let space = Space::new();
    // A command that left the terminal shows it: whatever it gets, it got from us.
    let script =
        "trap 'echo got it' INT; trap 'echo done; exit 4' TERM; echo ready $PPID; while :; do sleep 0.02; done";
    let command = format!("exec locks run repo -- setsid sh -c {}", quoted(script));
    let Some(mut terminal) = on_a_terminal(&space, &command) else { return };
    let pid = until("the command to be ready", || terminal.line().strip_prefix("ready ")?.trim().parse().ok());
    terminal.tell("\u{3}");
    until("the echo of what was typed", || terminal.line().contains("^C").then_some(()));
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    assert!(!terminal.rest().contains("got it"));
    assert_eq!(terminal.code(), Some(4));
}

#[test]
fn colours_are_for_terminals_and_not_when_unwanted() {
    let space = Space::new();
    let holder = space.hold("repo", &[]);
    let Some(mut coloured) = on_a_terminal(&space, "locks status") else { return };
    assert!(coloured.rest().contains('\u{1b}'));
    let Some(mut plain) = on_a_terminal(&space, "NO_COLOR=1 locks status") else { return };
    let told = plain.rest();
    assert!(told.contains("repo") && !told.contains('\u{1b}'), "{told:?}");
    holder.let_go();
}

fn quoted(script: &str) -> String {
    format!("'{}'", script.replace('\'', "'\\''"))
}
