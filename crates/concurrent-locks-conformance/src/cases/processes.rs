//! The same promises between processes.

use std::{fs, thread, time::Duration};

use concurrent_locks::{ErrorKind, Mode, OWNER_ID_VARIABLE, OWNER_VARIABLE, URL_VARIABLE};

use crate::{bench::Bench, case::cases, polled::Polled, taker::LockTaker, wait::until};

cases! {
    processes_exclude_each_other [AcrossProcesses],
    processes_and_threads_lose_no_update [AcrossProcesses],
    processes_read_together [AcrossProcesses],
    processes_are_served_in_the_order_they_came [AcrossProcesses, Fair, Inspect],
    a_batch_of_readers_spans_processes [AcrossProcesses, Fair, Inspect],
    a_future_is_woken_by_another_process [AcrossProcesses],
    many_futures_are_woken_by_another_process [AcrossProcesses],
    readers_looping_in_processes_do_not_starve_a_writer [AcrossProcesses, Fair],
    writers_looping_in_processes_do_not_starve_a_reader [AcrossProcesses, Fair],
    tokens_increase_across_processes [AcrossProcesses],
    priorities_count_across_processes [AcrossProcesses, Priority, Inspect],
    a_timeout_names_the_other_process [AcrossProcesses, Inspect],
    status_shows_other_processes [AcrossProcesses, Inspect],
    statistics_count_other_processes [AcrossProcesses, Inspect],
    upgrades_and_downgrades_span_processes [AcrossProcesses, Upgrade, Downgrade, Inspect],
    an_owner_is_inherited [AcrossProcesses, Inspect],
    an_owner_re_enters_what_its_child_still_holds [AcrossProcesses, Inspect],
    children_of_one_owner_exclude_each_other [AcrossProcesses, Inspect],
    an_inherited_read_is_upgraded [AcrossProcesses, Inspect, Upgrade],
    an_owner_waits_for_what_its_children_wait_for [AcrossProcesses, Inspect, Deadlocks],
    a_label_alone_is_inherited_by_a_new_owner [AcrossProcesses, Inspect],
    a_malformed_owner_id_is_refused [AcrossProcesses],
    the_environment_names_the_default_locks [AcrossProcesses],
    a_lock_is_broken_across_processes [AcrossProcesses, Revoke],
    lock_all_across_processes_does_not_deadlock [AcrossProcesses],
    events_tell_of_other_processes [AcrossProcesses, Inspect],
    a_leaving_process_frees_what_it_forgot [AcrossProcesses],
}

fn processes_exclude_each_other(bench: &Bench) {
    let (mut one, mut two) = (bench.taker(), bench.taker());
    for (held, wanted) in [("write", "write"), ("write", "read"), ("read", "write")] {
        one.take(&format!("{held} a"));
        two.ask(&format!("{wanted} a try")).error(ErrorKind::WouldBlock);
        two.ask(&format!("{wanted} a timeout=20")).error(ErrorKind::TimedOut);
        two.ask(&format!("{wanted} a async timeout=20")).error(ErrorKind::TimedOut);
        one.ask("release a").after("released");
        bench.assert_free("a");
    }
}

fn processes_and_threads_lose_no_update(bench: &Bench) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("counter");
    fs::write(&file, "0").expect("the counter");
    let mut takers = [0; 3].map(|_| bench.taker());
    for taker in &mut takers {
        taker.send(&format!("add a {} 100", file.display()));
    }
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let _guard = bench.locks().write("a").blocking().unwrap();
                    let count: u64 = fs::read_to_string(&file).unwrap().parse().unwrap();
                    fs::write(&file, (count + 1).to_string()).unwrap();
                }
            });
        }
    });
    takers.iter_mut().for_each(|taker| assert_eq!(taker.answer().text(), "added"));
    assert_eq!(fs::read_to_string(&file).expect("the counter"), "500");
    bench.assert_free("a");
}

