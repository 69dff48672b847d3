//! Parses a URL into an [`Address`]. Error messages never quote a part that could be a password.

use std::{borrow::Cow, net::Ipv6Addr, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;

use super::{Address, Host, Kind, Tls};
use crate::words::{
    error::{Error, ErrorKind},
    variables::SPACE_VARIABLE,
};

pub(super) const SCHEMES: [&str; 4] = ["redis", "rediss", "postgres", "postgresql"];

pub(super) const LEASE: Duration = Duration::from_secs(10);
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const LONGEST_LEASE: Duration = Duration::from_secs(3600);
const LONGEST_SPACE: usize = 100;

/// What is wrong, to be put behind the name of the URL.
type Wrong = String;

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Address, Error> {
        Address::parse_in(url, &|variable| std::env::var(variable).ok())
    }

    /// The same in an environment.
    pub(super) fn parse_in(url: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Address, Error> {
        let refuse = |scheme: &str, wrong: &str| {
            Error::new(ErrorKind::InvalidInput, format!("the lock URL {scheme}://... {wrong}"))
        };
        let (kind, encrypted, scheme, rest) = match url.split_once("://") {
            Some(("redis", rest)) => (Kind::Redis, false, "redis", rest),
            Some(("rediss", rest)) => (Kind::Redis, true, "rediss", rest),
            Some((scheme @ ("postgres" | "postgresql"), rest)) => (Kind::Postgres, false, scheme, rest),
            _ => {
                let message = "the lock URL names no server; use redis://, rediss:// or postgres://";
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
        };
        Parts::split(rest)
            .and_then(|parts| parts.address(kind, encrypted, environment))
            .map_err(|wrong| refuse(scheme, &wrong))
    }
}

/// A URL behind its scheme, cut up.
struct Parts<'a> {
    user: Cow<'a, str>,
    password: Cow<'a, str>,
    hosts: &'a str,
    database: Cow<'a, str>,
    query: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Parts<'a> {
    fn split(rest: &'a str) -> Result<Parts<'a>, Wrong> {
        if rest.contains('#') {
            return Err("has a #; it is written %23".into());
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, query.split('&').collect()),
            None => (rest, Vec::new()),
        };
        // A question mark in a password would put the rest of it where keys are quoted.
        if query.iter().any(|pair: &&str| pair.contains('@')) {
            return Err("has an @ after ?; in a password and after ?, special characters are written %XX".into());
        }
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for pair in query {
            let Some((key, value)) = pair.split_once('=') else {
                return Err("has text after ? that is not key=value".into());
            };
            if pairs.iter().any(|(earlier, _)| *earlier == key) {
                return Err(format!("has {} twice after ?", quoted(key)));
            }
            pairs.push((key, decoded(value, "a value after ?")?));
        }
        Ok(Parts {
            user: decoded(user, "the user")?,
            password: decoded(password, "the password")?,
            hosts,
            database: decoded(database, "the database")?,
            query: pairs,
        })
    }

    fn address(
        mut self,
        kind: Kind,
        encrypted: bool,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Address, Wrong> {
        let set = |variable| environment(variable).filter(|value| !value.is_empty());
        let space = match self.take("space") {
            Some(space) => checked_space(&space, "space=")?,
            None => match set(SPACE_VARIABLE) {
                Some(space) => checked_space(&space, &format!("${SPACE_VARIABLE}="))?,
                None => "default".to_owned(),
            },
        };
        let lease = self.take("lease").map_or(Ok(LEASE), |lease| checked_lease(&lease))?;
        let postgres = kind == Kind::Postgres;
        let ca = if postgres || encrypted { self.take("ca") } else { None };
        let mut of_postgres = |key| if postgres { self.take(key) } else { None };
        let (sslmode, listen, directory) = (of_postgres("sslmode"), of_postgres("listen"), of_postgres("host"));
        let guarded = match of_postgres("life").as_deref() {
            None | Some("connection") => postgres,
            Some("lease") => false,
            Some(life) => return Err(format!("has life={life:?}; valid values are connection and lease")),
        };
        if let Some((key, _)) = self.query.first() {
            let possible = match (kind, encrypted) {
                (Kind::Redis, false) => "space and lease (and ca, with rediss://)",
                (Kind::Redis, true) => "space, lease and ca",
                (Kind::Postgres, _) => "space, lease, sslmode, ca, listen, life and host",
            };
            return Err(format!("has {} after ?; valid keys are {possible}", quoted(key)));
        }
        let tls = match sslmode {
            None if encrypted || ca.is_some() => Some(Tls::Verify),
            None => None,
            Some(mode) => Some(checked_sslmode(&mode)?),
        };
        if ca.is_some() && tls != Some(Tls::Verify) {
            return Err("has ca=, but only sslmode=verify-full checks certificates".into());
        }
        let given = |text: Cow<'_, str>| Some(text.into_owned()).filter(|text| !text.is_empty());
        let (mut user, mut password) = (given(self.user), given(self.password));
        if postgres {
            password = password.or_else(|| set("PGPASSWORD"));
            user = user.or_else(|| set("PGUSER"));
            if user.is_none() {
                let known = whoami::username();
                user =
                    Some(known.map_err(|error| {
                        format!("names no user, and the current one cannot be determined: {error}")
                    })?);
            }
        }
        let database = match (kind, self.database.as_ref()) {
            (Kind::Postgres, "") => set("PGDATABASE").or_else(|| user.clone()).unwrap_or_default(),
            (Kind::Postgres, database) => database.to_owned(),
            (Kind::Redis, "") => "0".to_owned(),
            (Kind::Redis, number) => number
                .parse::<u32>()
                .map(|number| number.to_string())
                .map_err(|_| "has text after the host that is not a database number")?,
        };
        Ok(Address {
            kind,
            hosts: hosts(kind, self.hosts, directory.as_deref())?,
            user,
            password,
            database,
            tls,
            ca: ca.map(|file| absolute(&file)).transpose()?,
            space,
            lease,
            listen: listen.map(|listen| host(kind, &listen)).transpose()?,
            guarded,
            observed: false,
        })
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let index = self.query.iter().position(|(found, _)| *found == key)?;
        Some(self.query.swap_remove(index).1.into_owned())
    }
}

/// A key, unless it could be a piece of a password.
fn quoted(key: &str) -> String {
    let plain = key.len() <= 20 && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if plain { format!("{key:?}") } else { "an unknown key".to_owned() }
}

fn decoded<'a>(text: &'a str, part: &str) -> Result<Cow<'a, str>, Wrong> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| format!("is not UTF-8 in {part}"))?;
    if decoded.contains('\0') {
        return Err(format!("has a NUL in {part}"));
    }
    Ok(decoded)
}

