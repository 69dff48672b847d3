//! From read to write and back without releasing.

use std::time::Duration;

use concurrent_locks::{ErrorKind, Guard, Mode};

use crate::{bench::Bench, case::cases, polled::Polled};

const SHORT: Duration = Duration::from_millis(30);

cases! {
    the_only_reader_upgrades_at_once [Upgrade],
    an_upgrade_waits_for_the_other_readers [Upgrade, Fair],
    an_upgrade_goes_ahead_of_waiters [Upgrade, Fair],
    of_two_upgraders_one_is_refused_at_once [Upgrade, Deadlocks],
    of_two_owners_that_upgrade_one_is_refused_at_once [Upgrade, Deadlocks],
    a_cancelled_upgrade_keeps_the_read [Upgrade],
    an_upgrade_cancelled_in_the_instant_of_its_grant_keeps_the_read [Upgrade],
    an_upgrade_that_times_out_keeps_the_read [Upgrade],
    try_upgrade_does_not_wait [Upgrade],
    upgrading_a_writer_does_nothing [Upgrade],
    an_owner_upgrades_by_asking [Upgrade],
    an_upgraded_guard_gives_everything_back [Upgrade],
    a_downgrade_lets_readers_in_and_no_writer [Downgrade, Fair],
    a_downgraded_guard_is_a_reader [Downgrade],
    downgrading_a_reader_does_nothing [Downgrade],
    up_and_down_again [Upgrade, Downgrade],
    an_upgrade_of_a_lost_read_is_lost [Upgrade, Revoke],
}

fn reader(bench: &Bench) -> Guard {
    bench.locks().read("a").blocking().unwrap()
}

fn the_only_reader_upgrades_at_once(bench: &Bench) {
    for way in 0..3 {
        let mut guard = reader(bench);
        let read_token = guard.token();
        match way {
            0 => guard.upgrade().blocking().unwrap(),
            1 => guard.upgrade().try_now().unwrap(),
            _ => Polled::new(guard.upgrade()).granted(),
        }
        assert_eq!(guard.mode(), Mode::Write);
        assert!(guard.token() > read_token, "the write grant has a token of its own");
        bench.assert_busy("a", Mode::Read);
        guard.release().unwrap();
        bench.assert_free("a");
    }
}

fn an_upgrade_waits_for_the_other_readers(bench: &Bench) {
    let (mut guard, other, third) = (reader(bench), reader(bench), reader(bench));
    let mut upgrade = Polled::queued(guard.upgrade());
    bench.assert_busy("a", Mode::Read);
    drop(other);
    upgrade.pending();
    drop(third);
    upgrade.granted();
    drop(upgrade);
    assert_eq!(guard.mode(), Mode::Write);
    bench.assert_busy("a", Mode::Read);
    drop(guard);
    bench.assert_free("a");
}

fn an_upgrade_goes_ahead_of_waiters(bench: &Bench) {
    let (mut guard, other) = (reader(bench), reader(bench));
    let mut writer =
        Polled::queued(bench.locks().write("a").priority(if bench.locks().capabilities().priority { 100 } else { 0 }));
    let mut late = Polled::queued(bench.locks().read("a"));
    let mut upgrade = Polled::queued(guard.upgrade());
    drop(other);
    upgrade.granted();
    drop(upgrade);
    writer.pending();
    late.pending();
    drop(guard);
    let writer = writer.granted();
    late.pending();
    drop(writer);
    drop(late.granted());
    bench.assert_free("a");
}

fn of_two_upgraders_one_is_refused_at_once(bench: &Bench) {
    two_upgraders(bench, reader(bench), reader(bench));
}

fn of_two_owners_that_upgrade_one_is_refused_at_once(bench: &Bench) {
    let (one, two) = (bench.owner("one"), bench.owner("two"));
    two_upgraders(bench, one.read("a").blocking().unwrap(), two.read("a").blocking().unwrap());
}

fn two_upgraders(bench: &Bench, mut first: Guard, mut second: Guard) {
    let mut upgrade = Polled::queued(first.upgrade());
    let error = Polled::new(second.upgrade()).ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
    assert_eq!(error.resource(), Some("a"));
    assert_eq!(error.cycle().unwrap().links.len(), 2, "{error}");
    assert_eq!(second.mode(), Mode::Read);
    upgrade.pending();
    second.release().unwrap();
    upgrade.granted();
    drop(upgrade);
    first.release().unwrap();
    bench.assert_free("a");
}

fn a_cancelled_upgrade_keeps_the_read(bench: &Bench) {
    let (mut guard, other) = (reader(bench), reader(bench));
    drop(Polled::new(guard.upgrade()));
    drop(Polled::queued(guard.upgrade()));
    assert_eq!(guard.mode(), Mode::Read);
    drop(reader(bench));
    drop(other);
    bench.assert_busy("a", Mode::Write);
    drop(reader(bench));
    guard.release().unwrap();
    bench.assert_free("a");
}

fn an_upgrade_cancelled_in_the_instant_of_its_grant_keeps_the_read(bench: &Bench) {
    let (mut guard, other) = (reader(bench), reader(bench));
    let upgrade = Polled::queued(guard.upgrade());
    let mut behind = Polled::queued(bench.locks().read("a"));
    drop(other);
    upgrade.woken();
    drop(upgrade);
    assert_eq!(guard.mode(), Mode::Read);
    drop(behind.granted());
    bench.assert_busy("a", Mode::Write);
    guard.release().unwrap();
    bench.assert_free("a");
}

