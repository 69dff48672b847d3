//! The late write: A holds the lock and is stopped before it writes; the lock goes to B, which writes;
//! A goes on.

use concurrent_locks::LockManager;
use concurrent_locks_servers::{Postgres, Redis};

use crate::{
    child::Writer,
    store::{self, Store},
};

/// The lock that all writers take.
pub(crate) const RESOURCE: &str = "the-store";

/// A store of a test's own, and a table of locks.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) store: String,
}

impl Place {
    pub(crate) fn new(kind: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let store = match kind {
            "file" => format!("file:{}", folder.path().join("store.json").display()),
            "sqlite" => format!("sqlite:{}", folder.path().join("store.db").display()),
            "postgres" => Postgres::fresh_database(&Postgres::shared().unwrap()).unwrap(),
            "redis" => format!("{}/#{:016x}", Redis::shared().unwrap().url(), fastrand::u64(..)),
            _ => panic!("no such kind: {kind}"),
        };
        Place { folder, store }
    }

    pub(crate) fn locks(&self) -> String {
        format!("host:{}", self.folder.path().join("locks.table").display())
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer::start(&self.store, &self.locks())
    }

    pub(crate) fn open(&self) -> Box<dyn Store> {
        store::open(&self.store)
    }
}

/// How it ends: the answer to A, and what the store holds.
fn story(kind: &str, way: &str) -> (String, String) {
    let place = Place::new(kind);
    let locks = LockManager::connect(&place.locks()).blocking().unwrap();
    let store = place.open();
    let (mut a, mut b) = (place.writer(), place.writer());

    let old = a.number("take");
    a.send(&format!("late {way} from-a"));
    a.until_it_stops();
    locks.break_lock(RESOURCE, old).blocking().unwrap();

    let new = b.number("take");
    assert!(new > old);
    assert_eq!(b.ask(&format!("write {way} from-b")), "written");
    assert_eq!(store.read(), "from-b");

    a.go_on();
    let told = a.answer();
    let left = store.read();
    assert_eq!(b.ask(&format!("write {way} again-from-b")), "written", "a grant may write as often as it likes");
    assert_eq!(store.read(), "again-from-b");
    (told, left)
}

/// Without the token nothing stops it: this is what the other test would see if the fence were open.
fn lands_without_a_token(kind: &str) {
    assert_eq!(story(kind, "plain"), ("written".to_owned(), "from-a".to_owned()));
}

fn is_refused_with_its_token(kind: &str) {
    let (told, left) = story(kind, "fenced");
    assert!(told.starts_with("refused "), "{told}");
    assert_eq!(left, "from-b");
}

#[test]
fn a_late_write_to_a_file_lands_without_a_token() {
    lands_without_a_token("file");
}

#[test]
fn a_late_write_to_a_file_is_refused_with_its_token() {
    is_refused_with_its_token("file");
}

#[test]
fn a_late_write_to_sqlite_lands_without_a_token() {
    lands_without_a_token("sqlite");
}

#[test]
fn a_late_write_to_sqlite_is_refused_with_its_token() {
    is_refused_with_its_token("sqlite");
}

#[test]
fn a_late_write_to_postgres_lands_without_a_token() {
    lands_without_a_token("postgres");
}

#[test]
fn a_late_write_to_postgres_is_refused_with_its_token() {
    is_refused_with_its_token("postgres");
}

#[test]
fn a_late_write_to_redis_lands_without_a_token() {
    lands_without_a_token("redis");
}

#[test]
fn a_late_write_to_redis_is_refused_with_its_token() {
    is_refused_with_its_token("redis");
}
