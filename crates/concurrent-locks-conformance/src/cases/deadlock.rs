//! A cycle of owners that wait for each other is found when it closes, and only then.

use std::{
    sync::{Arc, Barrier, Mutex},
    thread,
    time::Duration,
};

use concurrent_locks::{DeadlockPolicy, Error, ErrorKind, Guard, Mode, Owner};

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

cases! {
    two_owners_that_cross [Deadlocks],
    the_error_explains_the_cycle [Deadlocks],
    the_victim_has_the_lowest_priority [Deadlocks, Priority],
    a_ring_of_three_and_a_ring_of_eight [Deadlocks],
    a_ring_of_threads_loses_exactly_one [Deadlocks],
    a_ring_of_tasks_loses_exactly_one [Deadlocks],
    a_cycle_through_one_of_several_readers [Deadlocks],
    a_cycle_that_closes_behind_another_waiter [Deadlocks],
    a_soft_cycle_is_dissolved [Deadlocks, Fair],
    a_refused_request_leaves_no_trace [Deadlocks, Inspect],
    the_same_cycle_may_close_again [Deadlocks],
    report_refuses_nobody_and_tells [Deadlocks],
    try_now_is_never_a_deadlock [Deadlocks],
    a_wait_without_a_cycle_is_no_deadlock [Deadlocks],
    ordered_acquisition_raises_no_alarm [Deadlocks],
    contradicting_orders_are_reported [Deadlocks],
    long_waits_are_suspects [Deadlocks, Inspect],
}

fn assert_deadlock(result: Result<Guard, Error>) -> Error {
    let error = result.expect_err("a deadlock");
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
    error
}

fn two_owners_that_cross(bench: &Bench) {
    for (mine, yours) in [(Mode::Write, Mode::Write), (Mode::Write, Mode::Read), (Mode::Read, Mode::Write)] {
        let (x, y) = (bench.owner("x"), bench.owner("y"));
        let _a = bench.locks().request("a", mine).owner(&x).blocking().unwrap();
        let b = bench.locks().write("b").owner(&y).blocking().unwrap();
        let mut x_waits = Polled::queued(x.write("b"));
        let wanted = if mine == Mode::Read { Mode::Write } else { yours };
        assert_deadlock(bench.locks().request("a", wanted).owner(&y).blocking());
        assert_deadlock(Polled::new(bench.locks().request("a", wanted).owner(&y)).ready());
        x_waits.pending();
        drop(b);
        drop(x_waits.granted());
    }
    bench.assert_free("a");
    bench.assert_free("b");
}

