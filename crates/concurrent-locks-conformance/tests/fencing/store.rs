//! The stores: each keeps one text, written with a token through its fence, or without one past it.

use std::{fs, path::Path, time::Duration};

use concurrent_locks::{ErrorKind, fencing};
use postgres::NoTls;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};

/// Why a write did not happen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fenced {
    /// The fence has refused it: what the store said.
    Refused(String),
    /// Something else, which fails the test.
    Broken(String),
}

pub(crate) trait Store {
    /// Writes, with a token through the fence.
    fn write(&self, token: Option<u64>, text: &str) -> Result<(), Fenced>;

    fn read(&self) -> String;
}

/// The store at `file:PATH`, `sqlite:PATH`, `postgres://...` or `redis://...`, made if it is new.
pub(crate) fn open(place: &str) -> Box<dyn Store> {
    match place.split_once(':').unwrap().0 {
        "file" => Box::new(File(path(place).to_owned())),
        "sqlite" => Box::new(Sqlite::open(path(place))),
        "postgres" => Box::new(Postgres::open(place)),
        "redis" => Box::new(Redis::open(place)),
        _ => panic!("no store at {place}"),
    }
}

pub(crate) fn path(place: &str) -> &str {
    place.split_once(':').unwrap().1
}

fn broken(error: impl std::fmt::Debug) -> Fenced {
    Fenced::Broken(format!("{error:?}"))
}

/// As the stores' own numbers are: none of the tokens here is greater.
fn signed(token: u64) -> i64 {
    i64::try_from(token).unwrap()
}

struct File(String);

impl Store for File {
    fn write(&self, token: Option<u64>, text: &str) -> Result<(), Fenced> {
        let Some(token) = token else { return fs::write(&self.0, text).map_err(broken) };
        fencing::write_file(&self.0, token, text).map_err(|error| match error.kind() {
            ErrorKind::Lost => Fenced::Refused(error.to_string()),
            _ => broken(error),
        })
    }

    fn read(&self) -> String {
        if Path::new(&self.0).exists() { fs::read_to_string(&self.0).unwrap() } else { String::new() }
    }
}

pub(crate) struct Sqlite(String);

impl Sqlite {
    pub(crate) fn open(path: &str) -> Sqlite {
        let store = Sqlite(path.to_owned());
        let connection = store.connect();
        connection.execute_batch(fencing::sqlite::SCHEMA).unwrap();
        connection.execute_batch("CREATE TABLE IF NOT EXISTS store (id INTEGER PRIMARY KEY, text TEXT)").unwrap();
        store
    }

    pub(crate) fn connect(&self) -> Connection {
        let connection = Connection::open(&self.0).unwrap();
        connection.busy_timeout(Duration::from_secs(60)).unwrap();
        connection
    }
}

impl Store for Sqlite {
    fn write(&self, token: Option<u64>, text: &str) -> Result<(), Fenced> {
        let mut connection = self.connect();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(broken)?;
        if let Some(token) = token {
            transaction.execute(fencing::sqlite::CHECK, ("store", signed(token))).map_err(|error| match error {
                rusqlite::Error::SqliteFailure(failure, Some(message))
                    if failure.code == ErrorCode::ConstraintViolation
                        && message.starts_with(fencing::sqlite::REFUSAL) =>
                {
                    Fenced::Refused(message)
                }
                error => broken(error),
            })?;
        }
        let write = "INSERT INTO store VALUES (1, ?1) ON CONFLICT DO UPDATE SET text = excluded.text";
        transaction.execute(write, [text]).map_err(broken)?;
        transaction.commit().map_err(broken)
    }

    fn read(&self) -> String {
        let read = |row: &rusqlite::Row<'_>| row.get(0);
        self.connect().query_row("SELECT text FROM store", [], read).optional().unwrap().unwrap_or_default()
    }
}

pub(crate) struct Postgres(String);

impl Postgres {
    pub(crate) fn open(url: &str) -> Postgres {
        let store = Postgres(url.to_owned());
        let mut client = store.connect();
        client.batch_execute(fencing::postgres::SETUP).unwrap();
        client
            .batch_execute(
                "SELECT pg_advisory_xact_lock(1); \
                 CREATE TABLE IF NOT EXISTS store (id int PRIMARY KEY, text text, fence bigint NOT NULL DEFAULT 0)",
            )
            .unwrap();
        store
    }

    pub(crate) fn connect(&self) -> postgres::Client {
        postgres::Client::connect(&self.0, NoTls).unwrap()
    }
}

/// What PostgreSQL's refusal is to this program.
pub(crate) fn refused(error: &postgres::Error) -> Fenced {
    match error.as_db_error() {
        Some(told) if told.code().code() == fencing::postgres::SQLSTATE => Fenced::Refused(told.message().to_owned()),
        _ => broken(error),
    }
}

impl Store for Postgres {
    fn write(&self, token: Option<u64>, text: &str) -> Result<(), Fenced> {
        let mut client = self.connect();
        let mut transaction = client.transaction().map_err(broken)?;
        if let Some(token) = token {
            let check = transaction.execute(fencing::postgres::CHECK, &[&"store", &signed(token)]);
            check.map_err(|error| refused(&error))?;
        }
        let write = "INSERT INTO store VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET text = excluded.text";
        transaction.execute(write, &[&text]).map_err(broken)?;
        transaction.commit().map_err(broken)
    }

    fn read(&self) -> String {
        let row = self.connect().query_opt("SELECT text FROM store", &[]).unwrap();
        row.map(|row| row.get(0)).unwrap_or_default()
    }
}

/// A place is `redis://HOST:PORT/#PREFIX`: the keys of a test begin with a prefix of its own.
pub(crate) struct Redis {
    url: String,
    prefix: String,
}

impl Redis {
    pub(crate) fn open(place: &str) -> Redis {
        let (url, prefix) = place.split_once('#').unwrap();
        Redis { url: url.to_owned(), prefix: prefix.to_owned() }
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url.as_str()).unwrap().get_connection().unwrap()
    }

    /// In one slot, were it a cluster.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }

    /// Runs a command through the fence.
    pub(crate) fn guarded<T: redis::FromRedisValue>(&self, token: &str, command: &[&str]) -> Result<T, Fenced> {
        let mut script = redis::cmd("EVAL");
        script.arg(fencing::redis::GUARD).arg(1).arg(self.key("fence")).arg(token).arg(command);
        script.query(&mut self.connect()).map_err(|error| match error.code() {
            Some(code) if code == fencing::redis::REFUSAL => Fenced::Refused(error.to_string()),
            _ => broken(error),
        })
    }
}

impl Store for Redis {
    fn write(&self, token: Option<u64>, text: &str) -> Result<(), Fenced> {
        let key = self.key("text");
        match token {
            Some(token) => self.guarded(&token.to_string(), &["SET", &key, text]),
            None => redis::cmd("SET").arg(key).arg(text).query(&mut self.connect()).map_err(broken),
        }
    }

    fn read(&self) -> String {
        let text: Option<String> = redis::cmd("GET").arg(self.key("text")).query(&mut self.connect()).unwrap();
        text.unwrap_or_default()
    }
}
