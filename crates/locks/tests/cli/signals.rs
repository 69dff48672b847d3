//! Signals: passed on to the command, and ending a wait.

use rustix::process::{Pid, Signal, kill_process};

use crate::space::{Space, state, until};

const PASSED_ON: [(&str, Signal); 6] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("TERM", Signal::TERM),
];

#[test]
fn signals_are_passed_on_to_the_command() {
    let space = Space::new();
    for (name, signal) in PASSED_ON {
        let script = format!("trap 'echo {name}; exit 5' {name}; echo ready; while :; do sleep 0.02; done");
        let mut running = space.start(["run", "x", "--", "sh", "-c", &script]);
        running.expect("ready");
        running.signal(signal);
        running.expect(name);
        assert_eq!(running.code(), Some(5), "{name}");
    }
}

#[test]
fn a_signal_that_ends_the_command_ends_us_with_128_and_its_number() {
    let space = Space::new();
    let mut running = space.hold("x", &[]);
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(143));
    assert_eq!(space.code(["run", "-n", "x", "--", "true"]), Some(0));
}

#[test]
fn a_signal_ends_the_wait_and_leaves_the_queue() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    for (name, signal) in PASSED_ON {
        let mut waiter = space.start(["run", "x", "--", "touch", "started"]);
        space.until_waiters("x", 1);
        waiter.signal(signal);
        assert_eq!(waiter.code(), Some(128 + signal.as_raw()), "{name}");
        assert_eq!(space.status("x")["pending_requests"], 0, "{name}: still in the queue after its end");
    }
    assert!(!space.path("started").exists());
    holder.let_go();
}

#[test]
fn a_signal_that_is_to_be_ignored_stays_ignored() {
    let space = Space::new();
    let script = "trap '' HUP; exec locks run x -- grep SigIgn /proc/self/status";
    let output = space.program("sh").args(["-c", script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let mask = u64::from_str_radix(told.trim_start_matches("SigIgn:").trim(), 16).unwrap();
    assert_eq!(mask & 1, 1, "nohup must reach the command: {told}");
}

#[test]
fn a_stop_stops_the_command_too_and_both_go_on() {
    let space = Space::new();
    let mut running = space.start(["run", "x", "--", "sh", "-c", "echo $$; read line; echo $line"]);
    let command: u32 = running.line().parse().unwrap();
    running.signal(Signal::TSTP);
    until("both stopped", || (state(command) == Some('T') && state(running.pid()) == Some('T')).then_some(()));
    running.signal(Signal::CONT);
    running.tell("on we go");
    running.expect("on we go");
    assert_eq!(running.code(), Some(0));
}

#[test]
fn a_killed_waiter_leaves_the_queue() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    let mut dead = space.start(["run", "x", "--", "true"]);
    space.until_waiters("x", 1);
    let mut next = space.start(["run", "x", "--", "echo", "next"]);
    space.until_waiters("x", 2);
    dead.kill();
    holder.let_go();
    next.expect("next");
    assert_eq!(next.code(), Some(0));
}

#[test]
fn a_command_that_was_killed_frees_the_lock() {
    let space = Space::new();
    let mut holder = space.start(["run", "x", "--", "sh", "-c", "echo $$; read line"]);
    let command: i32 = holder.line().parse().unwrap();
    kill_process(Pid::from_raw(command).unwrap(), Signal::KILL).unwrap();
    assert_eq!(holder.code(), Some(137));
    assert_eq!(space.code(["run", "-n", "x", "--", "true"]), Some(0));
}

#[test]
fn who_is_stopped_while_it_waits_leaves_the_queue_and_asks_again() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    let mut stopped = space.start(["run", "x", "--", "echo", "late"]);
    space.until_waiters("x", 1);
    let mut next = space.start(["run", "x", "--", "echo", "next"]);
    space.until_waiters("x", 2);
    stopped.signal(Signal::TSTP);
    space.until_waiters("x", 1);
    until("it is stopped", || (state(stopped.pid()) == Some('T')).then_some(()));
    holder.let_go();
    next.expect("next");
    assert_eq!(next.code(), Some(0));
    stopped.signal(Signal::CONT);
    stopped.expect("late");
    assert_eq!(stopped.code(), Some(0));
}

#[test]
fn the_first_process_of_a_container_reaps_orphans() {
    let space = Space::new();
    // The orphan's shell has ended, so it belongs to the first process, which is notified of its end.
    let script = "n=$(sh -c 'sleep 0 >/dev/null 2>&1 & echo $!'); i=0
        while [ -e /proc/$n ] && [ $i -lt 3000 ]; do i=$((i+1)); sleep 0.02; done
        [ -e /proc/$n ] && echo zombie || echo reaped";
    let mut command = space.program("unshare");
    command.args(["-pf", "--mount-proc", "locks", "run", "x", "--", "sh", "-c", script]);
    let output = command.output().unwrap();
    if !output.status.success() && output.stdout.is_empty() {
        eprintln!("skipped: unshare(1) may not make a PID namespace here: {output:?}");
        return;
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "reaped\n", "{output:?}");
}
