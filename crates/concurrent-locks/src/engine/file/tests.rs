//! Two engines of one directory are two processes to each other: every kernel lock is an open file
//! of its own. Where that is not enough, the tests use real processes.

use std::{
    io::{BufRead, BufReader},
    pin::pin,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::{
    engine::{DeadlockPolicy, Wait},
    error::ErrorKind,
    event::EventKind,
    guard::Guard,
    manager::LockManager,
};

const DIRECTORY_VARIABLE: &str = "FILE_ENGINE_TEST_DIRECTORY";

/// A directory of lock files, reached by a path of its own for each "process".
struct Fixture {
    root: TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("locks")).unwrap();
        Fixture { root }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("locks")
    }

    /// The managers of two processes.
    fn processes(&self) -> [LockManager; 2] {
        ["one", "two"].map(|name| {
            let path = self.root.path().join(name);
            std::os::unix::fs::symlink(self.directory(), &path).unwrap();
            LockManager::connect(&format!("file:{}", path.display())).unwrap()
        })
    }

    /// The only file with this extension.
    fn file(&self, extension: &str) -> PathBuf {
        let paths = std::fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().path());
        let own =
            |path: &PathBuf| path.extension().is_some_and(|own| own == extension) && !path.ends_with(token::MAKER);
        paths.into_iter().find(own).unwrap()
    }
}

/// Waits for a fact.
fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fact() {
        assert!(Instant::now() < deadline, "{what} did not become true");
        thread::sleep(Duration::from_millis(1));
    }
}

fn waiters(locks: &LockManager, name: &str) -> usize {
    locks.status(name).unwrap().map_or(0, |status| status.pending_requests)
}

/// Takes the lock as soon as it is free. A thread whose request gave up may have it for a moment.
fn take(locks: &LockManager, name: &str, mode: Mode) -> Guard {
    locks.request(name, mode).timeout(Duration::from_secs(60)).blocking().unwrap()
}

#[test]
fn processes_exclude_each_other_and_readers_share() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let writer = one.write("a").try_now().unwrap();
    assert_eq!(writer.waited(), Duration::ZERO);
    for mode in Mode::ALL {
        assert_eq!(two.request("a", mode).try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    two.write("b").try_now().unwrap().release().unwrap();
    writer.release().unwrap();
    let readers =
        [one.read("a").try_now().unwrap(), two.read("a").try_now().unwrap(), one.read("a").try_now().unwrap()];
    assert_eq!(one.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    let [first, second, third] = readers;
    drop(first);
    // The process still reads with the third.
    drop(second);
    assert_eq!(two.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(third);
    two.write("a").try_now().unwrap().release().unwrap();
}

#[test]
fn a_parked_thread_is_woken_when_the_other_process_gives_the_lock_back() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    for mode in Mode::ALL {
        let held = take(&one, "a", Mode::Write);
        let waiter = thread::spawn({
            let two = two.clone();
            move || take(&two, "a", mode)
        });
        until("the thread waits", || waiters(&two, "a") == 1);
        held.release().unwrap();
        let guard = waiter.join().unwrap();
        assert_eq!(guard.mode(), mode);
        assert!(guard.waited() > Duration::ZERO);
    }
}

#[tokio::test]
async fn a_future_is_woken_when_the_other_process_gives_the_lock_back() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let held = one.write("a").await.unwrap();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let two = two.clone();
            tokio::spawn(async move { two.read("a").timeout(None).await.map(|guard| guard.token()) })
        })
        .collect();
    while waiters(&two, "a") < 3 {
        tokio::task::yield_now().await;
    }
    held.release().unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

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

    // In the queue behind one who waits for the kernel it is the other process as well.
    let (first, second) = thread::scope(|scope| {
        let wait = || two.write("a").timeout(Duration::from_secs(60)).blocking();
        let first = scope.spawn(wait);
        until("the first waits", || waiters(&two, "a") == 1);
        let second = two.write("a").timeout(Duration::from_millis(20)).blocking();
        let status = two.status("a").unwrap().unwrap();
        assert_eq!((status.current_writer.as_deref(), status.pending_writes), (Some("agent-1"), 1));
        assert_eq!(status.holders[0].token, held.token());
        assert_eq!(two.deadlocks().unwrap().suspects, []);
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
fn a_request_that_gave_up_leaves_a_free_lock() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    for mode in Mode::ALL {
        let held = take(&one, "a", Mode::Write);
        let error = two.request("a", mode).timeout(Duration::from_millis(10)).blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let error = two.request("a", mode).timeout(Duration::ZERO).blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(waiters(&two, "a"), 0);
        held.release().unwrap();
        take(&one, "a", Mode::Write).release().unwrap();
    }
}

#[tokio::test]
async fn a_future_gives_up_in_time_and_one_that_is_dropped_leaves_the_queue() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let held = one.write("a").await.unwrap();
    let error = two.read("a").timeout(Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    {
        let mut dropped = pin!(two.write("a").into_future());
        let polled = std::future::poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        assert_eq!(waiters(&two, "a"), 1);
    }
    assert_eq!(waiters(&two, "a"), 0);
    held.release().unwrap();
    // Also the one whose request was dropped after the kernel had granted it.
    for _ in 0..20 {
        let held = take(&one, "a", Mode::Write);
        let mut dropped = Box::pin(two.write("a").into_future());
        let polled = std::future::poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        held.release().unwrap();
        drop(dropped);
    }
    take(&one, "a", Mode::Write).release().unwrap();
    take(&two, "a", Mode::Write).release().unwrap();
}

/// A thread goes on waiting for a mode that nobody needs any more, while another mode is needed.
#[test]
fn an_abandoned_wait_does_not_stand_in_the_way() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let reads = take(&one, "a", Mode::Read);
    two.write("a").timeout(Duration::from_millis(10)).blocking().unwrap_err();
    // The process can read beside the other, though its own thread still waits to write.
    two.read("a").try_now().unwrap().release().unwrap();
    take(&two, "a", Mode::Read).release().unwrap();
    reads.release().unwrap();
    take(&two, "a", Mode::Write).release().unwrap();
    take(&one, "a", Mode::Write).release().unwrap();
}

