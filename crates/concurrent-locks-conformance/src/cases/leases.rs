//! How a guard reports its end: verify, loss, leases, and holds of limited length.

use std::{sync::mpsc, time::Duration};

use concurrent_locks::{Begun, Error, ErrorKind, Guard, Mode, Standing};

use crate::{
    bench::Bench,
    case::cases,
    polled::Polled,
    wait::{DEADLINE, until},
};

cases! {
    a_held_lock_is_verified,
    several_held_locks_are_verified,
    a_lock_that_is_held_is_not_lost,
    a_released_lock_is_not_lost,
    a_broken_lock_is_not_verified [Revoke],
    one_broken_lock_of_several_is_enough [Revoke],
    a_broken_lock_is_reported [Revoke, Lease],
    a_lease_is_reported_where_there_is_one,
    a_lease_is_renewed [Lease],
    a_limited_hold_is_refused_without_a_lease,
    a_limited_hold_ends [Lease],
    a_limited_hold_ends_for_each_of_several [Lease],
    the_loss_goes_along_with_an_upgrade [Lease, Upgrade],
    the_loss_goes_along_with_a_downgrade [Lease, Downgrade],
    a_free_lock_that_was_asked_for_is_granted_without_a_thread_that_waits,
    an_upgrade_that_was_asked_for_is_granted [Upgrade],
}

/// Short enough to wait for. Nothing relies on being done with anything before it expires.
const HOLD: Duration = Duration::from_millis(300);

#[track_caller]
fn assert_holds(standing: Standing, bench: &Bench) {
    let expected = if bench.locks().capabilities().lease { Standing::Renewed } else { Standing::Held };
    assert_eq!(standing, expected);
}

/// What a channel receives about the loss.
fn told(guard: &Guard) -> mpsc::Receiver<ErrorKind> {
    let (sender, told) = mpsc::channel();
    guard.on_lost(move |error: Error| {
        // A case that failed is not there to receive it.
        let _ = sender.send(error.kind());
    });
    told
}

fn a_held_lock_is_verified(bench: &Bench) {
    for mode in Mode::ALL {
        let guard = bench.locks().request("a", mode).blocking().unwrap();
        assert_holds(guard.verify().blocking(), bench);
        assert_holds(Polled::new(guard.verify()).ready(), bench);
        let (sender, told) = mpsc::channel();
        guard.verify().tell(move |standing| sender.send(standing).unwrap());
        assert_holds(told.recv_timeout(DEADLINE).unwrap(), bench);
    }
}

fn several_held_locks_are_verified(bench: &Bench) {
    let guards = bench.locks().lock_all([("a", Mode::Write), ("b", Mode::Read)]).blocking().unwrap();
    assert_holds(guards.verify().blocking(), bench);
    assert_holds(Polled::new(guards.verify()).ready(), bench);
}

fn a_lock_that_is_held_is_not_lost(bench: &Bench) {
    let guards = bench.locks().lock_all([("a", Mode::Write), ("b", Mode::Read)]).blocking().unwrap();
    let mut lost = Polled::queued(guards.lost());
    let told = told(&guards[0]);
    assert_holds(guards.verify().blocking(), bench);
    lost.pending();
    assert!(told.try_recv().is_err());
}

fn a_released_lock_is_not_lost(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut lost = Polled::queued(guard.lost());
    let told = told(&guard);
    guard.release().unwrap();
    bench.locks().write("a").blocking().unwrap().release().unwrap();
    lost.pending();
    assert!(told.try_recv().is_err());
}

fn a_broken_lock_is_not_verified(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    bench.locks().break_lock("a", guard.token()).blocking().unwrap();
    assert_eq!(guard.verify().blocking(), Standing::Lost);
    assert_eq!(Polled::new(guard.verify()).ready(), Standing::Lost);
    // Also when somebody else has it.
    let _next = bench.locks().write("a").blocking().unwrap();
    assert_eq!(guard.verify().blocking(), Standing::Lost);
}

fn one_broken_lock_of_several_is_enough(bench: &Bench) {
    let guards = bench.locks().lock_all([("a", Mode::Write), ("b", Mode::Write)]).blocking().unwrap();
    bench.locks().break_lock("b", guards[1].token()).blocking().unwrap();
    assert_eq!(guards.verify().blocking(), Standing::Lost);
    assert_holds(guards[0].verify().blocking(), bench);
}

fn a_broken_lock_is_reported(bench: &Bench) {
    let guards = bench.locks().lock_all([("a", Mode::Write), ("b", Mode::Write)]).blocking().unwrap();
    let mut lost = Polled::queued(guards.lost());
    let told = told(&guards[1]);
    bench.locks().break_lock("b", guards[1].token()).blocking().unwrap();
    let error = lost.ready();
    assert_eq!((error.kind(), error.resource()), (ErrorKind::Lost, Some("b")), "{error}");
    until("the callback is called", || told.try_recv() == Ok(ErrorKind::Lost));
    // A later callback is called at once.
    assert_eq!(Polled::new(guards[1].lost()).ready().kind(), ErrorKind::Lost);
    Polled::queued(guards[0].lost());
}

