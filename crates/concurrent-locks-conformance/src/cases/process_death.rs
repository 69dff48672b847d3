//! A process is killed by SIGKILL at any point: others continue.

use std::time::Duration;

use concurrent_locks::{ErrorKind, EventKind, Mode};

use crate::{bench::Bench, case::cases, polled::Polled, taker::LockTaker, wait::until};

cases! {
    a_killed_holder_is_followed_by_a_waiting_process [AcrossProcesses],
    a_killed_holder_is_followed_by_a_waiting_future [AcrossProcesses],
    a_killed_holder_is_followed_by_a_newcomer [AcrossProcesses],
    an_unreaped_holder_is_dead_all_the_same [AcrossProcesses],
    a_killed_reader_does_not_take_the_others_with_it [AcrossProcesses],
    everything_a_killed_process_held_is_free [AcrossProcesses],
    a_killed_waiter_at_the_head_lets_the_next_go [AcrossProcesses, Fair, Inspect],
    a_killed_waiter_in_the_middle_keeps_the_order [AcrossProcesses, Fair, Inspect],
    a_killed_waiting_writer_lets_readers_in [AcrossProcesses, Fair, Inspect],
    a_killed_upgrader_leaves_nothing [AcrossProcesses, Upgrade, Inspect],
    a_chain_of_deaths [AcrossProcesses],
    deaths_under_load [AcrossProcesses],
    tokens_go_on_increasing_after_a_death [AcrossProcesses],
    the_dead_are_counted_and_told [AcrossProcesses, Inspect],
    a_stopped_holder_is_named_and_keeps_its_lock [AcrossProcesses, Inspect],
    exec_frees_what_the_old_program_held [AcrossProcesses],
}

fn a_killed_holder_is_followed_by_a_waiting_process(bench: &Bench) {
    for manner in ["write a", "read a", "write a async", "read a async"] {
        let (mut holder, mut waiter) = (bench.taker(), bench.taker());
        holder.take("write a");
        waiter.send(manner);
        if bench.locks().capabilities().inspect {
            bench.until_waiting("a", 1);
        }
        holder.kill();
        waiter.answer().token();
        waiter.ask("release a").after("released");
        bench.assert_free("a");
    }
}

fn a_killed_holder_is_followed_by_a_waiting_future(bench: &Bench) {
    for mode in Mode::ALL {
        let mut holder = bench.taker();
        holder.take("write a");
        let mut waiter = Polled::queued(bench.locks().request("a", mode));
        holder.kill();
        drop(waiter.granted());
        bench.assert_free("a");
    }
}

fn a_killed_holder_is_followed_by_a_newcomer(bench: &Bench) {
    for mode in Mode::ALL {
        let mut holder = bench.taker();
        holder.take("write a");
        holder.kill();
        // The waiting request finds out by itself; try_now may answer before anybody has.
        drop(bench.locks().request("a", mode).blocking().unwrap());
        bench.assert_free("a");
    }
}

fn an_unreaped_holder_is_dead_all_the_same(bench: &Bench) {
    let mut holder = bench.taker();
    holder.take("write a");
    let mut waiter = Polled::queued(bench.locks().write("a"));
    holder.kill_and_leave();
    drop(waiter.granted());
    bench.assert_free("a");
}

fn a_killed_reader_does_not_take_the_others_with_it(bench: &Bench) {
    let (mut dies, mut lives) = (bench.taker(), bench.taker());
    dies.take("read a");
    lives.take("read a");
    let mut writer = Polled::queued(bench.locks().write("a"));
    dies.kill();
    lives.ask("read b").token();
    writer.pending();
    lives.ask("release a").after("released");
    drop(writer.granted());
    bench.assert_free("a");
}

fn everything_a_killed_process_held_is_free(bench: &Bench) {
    let mut holder = bench.taker();
    let names: Vec<_> = (0..100).map(|index| format!("held/{index}")).collect();
    for name in &names {
        holder.take(&format!("write {name}"));
    }
    holder.take("all x y z");
    holder.kill();
    for name in names.iter().map(String::as_str).chain(["x", "y", "z"]) {
        drop(bench.locks().write(name).blocking().unwrap());
    }
}

/// Three processes that wait for `a` in this order, each seen in the queue.
fn three_waiters(bench: &Bench, commands: [&str; 3]) -> [LockTaker; 3] {
    let mut place = 0;
    commands.map(|command| {
        let mut taker = bench.taker();
        taker.send(command);
        place += 1;
        bench.until_waiting("a", place);
        taker
    })
}

fn a_killed_waiter_at_the_head_lets_the_next_go(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let [mut head, mut second, mut third] = three_waiters(bench, ["write a", "write a async", "write a"]);
    head.kill();
    drop(guard);
    second.answer().token();
    third.assert_silent();
    second.ask("release a").after("released");
    third.answer().token();
    third.ask("release a").after("released");
    bench.assert_free("a");
}

fn a_killed_waiter_in_the_middle_keeps_the_order(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let [mut head, mut middle, mut last] = three_waiters(bench, ["write a", "write a", "write a"]);
    let mut ours = Polled::queued(bench.locks().write("a"));
    middle.kill();
    drop(guard);
    head.answer().token();
    last.assert_silent();
    ours.pending();
    head.ask("release a").after("released");
    last.answer().token();
    ours.pending();
    last.ask("release a").after("released");
    drop(ours.granted());
    bench.assert_free("a");
}

