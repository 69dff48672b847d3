//! An owner re-enters what it holds, and everything it holds is shown as its own.

use concurrent_locks::{ErrorKind, MAX_LABEL_BYTES, Mode};

use crate::{bench::Bench, case::cases, polled::Polled};

cases! {
    re_entry_has_the_same_token,
    re_entry_does_not_wait_behind_waiters [Fair],
    the_lock_is_held_until_the_last_guard_is_gone,
    two_tasks_of_one_owner_re_enter,
    two_threads_of_one_owner_re_enter,
    a_handle_re_enters_for_an_owner,
    clones_are_one_owner,
    one_label_twice_is_two_owners,
    requests_without_an_owner_are_strangers,
    holders_and_waiters_are_attributed [Inspect],
    labels_have_one_to_forty_bytes,
    an_owner_asks_several_managers,
    the_environment_carries_label_and_id,
}

fn re_entry_has_the_same_token(bench: &Bench) {
    let owner = bench.owner("agent");
    for (outer, inner) in [(Mode::Write, Mode::Write), (Mode::Write, Mode::Read), (Mode::Read, Mode::Read)] {
        let first = bench.locks().request("a", outer).owner(&owner).blocking().unwrap();
        let blocking = bench.locks().request("a", inner).owner(&owner).blocking().unwrap();
        let tried = bench.locks().request("a", inner).owner(&owner).try_now().unwrap();
        let polled = Polled::new(bench.locks().request("a", inner).owner(&owner)).granted();
        for guard in [&blocking, &tried, &polled] {
            assert_eq!(guard.token(), first.token());
        }
    }
    bench.assert_free("a");
}

fn re_entry_does_not_wait_behind_waiters(bench: &Bench) {
    let owner = bench.owner("agent");
    let outer = owner.read("a").blocking().unwrap();
    let mut writer = Polled::queued(bench.locks().write("a"));
    bench.assert_busy("a", Mode::Read);
    let inner = owner.read("a").blocking().unwrap();
    assert_eq!(inner.token(), outer.token());
    drop(outer);
    writer.pending();
    drop(inner);
    drop(writer.granted());
    bench.assert_free("a");
}

fn the_lock_is_held_until_the_last_guard_is_gone(bench: &Bench) {
    let owner = bench.owner("agent");
    for last_is_inner in [true, false] {
        let outer = owner.write("a").blocking().unwrap();
        let inner = owner.write("a").blocking().unwrap();
        let last = if last_is_inner { (drop(outer), inner).1 } else { (drop(inner), outer).1 };
        bench.assert_busy("a", Mode::Read);
        bench.assert_busy("a", Mode::Write);
        drop(last);
        bench.assert_free("a");
    }
}

fn two_tasks_of_one_owner_re_enter(bench: &Bench) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let owner = bench.owner("agent");
    let outer = owner.write("a").blocking().unwrap();
    let other = owner.clone();
    let task = runtime.spawn(async move { other.write("a").await.unwrap().token() });
    assert_eq!(runtime.block_on(task).unwrap(), outer.token());
    bench.assert_busy("a", Mode::Read);
    drop(outer);
    bench.assert_free("a");
}

fn two_threads_of_one_owner_re_enter(bench: &Bench) {
    let owner = bench.owner("agent");
    let outer = owner.write("a").blocking().unwrap();
    std::thread::scope(|scope| {
        let inner = scope.spawn(|| owner.read("a").blocking().unwrap()).join().unwrap();
        assert_eq!(inner.token(), outer.token());
    });
    drop(outer);
    bench.assert_free("a");
}

fn a_handle_re_enters_for_an_owner(bench: &Bench) {
    let owner = bench.owner("agent");
    let handle = bench.locks().resource("a").unwrap();
    let outer = handle.write().owner(&owner).blocking().unwrap();
    let inner = handle.read().owner(&owner).try_now().unwrap();
    assert_eq!(inner.token(), outer.token());
    drop((outer, inner));
    bench.assert_free("a");
}

fn clones_are_one_owner(bench: &Bench) {
    let owner = bench.owner("agent");
    let clone = owner.clone();
    assert_eq!((clone.id(), clone.label()), (owner.id(), owner.label()));
    let _outer = owner.write("a").blocking().unwrap();
    clone.write("a").try_now().unwrap().release().unwrap();
}

fn one_label_twice_is_two_owners(bench: &Bench) {
    let (one, two) = (bench.owner("agent"), bench.owner("agent"));
    assert_ne!(one.id(), two.id());
    let _guard = one.write("a").blocking().unwrap();
    assert_eq!(two.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn requests_without_an_owner_are_strangers(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    bench.assert_busy("a", Mode::Read);
    let owner = bench.owner("agent");
    assert_eq!(owner.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn holders_and_waiters_are_attributed(bench: &Bench) {
    let (holder, waiter) = (bench.owner("the holder"), bench.owner("der Wärter"));
    let _guard = holder.write("a").blocking().unwrap();
    let _queued = Polled::queued(waiter.read("a"));
    let _stranger = Polled::queued(bench.locks().read("a"));
    let status = bench.status("a");
    assert_eq!((status.holders[0].label.as_str(), status.holders[0].owner), ("the holder", Some(holder.id())));
    assert_eq!((status.waiters[0].label.as_str(), status.waiters[0].owner), ("der Wärter", Some(waiter.id())));
    assert_eq!(status.waiters[1].label, format!("pid {}", std::process::id()));
}

fn labels_have_one_to_forty_bytes(bench: &Bench) {
    let longest = "x".repeat(MAX_LABEL_BYTES);
    assert_eq!(MAX_LABEL_BYTES, 40);
    for good in ["a", "agent 7/β", longest.as_str()] {
        let owner = bench.owner(good);
        assert_eq!(owner.label(), good);
        let guard = owner.write("a").blocking().unwrap();
        if bench.locks().capabilities().inspect {
            assert_eq!(bench.status("a").current_writer.as_deref(), Some(good));
        }
        drop(guard);
    }
    let too_long = "x".repeat(MAX_LABEL_BYTES + 1);
    for bad in ["", "a\0b", too_long.as_str()] {
        assert_eq!(bench.locks().owner(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

fn an_owner_asks_several_managers(bench: &Bench) {
    let owner = bench.owner("agent");
    let other = owner.with(&bench.with(|settings| settings.write_timeout(None)));
    assert_eq!((other.id(), other.label()), (owner.id(), owner.label()));
    let outer = owner.write("a").blocking().unwrap();
    assert_eq!(other.write("a").try_now().unwrap().token(), outer.token());
}

fn the_environment_carries_label_and_id(bench: &Bench) {
    let owner = bench.owner("agent");
    let expected = [("LOCKS_OWNER", "agent".to_owned()), ("LOCKS_OWNER_ID", owner.id().to_string())];
    assert_eq!(owner.environment(), expected);
    assert_eq!(expected[1].1.parse::<concurrent_locks::OwnerId>().unwrap(), owner.id());
}
