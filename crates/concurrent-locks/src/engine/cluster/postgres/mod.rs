//! The PostgreSQL dialect: a function per verb, pushes as notifications, and the proof of life.
//!
//! A process has one connection for all of it ([`Role::Both`]). Behind a pool that hands out connections for one
//! transaction (PgBouncer), calls go over the pool and leave nothing there ([`Role::Calls`]); what belongs to a
//! connection, the notifications and the advisory lock that proves our life, has a direct one ([`Role::Listen`]).
//!
//! Whether a connection is ours alone is proven, not assumed:
//!
//! - S1. In the handshake PostgreSQL reports the number of its process (`BackendKeyData`). A pooler, which is not a
//!   process of PostgreSQL's, reports a number of its own. Only if it is the number of the process that answers our
//!   first query (`pg_backend_pid()`) is our peer PostgreSQL itself (or a proxy that only forwards bytes).
//! - S2. Otherwise nothing is left on the connection, and its end proves nothing: calls as [`Role::Calls`], no
//!   notifications, the lease alone decides (`life=lease`). A second connection (`listen=`) has to pass S1.
//! - S3. A pooler may report the number of the process it begins with. So each call is executed only in that process;
//!   the first that arrives elsewhere ends the connection, and the next one is as in S2.

mod handshake;
mod refusal;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    IsNull,
    message::{
        backend::{DataRowBody, Header, Message},
        frontend,
    },
};

use self::refusal::Refusal;
use super::{
    protocol::{Call, Verb},
    wire::{Dialect, Failure, Frame, HandshakeStream, Past},
};
use crate::words::error::Error;

/// What a call answers that was not carried out, because it came to another server process than the one of the handshake.
const ELSEWHERE: &str = r#"{"elsewhere":{}}"#;

/// No message is longer: a status of a million requests is not.
const LONGEST: usize = 1 << 28;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Calls and pushes.
    Both,
    /// Calls, by a pool: each may come to another server process, so nothing is left in one.
    Calls,
    /// Pushes and the proof of life.
    Listen,
}

/// One space in a PostgreSQL database, and one connection to it.
pub(crate) struct PostgresDialect {
    space: String,
    user: String,
    password: Option<String>,
    database: String,
    role: Role,
    /// Whether a missing schema is created, or else reported as such (`Closed`).
    pub(crate) makes_schema: bool,
    /// What the call at hand has brought so far: it is answered when the server is ready for the next.
    brought: Mutex<Option<Result<String, Failure>>>,
    /// The server process that is ours alone, by its number; 0 if a pool shares them out.
    process: AtomicU32,
    /// Whether calls have come to another one although it seemed to be ours.
    multiplexed: Arc<AtomicBool>,
}

impl PostgresDialect {
    /// An empty database is the one with the user's name.
    pub(crate) fn new(
        space: &str,
        user: &str,
        password: Option<String>,
        database: &str,
        role: Role,
    ) -> PostgresDialect {
        let database = if database.is_empty() { user } else { database };
        PostgresDialect {
            space: space.to_owned(),
            user: user.to_owned(),
            password,
            database: database.to_owned(),
            role,
            makes_schema: true,
            brought: Mutex::new(None),
            process: AtomicU32::new(0),
            multiplexed: Arc::default(),
        }
    }

    /// The same with what earlier connections have found out.
    pub(crate) fn knowing(self, multiplexed: Arc<AtomicBool>) -> PostgresDialect {
        PostgresDialect { multiplexed, ..self }
    }

    /// Whether calls may leave something on the connection.
    fn is_alone(&self) -> bool {
        self.process.load(Relaxed) != 0
    }

    /// What a verb is called with on a connection that is ours alone. Each call proves that it still is.
    fn own_statement(&self, verb: Verb) -> String {
        let process = self.process.load(Relaxed);
        format!("SELECT CASE WHEN pg_backend_pid() = {process} THEN {} ELSE '{ELSEWHERE}' END", called(verb))
    }

    fn bring(&self, what: Result<String, Failure>) -> Frame {
        *self.brought.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
        Frame::Nothing
    }