fn processes_read_together(bench: &Bench) {
    let mut takers = [0; 3].map(|_| bench.taker());
    for taker in &mut takers {
        taker.take("read a try");
    }
    let ours = bench.locks().read("a").try_now().unwrap();
    for taker in &mut takers {
        bench.assert_busy("a", Mode::Write);
        taker.ask("release a").after("released");
    }
    ours.release().unwrap();
    bench.assert_free("a");
}

/// Has the takers queue one by one, each seen in the queue before the next.
fn queue(bench: &Bench, takers: &mut [LockTaker], commands: &[&str]) {
    for (place, (taker, command)) in takers.iter_mut().zip(commands).enumerate() {
        taker.send(command);
        bench.until_waiting("a", place + 1);
    }
}

fn processes_are_served_in_the_order_they_came(bench: &Bench) {
    for manner in ["write a", "write a async"] {
        let mut takers = [0; 5].map(|_| bench.taker());
        let guard = bench.locks().write("a").blocking().unwrap();
        queue(bench, &mut takers, &[manner; 5]);
        let mut last_token = guard.token();
        drop(guard);
        for place in 0..takers.len() {
            let token = takers[place].answer().token();
            assert!(token > last_token);
            last_token = token;
            assert_eq!(bench.waiters("a"), 4 - place);
            takers[place + 1..].iter_mut().for_each(LockTaker::assert_silent);
            takers[place].ask("release a").after("released");
        }
        bench.assert_free("a");
    }
}

fn a_batch_of_readers_spans_processes(bench: &Bench) {
    let mut takers = [0; 5].map(|_| bench.taker());
    let guard = bench.locks().write("a").blocking().unwrap();
    queue(bench, &mut takers, &["read a", "read a async", "write a", "read a async", "read a"]);
    drop(guard);
    let [r1, r2, w, r3, r4] = &mut takers;
    r1.answer().token();
    r2.answer().token();
    assert_eq!((bench.status("a").readers, bench.waiters("a")), (2, 3));
    r1.ask("release a").after("released");
    w.assert_silent();
    r2.ask("release a").after("released");
    w.answer().token();
    r3.assert_silent();
    w.ask("release a").after("released");
    r3.answer().token();
    r4.answer().token();
    assert_eq!((bench.status("a").readers, bench.waiters("a")), (2, 0));
}

fn a_future_is_woken_by_another_process(bench: &Bench) {
    let mut taker = bench.taker();
    for mode in Mode::ALL {
        for _ in 0..20 {
            taker.take("write a");
            let mut waiter = Polled::queued(bench.locks().request("a", mode));
            taker.send("release a");
            drop(waiter.granted());
            taker.answer().after("released");
        }
    }
    bench.assert_free("a");
}

fn many_futures_are_woken_by_another_process(bench: &Bench) {
    let mut taker = bench.taker();
    taker.take("write a");
    let mut readers: Vec<_> = (0..100).map(|_| Polled::queued(bench.locks().read("a"))).collect();
    taker.send("release a");
    let guards: Vec<_> = readers.iter_mut().map(Polled::granted).collect();
    taker.answer().after("released");
    drop(guards);
    bench.assert_free("a");
}

fn readers_looping_in_processes_do_not_starve_a_writer(bench: &Bench) {
    loops_do_not_starve(bench, "read", Mode::Write);
}

fn writers_looping_in_processes_do_not_starve_a_reader(bench: &Bench) {
    loops_do_not_starve(bench, "write", Mode::Read);
}

fn loops_do_not_starve(bench: &Bench, looping: &str, mode: Mode) {
    let mut takers = [0; 3].map(|_| bench.taker());
    for taker in &mut takers {
        taker.ask(&format!("loop {looping} a")).after("looping");
    }
    for round in 0..20 {
        let request = bench.locks().request("a", mode);
        drop(if round % 2 == 0 { request.blocking() } else { pollster::block_on(request.into_future()) }.unwrap());
    }
    takers.iter_mut().for_each(|taker| assert!(taker.ask("stop").text().starts_with("stopped")));
    bench.assert_free("a");
}

