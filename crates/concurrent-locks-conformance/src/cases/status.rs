//! Status shows the actual state of a lock.

use std::time::Duration;

use concurrent_locks::{MAX_NOTE_BYTES, Mode};

use crate::{
    bench::Bench,
    case::cases,
    polled::Polled,
    wait::{DEADLINE, rfc3339, until},
};

cases! {
    a_writer_and_its_waiters_are_seen [Inspect],
    readers_are_seen [Inspect],
    an_unknown_resource_has_no_status,
    an_idle_resource_is_seen_as_idle [Inspect],
    every_resource_is_seen [Inspect],
    times_are_reported_and_grow [Inspect],
    a_request_without_an_owner_is_shown_by_its_process [Inspect],
    a_long_note_is_cut_at_a_character [Inspect],
    modes_are_seen_after_upgrade_and_downgrade [Inspect, Upgrade, Downgrade],
    looking_does_not_disturb [Inspect],
    the_engine_is_healthy,
}

fn a_writer_and_its_waiters_are_seen(bench: &Bench) {
    let owner = bench.owner("agent-7");
    let guard = owner.write("a").note("compaction").priority(2).blocking().unwrap();
    let _queue = [Mode::Write, Mode::Read, Mode::Write].map(|mode| Polled::queued(bench.locks().request("a", mode)));
    let status = bench.status("a");
    assert_eq!(status.resource_name, "a");
    assert_eq!((status.readers, status.writer_active), (0, true));
    assert_eq!(status.current_writer.as_deref(), Some("agent-7"));
    assert_eq!(status.current_readers, Vec::<String>::new());
    assert_eq!((status.pending_writes, status.pending_requests), (2, 3));
    let [holder] = &status.holders[..] else { panic!("not one holder: {status:?}") };
    assert_eq!((holder.owner, holder.label.as_str()), (Some(owner.id()), "agent-7"));
    assert_eq!((holder.mode, holder.priority, holder.token), (Mode::Write, 2, guard.token()));
    assert_eq!((holder.pid, holder.note.as_str()), (std::process::id(), "compaction"));
    assert!(!holder.host.is_empty());
    let modes: Vec<_> = status.waiters.iter().map(|waiter| waiter.mode).collect();
    assert_eq!(modes, [Mode::Write, Mode::Read, Mode::Write]);
    for waiter in &status.waiters {
        assert_eq!((waiter.pid, &waiter.host), (std::process::id(), &holder.host));
    }
}

fn readers_are_seen(bench: &Bench) {
    let owners = ["r1", "r2", "r3"].map(|label| bench.owner(label));
    let mut guards: Vec<_> = owners.iter().map(|owner| owner.read("a").blocking().unwrap()).collect();
    let mut status = bench.status("a");
    assert_eq!((status.readers, status.writer_active, status.current_writer), (3, false, None));
    status.current_readers.sort();
    assert_eq!(status.current_readers, ["r1", "r2", "r3"]);
    drop(guards.remove(1));
    let mut labels = bench.status("a").current_readers;
    labels.sort();
    assert_eq!(labels, ["r1", "r3"]);
}

fn an_unknown_resource_has_no_status(bench: &Bench) {
    assert_eq!(bench.locks().status("never asked for").blocking().unwrap(), None);
    assert!(bench.locks().statistics("never asked for").blocking().unwrap().is_empty());
    assert_eq!(bench.locks().status("never asked for").blocking().unwrap(), None, "looking does not make it known");
}

fn an_idle_resource_is_seen_as_idle(bench: &Bench) {
    drop(bench.locks().write("a").blocking().unwrap());
    let status = bench.status("a");
    assert_eq!((status.readers, status.writer_active, status.pending_requests), (0, false, 0));
    assert!(status.holders.is_empty() && status.waiters.is_empty() && status.current_writer.is_none());
}

fn every_resource_is_seen(bench: &Bench) {
    let names: Vec<_> = (0..300).map(|index| format!("many/{index:03}")).collect();
    let guards: Vec<_> = names.iter().map(|name| bench.locks().write(name).blocking().unwrap()).collect();
    let all = bench.locks().status_all().blocking().unwrap();
    for (name, guard) in names.iter().zip(&guards) {
        assert_eq!(all[name].holders[0].token, guard.token());
    }
    assert_eq!(all.len(), names.len());
}