fn checked_space(space: &str, found: &str) -> Result<String, Wrong> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if space.is_empty() || space.len() > LONGEST_SPACE || !space.chars().all(plain) {
        return Err(format!(
            "has {found}{space:?}; a space is 1 to {LONGEST_SPACE} ASCII letters, digits, dots, dashes and underscores"
        ));
    }
    Ok(space.to_owned())
}

fn checked_lease(text: &str) -> Result<Duration, Wrong> {
    let lease = humantime::parse_duration(text).map_err(|error| format!("has lease={text:?}: {error}"))?;
    if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease) {
        return Err(format!("has lease={text:?}; it must be 1s to 1h"));
    }
    Ok(lease)
}

fn checked_sslmode(mode: &str) -> Result<Tls, Wrong> {
    let modes = [Tls::Off, Tls::Prefer, Tls::Require, Tls::Verify];
    modes
        .into_iter()
        .find(|tls| tls.sslmode() == mode)
        .ok_or_else(|| format!("has sslmode={mode:?}; valid values are disable, prefer, require and verify-full"))
}

fn hosts(kind: Kind, text: &str, directory: Option<&str>) -> Result<Vec<Host>, Wrong> {
    let Some(directory) = directory else {
        return text.split(',').map(|written| host(kind, written)).collect();
    };
    // `postgres://:5433/database?host=/run/postgresql`, as libpq has it.
    let port = match text.strip_prefix(':') {
        Some(written) => port(written)?,
        None if text.is_empty() => kind.port(),
        None => return Err("names its host twice: before the database, and with host=".into()),
    };
    if !directory.starts_with('/') {
        return Err(
            "has a host= that is not the directory of a socket; a server's name belongs before the database".into()
        );
    }
    Ok(vec![socket(directory, port)])
}

fn host(kind: Kind, text: &str) -> Result<Host, Wrong> {
    let (name, after) = if let Some(bracketed) = text.strip_prefix('[') {
        let (name, after) = bracketed.split_once(']').ok_or("has a [ without ] in a host")?;
        let address: Ipv6Addr = name.parse().map_err(|_| "has no IPv6 address between [ and ]")?;
        (address.to_string(), after)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        (decoded(&text[..end], "a host")?.to_ascii_lowercase(), &text[end..])
    };
    let port = match after.strip_prefix(':') {
        Some(written) => port(written)?,
        None if after.is_empty() => kind.port(),
        None => return Err("has text between ] and the port".into()),
    };
    if name.starts_with('/') {
        // Not in lower case: a directory is what it is.
        let directory = decoded(text.split(':').next().unwrap_or_default(), "a host")?;
        return match kind {
            Kind::Postgres => Ok(socket(&directory, port)),
            Kind::Redis => Err("has a directory instead of a host".into()),
        };
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if name.is_empty() {
        return Err("has no host".into());
    }
    if !name.chars().all(plain) || (name.contains(':') && !text.starts_with('[')) {
        return Err("has an invalid host; user and password end in @, special characters are %XX".into());
    }
    Ok(Host::Tcp { name, port })
}

fn port(text: &str) -> Result<u16, Wrong> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("has a port that is not a number from 1 to 65535 (an IPv6 address belongs in [ and ])".into()),
    }
}

fn socket(directory: &str, port: u16) -> Host {
    Host::Unix(PathBuf::from(directory).join(format!(".s.PGSQL.{port}")))
}

fn absolute(file: &str) -> Result<PathBuf, Wrong> {
    std::path::absolute(file).map_err(|error| format!("has a ca= that is not a file name: {error}"))
}