fn tokens_increase_across_processes(bench: &Bench) {
    let mut takers = [0; 2].map(|_| bench.taker());
    let mut last = 0;
    for round in 0..20 {
        for taker in &mut takers {
            let token = taker.take(if round % 2 == 0 { "write a" } else { "read a" });
            assert!(token > last, "{token} after {last}");
            last = token;
            taker.ask("release a").after("released");
        }
        let guard = bench.locks().read("a").blocking().unwrap();
        assert!(guard.token() > last);
        last = guard.token();
    }
}

fn priorities_count_across_processes(bench: &Bench) {
    let mut takers = [0; 3].map(|_| bench.taker());
    let guard = bench.locks().write("a").blocking().unwrap();
    queue(bench, &mut takers, &["write a priority=-100", "write a", "write a priority=100"]);
    drop(guard);
    for taker in takers.iter_mut().rev() {
        taker.answer().token();
        taker.ask("release a").after("released");
    }
}

fn a_timeout_names_the_other_process(bench: &Bench) {
    let mut taker = bench.taker();
    taker.ask("owner agent-in-a-process").after("owner");
    let token = taker.take("write a note=compaction");
    let error = bench.locks().read("a").timeout(Duration::from_millis(20)).blocking().unwrap_err();
    let holder = &error.busy().unwrap().holders[0];
    assert_eq!((holder.pid, holder.label.as_str()), (taker.pid(), "agent-in-a-process"));
    assert_eq!((holder.token, holder.note.as_str()), (token, "compaction"));
    assert!(error.to_string().contains(&taker.pid().to_string()), "{error}");
}

fn status_shows_other_processes(bench: &Bench) {
    let (mut holder, mut waiter) = (bench.taker(), bench.taker());
    holder.ask("owner the-holder").after("owner");
    let waiting_owner = waiter.ask("owner the-waiter").after("owner").to_owned();
    holder.take("write a note=here");
    waiter.send("read a note=there priority=3");
    bench.until_waiting("a", 1);
    let status = bench.status("a");
    assert_eq!(status.current_writer.as_deref(), Some("the-holder"));
    assert_eq!((status.holders[0].pid, status.holders[0].note.as_str()), (holder.pid(), "here"));
    let seen = &status.waiters[0];
    assert_eq!((seen.pid, seen.label.as_str(), seen.owner), (waiter.pid(), "the-waiter", waiting_owner.parse().ok()));
    assert_eq!((seen.note.as_str(), seen.priority, seen.mode), ("there", 3, Mode::Read));
    let attached: Vec<_> =
        bench.locks().health().blocking().unwrap().attached.into_iter().map(|process| process.pid).collect();
    for pid in [holder.pid(), waiter.pid(), std::process::id()] {
        assert!(attached.contains(&pid), "{pid} is not in {attached:?}");
    }
}

fn statistics_count_other_processes(bench: &Bench) {
    let mut taker = bench.taker();
    for _ in 0..5 {
        taker.take("read a");
        taker.ask("release a").after("released");
    }
    taker.take("read a");
    taker.ask("write a timeout=10").error(ErrorKind::TimedOut);
    taker.ask("panic b").after("panicked");
    let all = bench.locks().statistics_all().blocking().unwrap();
    let read = &all["a"][&Mode::Read];
    assert_eq!((read.total_acquisitions, read.total_releases, read.current_holders), (6, 5, 1));
    assert_eq!(all["a"][&Mode::Write].total_timeouts, 1);
    assert_eq!((all["b"][&Mode::Write].total_errors, all["b"][&Mode::Write].total_releases), (1, 1));
    assert!(read.recent_operations.iter().all(|operation| operation.requester == format!("pid {}", taker.pid())));
}

