//! `locks break`.

use crate::{snapshot, space::Space};

#[test]
fn a_broken_lock_goes_to_the_next_and_its_holder_learns_of_it() {
    let space = Space::new();
    let mut holder = space.hold("x", &["--owner", "agent-7"]);
    let mut waiter = space.start(["run", "--owner", "agent-8", "x", "--", "echo", "mine"]);
    space.until_waiters("x", 1);
    let token = space.status("x")["holders"][0]["token"].to_string();
    snapshot!(space.finish(["break", "x", "--token", &token, "--yes"]), @r#"
    exit code 0
    --- stdout
    broken: "x", held by agent-7 (pid [PID] on [HOST], write, token [TOKEN], for [DURATION])
    --- stderr
    locks: this takes "x" from agent-7 (pid [PID] on [HOST], write, token [TOKEN], for [DURATION]) and hands it to agent-8, the next waiter; agent-7 is not stopped and learns of it only at release
    "#);
    waiter.expect("mine");
    holder.tell("");
    assert_eq!(holder.code(), Some(70), "its success is doubtful");
}

#[test]
fn a_failed_command_keeps_its_exit_code_when_its_lock_was_broken() {
    let space = Space::new();
    let mut holder = space.start(["run", "x", "--", "sh", "-c", "echo $LOCKS_TOKEN; read line; exit 3"]);
    let token = holder.line();
    let broken = space.json(["break", "x", "--token", &token, "--yes"]);
    assert_eq!((&broken["resource_name"], broken["broken"]["token"].to_string()), (&"x".into(), token));
    holder.tell("");
    assert_eq!(holder.code(), Some(3));
}

#[test]
fn without_a_terminal_it_must_be_said_that_it_is_meant() {
    let space = Space::new();
    let holder = space.hold("x", &["--owner", "agent-7"]);
    let token = space.status("x")["holders"][0]["token"].to_string();
    snapshot!(space.finish(["break", "x", "--token", &token]), @r#"
    exit code 64
    --- stderr
    locks: this takes "x" from agent-7 (pid [PID] on [HOST], write, token [TOKEN], for [DURATION]) and leaves it free; agent-7 is not stopped and learns of it only at release
    locks: there is no terminal to confirm on: use --yes
    locks: nothing was broken
    "#);
    assert_eq!(space.code(["run", "-n", "x", "--", "true"]), Some(75), "it is still held");
    holder.let_go();
}

#[test]
fn a_token_that_nobody_holds_breaks_nothing() {
    let space = Space::new();
    let holder = space.hold("x", &["--owner", "agent-7"]);
    let token = space.status("x")["holders"][0]["token"].as_u64().unwrap() + 1;
    assert_eq!(space.code(["break", "x", "--yes", "--token", &token.to_string()]), Some(1));
    snapshot!(space.finish(["break", "x"]), @r#"
    exit code 64
    --- stderr
    locks: name the grant of "x" to break: --token [TOKEN] is that of agent-7 (pid [PID] on [HOST], write, token [TOKEN], for [DURATION])
    "#);
    snapshot!(space.finish(["break", "unknown", "--yes", "--token", "1"]), @r#"
    exit code 1
    --- stderr
    locks: nobody holds "unknown", neither with token 1 nor another; `locks status` shows all holders
    "#);
    holder.let_go();
}