#[test]
fn tokens_increase_across_processes_and_modes_and_a_re_entry_has_the_same() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let mut last = 0;
    for round in 0..10 {
        let mode = Mode::ALL[round % 2];
        for locks in [&one, &two] {
            let guard = take(locks, "a", mode);
            assert!(guard.token() > last);
            last = guard.token();
        }
    }
    let [first, second] = [take(&one, "a", Mode::Read), take(&one, "a", Mode::Read)];
    assert!(last < first.token() && first.token() < second.token());
    drop((first, second));
    let agent = two.owner("agent").unwrap();
    let outer = agent.write("a").blocking().unwrap();
    let inner = agent.read("a").blocking().unwrap();
    assert_eq!(outer.token(), inner.token());
    drop(outer);
    assert_eq!(one.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(inner);
    one.read("a").try_now().unwrap().release().unwrap();
}

#[test]
fn a_damaged_token_file_refuses_grants_and_leaves_a_free_lock() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let last = take(&one, "a", Mode::Write).token();
    let path = fixture.file("token");
    std::fs::write(&path, "garbage").unwrap();
    for locks in [&one, &two] {
        let error = locks.write("a").blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
        assert_eq!(locks.status("a").unwrap().map_or(0, |status| status.holders.len()), 0);
    }
    std::fs::write(&path, format!("{}\n", last + 100)).unwrap();
    assert_eq!(take(&two, "a", Mode::Write).token(), last + 101);
}

#[test]
fn what_the_kernel_cannot_do_is_refused_and_changes_nothing() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let refused = |error: Error| assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    refused(one.write("a").priority(1).try_now().unwrap_err());
    let agent = one.owner("agent").unwrap();
    let mut guard = agent.read("a").try_now().unwrap();
    refused(guard.upgrade().try_now().unwrap_err());
    refused(guard.upgrade().blocking().unwrap_err());
    refused(agent.write("a").blocking().unwrap_err());
    guard.downgrade().unwrap();
    assert_eq!(guard.mode(), Mode::Read);
    two.read("a").try_now().unwrap().release().unwrap();
    guard.release().unwrap();
    let mut guard = agent.write("a").try_now().unwrap();
    refused(guard.downgrade().unwrap_err());
    refused(one.break_lock("a", guard.token()).unwrap_err());
    assert_eq!(two.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    guard.release().unwrap();
    let Capabilities { across_processes, fair, priority, upgrade, downgrade, inspect, revoke, deadlocks, lease } =
        one.capabilities();
    assert_eq!([across_processes, fair, priority, upgrade], [true, false, false, false]);
    assert_eq!([downgrade, inspect, revoke, deadlocks, lease], [false; 5]);
}

