//! The only access to stdout, and the messages on stderr.
//!
//! Results go to stdout; everything else goes to stderr with the command's name before it. Colours
//! are left out where the stream is no terminal or `NO_COLOR` is set (anstream sees to it).

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use concurrent_locks::{Cycle, Error, Holder, Mode};
use owo_colors::OwoColorize;
use serde::Serialize;

use crate::{exit::UsageError, table::visible};

/// How this run of the command speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Output {
        Output { json, quiet }
    }

    /// Whether the result is wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether notices are wanted.
    pub(crate) fn tells(&self) -> bool {
        !self.quiet && !self.json
    }

    /// Whether stderr is a terminal, where somebody may be watching.
    pub(crate) fn is_watched(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Whether only errors are wanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Writes the result for people.
    pub(crate) fn text(&self, text: impl fmt::Display) -> anyhow::Result<()> {
        let mut stdout = anstream::stdout().lock();
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }

    /// Writes the result as one JSON object on one line.
    pub(crate) fn object(&self, object: &impl Serialize) -> anyhow::Result<()> {
        let line = serde_json::to_string(object)?;
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        Ok(stdout.flush()?)
    }

    /// Says something on stderr that is no error.
    pub(crate) fn notice(&self, text: impl fmt::Display) {
        if self.tells() {
            self.say(format_args!("{}: {}", "locks".dimmed(), visible(&text.to_string())));
        }
    }

    /// Reports a problem on stderr although the verb continues.
    pub(crate) fn warning(&self, text: impl fmt::Display) {
        if self.json {
            self.say_object(&serde_json::json!({ "warning": text.to_string() }));
        } else {
            self.say(format_args!("{}: {}", "locks".yellow(), visible(&text.to_string())));
        }
    }

    /// Says on stderr why the verb failed.
    pub(crate) fn failure(&self, error: &anyhow::Error) {
        if self.json {
            self.say_object(&Failure::of(error));
        } else {
            self.say(format_args!("{}: {}", "locks".red(), visible(&format!("{error:#}"))));
        }
    }

    /// Writes one JSON object on one line of stderr, for verbs whose stdout belongs to a command.
    pub(crate) fn say_object(&self, object: &impl Serialize) {
        match serde_json::to_string(object) {
            Ok(line) => self.say(line),
            Err(error) => self.say(format_args!("locks: {error}")),
        }
    }

    fn say(&self, line: impl fmt::Display) {
        // When stderr is closed there is nobody left to inform.
        let _ = writeln!(anstream::stderr().lock(), "{line}");
    }
}

/// Whether the reader of stdout went away (`locks status | head -1`), which is no failure.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A failed verb as JSON.
#[derive(Serialize)]
pub(crate) struct Failure<'a> {
    error: Report<'a>,
}

impl Failure<'_> {
    pub(crate) fn of(error: &anyhow::Error) -> Failure<'_> {
        Failure { error: Report::of(error) }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    kind: String,
    message: String,
    resource: Option<&'a str>,
    mode: Option<Mode>,
    holders: &'a [Holder],
    position: Option<usize>,
    waiters: usize,
    waited_ms: f64,
    cycle: Option<&'a Cycle>,
}

impl Report<'_> {
    fn of(error: &anyhow::Error) -> Report<'_> {
        let lock = error.downcast_ref::<Error>();
        let busy = lock.and_then(Error::busy);
        Report {
            kind: match lock {
                Some(lock) => snake_case(&format!("{:?}", lock.kind())),
                None if error.is::<UsageError>() => "usage".to_owned(),
                None => "other".to_owned(),
            },
            message: format!("{error:#}"),
            resource: lock.and_then(Error::resource),
            mode: lock.and_then(Error::mode),
            holders: busy.map_or(&[], |busy| &busy.holders),
            position: busy.and_then(|busy| busy.position),
            waiters: busy.map_or(0, |busy| busy.waiters),
            waited_ms: busy.map_or(0.0, |busy| busy.waited.as_secs_f64() * 1e3),
            cycle: lock.and_then(Error::cycle),
        }
    }
}

/// `TimedOut` as `timed_out`.
fn snake_case(word: &str) -> String {
    let mut snake = String::new();
    for letter in word.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
