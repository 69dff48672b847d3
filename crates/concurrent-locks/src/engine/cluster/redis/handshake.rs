//! The handshake of a connection: our identity, whether the server is usable, and the scripts.

use super::{
    resp::{self, Value},
    scripts::scripts,
};
use crate::{
    engine::cluster::wire::{HandshakeStream, Past},
    words::error::{Error, ErrorKind},
};

/// The oldest server that will do.
const OLDEST: (u32, u32) = (6, 2);

/// The name of no script.
const NO_SCRIPT: &str = "0000000000000000000000000000000000000000";

/// What a connection is opened with.
pub(super) struct Hello<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    pub(super) db: u32,
    /// What the names of all keys and channels of our space begin with.
    pub(super) prefix: &'a str,
    pub(super) session: &'a str,
}

pub(super) fn handshake(hello: &Hello<'_>, stream: &mut dyn HandshakeStream, input: &mut Vec<u8>) -> Result<(), Error> {
    let mut conversation = Conversation { stream, input, output: Vec::new() };
    conversation.introduce(hello)?;
    conversation.look_around(hello)?;
    conversation.load_scripts()?;
    // Last, so that nothing is pushed before the handshake ends.
    conversation.say(&["SUBSCRIBE", &format!("{}to:{}", hello.prefix, hello.session)]);
    conversation.flush()?;
    conversation.answer(true, |_| ())
}

/// Whether it would serve us, and how late its past is.
pub(super) fn look(hello: &Hello<'_>, stream: &mut dyn HandshakeStream, input: &mut Vec<u8>) -> Result<Past, Error> {
    let mut conversation = Conversation { stream, input, output: Vec::new() };
    conversation.introduce(hello)?;
    conversation.look_around(hello)?;
    conversation.say(&["HGET", &format!("{}counters", hello.prefix), "epoch"]);
    conversation.say(&["ZREVRANGE", &format!("{}seen", hello.prefix), "0", "0", "WITHSCORES"]);
    conversation.flush()?;
    let epoch = conversation.answer(false, number)?;
    let last_contact = conversation.answer(false, number)?;
    Ok(Past { epoch, last_contact })
}

/// The number an answer is, or ends in; 0 if it is none.
fn number(value: &Value<'_>) -> u64 {
    match value {
        Value::Text(text) | Value::Scalar(text) => {
            str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()).map_or(0, |number| number as u64)
        }
        Value::List(list) => list.last().map_or(0, number),
        _ => 0,
    }
}

struct Conversation<'a> {
    stream: &'a mut dyn HandshakeStream,
    input: &'a mut Vec<u8>,
    output: Vec<u8>,
}