fn upgrades_and_downgrades_span_processes(bench: &Bench) {
    let mut taker = bench.taker();
    let ours = bench.locks().read("a").blocking().unwrap();
    let read_token = taker.take("read a");
    taker.send("upgrade a");
    bench.until_waiting("a", 1);
    bench.assert_busy("a", Mode::Read);
    ours.release().unwrap();
    assert!(taker.answer().token() > read_token);
    bench.assert_busy("a", Mode::Read);
    let mut reader = Polled::queued(bench.locks().read("a"));
    taker.ask("downgrade a").token();
    drop(reader.granted());
    bench.assert_busy("a", Mode::Write);
    taker.ask("release a").after("released");
    bench.assert_free("a");
}

fn an_owner_is_inherited(bench: &Bench) {
    let owner = bench.owner("the family");
    let guard = owner.write("a").blocking().unwrap();
    let (mut child, mut stranger) = (bench.taker_of(&owner), bench.taker());
    assert_ne!(child.ask("inherit").after("owner"), owner.id().to_string());
    assert_eq!(stranger.ask("inherit").text(), "owner none");
    for manner in ["write a", "read a", "write a try", "read a async"] {
        assert_eq!(child.take(manner), guard.token(), "{manner}");
    }
    stranger.ask("write a try").error(ErrorKind::WouldBlock);
    assert!(bench.status("a").holders.iter().all(|holder| holder.label == "the family"));
    child.kill();
    bench.assert_busy("a", Mode::Read);
    guard.release().unwrap();
    // The child's death is noticed by whoever wants the lock, at the latest.
    bench.locks().write("a").blocking().unwrap().release().unwrap();
}

/// Its child took it in the owner's name, so it is the owner's still after its own guard is gone.
fn an_owner_re_enters_what_its_child_still_holds(bench: &Bench) {
    let owner = bench.owner("the family");
    for mode in [Mode::Read, Mode::Write] {
        let outer = bench.locks().request("a", mode).owner(&owner).blocking().unwrap();
        let mut child = bench.taker_of(&owner);
        child.ask("inherit").after("owner");
        let token = outer.token();
        assert_eq!(child.take(&format!("{mode} a")), token);
        drop(outer);
        assert_eq!(bench.locks().request("a", mode).owner(&owner).try_now().unwrap().token(), token);
        bench.assert_busy("a", Mode::Write);
        child.kill();
        bench.locks().write("a").blocking().unwrap().release().unwrap();
    }
}

