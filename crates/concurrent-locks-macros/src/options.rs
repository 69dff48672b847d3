//! The attribute's arguments: a name template and options.

use std::time::Duration;

use proc_macro2::Span;
use syn::{
    Error, Expr, Ident, LitStr, Result, Token,
    parse::{Parse, ParseStream},
};

use crate::template::Template;

const KNOWN: &str = "timeout, priority, note, locks, owner, on_error";

pub(crate) struct Options {
    pub(crate) name: Template,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) priority: Option<Expr>,
    pub(crate) note: Option<LitStr>,
    pub(crate) locks: Option<Expr>,
    pub(crate) owner: Option<Expr>,
    pub(crate) on_error: Option<OnError>,
}

pub(crate) enum Timeout {
    After(Duration),
    Never,
}

/// What happens when the lock cannot be taken.
#[derive(PartialEq)]
pub(crate) enum OnError {
    Return,
    Panic,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        if input.is_empty() {
            let message = "the name of the lock is missing: #[read_lock(\"episodic_db:{self.path}\")]";
            return Err(Error::new(Span::call_site(), message));
        }
        if !input.peek(LitStr) {
            return Err(input.error("the name of the lock comes first, as a string: \"episodic_db:{self.path}\""));
        }
        let mut options = Options {
            name: Template::new(&input.parse()?)?,
            timeout: None,
            priority: None,
            note: None,
            locks: None,
            owner: None,
            on_error: None,
        };
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if !input.is_empty() {
                options.option(input)?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn option(&mut self, input: ParseStream<'_>) -> Result<()> {
        let key: Ident = input.parse()?;
        let name = key.to_string();
        if !KNOWN.split(", ").any(|known| known == name) {
            return Err(Error::new(key.span(), format!("unknown option `{name}`; there are {KNOWN}")));
        }
        input.parse::<Token![=]>()?;
        match name.as_str() {
            "timeout" => set(&mut self.timeout, &key, timeout(&input.parse()?)?),
            "priority" => set(&mut self.priority, &key, input.parse()?),
            "note" => set(&mut self.note, &key, input.parse()?),
            "locks" => set(&mut self.locks, &key, input.parse()?),
            "owner" => set(&mut self.owner, &key, input.parse()?),
            _ => set(&mut self.on_error, &key, on_error(&input.parse()?)?),
        }
    }
}

fn set<T>(place: &mut Option<T>, key: &Ident, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new(key.span(), format!("option `{key}` is given twice"))),
    }
}

fn timeout(literal: &LitStr) -> Result<Timeout> {
    let text = literal.value();
    if text == "never" {
        return Ok(Timeout::Never);
    }
    humantime::parse_duration(&text).map(Timeout::After).map_err(|error| {
        let message = format!("bad duration {text:?}: {error}; write \"10s\", \"500ms\", \"2m 30s\" or \"never\"");
        Error::new(literal.span(), message)
    })
}

fn on_error(literal: &LitStr) -> Result<OnError> {
    match literal.value().as_str() {
        "return" => Ok(OnError::Return),
        "panic" => Ok(OnError::Panic),
        _ => Err(Error::new(literal.span(), "on_error is \"return\" or \"panic\"")),
    }
}
