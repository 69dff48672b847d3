//! `docs/json.md` names every field that `--json` prints, and no other.

use std::{
    collections::BTreeSet,
    pin::pin,
    task::{Context, Waker},
};

use concurrent_locks::DeadlockPolicy;
use serde_json::Value;

use crate::space::Space;

const PAGE: &str = include_str!("../../../../docs/json.md");

/// The fields in the table of one chapter.
fn documented(chapter: &str) -> BTreeSet<String> {
    let text = PAGE.split("\n### ").find(|text| text.lines().next() == Some(chapter));
    let text = text.unwrap_or_else(|| panic!("no chapter {chapter}"));
    let table = text.split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

fn fields(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap_or_else(|| panic!("no object: {object}")).keys().cloned().collect()
}

#[track_caller]
fn check(chapter: &str, object: &Value) {
    assert_eq!(fields(object), documented(chapter), "{chapter}");
}

#[test]
fn status_and_statistics() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    let _waiter = space.start(["run", "x", "--", "true"]);
    space.until_waiters("x", 1);
    assert_eq!(space.code(["run", "-w", "0.01", "x", "--", "true"]), Some(75));
    let status = space.json(["status"]);
    check("Status", &status["x"]);
    check("Holder", &status["x"]["holders"][0]);
    check("Waiter", &status["x"]["waiters"][0]);
    assert_eq!(status["x"], {
        let mut again = status.clone();
        again["x"].take()
    });
    assert_eq!(status["x"]["resource_name"], "x");
    assert_eq!(space.json(["status", "unknown"]), serde_json::json!({}));
    holder.let_go();

    assert_eq!(space.code(["run", "x", "--", "true"]), Some(0));
    let one = space.json(["stats", "x"]);
    check("Statistics of one lock", &one);
    let statistics = &one["locks"]["write"];
    check("Statistics", statistics);
    check("Statistics", &space.json(["stats"])["x"]["write"]);
    let operations = statistics["recent_operations"].as_array().unwrap();
    assert_eq!(operations.iter().flat_map(fields).collect::<BTreeSet<_>>(), documented("Operation"));
    for operation in operations {
        assert_eq!(operation.get("hold_time").is_some(), operation["type"] == "release", "{operation}");
    }
    assert_eq!(space.json(["stats", "unknown"]), serde_json::json!({}));
}

#[test]
fn events() {
    let space = Space::new();
    let mut watch = space.start(["watch", "--json", "--count", "1"]);
    crate::space::until("an event", || {
        assert_eq!(space.code(["run", "x", "--", "true"]), Some(0));
        watch.has_ended()
    });
    check("Event", &serde_json::from_str(&watch.line()).unwrap());
}

#[test]
fn deadlocks() {
    let space = Space::new();
    let locks = space.library();
    let settings = locks.settings().deadlocks(DeadlockPolicy::Report);
    let locks = locks.with_settings(settings);
    let (one, two) = (locks.owner("one").unwrap(), locks.owner("two").unwrap());
    drop((one.write("a").blocking().unwrap(), one.write("b").blocking().unwrap()));
    drop((two.write("b").blocking().unwrap(), two.write("a").blocking().unwrap()));

    let (_a, _b) = (one.write("a").blocking().unwrap(), two.write("b").blocking().unwrap());
    let mut first = pin!(IntoFuture::into_future(one.write("b").timeout(None)));
    let mut second = pin!(IntoFuture::into_future(two.write("a").timeout(None)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());

    let report = space.json(["deadlocks", "--suspect-after", "0"]);
    check("Deadlock report", &report);
    check("Cycle", &report["cycles"][0]);
    check("Link", &report["cycles"][0]["links"][0]);
    check("Suspect", &report["suspects"][0]);
    check("Inversion", &report["inversions"][0]);
}

#[test]
fn break_doctor_and_run() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    let health = space.json(["doctor"]);
    check("Health", &health);
    check("Usage", &health["resources"]);
    check("Process", &health["attached"][0]);
    let token = space.status("x")["holders"][0]["token"].to_string();
    let broken = space.json(["break", "x", "--token", &token, "--yes"]);
    check("Broken lock", &broken);
    check("Holder", &broken["broken"]);
    drop(holder);
    let run = space.finish(["run", "--json", "y", "--", "true"]);
    check("Run", &serde_json::from_slice(&run.stderr).unwrap());
}

#[test]
fn failures() {
    let space = Space::new();
    let holder = space.hold("x", &[]);
    let failed = space.finish(["run", "--json", "-w", "0.01", "x", "--", "true"]);
    let failure: Value = serde_json::from_slice(&failed.stderr).unwrap();
    check("Error", &failure["error"]);
    check("Holder", &failure["error"]["holders"][0]);
    assert_eq!(failure["error"]["kind"], "timed_out");
    holder.let_go();
    let failed = space.finish(["status", "--json", ""]);
    let failure: Value = serde_json::from_slice(&failed.stderr).unwrap();
    check("Error", &failure["error"]);
    assert_eq!(failure["error"]["kind"], "invalid_name");
}