#[test]
fn no_update_is_lost() {
    let fixture = Fixture::new();
    let counter = fixture.root.path().join("counter");
    std::fs::write(&counter, "0").unwrap();
    let read = || std::fs::read_to_string(&counter).unwrap().parse::<u32>().unwrap();
    let processes = fixture.processes();
    thread::scope(|scope| {
        for locks in processes.iter().cycle().take(4) {
            scope.spawn(|| {
                for _ in 0..100 {
                    let guard = take(locks, "counter", Mode::Write);
                    std::fs::write(&counter, (read() + 1).to_string()).unwrap();
                    guard.release().unwrap();
                    let guard = take(locks, "counter", Mode::Read);
                    assert_eq!(read(), read());
                    guard.release().unwrap();
                }
            });
        }
    });
    assert_eq!(read(), 400);
}

#[test]
fn statistics_count_the_wait_for_the_other_process_as_a_wait() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let cursor = two.events(None, Duration::ZERO).unwrap().1;
    let held = take(&one, "a", Mode::Write);
    two.write("a").timeout(Duration::from_millis(30)).blocking().unwrap_err();
    let guard = thread::scope(|scope| {
        let waiter = scope.spawn(|| take(&two, "a", Mode::Write));
        until("it waits", || waiters(&two, "a") == 1);
        let now = &two.statistics("a").unwrap()[&Mode::Write];
        assert_eq!((now.current_holders, now.current_waiters), (1, 1));
        held.release().unwrap();
        waiter.join().unwrap()
    });
    let (token, waited) = (guard.token(), guard.waited());
    guard.release().unwrap();
    let told = &two.statistics("a").unwrap()[&Mode::Write];
    assert_eq!((told.total_acquisitions, told.total_releases, told.total_timeouts), (1, 1, 1));
    assert_eq!((told.total_errors, told.total_deadlocks, told.current_waiters), (0, 0, 0));
    assert_eq!(told.max_wait_time_ms, journal::milliseconds(waited));
    assert_eq!(two.statistics("a").unwrap()[&Mode::Read].total_acquisitions, 0);
    let (events, _) = two.events(Some(cursor), Duration::ZERO).unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.token)).collect();
    use EventKind::{Grant, Release, Timeout, Wait};
    assert_eq!(told, [(Wait, 0), (Timeout, 0), (Wait, 0), (Grant, token), (Release, token)]);
    two.reset_statistics(None).unwrap();
    assert!(two.statistics_all().unwrap().is_empty());
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
    assert_eq!(one.statistics("a").unwrap()[&Mode::Write].total_deadlocks, 1);
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
        let suspects = two.deadlocks().unwrap().suspects;
        assert_eq!((suspects.len(), suspects[0].resource.as_str(), suspects[0].lock_type), (1, "a", Mode::Write));
        held.release().unwrap();
        waiter.join().unwrap().release().unwrap();
    });
}

fn ask(name: &str) -> Ask<'_> {
    Ask {
        name: Name::new(name).unwrap(),
        hint: None,
        ancestors: &[],
        mode: Mode::Write,
        owner: 1,
        label: "",
        may_hold: false,
        priority: 0,
        note: "",
        wait: Wait::No,
        policy: DeadlockPolicy::Abort,
        fairness: Fairness::Strict,
        max_hold: None,
    }
}

