//! A writer of a file dies between any two of its system calls: between those, nothing changes on the
//! disk. What is left is what the head of `fencing/file.rs` says, and the next writer goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use concurrent_locks::{ErrorKind, fencing::write_file};
use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{child::Writer, late::Place, store};

const BEFORE: u64 = 5;
const BETWEEN: u64 = 6;
const WRITTEN: u64 = 7;
const AFTER: u64 = 8;

/// Several pages, so that half of it could be there.
fn content(token: u64) -> String {
    format!("{token};").repeat(10_000)
}

/// What a dead writer left, as the table says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Left {
    /// The greatest token is its own.
    raised: bool,
    /// There is a `NAME.fence.new`.
    unfinished: bool,
    /// The content is its own.
    written: bool,
}

/// A thread of a writer that goes from system call to system call.
struct Stepped {
    writer: Writer,
    thread: Pid,
}

impl Stepped {
    fn start(place: &Place) -> Stepped {
        let mut writer = place.writer();
        let thread = Pid::from_raw(writer.number("thread") as i32);
        ptrace::seize(thread, Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        let mut stepped = Stepped { writer, thread };
        assert!(stepped.wait());
        stepped
    }

    /// On to the beginning or end of the next system call: its number. `None` after the last one.
    fn step(&mut self) -> Option<i64> {
        ptrace::syscall(self.thread, None).unwrap();
        if !self.wait() {
            return None;
        }
        let said = fs::read_to_string(format!("/proc/{}/task/{0}/syscall", self.thread)).unwrap();
        Some(said.split(' ').next().unwrap().trim().parse().unwrap_or(-1))
    }

    /// Until the thread stands; `false` if it is gone.
    fn wait(&mut self) -> bool {
        match waitpid(self.thread, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => false,
            Ok(_) => true,
            Err(error) => panic!("{error}"),
        }
    }

    fn kill(mut self) -> Vec<String> {
        nix::sys::signal::kill(self.writer.pid(), nix::sys::signal::Signal::SIGKILL).unwrap();
        // We learn of the end of the traced thread before the end of its process can be known.
        while self.wait() {}
        self.writer.kill();
        self.writer.heard()
    }
}

/// Kills a writer at its `stop`th stop; what it left, what it had said, and the calls until then.
fn killed_at(stop: usize, existing: bool) -> (Left, bool, Vec<i64>) {
    let place = Place::new("file");
    let path = Path::new(store::path(&place.store));
    if existing {
        write_file(path, BEFORE, content(BEFORE)).unwrap();
    }
    let mut stepped = Stepped::start(&place);
    stepped.writer.send(&format!("file {WRITTEN} {}", content(WRITTEN)));
    let mut calls = Vec::new();
    for _ in 0..stop {
        calls.extend(stepped.step());
    }
    let acknowledged = stepped.kill() == ["written"];

    let found = fs::read_to_string(path).ok();
    let old = existing.then(|| content(BEFORE));
    let written = found.as_ref() == Some(&content(WRITTEN));
    assert!(written || found == old, "stop {stop}: neither the old content nor the new");
    let unfinished = path.with_file_name("store.json.fence.new").exists();

    let refused = |token| match write_file(path, token, content(token)) {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Lost, "stop {stop}: {error}");
            true
        }
    };
    let raised = refused(BETWEEN);
    assert!(!existing || refused(BEFORE - 1), "stop {stop}: older than what was acknowledged before");
    let left = Left { raised, unfinished, written };
    assert!(raised || !written, "stop {stop}: visible before it was fenced");
    assert!(!acknowledged || (written && raised), "stop {stop}: acknowledged and not there");
    if raised {
        assert_eq!(fs::read_to_string(path).ok(), found, "stop {stop}: what is refused changes nothing");
    }
    write_file(path, AFTER, content(AFTER)).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), content(AFTER), "stop {stop}: the next writer goes on");
    assert!(!path.with_file_name("store.json.fence.new").exists(), "stop {stop}: and leaves nothing behind");
    (left, acknowledged, calls)
}

/// At every stop; the calls of a whole write.
fn killed_at_every_system_call(existing: bool) -> Vec<i64> {
    let mut seen = BTreeMap::new();
    for stop in 0.. {
        assert!(stop < 1000, "it never ends");
        let (left, acknowledged, calls) = killed_at(stop, existing);
        *seen.entry(left).or_insert(0) += 1;
        if acknowledged {
            let left = |raised, unfinished, written| Left { raised, unfinished, written };
            let table =
                [left(false, false, false), left(true, false, false), left(true, true, false), left(true, false, true)];
            assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), table.into(), "{seen:?}");
            return calls;
        }
    }
    unreachable!()
}

/// Those calls of a trace that matter, as text. Each call has two stops.
fn order(calls: &[i64]) -> Vec<&'static str> {
    let word = |call: &i64| match *call {
        libc::SYS_flock => Some("lock"),
        libc::SYS_fsync => Some("sync"),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename => Some("rename"),
        libc::SYS_renameat | libc::SYS_renameat2 => Some("rename"),
        _ => None,
    };
    calls.iter().filter_map(word).step_by(2).collect()
}

#[test]
fn a_writer_killed_at_any_system_call_leaves_the_old_content_or_the_new() {
    let calls = killed_at_every_system_call(true);
    // The fence, the new file, and behind the renaming the folder.
    assert_eq!(order(&calls), ["lock", "sync", "sync", "rename", "sync", "lock"]);
}

#[test]
fn the_first_writer_killed_at_any_system_call_leaves_nothing_or_all() {
    let calls = killed_at_every_system_call(false);
    // Before it, the folder with the fence in it.
    assert_eq!(order(&calls), ["lock", "sync", "sync", "sync", "rename", "sync", "lock"]);
}
