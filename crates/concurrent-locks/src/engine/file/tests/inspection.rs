//! Status and statistics of a wait for another process.

use super::*;

#[test]
fn errors_and_status_name_the_holder_in_the_other_process() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let agent = one.owner("agent-1").unwrap();
    let held = agent.write("a").note("compaction").try_now().unwrap();
    let error = two.write("a").timeout(Duration::from_millis(20)).blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let busy = error.busy().unwrap();
    assert_eq!((busy.position, busy.waiters), (Some(1), 1));
    assert!(busy.waited >= Duration::from_millis(20));
    let [holder] = busy.holders.as_slice() else { panic!("{busy:?}") };
    assert_eq!((holder.label.as_str(), holder.pid), ("agent-1", std::process::id()));
    assert_eq!((holder.mode, holder.token, holder.note.as_str()), (Mode::Write, held.token(), "compaction"));
    let error = two.read("a").try_now().unwrap_err();
    assert!(error.to_string().contains("agent-1"), "{error}");
    assert_eq!((error.busy().unwrap().position, error.busy().unwrap().waiters), (None, 0));

    // In the queue behind one that waits for the kernel it is the other process as well.
    let (first, second) = thread::scope(|scope| {
        let wait = || two.write("a").timeout(Duration::from_secs(60)).blocking();
        let first = scope.spawn(wait);
        until("the first waits", || waiters(&two, "a") == 1);
        let second = two.write("a").timeout(Duration::from_millis(20)).blocking();
        let status = two.status("a").blocking().unwrap().unwrap();
        assert_eq!((status.current_writer.as_deref(), status.pending_writes), (Some("agent-1"), 1));
        assert_eq!(status.holders[0].token, held.token());
        assert_eq!(two.deadlocks().blocking().unwrap().suspects, []);
        held.release().unwrap();
        (first.join().unwrap(), second)
    });
    first.unwrap().release().unwrap();
    let error = second.unwrap_err();
    assert_eq!(error.busy().unwrap().holders[0].label, "agent-1");
    assert_eq!(error.busy().unwrap().position, Some(2));
    // Nobody holds it, so nobody is named.
    assert_eq!(std::fs::read(fixture.file("holder")).unwrap(), b"");
}

#[test]
fn statistics_count_the_wait_for_the_other_process_as_a_wait() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let cursor = two.events(None, Duration::ZERO).blocking().unwrap().1;
    let held = take(&one, "a", Mode::Write);
    two.write("a").timeout(Duration::from_millis(30)).blocking().unwrap_err();
    let guard = thread::scope(|scope| {
        let waiter = scope.spawn(|| take(&two, "a", Mode::Write));
        until("it waits", || waiters(&two, "a") == 1);
        let now = &two.statistics("a").blocking().unwrap()[&Mode::Write];
        assert_eq!((now.current_holders, now.current_waiters), (1, 1));
        held.release().unwrap();
        waiter.join().unwrap()
    });
    let (token, waited) = (guard.token(), guard.waited());
    guard.release().unwrap();
    let told = &two.statistics("a").blocking().unwrap()[&Mode::Write];
    assert_eq!((told.total_acquisitions, told.total_releases, told.total_timeouts), (1, 1, 1));
    assert_eq!((told.total_errors, told.total_deadlocks, told.current_waiters), (0, 0, 0));
    assert_eq!(told.max_wait, waited);
    assert_eq!(two.statistics("a").blocking().unwrap()[&Mode::Read].total_acquisitions, 0);
    let (events, _) = two.events(Some(cursor), Duration::ZERO).blocking().unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.token)).collect();
    use EventKind::{Grant, Release, Timeout, Wait};
    assert_eq!(told, [(Wait, 0), (Timeout, 0), (Wait, 0), (Grant, token), (Release, token)]);
    two.reset_statistics(None).blocking().unwrap();
    assert!(two.statistics_all().blocking().unwrap().is_empty());
}

#[test]
fn deadlocks_are_found_within_the_process() {
    let fixture = Fixture::new();
    let [one, _] = fixture.processes();
    let [left, right] = ["left", "right"].map(|label| one.owner(label).unwrap());
    let a = left.write("a").try_now().unwrap();
    let b = right.write("b").try_now().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| left.write("b").timeout(None).blocking());
        until("left waits", || waiters(&one, "b") == 1);
        let error = right.write("a").blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadlock);
        drop(b);
        waiter.join().unwrap().unwrap().release().unwrap();
    });
    assert_eq!(one.statistics("a").blocking().unwrap()[&Mode::Write].total_deadlocks, 1);
    drop(a);
}

#[test]
fn a_long_wait_for_the_other_process_is_a_suspect() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let mut settings = *two.settings();
    settings.suspect_after = Duration::ZERO;
    let two = two.with_settings(settings);
    let held = take(&one, "a", Mode::Read);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| take(&two, "a", Mode::Write));
        until("it waits", || waiters(&two, "a") == 1);
        let suspects = two.deadlocks().blocking().unwrap().suspects;
        assert_eq!((suspects.len(), suspects[0].resource.as_str(), suspects[0].mode), (1, "a", Mode::Write));
        held.release().unwrap();
        waiter.join().unwrap().release().unwrap();
    });
}
