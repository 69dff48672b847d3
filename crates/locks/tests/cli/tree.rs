//! The locks belong to the command and all that it starts: what happens to them when `locks run` is killed,
//! when a signal ends the command, and when the command leaves processes behind.

use std::{fs, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::space::{Running, Space, is_alive, until};

/// Tells its number and that of a child, then both wait for a line: the child for one from the pipe `end`.
const PARENT_AND_CHILD: &str =
    "mkfifo end; sh -c 'echo child $$; read line < end; echo late >> log' & echo command $$; read line";

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    until("the end of a killed process", || (!is_alive(pid)).then_some(()));
}

/// The numbers of the command and its child.
fn parent_and_child(running: &mut Running) -> (u32, u32) {
    let mut lines = [running.line(), running.line()];
    lines.sort_unstable();
    let number = |line: &str, who: &str| line.strip_prefix(who).unwrap().trim().parse().unwrap();
    (number(&lines[1], "command"), number(&lines[0], "child"))
}

/// Ends the child of [`PARENT_AND_CHILD`].
fn end_child(space: &Space) {
    fs::write(space.path("end"), "\n").unwrap();
}

fn urls(space: &Space) -> [String; 2] {
    [space.url(), format!("file:{}", space.path("locks").display())]
}

#[test]
fn a_killed_run_leaves_its_locks_to_the_command_and_all_that_it_started() {
    for engine in 0..2 {
        let space = Space::new();
        let url = &urls(&space)[engine];
        let mut holder = space.start(["--url", url, "run", "x", "--", "sh", "-c", PARENT_AND_CHILD]);
        let (command, child) = parent_and_child(&mut holder);
        holder.kill();
        assert!(is_alive(command) && is_alive(child), "nobody is asked to end");
        assert_eq!(space.code(["--url", url, "run", "-n", "x", "--", "true"]), Some(75), "{url}");
        kill(command);
        assert_eq!(space.code(["--url", url, "run", "-n", "x", "--", "true"]), Some(75), "{url}: its child writes");
        let next = ["--url", url, "run", "-w", "60", "x", "--", "sh", "-c", "cat log"];
        let next = space.locks(next).stdout(Stdio::piped()).spawn().unwrap();
        end_child(&space);
        let next = next.wait_with_output().unwrap();
        assert_eq!((next.status.code(), next.stdout.as_slice()), (Some(0), &b"late\n"[..]), "{url}");
    }
}

#[test]
fn a_killed_run_can_end_its_command_which_keeps_the_lock_until_it_has_ended() {
    let space = Space::new();
    let script =
        "trap 'read line < end; echo cleaned up >> log; exit' TERM; mkfifo end; echo $$; while :; do sleep 0.02; done";
    let mut holder = space.start(["run", "--if-killed", "term", "x", "--", "sh", "-c", script]);
    holder.line();
    holder.kill();
    assert_eq!(space.code(["run", "-n", "x", "--", "true"]), Some(75), "it cleans up");
    fs::write(space.path("end"), "\n").unwrap();
    let next = space.finish(["run", "-w", "60", "x", "--", "cat", "log"]);
    assert_eq!(String::from_utf8_lossy(&next.stdout), "cleaned up\n");

    let script = "trap '' TERM; echo $$; while read line; do echo $line; done";
    let mut holder = space.start(["run", "--if-killed", "kill", "x", "--", "sh", "-c", script]);
    let command: u32 = holder.line().parse().unwrap();
    holder.kill();
    until("the end of the command", || (!is_alive(command)).then_some(()));
    assert_eq!(space.code(["run", "-w", "60", "x", "--", "true"]), Some(0));
}

#[test]
fn a_newcomer_does_not_take_the_place_of_a_tree() {
    let space = Space::new();
    // One place for a process: who comes next finds none, rather than that of the dead.
    let url = format!("{}?processes=1", space.url());
    let mut holder = space.start(["--url", &url, "run", "x", "--", "sh", "-c", "echo ready; read line"]);
    holder.expect("ready");
    holder.kill();
    let next = space.finish(["--url", &url, "run", "-n", "x", "--", "true"]);
    assert_eq!(next.status.code(), Some(69), "{next:?}");
    // It ends when its input does.
    drop(holder);
    until("the place", || (space.code(["--url", &url, "run", "-n", "x", "--", "true"]) == Some(0)).then_some(()));
}

#[test]
fn a_command_can_be_left_alone_without_the_lock() {
    let space = Space::new();
    let script = "echo $$; while read line; do echo $line; done";
    let mut holder = space.start(["run", "--if-killed", "leave", "x", "--", "sh", "-c", script]);
    let command: u32 = holder.line().parse().unwrap();
    holder.kill();
    assert_eq!(space.code(["run", "-w", "60", "x", "--", "true"]), Some(0), "the lock is free all the same");
    holder.tell("still here");
    holder.expect("still here");
    kill(command);
}

