//! What a child process does: it takes the lock and writes, line by line as commanded.

use std::io::{Write, stdin, stdout};

use concurrent_locks::{Guard, LockManager, fencing};
use concurrent_locks_conformance::DEADLINE;
use nix::{
    sys::signal::{Signal, raise},
    unistd::gettid,
};

use crate::{
    late::RESOURCE,
    store::{self, Fenced},
};

/// What a writer says begins so.
pub(crate) const SAYS: &str = "writer: ";

/// Commands:
///
/// - `take`: takes the lock; `granted TOKEN`.
/// - `write plain|fenced TEXT`: writes to the store; `written`, or `refused WHY`.
/// - `late plain|fenced TEXT`: sees that it holds the lock, *stops itself*, and then writes.
/// - `file TOKEN TEXT`: replaces the file of the place, without a lock.
/// - `race ROUNDS`: takes the lock, writes `TOKEN` through the fence, releases it, again and again.
/// - `thread`: the number of the thread that does all this.
pub(crate) fn obey(place: &str, locks: &str) {
    let locks = LockManager::connect(locks).blocking().unwrap();
    let mut held: Option<Guard> = None;
    for line in stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        match words[..] {
            ["take"] => {
                let guard = locks.write(RESOURCE).timeout(DEADLINE).blocking().unwrap();
                say(&format!("granted {}", guard.token()));
                held = Some(guard);
            }
            [when @ ("write" | "late"), way, text] => {
                let store = store::open(place);
                let token = held.as_ref().expect("a lock").token();
                if when == "late" {
                    let status = locks.status(RESOURCE).blocking().unwrap().unwrap();
                    assert_eq!(status.holders[0].token, token, "it holds the lock, as it believes");
                    raise(Signal::SIGSTOP).unwrap();
                }
                say_how_it_went(store.write((way == "fenced").then_some(token), text));
            }
            ["file", token, text] => {
                let token = token.parse().unwrap();
                say_how_it_went(
                    fencing::write_file(store::path(place), token, text)
                        .map_err(|error| Fenced::Refused(error.to_string())),
                );
            }
            ["race", rounds] => {
                let store = store::open(place);
                for _ in 0..rounds.parse().unwrap() {
                    let guard = locks.write(RESOURCE).timeout(DEADLINE).blocking().unwrap();
                    let token = guard.token();
                    // Released before the write: now only the fence keeps the order.
                    drop(guard);
                    match store.write(Some(token), &token.to_string()) {
                        Ok(()) => say(&format!("written {token}")),
                        Err(Fenced::Refused(_)) => say(&format!("refused {token}")),
                        Err(Fenced::Broken(why)) => panic!("{why}"),
                    }
                }
                say("end");
            }
            ["thread"] => say(&format!("thread {}", gettid())),
            _ => panic!("unknown command {line:?}"),
        }
    }
}

fn say_how_it_went(result: Result<(), Fenced>) {
    match result {
        Ok(()) => say("written"),
        Err(Fenced::Refused(why)) => say(&format!("refused {why}")),
        Err(Fenced::Broken(why)) => panic!("{why}"),
    }
}

fn say(text: &str) {
    // On a line of its own, whatever the harness wrote before.
    write!(stdout().lock(), "\n{SAYS}{}\n", text.replace('\n', " ")).unwrap();
    stdout().flush().unwrap();
}
