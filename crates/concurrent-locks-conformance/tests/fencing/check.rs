//! What else is promised of each store's check.

use std::thread;

use concurrent_locks::fencing;
use concurrent_locks_conformance::until;

use crate::{
    late::Place,
    store::{self, Fenced, Postgres, Redis, Sqlite, Store, path, refused},
};

fn is_refused<T: std::fmt::Debug>(result: Result<T, Fenced>) -> bool {
    matches!(result, Err(Fenced::Refused(_)))
}

#[test]
fn equal_and_greater_tokens_pass_everywhere() {
    for kind in ["file", "sqlite", "postgres", "redis"] {
        let place = Place::new(kind);
        let store = place.open();
        for (token, text) in [(7, "a"), (7, "b"), (8, "c"), ((1 << 53) - 2, "d"), ((1 << 53) - 1, "e")] {
            store.write(Some(token), text).unwrap();
            assert_eq!(store.read(), text, "{kind}");
        }
        assert!(is_refused(store.write(Some((1 << 53) - 2), "f")), "{kind} tells neighbours apart");
        assert_eq!(store.read(), "e", "{kind}");
    }
}

#[test]
fn refusals_name_both_tokens() {
    for kind in ["file", "postgres", "redis"] {
        let place = Place::new(kind);
        let store = place.open();
        store.write(Some(712), "").unwrap();
        let Err(Fenced::Refused(why)) = store.write(Some(505), "") else { panic!("{kind}") };
        assert!(why.contains("712") && why.contains("505"), "{kind}: {why}");
    }
}

#[test]
fn sqlite_holds_the_next_back_until_the_commit_and_forgets_what_is_rolled_back() {
    let place = Place::new("sqlite");
    let store = Sqlite::open(path(&place.store));
    let mut connection = store.connect();
    let slow = connection.transaction().unwrap();
    slow.execute(fencing::sqlite::CHECK, ("store", 5)).unwrap();
    let next = thread::spawn({
        let place = place.store.clone();
        move || store::open(&place).write(Some(7), "seven")
    });
    slow.execute("INSERT INTO store VALUES (1, 'five')", []).unwrap();
    assert_eq!(store.read(), "", "the next has not written before the slow one");
    slow.commit().unwrap();
    next.join().unwrap().unwrap();
    assert_eq!(store.read(), "seven");

    let given_up = connection.transaction().unwrap();
    given_up.execute(fencing::sqlite::CHECK, ("store", 9)).unwrap();
    given_up.rollback().unwrap();
    store.write(Some(8), "eight").unwrap();
    assert_eq!(store.read(), "eight");
}

#[test]
fn a_token_in_sqlite_is_a_number_that_only_rises_and_resources_are_apart() {
    let place = Place::new("sqlite");
    let store = Sqlite::open(path(&place.store));
    let connection = store.connect();
    connection.execute_batch(fencing::sqlite::SCHEMA).unwrap();
    connection.execute(fencing::sqlite::CHECK, ("a", 9)).unwrap();
    connection.execute(fencing::sqlite::CHECK, ("b", 1)).unwrap();
    connection.execute(fencing::sqlite::CHECK, ("a", "ten")).unwrap_err();
    connection.execute("UPDATE fence SET token = 1", []).unwrap_err();
    connection.execute(fencing::sqlite::CHECK, ("a", 10)).unwrap();
}

#[test]
fn postgres_holds_the_next_back_until_the_commit_and_forgets_what_is_rolled_back() {
    let place = Place::new("postgres");
    let store = Postgres::open(&place.store);
    store.write(Some(1), "one").unwrap();
    for (first, second, passes) in [(5_i64, 7, true), (9, 8, false)] {
        let mut client = store.connect();
        let mut slow = client.transaction().unwrap();
        slow.execute(fencing::postgres::CHECK, &[&"store", &first]).unwrap();
        let next = thread::spawn({
            let place = place.store.clone();
            move || store::open(&place).write(Some(second), "next")
        });
        // Not from its transaction, which shows all of one moment.
        let mut other = store.connect();
        until("the next one waits for the row", || {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            other.query_one(waiting, &[]).unwrap().get::<_, i64>(0) > 0
        });
        slow.execute("UPDATE store SET text = 'slow'", &[]).unwrap();
        slow.commit().unwrap();
        assert_eq!(is_refused(next.join().unwrap()), !passes);
        assert_eq!(store.read(), if passes { "next" } else { "slow" });
    }
    let mut client = store.connect();
    let mut given_up = client.transaction().unwrap();
    given_up.execute(fencing::postgres::CHECK, &[&"store", &20_i64]).unwrap();
    given_up.rollback().unwrap();
    store.write(Some(10), "ten").unwrap();
}