#[test]
fn a_signal_that_ends_the_command_leaves_the_locks_to_what_it_started() {
    for engine in 0..2 {
        let space = Space::new();
        let url = &urls(&space)[engine];
        let mut holder = space.start(["--url", url, "run", "x", "--", "sh", "-c", PARENT_AND_CHILD]);
        let (_, child) = parent_and_child(&mut holder);
        holder.signal(Signal::TERM);
        assert_eq!(holder.code(), Some(143), "it does not wait for the child");
        assert!(is_alive(child));
        assert_eq!(space.code(["--url", url, "run", "-n", "x", "--", "true"]), Some(75), "{url}");
        end_child(&space);
        assert_eq!(space.code(["--url", url, "run", "-w", "60", "x", "--", "true"]), Some(0), "{url}");
    }
}

#[test]
fn a_command_that_ends_by_itself_leaves_no_lock_to_what_it_started() {
    for engine in 0..2 {
        let space = Space::new();
        // One place for a process: who comes next has the same one.
        let url = [format!("{}?processes=1", space.url()), urls(&space)[1].clone()][engine].clone();
        for code in ["0", "7"] {
            let script =
                format!("mkfifo end 2>/dev/null; sh -c 'read line < end' > /dev/null 2>&1 & echo $!; exit {code}");
            let left = space.finish(["--url", &url, "run", "x", "--", "sh", "-c", &script]);
            assert_eq!(left.status.code(), Some(code.parse().unwrap()));
            let daemon: u32 = String::from_utf8(left.stdout).unwrap().trim().parse().unwrap();
            // Its descriptor is of no use, to the next holder neither.
            for _ in 0..3 {
                assert_eq!(space.code(["--url", &url, "run", "-n", "x", "--", "true"]), Some(0), "{url}");
            }
            let mut next = space.start(["--url", &url, "run", "x", "--", "sh", "-c", "echo ready; read line"]);
            next.expect("ready");
            assert!(is_alive(daemon));
            end_child(&space);
            until("the end of the daemon", || (!is_alive(daemon)).then_some(()));
            next.let_go();
        }
    }
}

#[test]
fn a_program_that_closes_its_descriptors_keeps_nothing() {
    let space = Space::new();
    let script =
        "for fd in /proc/self/fd/*; do n=${fd##*/}; [ $n -lt 3 ] || eval \"exec $n>&-\"; done; echo $$; read line";
    let mut holder = space.start(["run", "x", "--", "bash", "-c", script]);
    let command: u32 = holder.line().parse().unwrap();
    assert_eq!(space.code(["run", "-n", "x", "--", "true"]), Some(75), "while `locks run` lives, it holds");
    holder.kill();
    assert_eq!(space.code(["run", "-w", "60", "x", "--", "true"]), Some(0));
    kill(command);
}

#[test]
fn the_command_inherits_one_descriptor_which_scripts_do_not_meet() {
    let space = Space::new();
    // `sh -c` has no other program's descriptors; whatever the test runner leaks shows in both lists.
    let list = ["sh", "-c", "for fd in /proc/$$/fd/*; do echo \"${fd##*/} $(readlink $fd)\"; done"];
    let descriptors = |arguments: &[&str]| {
        let mut command = space.program(arguments[0]);
        let output = command.args(&arguments[1..]).stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let (ours, others): (Vec<_>, Vec<_>) =
            told.lines().map(str::to_owned).partition(|line| line.contains("t.table"));
        (ours, others.into_iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let (_, alone) = descriptors(&list);
    for (bond, count) in [("hold", 1), ("term", 1), ("leave", 0)] {
        let mut under_locks = vec!["locks", "run", "--if-killed", bond, "x", "--"];
        under_locks.extend(list);
        let (ours, others) = descriptors(&under_locks);
        assert_eq!(others, alone, "{bond}");
        let numbers: Vec<u32> = ours.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.len() == count && numbers.iter().all(|number| *number >= 40), "{bond}: {ours:?}");
    }
}

#[test]
fn a_nested_run_hands_all_locks_on() {
    let space = Space::new();
    let inner = format!("exec locks run b -- sh -c \"{}\"", PARENT_AND_CHILD.replace('$', "\\$"));
    let mut outer = space.start(["run", "a", "--", "sh", "-c", &inner]);
    let (command, child) = parent_and_child(&mut outer);
    let pid = |name: &str| space.status(name)["holders"][0]["pid"].as_u64().unwrap() as u32;
    let (first, second) = (pid("a"), pid("b"));
    for pid in [first, second, command] {
        kill(pid);
    }
    assert!(is_alive(child));
    for name in ["a", "b"] {
        assert_eq!(space.code(["run", "-n", name, "--", "true"]), Some(75), "{name}");
    }
    end_child(&space);
    assert_eq!(space.code(["run", "-w", "60", "a", "b", "--", "true"]), Some(0));
}