impl Conversation<'_> {
    fn say(&mut self, words: &[&str]) {
        resp::command(words, &mut self.output);
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.stream.write(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Takes the next answer. An unsolicited message is not one, except where it is what we wait for:
    /// the confirmation of a subscription.
    fn answer<T>(&mut self, subscribed: bool, take: impl FnOnce(&Value<'_>) -> T) -> Result<T, Error> {
        loop {
            let read = resp::read(self.input).map_err(|why| {
                Error::new(ErrorKind::Unreachable, format!("this server does not speak Redis's protocol: {}", why.0))
            })?;
            let Some((length, value)) = read else {
                self.stream.read(self.input)?;
                continue;
            };
            if matches!(value, Value::Push(_)) && !subscribed {
                self.input.drain(..length);
                continue;
            }
            let result = match &value {
                Value::Error(text) => Err(refusal(&String::from_utf8_lossy(text))),
                value => Ok(take(value)),
            };
            self.input.drain(..length);
            return result;
        }
    }

    fn introduce(&mut self, hello: &Hello<'_>) -> Result<(), Error> {
        let name = format!("concurrent-locks-{}", hello.session);
        let mut words = vec!["HELLO", "3"];
        if let Some(password) = hello.password {
            words.extend(["AUTH", hello.user.unwrap_or("default"), password]);
        }
        words.extend(["SETNAME", &name]);
        self.say(&words);
        self.flush()?;
        let (version, role) = self.answer(false, |about| (field(about, "version"), field(about, "role")))?;
        check_version(version.as_deref().unwrap_or_default())?;
        if role.as_deref() != Some("master") {
            return Err(Error::new(
                ErrorKind::Unreachable,
                "this server is a replica: locks need the server that takes writes",
            ));
        }
        Ok(())
    }

    /// The database, whether this server has our keys and takes writes (nothing is deleted), and whether it has the
    /// commands that scripts need: where they were renamed, that is better reported now. (No script has that name.)
    fn look_around(&mut self, hello: &Hello<'_>) -> Result<(), Error> {
        let db = hello.db.to_string();
        if hello.db != 0 {
            self.say(&["SELECT", &db]);
        }
        self.say(&["DEL", &format!("{}none", hello.prefix)]);
        self.say(&["TIME"]);
        self.say(&["EVALSHA", NO_SCRIPT, "0"]);
        self.flush()?;
        if hello.db != 0 {
            self.answer(false, |_| ())?;
        }
        self.answer(false, |_| ())?;
        self.answer(false, |_| ())?;
        match self.answer(false, |_| ()) {
            Err(error) if error.kind() == ErrorKind::Unsupported || error.kind() == ErrorKind::Permission => Err(error),
            _ => Ok(()),
        }
    }

    fn load_scripts(&mut self) -> Result<(), Error> {
        let mut words = vec!["SCRIPT", "EXISTS"];
        words.extend(scripts().iter().map(|script| &*script.sha));
        self.say(&words);
        self.flush()?;
        let known = self.answer(false, |answer| match answer {
            Value::List(list) => list.iter().map(|value| *value == Value::Scalar(b"1")).collect(),
            _ => Vec::new(),
        })?;
        let missing = || scripts().iter().enumerate().filter(|(index, _)| known.get(*index) != Some(&true));
        for (_, script) in missing() {
            self.say(&["SCRIPT", "LOAD", &script.text]);
        }
        self.flush()?;
        for (_, script) in missing() {
            let same = self.answer(false, |answer| *answer == Value::Text(script.sha.as_bytes()))?;
            if !same {
                return Err(Error::new(ErrorKind::Unsupported, "this server computes script names unlike Redis"));
            }
        }
        Ok(())
    }
}

/// A field of the answer to HELLO.
fn field(about: &Value<'_>, name: &str) -> Option<String> {
    let Value::List(list) = about else { return None };
    list.as_chunks::<2>().0.iter().find_map(|[key, value]| match (key, value) {
        (Value::Text(key), Value::Text(value)) if *key == name.as_bytes() => {
            Some(String::from_utf8_lossy(value).into_owned())
        }
        _ => None,
    })
}

fn check_version(version: &str) -> Result<(), Error> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < OLDEST { Err(too_old(&format!("it is version {version:?}"))) } else { Ok(()) }
}

fn too_old(why: &str) -> Error {
    let needed = "locks need Redis 6.2 or later, or Valkey";
    Error::new(ErrorKind::Unsupported, format!("{needed}, with the commands HELLO and EVALSHA: {why}"))
}

/// What it means that the server refused a part of the handshake.
fn refusal(text: &str) -> Error {
    let word = text.split(' ').next().unwrap_or_default();
    match word {
        "WRONGPASS" => {
            let advice = "check both in the URL, redis://USER:PASSWORD@HOST (without USER it is `default`; write a \
                          letter like @ or / as %40 or %2F)";
            Error::new(ErrorKind::Permission, format!("the server refused the user or the password; {advice}: {text}"))
        }
        "NOAUTH" => {
            let advice = "put it into the URL: redis://:PASSWORD@HOST, or redis://USER:PASSWORD@HOST";
            Error::new(
                ErrorKind::Permission,
                format!("the server wants a password, and the URL has none; {advice}: {text}"),
            )
        }
        "NOPERM" => Error::new(ErrorKind::Permission, format!("the server refuses the login: {text}")),
        "NOPROTO" => too_old(text),
        "ERR" if text.contains("unknown command") => too_old(text),
        "ERR" if text.contains("DB index") || text.contains("SELECT is not allowed") => {
            Error::new(ErrorKind::InvalidInput, format!("the server has no such database: {text}"))
        }
        "MOVED" => {
            Error::new(ErrorKind::Unreachable, format!("another server of the cluster has this space's keys: {text}"))
        }
        _ => Error::new(ErrorKind::Unreachable, format!("the server cannot serve requests now: {text}")),
    }
}