fn the_error_explains_the_cycle(bench: &Bench) {
    let (x, y) = (bench.owner("agent-x"), bench.owner("agent-y"));
    let _a = x.write("doc/a").blocking().unwrap();
    let _b = y.write("doc/b").blocking().unwrap();
    let _x_waits = Polled::queued(x.read("doc/b"));
    let error = assert_deadlock(y.write("doc/a").blocking());
    assert!(error.is_retryable());
    assert_eq!((error.resource(), error.mode()), (Some("doc/a"), Some(Mode::Write)));
    let links = &error.cycle().unwrap().links;
    let told: Vec<_> =
        links.iter().map(|link| (link.label.as_str(), link.waits_for.as_str(), link.mode, link.held)).collect();
    assert_eq!(told, [("agent-y", "doc/a", Mode::Write, true), ("agent-x", "doc/b", Mode::Read, true)]);
    assert_eq!([links[0].owner, links[1].owner], [y.id(), x.id()]);
    assert!(links.iter().all(|link| link.pid == std::process::id()));
    let text = error.to_string();
    for part in
        ["deadlock", "agent-x", "agent-y", "\"doc/a\"", "\"doc/b\"", &crate::wait::rfc3339(Some(links[1].since))]
    {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn the_victim_has_the_lowest_priority(bench: &Bench) {
    let (x, y) = (bench.owner("x"), bench.owner("y"));
    let a = x.write("a").blocking().unwrap();
    let b = y.write("b").blocking().unwrap();
    let mut x_waits = Polled::queued(x.write("b"));
    // y closes the cycle, but x matters less.
    let mut y_waits = Polled::queued(y.write("a").priority(1));
    let error = assert_deadlock(x_waits.ready());
    assert_eq!(error.cycle().unwrap().links[0].label, "x");
    y_waits.pending();
    drop(a);
    drop(y_waits.granted());
    drop(b);
    bench.assert_free("a");
    bench.assert_free("b");
}

fn a_ring_of_three_and_a_ring_of_eight(bench: &Bench) {
    for size in [3, 8] {
        let owners: Vec<_> = (0..size).map(|index| bench.owner(&format!("owner {index}"))).collect();
        let names: Vec<_> = (0..size).map(|index| format!("ring of {size}/{index}")).collect();
        let mut held: Vec<_> = (0..size).map(|index| owners[index].write(&names[index]).blocking().unwrap()).collect();
        let mut waiting: Vec<_> =
            (0..size - 1).map(|index| Polled::queued(owners[index].write(&names[index + 1]))).collect();
        let error = assert_deadlock(owners[size - 1].write(&names[0]).blocking());
        assert_eq!(error.cycle().unwrap().links.len(), size, "{error}");
        waiting.iter_mut().for_each(Polled::pending);
        while let Some(mut last) = waiting.pop() {
            drop(held.pop());
            drop(last.granted());
        }
    }
}

fn a_ring_of_threads_loses_exactly_one(bench: &Bench) {
    const SIZE: usize = 4;
    let names: [String; SIZE] = std::array::from_fn(|index| format!("ring/{index}"));
    for _ in 0..10 {
        let all_hold = Barrier::new(SIZE);
        let errors = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for index in 0..SIZE {
                let (names, all_hold, errors) = (&names, &all_hold, &errors);
                scope.spawn(move || {
                    let owner = bench.owner(&format!("thread {index}"));
                    let _held = owner.write(&names[index]).blocking().unwrap();
                    all_hold.wait();
                    if let Err(error) = owner.write(&names[(index + 1) % SIZE]).blocking() {
                        errors.lock().unwrap().push(error);
                    }
                });
            }
        });
        let errors = errors.into_inner().unwrap();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].kind(), ErrorKind::Deadlock);
    }
}

fn a_ring_of_tasks_loses_exactly_one(bench: &Bench) {
    const SIZE: usize = 5;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for _ in 0..10 {
        let all_hold = Arc::new(tokio::sync::Barrier::new(SIZE));
        let tasks: Vec<_> = (0..SIZE)
            .map(|index| {
                let (owner, all_hold) = (bench.owner(&format!("task {index}")), all_hold.clone());
                runtime.spawn(async move {
                    let names = [format!("ring/{index}"), format!("ring/{}", (index + 1) % SIZE)];
                    let _held = owner.write(&names[0]).await.unwrap();
                    all_hold.wait().await;
                    owner.write(&names[1]).await.err().map(|error| error.kind())
                })
            })
            .collect();
        let errors: Vec<_> = tasks.into_iter().filter_map(|task| runtime.block_on(task).unwrap()).collect();
        assert_eq!(errors, [ErrorKind::Deadlock]);
    }
}

fn a_cycle_through_one_of_several_readers(bench: &Bench) {
    let (x, y) = (bench.owner("x"), bench.owner("y"));
    let strangers: Vec<_> = (0..3).map(|_| bench.locks().read("a").blocking().unwrap()).collect();
    let _a = x.read("a").blocking().unwrap();
    let b = y.write("b").blocking().unwrap();
    let mut x_waits = Polled::queued(x.write("b"));
    assert_deadlock(y.write("a").blocking());
    drop(b);
    drop(x_waits.granted());
    drop(strangers);
}

fn a_cycle_that_closes_behind_another_waiter(bench: &Bench) {
    // z waits for a before y does, and is no part of the cycle of x and y.
    let [x, y, z] = ["x", "y", "z"].map(|label| bench.owner(label));
    let a = x.write("a").blocking().unwrap();
    let b = y.write("b").blocking().unwrap();
    let mut z_waits = Polled::queued(z.write("a"));
    let mut y_waits = Polled::queued(y.write("a"));
    let error = assert_deadlock(x.write("b").blocking());
    let mut labels: Vec<_> = error.cycle().unwrap().links.iter().map(|link| link.label.as_str()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["x", "y"], "{error}");
    drop(a);
    drop(z_waits.granted());
    drop(y_waits.granted());
    drop(b);
}

