//! The handshake of a connection: our identity, whether the server is usable, the schema, and the state that a
//! connection keeps.

use std::sync::atomic::Ordering::Relaxed;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    authentication::{self, sasl},
    message::{backend::Message, frontend},
};

use super::{
    PostgresDialect, Refusal, Role, first_text,
    schema::{BY_HAND, SCHEMA},
    whole,
};
use crate::{
    engine::cluster::{
        client::LAYOUT,
        protocol::Verb,
        wire::{HandshakeStream, Past},
    },
    words::error::{Error, ErrorKind},
};

/// The oldest supported server version.
const OLDEST: u32 = 130_000;

pub(super) fn handshake(
    dialect: &PostgresDialect,
    stream: &mut dyn HandshakeStream,
    input: &mut Vec<u8>,
    session: &str,
) -> Result<(), Error> {
    let mut talk = Conversation { dialect, stream, input, process: None };
    talk.introduce()?;
    let ours = talk.look_around()? && dialect.role != Role::Calls;
    if dialect.role == Role::Listen && !ours {
        return Err(unsupported(
            "a pooler (PgBouncer or the like) answers where listen= points to; it has to be PostgreSQL itself, or \
             leave it out and take life=lease",
        ));
    }
    if ours {
        talk.set_up(session)?;
    }
    if dialect.role != Role::Listen {
        talk.find_schema()?;
    }
    if ours {
        if dialect.role == Role::Both {
            talk.prepare()?;
        }
        talk.live(session)?;
    }
    Ok(())
}

/// Whether it would serve us, and how late its past is: by its timeline, which a failover makes greater.
pub(super) fn look(
    dialect: &PostgresDialect,
    stream: &mut dyn HandshakeStream,
    input: &mut Vec<u8>,
) -> Result<Past, Error> {
    let mut talk = Conversation { dialect, stream, input, process: None };
    talk.introduce()?;
    talk.look_around()?;
    let mut number = |question: &str| {
        let told = talk.ask(question)?.ok().and_then(|rows| rows.first()?.parse().ok());
        Ok::<u64, Error>(told.unwrap_or_default())
    };
    let epoch = number("SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint")?;
    // None where the schema is still to be made.
    let last_contact =
        number(&format!("SELECT max(seen) FROM concurrent_locks.session WHERE space = '{}'", dialect.space))?;
    Ok(Past { epoch, last_contact })
}

struct Conversation<'a> {
    dialect: &'a PostgresDialect,
    stream: &'a mut dyn HandshakeStream,
    input: &'a mut Vec<u8>,
    /// The number of the server's process, as reported by it (or a pooler in front of it).
    process: Option<u32>,
}

/// What a question brought: the first column of each row, as text.
type Rows = Result<Vec<String>, Refusal>;

