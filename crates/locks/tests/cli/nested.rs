//! A `locks run` inside another: what it re-enters, how several take turns, and when the outer one's locks are
//! not these.

use std::fs;

use crate::space::{Space, until};

/// A child that says that it is inside, and waits for its pipe.
fn child(number: u32, options: &str) -> String {
    format!(
        "locks run {options} repo -- sh -c 'echo in {number} >> log; read line < end{number}; echo out {number} >> log' &"
    )
}

fn log(space: &Space) -> Vec<String> {
    fs::read_to_string(space.path("log")).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn children_of_one_outer_run_take_turns_with_what_it_holds() {
    check_turns(&["run", "-o", "outer", "repo", "--"]);
}

#[test]
fn grandchildren_take_turns_with_what_their_parent_re_entered() {
    check_turns(&["run", "-o", "outer", "repo", "--", "locks", "run", "repo", "--"]);
}

/// Two children inside `outer` are inside one after the other.
fn check_turns(outer: &[&str]) {
    let space = Space::new();
    let script = format!("mkfifo end1 end2; {} {} wait", child(1, "-o outer"), child(2, "-o outer"));
    let mut outer = space.start(outer.iter().chain(&["sh", "-c", script.as_str()]));
    let first = until("one child inside", || log(&space).first().cloned());
    let turn = until("the other child in the queue", || {
        let status = space.json(["status"]);
        let waits =
            |(name, status): (&String, &serde_json::Value)| (status["pending_requests"] == 1).then(|| name.clone());
        status.as_object().unwrap().iter().find_map(waits)
    });
    assert!(turn.starts_with("repo (inside "), "{turn}");
    assert_eq!(log(&space), [first.as_str()], "both are inside");
    let (first, second) = if first == "in 1" { (1, 2) } else { (2, 1) };
    fs::write(space.path(&format!("end{first}")), "\n").unwrap();
    fs::write(space.path(&format!("end{second}")), "\n").unwrap();
    assert_eq!(outer.code(), Some(0));
    let log = log(&space);
    let words: Vec<_> = log.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(words, ["in", "out", "in", "out"], "{log:?}");
}

#[test]
fn children_may_be_inside_together_if_they_ask_for_it_or_read() {
    for options in ["--reenter together", "--read"] {
        let space = Space::new();
        let script = format!("mkfifo end1 end2; {} {} wait", child(1, options), child(2, options));
        let mut outer = space.start(["run", "repo", "--", "sh", "-c", &script]);
        until("both inside", || (log(&space).len() == 2).then_some(()));
        for end in ["end1", "end2"] {
            fs::write(space.path(end), "\n").unwrap();
        }
        assert_eq!(outer.code(), Some(0));
    }
}

#[test]
fn a_grandchild_enters_and_tells_cmd_of_the_lock_alone() {
    let space = Space::new();
    let nested = "locks run -n repo -- locks run -n repo -- locks run -n repo -- sh -c 'echo $LOCKS_NAME $LOCKS_TOKEN'";
    let output = space.finish(["run", "repo", "--", "sh", "-c", &format!("echo $LOCKS_NAME $LOCKS_TOKEN; {nested}")]);
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    let lines: Vec<_> = told.lines().collect();
    assert!(lines.len() == 2 && lines[0] == lines[1] && lines[0].starts_with("repo "), "{output:?}");
}

#[test]
fn children_of_different_depth_take_turns_too() {
    let space = Space::new();
    // One child is inside by itself, the other by way of a run of another lock.
    let script = "mkfifo began end
        locks run repo -- sh -c 'echo > began; read line < end' & read line < began
        locks run other -- locks run -n repo -- true; echo $?; echo > end; wait
        locks run other -- locks run -n repo -- true; echo $?";
    let output = space.finish(["run", "repo", "--", "sh", "-c", script]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "75\n0\n", "{output:?}");
}

#[test]
fn a_lock_that_is_not_the_outer_ones_is_reported() {
    let space = Space::new();
    let other = Space::new();
    let inner = format!("locks --url {} run x -- sh -c 'echo $LOCKS_OWNER'", other.url());
    let output = space.finish(["run", "-o", "outer", "x", "--", "sh", "-c", &inner]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("\"x\"") && told.contains("another lock of that name"), "{told}");
    let owner = String::from_utf8(output.stdout).unwrap();
    assert!(owner.starts_with("sh["), "who is not here is nobody's owner: {owner}");
    // A lock of another name has nothing to do with it.
    let inner = format!("locks --url {} run y -- true", other.url());
    let output = space.finish(["run", "x", "--", "sh", "-c", &inner]);
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn an_outer_run_that_has_ended_is_no_owner() {
    let space = Space::new();
    let remember = "env | grep ^LOCKS_ > environment";
    assert_eq!(space.code(["run", "-o", "long ago", "x", "--", "sh", "-c", remember]), Some(0));
    let script = "set -a; while IFS== read -r name value; do export \"$name=$value\"; done < environment; locks run x -- sh -c 'echo $LOCKS_OWNER'";
    let output = space.program("sh").args(["-c", script]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("sh["), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("has ended"), "{output:?}");
}

#[test]
fn empty_variables_are_like_none() {
    let space = Space::new();
    let mut command = space.locks(["run", "x", "--", "sh", "-c", "echo $LOCKS_OWNER"]);
    let output = command.env("LOCKS_OWNER", "").env("LOCKS_OWNER_ID", "").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("sh["), "{output:?}");
    let mut command = space.locks(["run", "x", "--", "true"]);
    assert!(command.env("LOCKS_OWNER", "a").env("LOCKS_OWNER_ID", "").status().unwrap().success());
}