    fn frame(&self, tag: u8, message: &[u8]) -> Result<Frame, Failure> {
        match tag {
            b'Z' => {
                let brought = self.brought.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(Frame::Answer(
                    brought.unwrap_or_else(|| Err(Failure::Refused("the server answered without a row".to_owned()))),
                ))
            }
            b'D' | b'E' | b'A' => match Message::parse(&mut BytesMut::from(message)) {
                Ok(Some(Message::DataRow(row))) => match only_text(&row) {
                    Ok(text) if text == ELSEWHERE => {
                        self.multiplexed.store(true, Relaxed);
                        Ok(Frame::End(
                            "a pooler distributes our calls over several connections of PostgreSQL".to_owned(),
                        ))
                    }
                    text => Ok(self.bring(text)),
                },
                Ok(Some(Message::NotificationResponse(push))) => match push.message() {
                    Ok(text) => Ok(Frame::Push(text.to_owned())),
                    Err(error) => Err(foreign(&error)),
                },
                Ok(Some(Message::ErrorResponse(body))) => {
                    let refusal = Refusal::of(&body);
                    if refusal.ends_connection() {
                        Ok(Frame::End(refusal.to_string()))
                    } else {
                        Ok(self.bring(Err(Failure::Refused(refusal.to_string()))))
                    }
                }
                Ok(_) => Err(Failure::Broken("not PostgreSQL's protocol: a message within a message".to_owned())),
                Err(error) => Err(foreign(&error)),
            },
            // What is bound, parsed, done, noted and set.
            b'1' | b'2' | b'C' | b'N' | b'S' | b'T' | b'I' | b'n' | b's' | b't' | b'3' | b'K' => Ok(Frame::Nothing),
            _ => Err(Failure::Broken(format!("not PostgreSQL's protocol: a message of kind {tag:#04x}"))),
        }
    }
}

impl Dialect for PostgresDialect {
    fn handshake(&self, stream: &mut dyn HandshakeStream, input: &mut Vec<u8>, session: &str) -> Result<(), Error> {
        *self.brought.lock().unwrap_or_else(PoisonError::into_inner) = None;
        handshake::handshake(self, stream, input, session)
    }

    fn look(&self, stream: &mut dyn HandshakeStream, input: &mut Vec<u8>) -> Result<Past, Error> {
        handshake::look(self, stream, input)
    }

    fn proves_life(&self) -> bool {
        self.role != Role::Calls && self.is_alone()
    }

    fn encode(&self, call: &Call<'_>, output: &mut Vec<u8>) {
        debug_assert_eq!(call.arguments.len(), call.verb.arity(), "the arguments of {}", call.verb.name());
        let length = call.arguments.iter().map(|argument| argument.len() + 4).sum::<usize>();
        let mut buffer = BytesMut::with_capacity(length + 256);
        let call_it = |buffer: &mut BytesMut| {
            let statement = if self.role == Role::Calls || !self.is_alone() {
                frontend::parse("", &statement(call.verb), [], buffer)?;
                ""
            } else {
                call.verb.name()
            };
            let arguments = std::iter::once(&*self.space).chain(call.arguments.iter().copied());
            let put = |argument: &str, buffer: &mut BytesMut| {
                buffer.extend_from_slice(argument.as_bytes());
                Ok(IsNull::No)
            };
            frontend::bind("", statement, [], arguments, put, [], buffer).map_err(|error| match error {
                frontend::BindError::Conversion(error) => std::io::Error::other(error),
                frontend::BindError::Serialization(error) => error,
            })?;
            frontend::execute("", 0, buffer)
        };
        // The only thing that can be wrong is a length beyond 31 bits. Without it there still is an answer to wait for.
        let encoded: std::io::Result<()> = call_it(&mut buffer);
        if encoded.is_err() {
            buffer.clear();
        }
        frontend::sync(&mut buffer);
        output.extend_from_slice(&buffer);
    }

    fn decode(&self, input: &[u8]) -> Result<Option<(usize, Frame)>, Failure> {
        let Some((tag, length)) = whole(input).map_err(|error| foreign(&error))? else { return Ok(None) };
        Ok(Some((length, self.frame(tag, &input[..length])?)))
    }
}

/// The kind and length of the first message, if all of it is there.
fn whole(input: &[u8]) -> std::io::Result<Option<(u8, usize)>> {
    let Some(header) = Header::parse(input)? else { return Ok(None) };
    let length = usize::try_from(header.len()).map_or(usize::MAX, |length| length.saturating_add(1));
    if length > LONGEST {
        return Err(std::io::Error::other(format!("a message of {length} bytes")));
    }
    Ok((input.len() >= length).then_some((header.tag(), length)))
}

fn foreign(error: &std::io::Error) -> Failure {
    Failure::Broken(format!("not PostgreSQL's protocol: {error}"))
}

/// What a verb's function is called with: the space, then the verb's own arguments.
fn called(verb: Verb) -> String {
    let places = (1..=verb.arity() + 1).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ");
    format!("concurrent_locks.{}({places})", verb.name())
}

fn statement(verb: Verb) -> String {
    format!("SELECT {}", called(verb))
}

/// The text of a row's first column.
fn first_text(row: &DataRowBody) -> Option<Result<String, std::str::Utf8Error>> {
    let range = row.ranges().next().ok()???;
    Some(str::from_utf8(row.buffer().get(range)?).map(str::to_owned))
}

fn only_text(row: &DataRowBody) -> Result<String, Failure> {
    match first_text(row) {
        Some(Ok(text)) => Ok(text),
        Some(Err(error)) => Err(Failure::Refused(format!("an answer that is not text: {error}"))),
        None => Err(Failure::Refused("an answer without a text".to_owned())),
    }
}
