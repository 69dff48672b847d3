//! Cycles through several processes.

use concurrent_locks::ErrorKind;

use crate::{bench::Bench, case::cases, taker::LockTaker, wait::until};

cases! {
    two_processes_that_cross [AcrossProcesses, Deadlocks],
    a_ring_of_processes_loses_exactly_one [AcrossProcesses, Deadlocks],
    two_upgrading_processes_lose_exactly_one [AcrossProcesses, Deadlocks, Upgrade, Inspect],
    a_cycle_of_a_process_and_a_thread [AcrossProcesses, Deadlocks, Inspect],
    the_least_important_process_is_refused [AcrossProcesses, Deadlocks, Priority, Inspect],
    a_killed_process_opens_the_cycle [AcrossProcesses, Deadlocks],
    inversions_across_processes_are_reported [AcrossProcesses, Deadlocks],
}

/// A process that is an owner of its own.
fn owner(bench: &Bench, label: &str) -> LockTaker {
    let mut taker = bench.taker();
    taker.ask(&format!("owner {label}")).after("owner");
    taker
}

fn two_processes_that_cross(bench: &Bench) {
    for manner in ["", " async"] {
        let (mut x, mut y) = (owner(bench, "agent-x"), owner(bench, "agent-y"));
        x.take("write a");
        y.take("write b");
        x.send(&format!("write b{manner}"));
        if bench.locks().capabilities().inspect {
            bench.until_waiting("b", 1);
        }
        let answer = y.ask(&format!("write a{manner}"));
        let error = answer.error(ErrorKind::Deadlock);
        for part in ["agent-x", "agent-y", "\"a\"", "\"b\"", &x.pid().to_string(), &y.pid().to_string()] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        x.assert_silent();
        y.ask("release b").after("released");
        x.answer().token();
    }
}

fn a_ring_of_processes_loses_exactly_one(bench: &Bench) {
    const SIZE: usize = 4;
    let mut takers: [LockTaker; SIZE] = std::array::from_fn(|index| owner(bench, &format!("agent-{index}")));
    for round in 0..5 {
        for (index, taker) in takers.iter_mut().enumerate() {
            taker.take(&format!("write ring/{index}"));
        }
        for (index, taker) in takers.iter_mut().enumerate() {
            taker.send(&format!("write ring/{}{}", (index + 1) % SIZE, if round % 2 == 0 { "" } else { " async" }));
        }
        // The refused one gives way; then each in turn gets what it waits for.
        let (mut refused, mut over) = (0, [false; SIZE]);
        until("everybody is served or refused", || {
            for (index, taker) in takers.iter_mut().enumerate() {
                let Some(answer) = taker.answered() else { continue };
                if answer.text().starts_with("error") {
                    answer.error(ErrorKind::Deadlock);
                    refused += 1;
                } else {
                    taker.ask(&format!("release ring/{}", (index + 1) % SIZE)).after("released");
                }
                taker.ask(&format!("release ring/{index}")).after("released");
                over[index] = true;
            }
            over == [true; SIZE]
        });
        assert_eq!(refused, 1);
    }
}

fn two_upgrading_processes_lose_exactly_one(bench: &Bench) {
    let (mut x, mut y) = (bench.taker(), bench.taker());
    x.take("read a");
    y.take("read a");
    x.send("upgrade a");
    bench.until_waiting("a", 1);
    y.ask("upgrade a").error(ErrorKind::Deadlock);
    x.assert_silent();
    y.ask("release a").after("released");
    x.answer().token();
    x.ask("release a").after("released");
    bench.assert_free("a");
}

fn a_cycle_of_a_process_and_a_thread(bench: &Bench) {
    let (mut x, y) = (owner(bench, "agent-x"), bench.owner("y"));
    x.take("write a");
    let b = y.write("b").blocking().unwrap();
    x.send("write b");
    bench.until_waiting("b", 1);
    let error = y.write("a").blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
    assert!(error.to_string().contains("agent-x"), "{error}");
    b.release().unwrap();
    x.answer().token();
}

fn the_least_important_process_is_refused(bench: &Bench) {
    let (mut x, mut y) = (owner(bench, "agent-x"), owner(bench, "agent-y"));
    x.take("write a");
    y.take("write b");
    x.send("write b");
    bench.until_waiting("b", 1);
    y.send("write a priority=5");
    x.answer().error(ErrorKind::Deadlock);
    y.assert_silent();
    x.ask("release a").after("released");
    y.answer().token();
}

fn a_killed_process_opens_the_cycle(bench: &Bench) {
    let (mut x, y) = (owner(bench, "agent-x"), bench.owner("y"));
    x.take("write a");
    let _b = y.write("b").blocking().unwrap();
    x.kill();
    // x is dead and waits for nobody: this is no deadlock, only a lock to take over.
    drop(y.write("a").blocking().unwrap());
}

fn inversions_across_processes_are_reported(bench: &Bench) {
    let (mut x, mut y) = (owner(bench, "agent-x"), owner(bench, "agent-y"));
    for (taker, names) in [(&mut x, ["a", "b"]), (&mut y, ["b", "a"])] {
        for name in names {
            taker.take(&format!("write {name}"));
        }
        for name in names {
            taker.ask(&format!("release {name}")).after("released");
        }
    }
    let inversions = bench.locks().deadlocks().blocking().unwrap().inversions;
    let [inversion] = &inversions[..] else { panic!("not one inversion: {inversions:?}") };
    let mut who = [inversion.first_then_second.as_str(), inversion.second_then_first.as_str()];
    who.sort_unstable();
    assert_eq!(who, ["agent-x", "agent-y"]);
}