/// What their parent does not hold, they take from each other like strangers.
fn children_of_one_owner_exclude_each_other(bench: &Bench) {
    let owner = bench.owner("the family");
    let outer = owner.write("a").blocking().unwrap();
    let mut children = [bench.taker_of(&owner), bench.taker_of(&owner)];
    for child in &mut children {
        child.ask("inherit").after("owner");
    }
    let [first, second] = &mut children;
    first.take("write b");
    second.ask("write b try").error(ErrorKind::WouldBlock);
    assert_eq!(owner.write("b").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    // What their parent holds, both re-enter.
    assert_eq!(first.take("write a"), outer.token());
    assert_eq!(second.take("write a"), outer.token());
    first.ask("release b").after("released");
    second.take("write b");
}

fn an_inherited_read_is_upgraded(bench: &Bench) {
    let owner = bench.owner("the family");
    let _outer = owner.read("a").blocking().unwrap();
    let mut child = bench.taker_of(&owner);
    child.ask("inherit").after("owner");
    let inner = child.take("read a");
    assert!(child.take("write a") > inner);
    let stranger = bench.locks().read("b").blocking().unwrap();
    let _outer_of_b = owner.read("b").blocking().unwrap();
    // A stranger who reads is in the way, the family is not.
    child.ask("write b try").error(ErrorKind::WouldBlock);
    drop(stranger);
    child.take("write b");
}

/// A process waits for those it started: a cycle through them is a deadlock.
fn an_owner_waits_for_what_its_children_wait_for(bench: &Bench) {
    let (one, two) = (bench.owner("one"), bench.owner("two"));
    let _holds = [one.write("a").blocking().unwrap(), two.write("b").blocking().unwrap()];
    let (mut child_of_one, mut child_of_two) = (bench.taker_of(&one), bench.taker_of(&two));
    child_of_one.ask("inherit").after("owner");
    child_of_two.ask("inherit").after("owner");
    child_of_one.send("write b");
    bench.until_waiting("b", 1);
    child_of_two.ask("write a").error(ErrorKind::Deadlock);
}

fn a_label_alone_is_inherited_by_a_new_owner(bench: &Bench) {
    let owner = bench.owner("the family");
    let mut child = bench.taker_with(Some(bench.url()), &owner.environment()[..1]);
    assert_ne!(child.ask("inherit").after("owner"), owner.id().to_string());
    child.take("write a");
    assert_eq!(bench.status("a").current_writer.as_deref(), Some("the family"));
    assert_eq!(owner.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn a_malformed_owner_id_is_refused(bench: &Bench) {
    let environment = [(OWNER_VARIABLE, "x".to_owned()), (OWNER_ID_VARIABLE, "not hexadecimal".to_owned())];
    let mut child = bench.taker_with(Some(bench.url()), &environment);
    child.ask("inherit").error(ErrorKind::InvalidInput);
}

fn the_environment_names_the_default_locks(bench: &Bench) {
    let mut child = bench.taker_with(None, &[(URL_VARIABLE, bench.url().to_owned())]);
    child.take("write a");
    bench.assert_busy("a", Mode::Read);
    child.ask("release a").after("released");
    bench.assert_free("a");
}

fn a_lock_is_broken_across_processes(bench: &Bench) {
    let mut taker = bench.taker();
    let token = taker.take("write a");
    let mut waiter = Polled::queued(bench.locks().write("a"));
    assert_eq!(bench.locks().break_lock("a", token).blocking().unwrap().pid, taker.pid());
    let guard = waiter.granted();
    taker.ask("release a").error(ErrorKind::Lost);
    bench.assert_busy("a", Mode::Read);
    guard.release().unwrap();
    bench.assert_free("a");
}

fn lock_all_across_processes_does_not_deadlock(bench: &Bench) {
    let mut takers: Vec<_> = ["all a b c", "all c b a", "all b a c"]
        .into_iter()
        .map(|command| {
            let mut taker = bench.taker();
            taker.send(command);
            taker
        })
        .collect();
    // Each holds all of them until its process ends, and then another gets all of them.
    while !takers.is_empty() {
        let mut granted = None;
        until("one of them has all", || {
            granted = takers.iter_mut().position(|taker| taker.answered().is_some());
            granted.is_some()
        });
        takers.remove(granted.expect("one was granted")).kill();
    }
    ["a", "b", "c"].iter().for_each(|name| drop(bench.locks().write(name).blocking().unwrap()));
}

fn events_tell_of_other_processes(bench: &Bench) {
    let mut taker = bench.taker();
    let (_, mut cursor) = bench.locks().events(None, Duration::ZERO).blocking().unwrap();
    let token = taker.take("write a");
    taker.ask("release a").after("released");
    let mut heard = Vec::new();
    until("grant and release are reported", || {
        let (events, next) = bench.locks().events(Some(cursor), Duration::from_secs(1)).blocking().unwrap();
        cursor = next;
        heard.extend(events.into_iter().map(|event| (event.kind.as_str(), event.pid, event.token)));
        heard.len() >= 2
    });
    assert_eq!(heard, [("grant", taker.pid(), token), ("release", taker.pid(), token)]);
}

fn a_leaving_process_frees_what_it_forgot(bench: &Bench) {
    let mut taker = bench.taker();
    taker.take("write a");
    taker.take("read b");
    let mut waiter = Polled::queued(bench.locks().write("a"));
    taker.send("exit");
    assert!(taker.ended_well());
    drop(waiter.granted());
    drop(bench.locks().write("b").blocking().unwrap());
}
