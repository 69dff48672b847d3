//! `locks status`, `stats`, `watch` and `doctor` as people read them.

use rustix::process::Signal;

use crate::{
    snapshot,
    space::{Running, Space, until},
};

#[test]
fn an_empty_space_is_shown_as_such() {
    let space = Space::new();
    snapshot!(space.finish(["status"]), @r#"
    exit code 0
    --- stdout
    no locks: there is no lock table at [FOLDER]/t.table: nobody has used these locks yet
    "#);
    snapshot!(space.finish(["stats"]), @r#"
    exit code 0
    --- stdout
    no locks: there is no lock table at [FOLDER]/t.table: nobody has used these locks yet
    "#);
    snapshot!(space.finish(["status", "repo"]), @r#"
    exit code 0
    --- stdout
    repo: free, and not used yet
    "#);
    snapshot!(space.finish(["stats", "repo"]), @r#"
    exit code 0
    --- stdout
    repo: not used yet
    "#);
}

#[test]
fn status_shows_who_holds_and_who_waits_in_order() {
    let space = Space::new();
    assert_eq!(space.code(["run", "idle", "--", "true"]), Some(0));
    let holder = space.hold("repo", &["--owner", "agent-7", "--note", "nightly build"]);
    let _first = space.start(["run", "--owner", "agent-8", "repo", "--", "true"]);
    space.until_waiters("repo", 1);
    let _second = space.start(["run", "--read", "--owner", "agent-9", "--priority", "-5", "repo", "--", "true"]);
    space.until_waiters("repo", 2);
    snapshot!(space.finish(["status"]), @r#"
    exit code 0
    --- stdout
    LOCK STATE  OWNER MODE  FOR PRIORITY  NOTE
    repo  held  agent-7[PID]  write [DURATION]  0  nightly build
      wait 1  agent-8[PID]  write [DURATION]  0
      wait 2  agent-9[PID]  read [DURATION]  -5
    1 more free (--all lists them)
    "#);
    snapshot!(space.finish(["status", "--all"]), @r#"
    exit code 0
    --- stdout
    LOCK STATE  OWNER MODE  FOR PRIORITY  NOTE
    idle  free
    repo  held  agent-7[PID]  write [DURATION]  0  nightly build
      wait 1  agent-8[PID]  write [DURATION]  0
      wait 2  agent-9[PID]  read [DURATION]  -5
    "#);
    snapshot!(space.finish(["status", "idle", "never-used"]), @r#"
    exit code 0
    --- stdout
    LOCK STATE
    idle  free
    never-used  free
    "#);
    let token = space.status("repo")["holders"][0]["token"].to_string();
    let long = String::from_utf8(space.finish(["status", "--long", "repo"]).stdout).unwrap();
    assert!(["PRIORITY", "TOKEN", "HOST", &token].iter().all(|word| long.contains(word)), "{long}");
    holder.let_go();
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let space = Space::new();
    let holder = space.hold("evil\u{1b}[2Jname", &["--note", "tab\there", "--owner", "bell\u{7}"]);
    let output = space.finish(["status"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("evil\\u{1b}[2Jname") && told.contains("tab\\there") && told.contains("bell\\u{7}"),
        "{told}"
    );
    assert!(!told.chars().any(|letter| letter.is_control() && letter != '\n'), "{told:?}");
    holder.let_go();
}

#[test]
fn stats_count_and_forget() {
    let space = Space::new();
    for _ in 0..3 {
        assert_eq!(space.code(["run", "repo", "--", "true"]), Some(0));
    }
    let holder = space.hold("repo", &["--read"]);
    assert_eq!(space.code(["run", "-w", "0.01", "repo", "--", "true"]), Some(75));
    snapshot!(space.finish(["stats", "repo", "--reset"]), @r#"
    exit code 0
    --- stdout
    LOCK MODE  ACQUIRED FAILED  WAITED MEAN  MAX HELD MEAN
    repo  read  1  -  -  -  -  -
    repo  write  3  1  -  -  - [DURATION]
    "#);
    let write = &space.json(["stats", "repo"])["locks"]["write"];
    assert!(write.is_null() || write["total_acquisitions"] == 0, "{write}");
    holder.let_go();
}

#[test]
fn watch_shows_what_happens_until_it_has_seen_enough() {
    let space = Space::new();
    let mut watch = space.start(["watch", "--count", "2", "repo"]);
    // When it begins to look is its own affair: give it things to see until it has seen enough.
    let end = until("two events", || {
        assert_eq!(space.code(["run", "other", "--", "true"]), Some(0));
        assert_eq!(space.code(["run", "--owner", "agent-7", "repo", "--", "true"]), Some(0));
        watch.has_ended()
    });
    assert_eq!(end.code(), Some(0));
    let told = watch.rest();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines.iter().all(|line| line.contains("  repo  ") && line.contains("agent-7")), "{told}");
    assert!(["grant", "release"].iter().all(|kind| told.contains(kind)), "{told}");
}

#[test]
fn watch_ends_in_time_or_by_a_signal() {
    let space = Space::new();
    assert_eq!(space.code(["watch", "--seconds", "0.1"]), Some(0));
    let mut watch = space.start(["watch"]);
    watch.signal(Signal::INT);
    assert!(!watch.ended().success());
}

#[test]
fn doctor_finds_a_new_table_well() {
    let space = Space::new();
    let holder = space.hold("repo", &[]);
    let output = space.finish(["doctor"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    for fact in ["t.table", "0600", "all is well", "alive", &holder.pid().to_string()] {
        assert!(told.contains(fact), "{fact} is missing in {told}");
    }
    holder.let_go();
}

#[test]
fn no_colours_without_a_terminal() {
    let space = Space::new();
    let holder = space.hold("repo", &[]);
    for verb in [&["status"][..], &["stats"], &["doctor"], &["deadlocks"], &["watch", "--seconds", "0"]] {
        let output = space.finish(verb);
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{verb:?}");
    }
    holder.let_go();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let space = Space::new();
    let script = "locks status >&- ; echo $?; { locks status; echo $? >&2; } 2>code | true; cat code";
    let output = space.program("sh").args(["-c", script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.lines().last().is_some_and(|code| code == "0"), "{output:?}");
}

/// Whatever verb shows a name, an owner or a note, and whatever message or notice does.
#[test]
fn what_steers_the_eye_reaches_no_terminal() {
    let space = Space::new();
    let name = "safe\u{202e}gpj.exe\u{200b}";
    let shown = "safe\\u{202e}gpj.exe\\u{200b}";
    let holder = space.hold(name, &["--note", "isolate\u{2066}d", "--owner", "mark\u{200f}", "-p", "1"]);
    let token = space.status(name)["holders"][0]["token"].to_string();
    let mut watch = space.start(["watch", "--count", "1", name]);
    let wanted = ["run", "-n", name, "--", "true"];
    let verbs: [&[&str]; 9] = [
        &["status"],
        &["status", "--long", name],
        &["stats"],
        &["deadlocks", "--suspect-after", "0"],
        &["doctor"],
        &["break", name],
        &["break", name, "--token", &token],
        &wanted,
        &["--url", "host:\u{202e}", "status"],
    ];
    let eye = |text: &str| text.chars().any(|letter| ('\u{200b}'..='\u{206f}').contains(&letter));
    for verb in verbs {
        let output = space.finish(verb);
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!eye(&told), "{verb:?}: {told:?}");
    }
    assert!(String::from_utf8(space.finish(["status"]).stdout).unwrap().contains(shown));
    until("an event", || {
        space.code(["run", "--read", "-w", "0.01", name, "--", "true"]);
        watch.has_ended()
    });
    let told = watch.rest();
    assert!(told.contains(shown) && !eye(&told), "{told:?}");
    holder.let_go();
}

#[test]
fn an_ordinary_status_fits_a_terminal() {
    let space = Space::new();
    let holder = space.hold("browser:profile-1", &["--note", &"rebuild the index ".repeat(4)]);
    for (columns, cut) in [("80", true), ("64", true), ("400", false)] {
        for verb in ["status", "stats"] {
            let output = space.locks([verb]).env("COLUMNS", columns).output().unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            let widest = told.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns.parse().unwrap(), "{columns}: {told}");
            if verb == "status" {
                assert_eq!(told.contains('…'), cut, "{told}");
            }
        }
    }
    // What goes elsewhere than to a terminal is whole.
    assert!(!String::from_utf8(space.finish(["status"]).stdout).unwrap().contains('…'));
    holder.let_go();
}

#[test]
fn a_long_queue_is_summed_up() {
    let space = Space::new();
    let locks = space.library();
    let guard = locks.write("hot").blocking().unwrap();
    let waiters: Vec<_> = (0..12).map(|_| locks.read("hot").timeout(None).begin().unwrap()).collect();
    space.until_waiters("hot", 12);
    let lines = |arguments: &[&str]| String::from_utf8(space.finish(arguments).stdout).unwrap().lines().count();
    snapshot!(space.finish(["status"]), @r#"
    exit code 0
    --- stdout
    LOCK STATE  OWNER MODE  FOR
    hot  held  pid [PID]  write [DURATION]
      wait 1  pid [PID]  read [DURATION]
      wait 2  pid [PID]  read [DURATION]
      wait 3  pid [PID]  read [DURATION]
      wait 4  pid [PID]  read [DURATION]
      wait 5  pid [PID]  read [DURATION]
      + 7 more wait, the longest [DURATION] (--all-waiters lists them)
    "#);
    assert_eq!(lines(&["status", "--all-waiters"]), 14);
    drop((waiters, guard));
}

#[test]
fn status_tells_scripts_by_its_exit_code() {
    let space = Space::new();
    assert_eq!(space.code(["status", "-q", "a"]), Some(0), "nobody has used it");
    let holder = space.hold("a", &[]);
    for (names, code) in [(&["a"][..], 1), (&["b"], 0), (&["b", "a"], 1), (&["b", "c"], 0), (&[], 1)] {
        let output = space.finish(["status", "-q"].iter().chain(names));
        assert_eq!(output.status.code(), Some(code), "{names:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }
    assert_eq!(space.code(["status", "a"]), Some(0));
    assert_eq!(space.code(["status", "-q", ""]), Some(64));
    holder.let_go();
    assert_eq!(space.code(["status", "-q", "a"]), Some(0));
}

#[test]
fn what_a_killed_holder_left_is_shown_and_is_free() {
    let space = Space::new();
    let mut holder = space.hold("a", &["--if-killed", "kill"]);
    holder.kill();
    until("the end of the holder", || {
        let status = String::from_utf8(space.finish(["status"]).stdout).unwrap();
        (status.contains("held, dead") || status.contains("nobody holds")).then_some(())
    });
    until("a free lock", || (space.code(["status", "-q", "a"]) == Some(0)).then_some(()));
    assert_eq!(space.code(["run", "-w", "60", "a", "--", "true"]), Some(0));
}

#[test]
fn looking_makes_nothing() {
    let space = Space::new();
    let typo = space.path("typo");
    for url in [space.url(), format!("file:{}/deep", typo.display()), format!("host:{}/t.table", typo.display())] {
        for (verb, code) in [
            (&["status"][..], 0),
            (&["status", "a"], 0),
            (&["stats"], 0),
            (&["stats", "--reset"], 0),
            (&["deadlocks"], 0),
            (&["doctor"], 0),
            (&["watch", "--seconds", "0.01"], 0),
            (&["break", "a", "--token", "1", "--yes"], 1),
        ] {
            let output = space.finish(["--url", &url].iter().chain(verb));
            let blind = url.starts_with("file:") && ["stats", "deadlocks", "watch"].contains(&verb[0]);
            assert_eq!(output.status.code(), Some(if blind { 69 } else { code }), "{url} {verb:?}: {output:?}");
        }
    }
    let left: Vec<_> = std::fs::read_dir(space.folder()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_cannot_be_seen_is_not_called_free() {
    let space = Space::new();
    for verb in ["status", "stats", "watch", "deadlocks", "doctor"] {
        let output = space.finish(["--url", "local:", verb]);
        assert_eq!(output.status.code(), Some(64), "{verb}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("reaches only one process"), "{output:?}");
    }
    let url = format!("file:{}", space.path("locks").display());
    let mut first =
        space.start(["--url", &url, "run", "-o", "agent-7", "a", "--", "sh", "-c", "echo ready; read line"]);
    first.expect("ready");
    let mut readers: Vec<_> = (0..2)
        .map(|_| space.start(["--url", &url, "run", "--read", "b", "--", "sh", "-c", "echo ready; read line"]))
        .collect();
    readers.iter_mut().for_each(|reader| reader.expect("ready"));
    let told = |arguments: &[&str]| {
        let output = space.finish(["--url", &url].iter().chain(arguments));
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, status, _) = told(&["status"]);
    assert!(code == Some(0) && status.contains("agent-7"), "{status}");
    assert!(readers.iter().all(|reader| status.contains(&reader.pid().to_string())), "both readers: {status}");
    assert_eq!(told(&["status", "-q", "a"]).0, Some(1));
    let waiter = space.start(["--url", &url, "run", "a", "--", "true"]);
    until("a waiter", || told(&["status", "a"]).1.contains("wait 1").then_some(()));
    assert!(told(&["status", "a"]).1.contains(&waiter.pid().to_string()));
    for verb in ["stats", "watch", "deadlocks"] {
        let (code, _, why) = told(&[verb]);
        assert!(code == Some(69) && why.contains("other processes"), "{verb}: {why}");
    }
    assert_eq!(space.json(["--url", &url, "doctor"])["requests"]["used"], 4);
    first.let_go();
    readers.into_iter().for_each(Running::let_go);
    until("free locks", || (told(&["status", "-q", "a", "b"]).0 == Some(0)).then_some(()));
}

#[test]
fn doctor_lists_no_crowd() {
    let space = Space::new();
    let holders: Vec<_> = (0..12).map(|index| space.hold(&format!("lock-{index}"), &[])).collect();
    let lines = |arguments: &[&str]| {
        let told = String::from_utf8(space.finish(arguments).stdout).unwrap();
        (told.lines().filter(|line| line.contains("alive")).count(), told.contains("and 2 more"))
    };
    assert_eq!(lines(&["doctor"]), (10, true));
    assert_eq!(lines(&["doctor", "--all"]), (12, false));
    holders.into_iter().for_each(Running::let_go);
}

/// On both engines on which the command keeps the lock of a `locks run` that was killed.
#[test]
fn a_lock_that_a_killed_run_left_to_its_command_is_shown() {
    for file in [false, true] {
        let space = Space::new();
        let url = if file { format!("file:{}", space.path("locks").display()) } else { space.url() };
        let mut run = space.start(["--url", &url, "run", "a", "--", "sh", "-c", "echo ready; read line"]);
        run.expect("ready");
        run.kill();
        let told = |arguments: &[&str]| space.finish(["--url", &url].iter().chain(arguments));
        let status = String::from_utf8(told(&["status"]).stdout).unwrap();
        assert!(status.contains("held, orphaned"), "{url}: {status}");
        assert_eq!(told(&["status", "-q", "a"]).status.code(), Some(1));
        assert_eq!(told(&["doctor"]).status.code(), Some(0), "{:?}", told(&["doctor"]));
        // With its stdin the command ends.
        drop(run);
        assert_eq!(told(&["run", "-w", "60", "a", "--", "true"]).status.code(), Some(0));
    }
}