fn a_killed_waiting_writer_lets_readers_in(bench: &Bench) {
    let guard = bench.locks().read("a").blocking().unwrap();
    let [mut writer, mut reader, mut other] = three_waiters(bench, ["write a", "read a", "read a async"]);
    let mut ours = Polled::queued(bench.locks().read("a"));
    writer.kill();
    reader.answer().token();
    other.answer().token();
    drop(ours.granted());
    guard.release().unwrap();
}

fn a_killed_upgrader_leaves_nothing(bench: &Bench) {
    let guard = bench.locks().read("a").blocking().unwrap();
    let mut upgrader = bench.taker();
    upgrader.take("read a");
    upgrader.send("upgrade a");
    bench.until_waiting("a", 1);
    let mut reader = Polled::queued(bench.locks().read("a"));
    upgrader.kill();
    drop(reader.granted());
    guard.release().unwrap();
    drop(bench.locks().write("a").blocking().unwrap());
    bench.assert_free("a");
}

fn a_chain_of_deaths(bench: &Bench) {
    let mut holder = bench.taker();
    holder.take("write a");
    let mut waiting = Vec::from([0; 5].map(|_| bench.taker()));
    waiting.iter_mut().for_each(|taker| taker.send("write a"));
    while !waiting.is_empty() {
        holder.kill();
        let mut next = None;
        until("the next has the lock", || {
            next = waiting.iter_mut().position(|taker| taker.answered().is_some());
            next.is_some()
        });
        holder = waiting.remove(next.expect("one was granted"));
    }
    holder.kill();
    drop(bench.locks().write("a").blocking().unwrap());
    bench.assert_free("a");
}

fn deaths_under_load(bench: &Bench) {
    let seed = crate::history::seed("deaths_under_load");
    let mut random = fastrand::Rng::with_seed(seed);
    let section = crate::section::Section::default();
    for _ in 0..8 {
        let mut takers = [0; 3].map(|_| bench.taker());
        for (taker, mode) in takers.iter_mut().zip(["write", "read", "write"]) {
            taker.ask(&format!("loop {mode} a")).after("looping");
        }
        for taker in &mut takers {
            for _ in 0..random.u8(1..40) {
                let mode = if random.bool() { Mode::Read } else { Mode::Write };
                let _guard = bench.locks().request("a", mode).blocking().unwrap();
                section.visit(mode);
            }
            taker.kill();
        }
        drop(bench.locks().write("a").blocking().unwrap());
        bench.assert_free("a");
    }
}

fn tokens_go_on_increasing_after_a_death(bench: &Bench) {
    let mut last = 0;
    for _ in 0..5 {
        let mut holder = bench.taker();
        let token = holder.take("write a");
        assert!(token > last);
        holder.kill();
        let guard = bench.locks().write("a").blocking().unwrap();
        assert!(guard.token() > token);
        last = guard.token();
    }
}

fn the_dead_are_counted_and_told(bench: &Bench) {
    let (_, mut cursor) = bench.locks().events(None, Duration::ZERO).blocking().unwrap();
    let mut holder = bench.taker();
    holder.ask("owner the-dead").after("owner");
    let token = holder.take("write a");
    let pid = holder.pid();
    holder.kill();
    drop(bench.locks().write("a").blocking().unwrap());
    let statistics = &bench.locks().statistics("a").blocking().unwrap()[&Mode::Write];
    assert_eq!((statistics.total_acquisitions, statistics.total_releases), (2, 2));
    assert_eq!((statistics.total_errors, statistics.current_holders), (1, 0));
    let mut recovered = None;
    until("the recovery is reported", || {
        let (events, next) = bench.locks().events(Some(cursor), Duration::from_secs(1)).blocking().unwrap();
        cursor = next;
        recovered = events.into_iter().find(|event| event.kind == EventKind::Recovered);
        recovered.is_some()
    });
    let recovered = recovered.expect("told");
    assert_eq!((recovered.resource.as_str(), recovered.label.as_str()), ("a", "the-dead"));
    assert_eq!((recovered.pid, recovered.token), (pid, token));
    until("the dead process is cleaned up", || bench.locks().health().blocking().unwrap().reaped == 1);
    let health = bench.locks().health().blocking().unwrap();
    assert_eq!(health.problems, Vec::<String>::new());
    assert!(health.attached.iter().all(|process| process.pid != pid || !process.alive), "{health:?}");
}

fn a_stopped_holder_is_named_and_keeps_its_lock(bench: &Bench) {
    let mut holder = bench.taker();
    holder.ask("owner the-sleeper").after("owner");
    holder.take("write a");
    holder.stop();
    let error = bench.locks().write("a").timeout(Duration::from_millis(300)).blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    let named = &error.busy().unwrap().holders[0];
    assert_eq!((named.pid, named.label.as_str()), (holder.pid(), "the-sleeper"));
    let mut waiter = Polled::queued(bench.locks().write("a"));
    holder.go_on();
    holder.ask("release a").after("released");
    drop(waiter.granted());
    bench.assert_free("a");
}

fn exec_frees_what_the_old_program_held(bench: &Bench) {
    let mut taker = bench.taker();
    taker.take("write a");
    taker.take("read b");
    let mut waiter = Polled::queued(bench.locks().write("a"));
    assert_eq!(taker.ask("exec").text(), format!("started {}", taker.pid()));
    drop(waiter.granted());
    drop(bench.locks().write("b").blocking().unwrap());
    // The new program is an ordinary one.
    taker.take("write a");
    bench.assert_busy("a", Mode::Read);
    taker.ask("release a").after("released");
    bench.assert_free("a");
}