fn a_soft_cycle_is_dissolved(bench: &Bench) {
    let [x, y, w] = ["x", "y", "w"].map(|label| bench.owner(label));
    let x_reads_a = x.read("a").blocking().unwrap();
    let mut w_waits = Polled::queued(w.write("a"));
    let y_has_b = y.write("b").blocking().unwrap();
    let mut y_waits = Polled::queued(y.read("a"));
    // x waits for y, which stands behind w, which waits for x: nobody need be refused, since y may
    // read beside x if it is moved before w.
    let mut x_waits = Polled::queued(x.write("b"));
    let y_reads_a = y_waits.granted();
    w_waits.pending();
    x_waits.pending();
    drop((y_has_b, y_reads_a));
    drop(x_waits.granted());
    w_waits.pending();
    drop(x_reads_a);
    drop(w_waits.granted());
    assert_eq!(bench.locks().deadlocks().blocking().unwrap().broken, 0);
    bench.assert_free("a");
    bench.assert_free("b");
}

fn a_refused_request_leaves_no_trace(bench: &Bench) {
    let (x, y) = (bench.owner("x"), bench.owner("y"));
    let _a = x.write("a").blocking().unwrap();
    let _b = y.write("b").blocking().unwrap();
    let _x_waits = Polled::queued(x.write("b"));
    assert_deadlock(y.write("a").blocking());
    assert_deadlock(Polled::new(y.write("a")).ready());
    assert_eq!(bench.waiters("a"), 0);
    let report = bench.locks().deadlocks().blocking().unwrap();
    assert_eq!((report.broken, report.cycles.len()), (2, 0));
    assert_eq!(bench.locks().statistics("a").blocking().unwrap()[&Mode::Write].total_deadlocks, 2);
}

fn the_same_cycle_may_close_again(bench: &Bench) {
    let (x, y) = (bench.owner("x"), bench.owner("y"));
    for _ in 0..20 {
        let a = x.write("a").blocking().unwrap();
        let b = y.write("b").blocking().unwrap();
        let mut x_waits = Polled::queued(x.write("b"));
        assert_deadlock(y.write("a").blocking());
        drop(b);
        drop(x_waits.granted());
        drop(a);
    }
    bench.assert_free("a");
    bench.assert_free("b");
}

fn report_refuses_nobody_and_tells(bench: &Bench) {
    let locks = bench.with(|settings| settings.deadlocks(DeadlockPolicy::Report));
    let (x, y) = (locks.owner("x").unwrap(), locks.owner("y").unwrap());
    let a = x.write("a").blocking().unwrap();
    let b = y.write("b").blocking().unwrap();
    let mut x_waits = Polled::queued(x.write("b"));
    let mut y_waits = Polled::queued(y.write("a"));
    until("the cycle is reported", || locks.deadlocks().blocking().unwrap().cycles.len() == 1);
    let cycle = locks.deadlocks().blocking().unwrap().cycles.remove(0);
    let mut labels: Vec<_> = cycle.links.iter().map(|link| link.label.as_str()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["x", "y"]);
    x_waits.pending();
    y_waits.pending();
    drop(x_waits);
    drop(a);
    drop(y_waits.granted());
    drop(b);
    until("the cycle is gone", || locks.deadlocks().blocking().unwrap().cycles.is_empty());
    assert_eq!(locks.deadlocks().blocking().unwrap().broken, 0);
}

