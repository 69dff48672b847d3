//! Deadlocks between shells.

use crate::{
    snapshot,
    space::{Running, Space, until},
};

/// `locks run A -- locks run B` and the other way round, both holding their first lock before either asks for the second.
fn cross(space: &Space) -> [Running; 2] {
    let start = |own: &str, other: &str| {
        let script = format!(
            "touch {own}.held; while [ ! -e {other}.held ]; do sleep 0.01; done; exec locks run {other} -- echo both"
        );
        space.start(["run", "--owner", &format!("holder of {own}"), own, "--", "sh", "-c", &script])
    };
    [start("a", "b"), start("b", "a")]
}

#[test]
fn of_two_shells_that_cross_exactly_one_is_refused() {
    let space = Space::new();
    let mut shells = cross(&space);
    let mut ends: Vec<_> = shells.iter_mut().map(|shell| (shell.code().unwrap(), shell.rest())).collect();
    ends.sort();
    assert_eq!(ends, [(0, "both\n".to_owned()), (76, String::new())]);
    assert_eq!(space.json(["deadlocks"])["broken"], 1);
    assert!(space.json(["deadlocks"])["cycles"].as_array().unwrap().is_empty());
}

#[test]
fn the_message_explains_the_cycle() {
    let space = Space::new();
    let script = "touch a.held; while [ ! -e b.waits ]; do sleep 0.01; done; exec locks run b -- true";
    let first = space
        .locks(["run", "--owner", "one", "a", "--", "sh", "-c", script])
        .stderr(std::process::Stdio::piped())
        .spawn();
    let first = first.unwrap();
    until("the first to hold a", || space.path("a.held").exists().then_some(()));
    let second = space.start(["run", "--owner", "two", "b", "--", "locks", "run", "a", "--", "true"]);
    space.until_waiters("a", 1);
    std::fs::write(space.path("b.waits"), "").unwrap();
    snapshot!(first.wait_with_output().unwrap(), @r#"
    exit code 76
    --- stderr
    locks: waiting to write "b" is a deadlock: one (pid [PID] on [HOST]) has waited since [TIME] to write "b", which is held by two; two (pid [PID] on [HOST]) has waited since [TIME] to write "a", which is held by one; acquire locks in one order everywhere, or all at once
    "#);
    drop(second);
}

#[test]
fn current_lasting_and_possible_deadlocks_are_shown() {
    let space = Space::new();
    snapshot!(space.finish(["deadlocks"]), @r#"
    exit code 0
    --- stdout
    no deadlock now; 0 broken so far
    "#);
    let locks = space.library();
    let (one, two) = (locks.owner("one").unwrap(), locks.owner("two").unwrap());
    drop((one.write("a").blocking().unwrap(), one.write("b").blocking().unwrap()));
    drop((two.write("b").blocking().unwrap(), two.write("a").blocking().unwrap()));
    let holder = space.hold("x", &["--owner", "agent-7"]);
    let _waiter = space.start(["run", "--owner", "agent-8", "x", "--", "true"]);
    space.until_waiters("x", 1);
    snapshot!(space.finish(["deadlocks", "--suspect-after", "0"]), @r#"
    exit code 0
    --- stdout
    no deadlock now; 0 broken so far

    suspiciously long waits:
    LOCK WAITING  MODE FOR  WRITER
    x  agent-8  write [DURATION]  agent-7

    locks taken in both orders (a deadlock that has not happened yet):
      "a" then "b" by one, in the other order by two
    "#);
    holder.let_go();
}