#[test]
fn a_refusal_in_postgres_ends_the_transaction() {
    let place = Place::new("postgres");
    let store = Postgres::open(&place.store);
    store.write(Some(9), "nine").unwrap();
    let mut client = store.connect();
    // One that does not look at errors.
    let ignored = client.batch_execute("BEGIN; SELECT concurrent_locks.fence('store', 8)").unwrap_err();
    assert!(matches!(refused(&ignored), Fenced::Refused(_)));
    client.batch_execute("UPDATE store SET text = 'late'").unwrap_err();
    client.batch_execute("COMMIT").unwrap();
    assert_eq!(store.read(), "nine");
}

#[test]
fn a_snapshot_of_postgres_that_is_too_old_does_not_write() {
    let place = Place::new("postgres");
    let store = Postgres::open(&place.store);
    store.write(Some(5), "five").unwrap();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let mut client = store.connect();
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT * FROM store")).unwrap();
        store.write(Some(7), "seven").unwrap();
        let error = client.execute(fencing::postgres::CHECK, &[&"store", &5_i64]).unwrap_err();
        let code = error.as_db_error().unwrap().code().code().to_owned();
        assert!(["40001", fencing::postgres::SQLSTATE].contains(&code.as_str()), "{level}: {code}");
        client.batch_execute("ROLLBACK").unwrap();
    }
}

#[test]
fn postgres_is_set_up_by_many_at_once_and_again() {
    let place = Place::new("postgres");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = postgres::Client::connect(&place.store, postgres::NoTls).unwrap();
                client.batch_execute(fencing::postgres::SETUP).unwrap();
            });
        }
    });
    let store = Postgres::open(&place.store);
    store.write(Some(9), "nine").unwrap();
    store.connect().execute(fencing::postgres::SETUP, &[]).unwrap();
    assert!(is_refused(store.write(Some(8), "eight")), "setting up again forgets nothing");
    store.connect().execute("SELECT concurrent_locks.fence('store', NULL)", &[]).unwrap_err();
    assert!(is_refused(store.write(Some(8), "eight")));
}

/// A grant that writes often leaves no dead rows behind.
#[test]
fn an_equal_token_in_postgres_changes_no_row() {
    let place = Place::new("postgres");
    let store = Postgres::open(&place.store);
    let row = || -> String {
        let row = store.connect().query_one("SELECT ctid::text FROM concurrent_locks.fence", &[]).unwrap();
        row.get(0)
    };
    store.write(Some(9), "a").unwrap();
    let before = row();
    store.write(Some(9), "b").unwrap();
    assert_eq!(row(), before);
    store.write(Some(10), "c").unwrap();
    assert_ne!(row(), before);
}

/// The recipe with a column of its own, of `docs/fencing.md`.
#[test]
fn a_column_of_the_row_itself_can_be_the_fence() {
    let place = Place::new("postgres");
    let store = Postgres::open(&place.store);
    store.write(None, "").unwrap();
    let write = |token: i64, text: &str| {
        let update = "UPDATE store SET text = $1, fence = $2 WHERE id = 1 AND fence <= $2";
        store.connect().execute(update, &[&text, &token]).unwrap()
    };
    assert_eq!((write(7, "a"), write(7, "b"), write(6, "late"), write(8, "c")), (1, 1, 0, 1));
    assert_eq!(store.read(), "c");
}

#[test]
fn redis_answers_what_the_command_answers() {
    let place = Place::new("redis");
    let store = Redis::open(&place.store);
    let list = store.key("list");
    assert_eq!(store.guarded("1", &["RPUSH", &list, "a", "b"]), Ok(2));
    assert_eq!(store.guarded("1", &["LRANGE", &list, "0", "-1"]), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(store.guarded::<Option<String>>("1", &["GET", &store.key("nothing")]), Ok(None));
    let Err(Fenced::Broken(why)) = store.guarded::<()>("1", &["GET", &list]) else { panic!() };
    assert!(why.contains("WRONGTYPE"), "{why}");
}

#[test]
fn redis_refuses_what_it_cannot_compare() {
    let place = Place::new("redis");
    let store = Redis::open(&place.store);
    let text = store.key("text");
    let limit = fencing::redis::TOKEN_LIMIT.to_string();
    for token in [limit.as_str(), "9007199254740993", "18446744073709551615", "-1", "1.5", "1e3", "", "x"] {
        let Err(Fenced::Broken(why)) = store.guarded::<()>(token, &["SET", &text, "a"]) else { panic!("{token}") };
        assert!(why.contains("below 2^53"), "{why}");
    }
    let Err(Fenced::Broken(_)) = store.guarded::<()>("1", &[]) else { panic!("no command") };
    store.write(None, "mine").unwrap();
    redis::cmd("SET").arg(store.key("fence")).arg("x").query::<()>(&mut store.connect()).unwrap();
    let Err(Fenced::Broken(why)) = store.guarded::<()>("1", &["SET", &text, "a"]) else { panic!() };
    assert!(why.contains("CORRUPT"), "{why}");
    assert_eq!(store.read(), "mine");
}
