//! The accessors of a guard, and moving it between threads.

use std::{thread, time::Duration};

use concurrent_locks::{
    Acquire, AcquireAll, Error, Guard, GuardAll, LockManager, Lost, Mode, Owner, Queued, QueuedUpgrade, Request,
    RequestAll, Resource, Upgrade, Upgrading, Verify, Verifying,
};

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

cases! {
    a_guard_knows_what_it_holds,
    an_uncontended_guard_has_not_waited,
    a_guard_knows_how_long_it_waited [Inspect],
    a_guard_knows_how_long_it_is_held,
    release_says_that_all_is_well,
    a_guard_may_be_dropped_on_another_thread,
    a_guard_may_be_dropped_by_another_task,
    guards_and_futures_are_send,
}

fn a_guard_knows_what_it_holds(bench: &Bench) {
    for mode in Mode::ALL {
        let guard = bench.locks().request("episodic_db:memory.db", mode).blocking().unwrap();
        assert_eq!(guard.name().unwrap(), "episodic_db:memory.db");
        assert_eq!(guard.mode(), mode);
        assert!(guard.token() > 0);
        assert!(format!("{guard:?}").contains("episodic_db:memory.db"));
    }
}

fn an_uncontended_guard_has_not_waited(bench: &Bench) {
    assert_eq!(bench.locks().write("a").blocking().unwrap().waited(), Duration::ZERO);
    assert_eq!(bench.locks().read("a").try_now().unwrap().waited(), Duration::ZERO);
}

fn a_guard_knows_how_long_it_waited(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut waiter = Polled::queued(bench.locks().write("a"));
    until("it has waited", || bench.status("a").waiters[0].waited > Duration::from_millis(20));
    drop(guard);
    let waited = waiter.granted().waited();
    assert!(waited >= Duration::from_millis(20), "{waited:?}");
}

fn a_guard_knows_how_long_it_is_held(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let first = guard.held_for();
    until("it is held longer", || guard.held_for() >= first + Duration::from_millis(20));
}

fn release_says_that_all_is_well(bench: &Bench) {
    for mode in Mode::ALL {
        bench.locks().request("a", mode).blocking().unwrap().release().unwrap();
        bench.assert_free("a");
    }
}

fn a_guard_may_be_dropped_on_another_thread(bench: &Bench) {
    let owner = bench.owner("agent");
    let guards = [bench.locks().write("a").blocking().unwrap(), owner.write("b").blocking().unwrap()];
    let mut waiter = Polled::queued(bench.locks().write("a"));
    thread::spawn(move || drop(guards)).join().unwrap();
    drop(waiter.granted());
    bench.assert_free("a");
    bench.assert_free("b");
}

fn a_guard_may_be_dropped_by_another_task(bench: &Bench) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let locks = bench.locks().clone();
    let taken = runtime.spawn(async move { locks.write("a").await.unwrap() });
    let guard = runtime.block_on(taken).unwrap();
    bench.assert_busy("a", Mode::Read);
    runtime.block_on(runtime.spawn(async move { drop(guard) })).unwrap();
    bench.assert_free("a");
}

fn guards_and_futures_are_send(_: &Bench) {
    fn send<T: Send>() {}
    fn sync<T: Send + Sync>() {}
    send::<Guard>();
    send::<GuardAll>();
    send::<Request<'_>>();
    send::<RequestAll>();
    send::<Acquire<'_>>();
    send::<AcquireAll>();
    send::<Upgrade<'_>>();
    send::<Upgrading<'_>>();
    send::<Queued>();
    send::<QueuedUpgrade>();
    send::<Lost>();
    send::<Verify<'_>>();
    send::<Verifying<'_>>();
    sync::<LockManager>();
    sync::<Owner>();
    sync::<Resource>();
    sync::<Error>();
}
