//! The wall clock is set while locks are held and waited for. Nothing hangs on it: it is only shown.
//! The step is real for one process: a preloaded library answers its questions for the time.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use concurrent_locks::ErrorKind;

use crate::{
    child::{Child, Talk},
    patience::until_waiting,
    sandbox::skip,
    space::Space,
};

const YEAR: u64 = 31_536_000;

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn say_wall_clock(talk: &Talk) {
    talk.say(&unix_now().to_string());
}

/// Seconds: far more than a time-out takes on a machine that is busy, far less than the clock was set by.
const SOON: f64 = 3600.0;

/// How long the error of a time-out says that it waited.
fn waited(error: &str) -> f64 {
    let text =
        error.strip_prefix("timed out after ").and_then(|rest| rest.split_once(" s")).map(|(seconds, _)| seconds);
    text.and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("no time is shown: {error}"))
}

/// The library, as `faketime` itself would preload it.
fn library() -> Option<String> {
    let found = Command::new("faketime").args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let library = found.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let library = library.filter(|library| !library.is_empty());
    if library.is_none() {
        skip("`faketime` is not installed");
    }
    library
}

fn set_clock(file: &Path, step: &str) {
    // At once, as a reader sees it.
    let new = file.with_extension("new");
    fs::write(&new, step).unwrap();
    fs::rename(new, file).unwrap();
}

/// A child whose wall clock is what `file` says.
fn child_with_clock(library: &str, space: &Space, file: &Path) -> Child {
    let mut command = Child::command(&[], "taker", &space.url());
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        // Setting a clock does not touch the monotonic one.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    Child::spawn(command)
}

fn wall_clock_of(child: &mut Child) -> u64 {
    child.ask("wall").parse().unwrap()
}

#[test]
fn a_step_of_the_wall_clock_changes_no_wait() {
    let Some(library) = library() else { return };
    for step in ["+2y", "-2y"] {
        let space = Space::new();
        let locks = space.connect();
        let file = space.directory().join("clock");
        set_clock(&file, "+0");
        let mut first = child_with_clock(&library, &space, &file);
        let mut second = space.child();
        let guard = locks.write("a").blocking().unwrap();
        let old = guard.token();
        first.send("write a 90000");
        until_waiting(&locks, "a", 1);
        set_clock(&file, step);
        second.send("write a 90000");
        until_waiting(&locks, "a", 2);
        drop(guard);
        // Neither out of time nor overtaken.
        let token = first.token();
        assert!(token > old);
        assert!(wall_clock_of(&mut first).abs_diff(unix_now()) > YEAR, "the step was not real");
        assert_eq!(locks.status("a").blocking().unwrap().unwrap().pending_requests, 1);
        assert_eq!(first.ask("release a"), "released");
        let token = second.token().max(token + 1);
        // A time-out that begins after the step comes, and comes when it is due.
        first.send("write a 300");
        let error = first.error(ErrorKind::TimedOut);
        assert!((0.3..SOON).contains(&waited(&error)), "{error}");
        // Order between processes whose clocks differ by years is that of arrival.
        let mut third = space.child();
        first.send("write a 90000");
        until_waiting(&locks, "a", 1);
        third.send("write a 90000");
        until_waiting(&locks, "a", 2);
        assert_eq!(second.ask("release a"), "released");
        assert!(first.token() >= token);
        assert_eq!(first.ask("release a"), "released");
        third.token();
        assert_eq!(locks.health().blocking().unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn a_time_out_comes_although_the_clock_was_set_back_meanwhile() {
    let Some(library) = library() else { return };
    let space = Space::new();
    let locks = space.connect();
    let file = space.directory().join("clock");
    set_clock(&file, "+0");
    let mut child = child_with_clock(&library, &space, &file);
    let _guard = locks.write("a").blocking().unwrap();
    child.send("write a 500");
    until_waiting(&locks, "a", 1);
    set_clock(&file, "-2y");
    child.error(ErrorKind::TimedOut);
    assert!(wall_clock_of(&mut child) + YEAR < unix_now(), "the step was not real");
}
