//! Two engines of one directory are two processes to each other: every kernel lock is an open file
//! of its own. Where that is not enough, the tests use real processes.

mod deleted;
mod ends;
mod inspection;
mod waiting;

use std::{
    io::{BufRead, BufReader, Write},
    pin::pin,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::{
    api::{guard::Guard, manager::LockManager},
    engine::{Terms, Wait},
    words::{error::ErrorKind, event::EventKind, settings::Settings},
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
            LockManager::connect(&format!("file:{}", path.display())).blocking().unwrap()
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
    locks.status(name).blocking().unwrap().map_or(0, |status| status.pending_requests)
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
        assert_eq!(locks.status("a").blocking().unwrap().map_or(0, |status| status.holders.len()), 0);
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
    refused(one.break_lock("a", guard.token()).blocking().unwrap_err());
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

fn ask(name: &str) -> Ask<'_> {
    Ask::new(Name::new(name).unwrap(), Mode::Write, Terms::of(&Settings::default())).waiting(Wait::No)
}

#[test]
fn nothing_is_kept_of_idle_resources() {
    let fixture = Fixture::new();
    let engine: &'static FileEngine = Box::leak(Box::new(FileEngine::new(&fixture.directory()).unwrap()));
    for number in 0..50 {
        let name = format!("name {number}");
        let Progress::Granted(grant) = engine.begin(&ask(&name)).unwrap() else { panic!("the lock is free") };
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
        let result = engine.begin(&ask("a").waiting(wait)).and_then(|progress| match progress {
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
fn a_directory_that_cannot_be_used_is_refused_at_once() {
    let fixture = Fixture::new();
    let file = fixture.root.path().join("a file");
    std::fs::write(&file, "").unwrap();
    let error = LockManager::connect(&format!("file:{}", file.display())).blocking().unwrap_err();
    assert!(error.to_string().contains("a file"), "{error}");
    let made = fixture.root.path().join("not/there/yet");
    let locks = LockManager::connect(&format!("file:{}", made.display())).blocking().unwrap();
    assert_eq!(locks.health().blocking().unwrap().permissions.as_deref(), Some("0700"));
    assert_eq!(locks.health().blocking().unwrap().problems, [""; 0]);
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o770)).unwrap();
    assert!(locks.health().blocking().unwrap().problems[0].contains("0770"));
}