fn an_upgrade_that_times_out_keeps_the_read(bench: &Bench) {
    let owner = bench.owner("the other reader");
    let (mut guard, other) = (reader(bench), owner.read("a").blocking().unwrap());
    for _ in 0..2 {
        let error = guard.upgrade().timeout(SHORT).blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("the other reader"), "{error}");
        let error = Polled::new(guard.upgrade().timeout(SHORT)).ready().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    assert_eq!(guard.mode(), Mode::Read);
    drop(reader(bench));
    drop((guard, other));
    bench.assert_free("a");
}

fn try_upgrade_does_not_wait(bench: &Bench) {
    let (mut guard, other) = (reader(bench), reader(bench));
    assert_eq!(guard.upgrade().try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(guard.mode(), Mode::Read);
    drop(other);
    guard.upgrade().try_now().unwrap();
    assert_eq!(guard.mode(), Mode::Write);
}

fn upgrading_a_writer_does_nothing(bench: &Bench) {
    let mut guard = bench.locks().write("a").blocking().unwrap();
    let token = guard.token();
    guard.upgrade().blocking().unwrap();
    guard.upgrade().try_now().unwrap();
    Polled::new(guard.upgrade()).granted();
    assert_eq!((guard.token(), guard.mode()), (token, Mode::Write));
    drop(guard);
    bench.assert_free("a");
}

fn an_owner_upgrades_by_asking(bench: &Bench) {
    let owner = bench.owner("agent");
    let read = owner.read("a").blocking().unwrap();
    let other = reader(bench);
    assert_eq!(owner.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut write = Polled::queued(owner.write("a"));
    drop(other);
    let write = write.granted();
    assert!(write.token() > read.token());
    bench.assert_busy("a", Mode::Read);
    drop(read);
    bench.assert_busy("a", Mode::Read);
    drop(write);
    bench.assert_free("a");
}

fn an_upgraded_guard_gives_everything_back(bench: &Bench) {
    let owner = bench.owner("agent");
    let mut guard = owner.read("a").blocking().unwrap();
    guard.upgrade().blocking().unwrap();
    let mut waiter = Polled::queued(bench.locks().write("a"));
    drop(guard);
    drop(waiter.granted());
    bench.assert_free("a");
    drop(owner.write("a").try_now().unwrap());
    bench.assert_free("a");
}

fn a_downgrade_lets_readers_in_and_no_writer(bench: &Bench) {
    let mut guard = bench.locks().write("a").blocking().unwrap();
    let mut readers = [Polled::queued(bench.locks().read("a")), Polled::queued(bench.locks().read("a"))];
    let mut writer = Polled::queued(bench.locks().write("a"));
    let mut late = Polled::queued(bench.locks().read("a"));
    guard.downgrade().unwrap();
    assert_eq!(guard.mode(), Mode::Read);
    let joined = readers.each_mut().map(Polled::granted);
    writer.pending();
    late.pending();
    drop(guard);
    writer.pending();
    drop(joined);
    drop(writer.granted());
    drop(late.granted());
    bench.assert_free("a");
}

fn a_downgraded_guard_is_a_reader(bench: &Bench) {
    let mut guard = bench.locks().write("a").blocking().unwrap();
    guard.downgrade().unwrap();
    assert_eq!(guard.mode(), Mode::Read);
    drop(reader(bench));
    bench.assert_busy("a", Mode::Write);
    guard.release().unwrap();
    bench.assert_free("a");
}

fn downgrading_a_reader_does_nothing(bench: &Bench) {
    let mut guard = reader(bench);
    let token = guard.token();
    guard.downgrade().unwrap();
    assert_eq!((guard.token(), guard.mode()), (token, Mode::Read));
    drop(guard);
    bench.assert_free("a");
}

fn up_and_down_again(bench: &Bench) {
    let mut guard = reader(bench);
    let mut last_token = guard.token();
    for _ in 0..50 {
        guard.upgrade().blocking().unwrap();
        assert!(guard.token() > last_token);
        last_token = guard.token();
        bench.assert_busy("a", Mode::Read);
        guard.downgrade().unwrap();
        drop(reader(bench));
        bench.assert_busy("a", Mode::Write);
    }
    guard.release().unwrap();
    bench.assert_free("a");
}

/// Others may have written what was read: an upgrade must not say that nobody has.
fn an_upgrade_of_a_lost_read_is_lost(bench: &Bench) {
    for awaited in [false, true] {
        let (mut guard, other) = (reader(bench), reader(bench));
        let token = guard.token();
        let error = if awaited {
            let mut upgrade = Polled::queued(guard.upgrade());
            bench.locks().break_lock("a", token).blocking().unwrap();
            drop(other);
            upgrade.ready().unwrap_err()
        } else {
            let queued = guard.upgrade().begin().unwrap().expect("it waits for the other reader");
            bench.locks().break_lock("a", token).blocking().unwrap();
            drop(other);
            queued.blocking_while(&mut guard, || true).unwrap_err()
        };
        assert_eq!(error.kind(), ErrorKind::Lost);
        assert_eq!((guard.mode(), guard.token()), (Mode::Read, token), "the guard is unchanged");
        assert_eq!(guard.name().unwrap_err().kind(), ErrorKind::Lost);
        bench.assert_free("a");
        assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
        bench.assert_free("a");
    }
}