#[test]
fn nothing_is_kept_of_idle_resources() {
    let fixture = Fixture::new();
    let engine: &'static FileEngine = Box::leak(Box::new(FileEngine::new(&fixture.directory()).unwrap()));
    for number in 0..50 {
        let name = format!("name {number}");
        let Progress::Granted(grant) = crate::engine::begin(engine, &ask(&name)).unwrap() else {
            panic!("the lock is free")
        };
        assert_eq!(engine.process().unwrap().in_use(), (1, 1));
        engine.release(&grant, Ending::Normal, Fairness::Strict).unwrap();
        assert_eq!(engine.release(&grant, Ending::Normal, Fairness::Strict).unwrap_err().kind(), ErrorKind::Lost);
    }
    assert_eq!(engine.process().unwrap().in_use(), (0, 0));
    assert_eq!(engine.health().unwrap().resources.used, 50);

    // Nor of requests that another process stood in the way of.
    let [one, _] = fixture.processes();
    let held = take(&one, "a", Mode::Write);
    for wait in [Wait::No, Wait::For(Duration::ZERO), Wait::For(Duration::from_millis(10))] {
        let result = crate::engine::begin(engine, &Ask { wait, ..ask("a") }).and_then(|progress| match progress {
            Progress::Granted(grant) => Ok(grant),
            Progress::Queued(ticket) => engine.park(&ticket, &mut || true).map(|grant| grant.expect("it goes on")),
        });
        assert!(result.unwrap_err().busy().is_some());
        assert_eq!(engine.process().unwrap().in_use().1, 0);
    }
    held.release().unwrap();
    // The thread that waited is the last to use it.
    until("the resource is forgotten", || engine.process().unwrap().in_use() == (0, 0));
}

#[test]
fn a_directory_that_cannot_be_used_is_told_at_once() {
    let fixture = Fixture::new();
    let file = fixture.root.path().join("a file");
    std::fs::write(&file, "").unwrap();
    let error = LockManager::connect(&format!("file:{}", file.display())).unwrap_err();
    assert!(error.to_string().contains("a file"), "{error}");
    let made = fixture.root.path().join("not/there/yet");
    let locks = LockManager::connect(&format!("file:{}", made.display())).unwrap();
    assert_eq!(locks.health().unwrap().permissions.as_deref(), Some("0700"));
    assert_eq!(locks.health().unwrap().problems, [""; 0]);
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o770)).unwrap();
    assert!(locks.health().unwrap().problems[0].contains("0770"));
}

#[test]
#[ignore = "run by a_killed_process_frees_its_locks"]
#[expect(clippy::print_stdout, reason = "the parent waits for it")]
fn child_holds_until_it_is_killed() {
    let directory = std::env::var(DIRECTORY_VARIABLE).unwrap();
    let locks = LockManager::connect(&format!("file:{directory}")).unwrap();
    let agent = locks.owner("doomed").unwrap();
    let _write = agent.write("a").blocking().unwrap();
    let _read = agent.read("b").blocking().unwrap();
    println!("\nholds");
    thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_killed_process_frees_its_locks() {
    let fixture = Fixture::new();
    let [one, _] = fixture.processes();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engine::file::tests::child_holds_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DIRECTORY_VARIABLE, fixture.directory())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "holds"));
    let error = one.write("a").try_now().unwrap_err();
    let holder = &error.busy().unwrap().holders[0];
    assert_eq!((holder.label.as_str(), holder.pid), ("doomed", child.id()));
    let before = holder.token;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(take(&one, "a", Mode::Write).token() > before);
    take(&one, "b", Mode::Write).release().unwrap();
}

#[test]
#[expect(unsafe_code, reason = "there is no other way to fork")]
fn a_forked_child_holds_nothing_and_gives_nothing_back() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let guard = take(&one, "a", Mode::Write);
    let inherited = guard.token();
    // SAFETY: the child only uses the engine, whose locks are its own, and memory, which the C
    // library makes usable after a fork; it ends without running anything of the test harness.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
            assert_eq!(one.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
            assert!(one.write("b").try_now().unwrap().token() > 0);
            // Only once the parent gives it back.
            assert!(take(&one, "a", Mode::Write).token() > inherited);
        }));
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    until("the child has used another lock", || two.status("b").is_ok() && fixture_has_two_tokens(&fixture));
    assert_eq!(two.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    guard.release().unwrap();
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    take(&two, "a", Mode::Write).release().unwrap();
}

fn fixture_has_two_tokens(fixture: &Fixture) -> bool {
    let entries = std::fs::read_dir(fixture.directory()).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|own| own == "token")).count() == 2
}

#[test]
fn a_lock_whose_file_was_removed_is_not_verified() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let guard = one.write("a").blocking().unwrap();
    assert_eq!(guard.verify().blocking(), Standing::Held);
    std::fs::remove_file(fixture.file("lock")).unwrap();
    assert_eq!(guard.verify().blocking(), Standing::Lost);
    two.write("a").try_now().unwrap().release().unwrap();
}