fn times_are_reported_and_grow(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    let _waiter = Polled::queued(bench.locks().write("a"));
    let first = bench.status("a");
    until("times grow", || {
        let later = bench.status("a");
        let grown = |earlier, later| later > earlier + Duration::from_millis(5);
        grown(first.holders[0].held, later.holders[0].held) && grown(first.waiters[0].waited, later.waiters[0].waited)
    });
    let since = [first.holders[0].since, first.waiters[0].since].map(Option::unwrap);
    assert!(
        since.is_sorted() && since.iter().all(|since| since.elapsed().is_ok_and(|ago| ago < DEADLINE)),
        "{since:?}"
    );
    let again = bench.status("a").holders[0].since;
    assert_eq!(rfc3339(again), rfc3339(first.holders[0].since), "the time of the grant stands still");
}

fn a_request_without_an_owner_is_shown_by_its_process(bench: &Bench) {
    let _guards = [bench.locks().read("a").blocking().unwrap(), bench.locks().read("a").blocking().unwrap()];
    let status = bench.status("a");
    assert!(status.holders.iter().all(|holder| holder.label == format!("pid {}", std::process::id())));
    assert_ne!(status.holders[0].owner, status.holders[1].owner);
    assert!(status.holders.iter().all(|holder| holder.owner.is_some()));
}

fn a_long_note_is_cut_at_a_character(bench: &Bench) {
    assert_eq!(MAX_NOTE_BYTES, 80);
    let longest = "x".repeat(80);
    let umlauts = format!("x{}", "ü".repeat(60));
    for (note, shown) in [(longest.as_str(), longest.as_str()), (&umlauts, &umlauts[..79]), ("", "")] {
        let guard = bench.locks().write("a").note(note).blocking().unwrap();
        let waiter = Polled::queued(bench.locks().write("a").note(note));
        let status = bench.status("a");
        assert_eq!((status.holders[0].note.as_str(), status.waiters[0].note.as_str()), (shown, shown));
        drop((waiter, guard));
    }
}

fn modes_are_seen_after_upgrade_and_downgrade(bench: &Bench) {
    let owner = bench.owner("agent-7");
    let mut guard = owner.read("a").blocking().unwrap();
    guard.upgrade().blocking().unwrap();
    let status = bench.status("a");
    assert_eq!((status.readers, status.current_writer.as_deref()), (0, Some("agent-7")), "{status:?}");
    assert_eq!(status.holders[0].token, guard.token());
    guard.downgrade().unwrap();
    let status = bench.status("a");
    assert_eq!((status.readers, status.writer_active, status.holders.len()), (1, false, 1), "{status:?}");
    assert_eq!(status.holders[0].token, guard.token());
}

fn looking_does_not_disturb(bench: &Bench) {
    let section = crate::section::Section::default();
    std::thread::scope(|scope| {
        let workers = [0, 1, 2].map(|_| {
            scope.spawn(|| {
                for round in 0..500 {
                    let mode = if round % 2 == 0 { Mode::Write } else { Mode::Read };
                    let _guard = bench.locks().request("a", mode).blocking().unwrap();
                    section.visit(mode);
                }
            })
        });
        while !workers.iter().all(|worker| worker.is_finished()) {
            for status in bench.locks().status_all().blocking().unwrap().into_values() {
                let writers = status.holders.iter().filter(|holder| holder.mode == Mode::Write).count();
                assert_eq!(status.writer_active, writers == 1, "{status:?}");
                assert_eq!(status.readers + writers, status.holders.len(), "{status:?}");
                assert_eq!(status.pending_requests, status.waiters.len(), "{status:?}");
            }
            bench.locks().statistics_all().blocking().unwrap();
        }
    });
    bench.assert_free("a");
}

fn the_engine_is_healthy(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    let health = bench.locks().health().blocking().unwrap();
    assert_eq!(health.url, bench.url());
    assert_eq!(health.problems, Vec::<String>::new());
    assert_eq!((health.corrupt, health.rebuilds, health.reaped), (0, 0, 0));
    if bench.locks().capabilities().inspect {
        assert!(health.attached.iter().any(|process| process.pid == std::process::id() && process.alive));
        for usage in [health.resources, health.requests, health.processes] {
            assert!(usage.used >= 1 && usage.used <= usage.capacity, "{health:?}");
        }
    }
}