impl<'a> Conversation<'a> {
    fn say(&mut self, put: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Result<(), Error> {
        let mut buffer = BytesMut::new();
        put(&mut buffer)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, format!("PostgreSQL cannot accept that: {error}")))?;
        self.stream.write(&buffer)
    }

    fn hear(&mut self) -> Result<Message, Error> {
        loop {
            if let Some((_, length)) = whole(self.input).map_err(foreign)? {
                let mut message = BytesMut::from(&self.input[..length]);
                self.input.drain(..length);
                return Message::parse(&mut message).map_err(foreign)?.ok_or_else(|| foreign("an incomplete message"));
            }
            self.stream.read(self.input)?;
        }
    }

    /// Everything up to where the server is ready for the next question.
    fn answer(&mut self) -> Result<Rows, Error> {
        let mut rows = Vec::new();
        let mut refused = None;
        loop {
            match self.hear()? {
                Message::BackendKeyData(key) => self.process = Some(key.process_id().cast_unsigned()),
                Message::ReadyForQuery(_) => return Ok(refused.map_or(Ok(rows), Err)),
                Message::DataRow(row) => rows.push(first_text(&row).and_then(Result::ok).unwrap_or_default()),
                Message::ErrorResponse(body) => {
                    let refusal = Refusal::of(&body);
                    if refusal.is_fatal() {
                        return Err(refusal.into_error());
                    }
                    refused.get_or_insert(refusal);
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, question: &str) -> Result<Rows, Error> {
        self.say(|buffer| frontend::query(question, buffer))?;
        self.answer()
    }

    /// Asks what the server must be able to answer.
    fn ask_surely(&mut self, question: &str) -> Result<Vec<String>, Error> {
        self.ask(question)?.map_err(Refusal::into_error)
    }

    fn introduce(&mut self) -> Result<(), Error> {
        let dialect = self.dialect;
        self.say(|buffer| {
            let parameters = [
                ("user", &*dialect.user),
                ("database", &*dialect.database),
                ("application_name", "concurrent_locks"),
                ("client_encoding", "UTF8"),
            ];
            frontend::startup_message(parameters, buffer)
        })?;
        loop {
            match self.hear()? {
                Message::AuthenticationOk => break,
                Message::AuthenticationCleartextPassword => {
                    let password = self.password()?;
                    self.say(|buffer| frontend::password_message(password.as_bytes(), buffer))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let password = self.password()?;
                    let hash = authentication::md5_hash(dialect.user.as_bytes(), password.as_bytes(), body.salt());
                    self.say(|buffer| frontend::password_message(hash.as_bytes(), buffer))?;
                }
                Message::AuthenticationSasl(body) => {
                    let offered = body.mechanisms().any(|name| Ok(name == sasl::SCRAM_SHA_256)).map_err(foreign)?;
                    if !offered {
                        return Err(unsupported("none of its mechanisms is SCRAM-SHA-256"));
                    }
                    self.prove_password()?;
                }
                Message::ErrorResponse(body) => return Err(Refusal::of(&body).into_error()),
                Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                Message::AuthenticationGss | Message::AuthenticationSspi | Message::AuthenticationKerberosV5 => {
                    return Err(unsupported("it wants Kerberos"));
                }
                _ => return Err(foreign("expected an answer to the startup message")),
            }
        }
        self.answer()?.map(drop).map_err(Refusal::into_error)
    }

    fn password(&self) -> Result<&'a str, Error> {
        self.dialect.password.as_deref().ok_or_else(|| {
            let text = "the server requires a password, but neither the URL nor the environment has one";
            Error::new(ErrorKind::Permission, text)
        })
    }

    fn prove_password(&mut self) -> Result<(), Error> {
        let binding = sasl::ChannelBinding::unsupported();
        let mut scram = sasl::ScramSha256::new(self.password()?.as_bytes(), binding);
        let first = scram.message().to_vec();
        self.say(|buffer| frontend::sasl_initial_response(sasl::SCRAM_SHA_256, &first, buffer))?;
        loop {
            match self.hear()? {
                Message::AuthenticationSaslContinue(body) => {
                    scram.update(body.data()).map_err(|error| unproven(&error))?;
                    let next = scram.message().to_vec();
                    self.say(|buffer| frontend::sasl_response(&next, buffer))?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    return scram.finish(body.data()).map_err(|error| unproven(&error));
                }
                Message::ErrorResponse(body) => return Err(Refusal::of(&body).into_error()),
                Message::NoticeResponse(_) => {}
                _ => return Err(foreign("expected a proof of the password")),
            }
        }
    }

    /// Whether this server will do; answers whether the connection is ours alone (S1).
    fn look_around(&mut self) -> Result<bool, Error> {
        let told = self.ask_surely(
            "SELECT pg_is_in_recovery(); SELECT current_setting('transaction_read_only'); \
             SELECT current_setting('server_version_num'); SELECT current_setting('transaction_isolation'); \
             SELECT pg_backend_pid()",
        )?;
        let [recovering, read_only, version, isolation, process] = &told[..] else {
            return Err(foreign("expected five rows"));
        };
        let process = process.parse().ok().filter(|process| Some(*process) == self.process);
        let ours = process.filter(|_| !self.dialect.multiplexed.load(Relaxed));
        self.dialect.process.store(ours.unwrap_or(0), Relaxed);
        if recovering == "t" {
            let text = "this server is a replica: locks need the server that takes writes";
            return Err(Error::new(ErrorKind::Unreachable, text));
        }
        if version.parse().unwrap_or(0) < OLDEST {
            return Err(unsupported(&format!("locks need PostgreSQL 13 or later, not version {version}")));
        }
        if read_only != "off" {
            let text = "this server is read-only for this role (default_transaction_read_only): locks need to write";
            return Err(Error::new(ErrorKind::Unreachable, text));
        }
        // A connection of our own is set up instead.
        if (self.dialect.role == Role::Calls || ours.is_none()) && isolation != "read committed" {
            return Err(unsupported(&format!(
                "locks need transactions that are read committed, by the pool they are {isolation}: \
                 ALTER ROLE .. SET default_transaction_isolation = 'read committed'"
            )));
        }
        Ok(ours.is_some())
    }

    /// What a connection of our own is set to. (The last: the verbs do not take our own lock's absence for our death.)
    fn set_up(&mut self, session: &str) -> Result<(), Error> {
        let settings = format!(
            "SET default_transaction_isolation = 'read committed'; \
             SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN \
             ('statement_timeout', 'lock_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout'); \
             SELECT set_config('concurrent_locks.session', '{session}', false)"
        );
        self.ask_surely(&settings).map(drop)
    }

    /// The layout that is there: 0 if none is, or none that a whole schema made.
    fn layout(&mut self) -> Result<u32, Error> {
        let there = match self.ask("SELECT to_regclass('concurrent_locks.layout') IS NOT NULL")? {
            Ok(rows) => rows == ["t"],
            Err(refusal) => return Err(by_hand(&refusal)),
        };
        if !there {
            return Ok(0);
        }
        match self.ask("SELECT max(version) FROM concurrent_locks.layout")? {
            Ok(rows) => Ok(rows.first().and_then(|version| version.parse().ok()).unwrap_or(0)),
            Err(refusal) => Err(by_hand(&refusal)),
        }
    }

    fn find_schema(&mut self) -> Result<(), Error> {
        match self.layout()? {
            LAYOUT => return Ok(()),
            newer if newer > LAYOUT => {
                return Err(unsupported(&format!(
                    "its schema concurrent_locks has layout {newer}, this library supports {LAYOUT}: use a newer one"
                )));
            }
            _ if !self.dialect.makes_schema => {
                let text = "there is no schema concurrent_locks in this database: nobody has used these locks yet";
                return Err(Error::new(ErrorKind::Closed, text));
            }
            _ => {}
        }
        // Many may start at once: one makes the schema, the others find it made.
        self.ask_surely("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('concurrent_locks schema', 0))")?;
        let made = match self.layout() {
            Ok(LAYOUT) => Ok(()),
            Ok(_) => self.ask(SCHEMA)?.map(drop).map_err(|refusal| by_hand(&refusal)),
            Err(error) => Err(error),
        };
        // After a refusal, COMMIT rolls back.
        self.ask_surely("COMMIT")?;
        made
    }

    /// A statement for each verb; all in one round trip.
    fn prepare(&mut self) -> Result<(), Error> {
        self.say(|buffer| {
            for verb in Verb::ALL {
                frontend::parse(verb.name(), &self.dialect.own_statement(verb), [], buffer)?;
            }
            frontend::sync(buffer);
            Ok(())
        })?;
        self.answer()?.map(drop).map_err(|refusal| by_hand(&refusal))
    }

    /// The proof of life, and the subscription to pushes. A connection of ours that the server has not yet found broken
    /// is ended: it would keep the lock from us. LISTEN comes last, so that little is pushed before the handshake ends.
    fn live(&mut self, session: &str) -> Result<(), Error> {
        let key = u64::from_str_radix(session, 16)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, format!("the session {session:?}: {error}")))?;
        let (high, low) = (key >> 32, key & 0xffff_ffff);
        self.ask_surely(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted \
             AND mode = 'ExclusiveLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND classid = {high} AND objid = {low} AND objsubid = 1 AND pid <> pg_backend_pid()"
        ))?;
        self.ask_surely(&format!("SELECT pg_advisory_lock({})", key.cast_signed()))?;
        self.ask_surely(&format!("LISTEN \"concurrent_locks_{session}\"")).map(drop)
    }
}

fn foreign(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unreachable, format!("this server does not speak PostgreSQL's protocol: {why}"))
}

fn unsupported(why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("this server is not supported: {why}"))
}

fn unproven(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Permission, format!("the server refuses the login: {error}"))
}

/// What it means that the schema is not there, or not for us.
fn by_hand(refusal: &Refusal) -> Error {
    let kind = if refusal.code == "42501" { ErrorKind::Permission } else { ErrorKind::Unsupported };
    Error::new(kind, format!("the schema concurrent_locks cannot be created or used: {refusal}; {BY_HAND}"))
}
