//! The dialect of Redis and Valkey: a script per verb, and pushes on the same connection (RESP3).

mod handshake;
mod resp;
mod scripts;
#[cfg(test)]
mod tests;

use self::{resp::Value, scripts::scripts};
use super::{
    protocol::{Call, Verb},
    wire::{Dialect, Failure, Frame, HandshakeStream, Past},
};
use crate::words::error::Error;

/// The keys of a space, in the order in which every script has them.
const KEYS: [&str; 8] = ["requests", "holders", "queue", "seen", "sessions", "counters", "events", "orders"];

/// With these words a server says that it cannot serve this connection, not that a call was wrong.
const ENDS: [&str; 12] = [
    "NOSCRIPT",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "READONLY",
    "NOREPLICAS",
    "MISCONF",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "BUSY",
    "NOAUTH",
];

/// One space on a Redis server.
pub(crate) struct RedisDialect {
    /// What the names of all keys and channels of the space begin with.
    prefix: String,
    user: Option<String>,
    password: Option<String>,
    db: u32,
    /// What a call of each verb begins with, up to its arguments: it is always the same.
    heads: Vec<Vec<u8>>,
}

impl RedisDialect {
    pub(crate) fn new(space: &str, user: Option<String>, password: Option<String>, db: u32) -> RedisDialect {
        // In braces: all keys of a space are in one slot of a cluster.
        let prefix = format!("locks:{{{space}}}:");
        let heads = Verb::ALL.iter().map(|verb| head(*verb, &prefix)).collect();
        RedisDialect { prefix, user, password, db, heads }
    }
}

impl RedisDialect {
    fn hello<'a>(&'a self, session: &'a str) -> handshake::Hello<'a> {
        handshake::Hello {
            user: self.user.as_deref(),
            password: self.password.as_deref(),
            db: self.db,
            prefix: &self.prefix,
            session,
        }
    }
}

/// `EVALSHA script 8 keys..`, as the beginning of a command with the verb's arguments.
fn head(verb: Verb, prefix: &str) -> Vec<u8> {
    let mut head = Vec::new();
    resp::begin(3 + KEYS.len() + verb.arity(), &mut head);
    resp::word(b"EVALSHA", &mut head);
    resp::word(scripts()[verb as usize].sha.as_bytes(), &mut head);
    resp::word(KEYS.len().to_string().as_bytes(), &mut head);
    for key in KEYS {
        resp::word(format!("{prefix}{key}").as_bytes(), &mut head);
    }
    head
}

impl Dialect for RedisDialect {
    fn handshake(&self, stream: &mut dyn HandshakeStream, input: &mut Vec<u8>, session: &str) -> Result<(), Error> {
        handshake::handshake(&self.hello(session), stream, input)
    }

    fn look(&self, stream: &mut dyn HandshakeStream, input: &mut Vec<u8>) -> Result<Past, Error> {
        handshake::look(&self.hello("look"), stream, input)
    }

    fn proves_life(&self) -> bool {
        false
    }

    fn encode(&self, call: &Call<'_>, output: &mut Vec<u8>) {
        debug_assert_eq!(call.arguments.len(), call.verb.arity(), "the arguments of {}", call.verb.name());
        output.extend_from_slice(&self.heads[call.verb as usize]);
        for argument in call.arguments {
            resp::word(argument.as_bytes(), output);
        }
    }

    fn decode(&self, input: &[u8]) -> Result<Option<(usize, Frame)>, Failure> {
        let read = resp::read(input).map_err(|why| Failure::Broken(format!("not Redis's protocol: {}", why.0)))?;
        Ok(read.map(|(length, value)| (length, frame(&value))))
    }
}

fn frame(value: &Value<'_>) -> Frame {
    match value {
        Value::Text(text) => Frame::Answer(match str::from_utf8(text) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(Failure::Refused(format!("an answer that is not text: {error}"))),
        }),
        Value::Error(text) => {
            let text = String::from_utf8_lossy(text).into_owned();
            if ENDS.contains(&kind(&text)) { Frame::End(text) } else { Frame::Answer(Err(Failure::Refused(text))) }
        }
        Value::Push(parts) => match parts.as_slice() {
            [Value::Text(b"message"), _, Value::Text(text)] => Frame::Push(String::from_utf8_lossy(text).into_owned()),
            [Value::Text(b"unsubscribe"), ..] => Frame::End("the server ended the subscription".to_owned()),
            _ => Frame::Nothing,
        },
        Value::Scalar(_) | Value::Null | Value::List(_) => {
            Frame::Answer(Err(Failure::Refused(format!("an answer of the wrong kind: {value:?}"))))
        }
    }
}

/// The first word of an error says what it is. Before Redis 7, that of a command in a script stands
/// after the part about the script.
fn kind(error: &str) -> &str {
    let said = match error.rsplit_once(": -") {
        Some((about, said)) if about.starts_with("ERR Error running script") => said,
        _ => error,
    };
    said.split(' ').next().unwrap_or_default()
}
