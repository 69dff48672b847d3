//! An operator breaks a lock.

use concurrent_locks::{ErrorKind, Mode};

use crate::{bench::Bench, case::cases, polled::Polled};

cases! {
    the_next_waiter_gets_a_broken_lock [Revoke],
    the_holder_learns_of_it_at_its_release [Revoke],
    a_lost_guard_does_nothing [Revoke],
    a_lost_guard_does_no_harm_to_the_next_holder [Revoke],
    only_the_right_token_breaks [Revoke],
    one_reader_of_several_is_broken [Revoke],
    a_re_entered_lock_is_broken_as_one [Revoke],
    the_operator_learns_whom_it_hit [Revoke],
}

fn the_next_waiter_gets_a_broken_lock(bench: &Bench) {
    let stuck = bench.locks().write("a").blocking().unwrap();
    let mut waiter = Polled::queued(bench.locks().write("a"));
    bench.locks().break_lock("a", stuck.token()).blocking().unwrap();
    let next = waiter.granted();
    assert!(next.token() > stuck.token());
    next.release().unwrap();
    drop(stuck);
    bench.assert_free("a");
}

fn the_holder_learns_of_it_at_its_release(bench: &Bench) {
    let stuck = bench.locks().write("a").blocking().unwrap();
    bench.locks().break_lock("a", stuck.token()).blocking().unwrap();
    assert_eq!(stuck.release().unwrap_err().kind(), ErrorKind::Lost);
    bench.assert_free("a");
}

fn a_lost_guard_does_nothing(bench: &Bench) {
    let mut stuck = bench.locks().write("a").blocking().unwrap();
    bench.locks().break_lock("a", stuck.token()).blocking().unwrap();
    assert_eq!(stuck.name().unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(stuck.downgrade().unwrap_err().kind(), ErrorKind::Lost);
    let mut reader = bench.locks().read("a").blocking().unwrap();
    bench.locks().break_lock("a", reader.token()).blocking().unwrap();
    assert_eq!(reader.upgrade().blocking().unwrap_err().kind(), ErrorKind::Lost);
    drop((stuck, reader));
    bench.assert_free("a");
}

fn a_lost_guard_does_no_harm_to_the_next_holder(bench: &Bench) {
    for _ in 0..20 {
        let stuck = bench.locks().write("a").blocking().unwrap();
        bench.locks().break_lock("a", stuck.token()).blocking().unwrap();
        let next = bench.locks().write("a").try_now().unwrap();
        drop(stuck);
        bench.assert_busy("a", Mode::Read);
        next.release().unwrap();
    }
    bench.assert_free("a");
}

fn only_the_right_token_breaks(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let _queued = Polled::queued(bench.locks().write("a"));
    for wrong in [0, guard.token() - 1, guard.token() + 1, u64::MAX] {
        assert_eq!(bench.locks().break_lock("a", wrong).blocking().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let other = bench.locks().break_lock("never asked for", guard.token()).blocking();
    assert_eq!(other.unwrap_err().kind(), ErrorKind::InvalidInput);
    guard.release().unwrap();
}

fn one_reader_of_several_is_broken(bench: &Bench) {
    let [stuck, other] = [0, 1].map(|_| bench.locks().read("a").blocking().unwrap());
    let mut writer = Polled::queued(bench.locks().write("a"));
    bench.locks().break_lock("a", stuck.token()).blocking().unwrap();
    writer.pending();
    other.release().unwrap();
    drop(writer.granted());
    assert_eq!(stuck.release().unwrap_err().kind(), ErrorKind::Lost);
    bench.assert_free("a");
}

fn a_re_entered_lock_is_broken_as_one(bench: &Bench) {
    let owner = bench.owner("agent");
    let guards = [owner.write("a").blocking().unwrap(), owner.read("a").blocking().unwrap()];
    bench.locks().break_lock("a", guards[0].token()).blocking().unwrap();
    let next = bench.locks().write("a").try_now().unwrap();
    for guard in guards {
        assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
    }
    bench.assert_busy("a", Mode::Read);
    next.release().unwrap();
    bench.assert_free("a");
}

fn the_operator_learns_whom_it_hit(bench: &Bench) {
    let owner = bench.owner("agent-7");
    let guard = owner.read("a").note("stuck").blocking().unwrap();
    let hit = bench.locks().break_lock("a", guard.token()).blocking().unwrap();
    assert_eq!((hit.label.as_str(), hit.owner, hit.note.as_str()), ("agent-7", Some(owner.id()), "stuck"));
    assert_eq!((hit.token, hit.mode, hit.pid), (guard.token(), Mode::Read, std::process::id()));
}