fn a_lease_is_reported_where_there_is_one(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    assert_eq!(guard.lease().is_some(), bench.locks().capabilities().lease);
    if let Some(lease) = guard.lease() {
        assert!(lease.remaining > Duration::ZERO && lease.remaining <= lease.length, "{lease:?}");
    }
}

fn a_lease_is_renewed(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let length = guard.lease().unwrap().length;
    until("it has been held for longer than a lease", || guard.held_for() > length + length / 2);
    assert_eq!(guard.verify().blocking(), Standing::Renewed);
    guard.release().unwrap();
}

fn a_limited_hold_is_refused_without_a_lease(bench: &Bench) {
    let locks = bench.locks();
    let zero = locks.write("a").max_hold(Duration::ZERO).try_now().unwrap_err().kind();
    if locks.capabilities().lease {
        assert_eq!(zero, ErrorKind::InvalidInput);
        return;
    }
    assert_eq!(zero, ErrorKind::Unsupported);
    let refused = |result: Result<(), Error>| assert_eq!(result.unwrap_err().kind(), ErrorKind::Unsupported);
    refused(locks.write("a").max_hold(HOLD).blocking().map(drop));
    refused(locks.write("a").max_hold(HOLD).begin().map(drop));
    refused(locks.write("a").max_hold(HOLD).ask().map(drop));
    refused(Polled::new(locks.read("a").max_hold(HOLD)).ready().map(drop));
    refused(locks.lock_all([("a", Mode::Write)]).max_hold(HOLD).blocking().map(drop));
    bench.assert_free("a");
}

fn a_limited_hold_ends(bench: &Bench) {
    let guard = bench.locks().write("a").max_hold(HOLD).blocking().unwrap();
    assert!(guard.lease().unwrap().remaining <= HOLD);
    let mut lost = Polled::new(guard.lost());
    let told = told(&guard);
    let next = Polled::new(bench.locks().write("a")).granted();
    assert!(next.token() > guard.token());
    assert_eq!(lost.ready().kind(), ErrorKind::Lost);
    until("the callback is called", || told.try_recv() == Ok(ErrorKind::Lost));
    assert_eq!(guard.verify().blocking(), Standing::Lost);
    assert_eq!(guard.lease().unwrap().remaining, Duration::ZERO);
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
    next.release().unwrap();
}

fn a_limited_hold_ends_for_each_of_several(bench: &Bench) {
    let guards = bench.locks().lock_all([("a", Mode::Write), ("b", Mode::Write)]).max_hold(HOLD).blocking().unwrap();
    assert_eq!(Polled::new(guards.lost()).ready().kind(), ErrorKind::Lost);
    for guard in &*guards {
        assert_eq!(Polled::new(guard.lost()).ready().kind(), ErrorKind::Lost);
    }
}

fn the_loss_goes_along_with_an_upgrade(bench: &Bench) {
    let mut guard = bench.locks().read("a").max_hold(HOLD).blocking().unwrap();
    let mut lost = Polled::new(guard.lost());
    // It may be over before it is upgraded: then the upgrade tells.
    match guard.upgrade().blocking() {
        Ok(()) => assert_eq!(lost.ready().kind(), ErrorKind::Lost),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Lost),
    }
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
}

fn the_loss_goes_along_with_a_downgrade(bench: &Bench) {
    let mut guard = bench.locks().write("a").max_hold(HOLD).blocking().unwrap();
    let mut lost = Polled::new(guard.lost());
    match guard.downgrade() {
        Ok(()) => assert_eq!(lost.ready().kind(), ErrorKind::Lost),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Lost),
    }
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
}

fn a_free_lock_that_was_asked_for_is_granted_without_a_thread_that_waits(bench: &Bench) {
    let ask = || bench.locks().write("a").ask().unwrap();
    let guard = match ask() {
        Begun::Granted(guard) => guard,
        Begun::Queued(queued) => Polled::new(queued).granted(),
    };
    let Begun::Queued(second) = ask() else { panic!("it is held") };
    let mut second = Polled::queued(second);
    guard.release().unwrap();
    second.granted().release().unwrap();
    let Begun::Queued(dropped) = ({
        let _held = bench.locks().read("a").blocking().unwrap();
        ask()
    }) else {
        panic!("it is held")
    };
    drop(dropped);
    bench.assert_free("a");
}

fn an_upgrade_that_was_asked_for_is_granted(bench: &Bench) {
    let mut guard = bench.locks().read("a").blocking().unwrap();
    if let Some(mut queued) = guard.upgrade().ask().unwrap() {
        let mut upgrade = Polled::new(std::future::poll_fn(|context| queued.poll(&mut guard, context)));
        upgrade.granted();
        drop(upgrade);
    }
    assert_eq!(guard.mode(), Mode::Write);
    guard.release().unwrap();
    bench.assert_free("a");
}
