//! Locks of a server that fails: the command ends before the server may grant its lock to somebody else.

use concurrent_locks_servers::{Proxy, Redis};

use crate::space::{Running, Space, is_alive, until};

/// Says the number of a process that it started and that nothing but SIGKILL ends, says when it is asked
/// to end itself, and goes on until it is killed.
const STUBBORN: &str = "trap 'echo told' TERM; (trap '' TERM; while :; do sleep 0.05; done) & echo $!; \
     while :; do sleep 0.05; done";

/// `locks --url URL run ARGUMENTS x -- sh -c SCRIPT`, and the folder it runs in.
fn run(server: &str, arguments: &[&str], script: &str) -> (Running, Space) {
    let space = Space::new();
    let url = format!("{server}?space=cli&lease=20s");
    let mut all = vec!["--json", "--url", &url, "run"];
    all.extend(arguments);
    all.extend(["x", "--", "sh", "-c", script]);
    let mut command = space.locks(all);
    command.stderr(std::fs::File::create(space.path("stderr")).unwrap());
    (Running::start(&mut command), space)
}

/// What we said on stderr: warnings, then the report. (Shells have a word for a command that was ended.)
fn said(space: &Space) -> (Vec<String>, serde_json::Value) {
    let text = std::fs::read_to_string(space.path("stderr")).unwrap();
    let ours = text.lines().filter(|line| line.starts_with('{'));
    let mut objects: Vec<serde_json::Value> = ours.map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = objects.pop().unwrap();
    (objects.iter().map(|object| object["warning"].as_str().unwrap().to_owned()).collect(), report)
}

#[test]
fn a_server_that_answers_renews_the_lease_of_a_long_command() {
    let redis = Redis::start().unwrap();
    let (mut running, space) = run(&redis.url(), &["--lease", "1s"], "sleep 2.5");
    assert_eq!(running.code(), Some(0));
    let (warnings, report) = said(&space);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((&report["ended"], &report["lost"]), (&false.into(), &false.into()));
}

#[test]
fn a_command_that_waited_for_its_lock_is_left_alone() {
    let redis = Redis::start().unwrap();
    let (mut first, _) = run(&redis.url(), &[], "echo held; read line");
    first.expect("held");
    let (mut second, space) = run(&redis.url(), &[], "echo held; read line");
    let locks = concurrent_locks::LockManager::connect(&format!("{}?space=cli", redis.url())).blocking().unwrap();
    until("the second one waits", || (locks.status("x").blocking().unwrap()?.waiters.len() == 1).then_some(()));
    first.let_go();
    second.expect("held");
    second.let_go();
    assert_eq!(said(&space).0, Vec::<String>::new());
}

#[test]
fn a_command_that_is_cut_off_is_stopped_before_the_next_one_starts() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address());
    let (mut cut_off, space) = run(&proxy.url(&redis.url()), &["--lease", "15s"], STUBBORN);
    let child: u32 = cut_off.line().parse().unwrap();
    proxy.stall(true);
    // It starts when the server takes the lease for over. What it finds is what this is all about.
    let script =
        format!("case \"$(cut -d' ' -f3 /proc/{child}/stat)\" in '' | Z | X) echo alone;; *) echo not alone; esac");
    let (mut next, _space) = run(&redis.url(), &[], &script);
    next.expect("alone");
    assert_eq!(next.code(), Some(0));
    cut_off.expect("told");
    assert_eq!(cut_off.code(), Some(73));
    let (warnings, report) = said(&space);
    assert!(warnings[0].contains("\"x\"") && warnings[0].contains("could not be renewed"), "{warnings:?}");
    assert_eq!((report["ended"].as_bool(), report["exit_code"].as_u64()), (Some(true), Some(73)));
}

#[test]
fn a_command_that_ends_when_asked_is_not_killed() {
    let mut redis = Redis::start().unwrap();
    let script = "trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut running, space) = run(&redis.url(), &["--lease", "3s"], script);
    running.expect("ready");
    redis.kill();
    running.expect("cleaned up");
    assert_eq!(running.code(), Some(73));
    assert_eq!(said(&space).0.len(), 1, "{:?}", said(&space).0);
}

#[test]
fn a_lock_that_an_operator_broke_ends_the_command() {
    let redis = Redis::start().unwrap();
    let (mut running, space) = run(&redis.url(), &[], STUBBORN);
    let child: u32 = running.line().parse().unwrap();
    let locks = concurrent_locks::LockManager::connect(&format!("{}?space=cli", redis.url())).blocking().unwrap();
    let token = locks.status("x").blocking().unwrap().unwrap().holders[0].token;
    locks.break_lock("x", token).blocking().unwrap();
    running.expect("told");
    assert_eq!(running.code(), Some(73));
    assert!(!is_alive(child));
    let (warnings, report) = said(&space);
    assert!(warnings[0].contains("\"x\"") && warnings[0].contains("lost"), "{warnings:?}");
    assert_eq!(report["lost"].as_bool(), Some(true));
}