fn try_now_is_never_a_deadlock(bench: &Bench) {
    let (x, y) = (bench.owner("x"), bench.owner("y"));
    let _a = x.write("a").blocking().unwrap();
    let _b = y.write("b").blocking().unwrap();
    let _x_waits = Polled::queued(x.write("b"));
    assert_eq!(y.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn a_wait_without_a_cycle_is_no_deadlock(bench: &Bench) {
    // A chain, a diamond, and two owners that wait for the same: all of it may last.
    let [x, y, z] = ["x", "y", "z"].map(|label| bench.owner(label));
    let _a = x.write("a").blocking().unwrap();
    let _b = y.write("b").blocking().unwrap();
    let _c = z.write("c").blocking().unwrap();
    let mut waiting = [Polled::queued(y.write("a")), Polled::queued(z.write("a")), Polled::queued(z.write("b"))];
    waiting.iter_mut().for_each(Polled::pending);
    let short = Duration::from_millis(300);
    let error = z.write("b").timeout(short).blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    waiting.iter_mut().for_each(Polled::pending);
}

fn ordered_acquisition_raises_no_alarm(bench: &Bench) {
    let names: [String; 8] = std::array::from_fn(|index| format!("ordered/{index}"));
    let seed = crate::history::seed("ordered_acquisition_raises_no_alarm");
    thread::scope(|scope| {
        for worker in 0..6 {
            let names = &names;
            scope.spawn(move || {
                let owner = bench.owner(&format!("worker {worker}"));
                let mut random = fastrand::Rng::with_seed(seed + worker);
                for _ in 0..150 {
                    let mut chosen = random.choose_multiple(names.iter(), 3);
                    chosen.sort();
                    let _guards: Vec<_> = chosen.into_iter().map(|name| any(&owner, name, &mut random)).collect();
                }
            });
        }
    });
    let report = bench.locks().deadlocks().blocking().unwrap();
    assert_eq!(report.broken, 0);
    assert_eq!((report.cycles.len(), report.inversions.len()), (0, 0), "{report:?}");
}

/// Takes the lock in one mode or the other, blocking or not.
fn any(owner: &Owner, name: &str, random: &mut fastrand::Rng) -> Guard {
    let request = if random.bool() { owner.read(name) } else { owner.write(name) };
    if random.bool() { request.blocking() } else { pollster::block_on(request.into_future()) }.expect("no deadlock")
}

fn contradicting_orders_are_reported(bench: &Bench) {
    let (x, y) = (bench.owner("x"), bench.owner("y"));
    drop((x.write("a").blocking().unwrap(), x.write("b").blocking().unwrap()));
    assert_eq!(bench.locks().deadlocks().blocking().unwrap().inversions, []);
    drop((y.write("b").blocking().unwrap(), y.write("a").blocking().unwrap()));
    let inversions = bench.locks().deadlocks().blocking().unwrap().inversions;
    let [inversion] = &inversions[..] else { panic!("not one inversion: {inversions:?}") };
    let (first, second) = (inversion.first.as_str(), inversion.second.as_str());
    let who = (inversion.first_then_second.as_str(), inversion.second_then_first.as_str());
    assert!(
        (first, second) == ("a", "b") && who == ("x", "y") || (first, second) == ("b", "a") && who == ("y", "x"),
        "{inversion:?}"
    );
}

fn long_waits_are_suspects(bench: &Bench) {
    let locks = bench.with(|settings| settings.suspect_after(Duration::from_millis(20)));
    let (holder, waiter) = (bench.owner("the holder"), bench.owner("the waiter"));
    let _guard = holder.write("a").blocking().unwrap();
    let queued = Polled::queued(waiter.write("a"));
    until("the wait is suspected", || !locks.deadlocks().blocking().unwrap().suspects.is_empty());
    let suspects = locks.deadlocks().blocking().unwrap().suspects;
    let [suspect] = &suspects[..] else { panic!("not one suspect: {suspects:?}") };
    assert_eq!((suspect.resource.as_str(), suspect.requester.as_str()), ("a", "the waiter"));
    assert_eq!((suspect.owner, suspect.mode), (Some(waiter.id()), Mode::Write));
    assert_eq!((suspect.current_writer.as_deref(), suspect.pending_writes), (Some("the holder"), 1));
    assert!(suspect.waited >= Duration::from_millis(20));
    assert!(bench.locks().deadlocks().blocking().unwrap().suspects.is_empty(), "by the longer threshold nobody is");
    drop(queued);
    assert!(locks.deadlocks().blocking().unwrap().suspects.is_empty());
}
