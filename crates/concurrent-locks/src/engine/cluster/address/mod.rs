//! [`Address`]: the URL of a server, parsed and checked.
//!
//! ```text
//! redis://[user[:password]@]host[:port][,host2[:port2]..][/number][?space=S&lease=10s]
//! rediss://..                     the same with TLS, and [&ca=FILE]
//! postgres://[user[:password]@]host[:port][,host2[:port2]..][/database]
//!     [?space=S&lease=10s&sslmode=disable|prefer|require|verify-full&ca=FILE&listen=host[:port]
//!      &life=connection|lease&host=/directory]
//! ```
//!
//! What is special in it is written as %XX. Several hosts are the servers to try, in this order. A host that
//! begins with %2F, or `host=/directory` instead of one, is the directory of PostgreSQL's socket.
//!
//! Missing parts: the space is `$LOCKS_SPACE` or `default`; PostgreSQL's user is `$PGUSER` or the user of this
//! process, its password `$PGPASSWORD`, its database `$PGDATABASE` or the user's name. Without `sslmode`,
//! `ca` means verify-full; else the connection is encrypted if the server can (libpq's `prefer`), but not on
//! this machine itself, where it would only cost time.

mod parse;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Which kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Redis,
    Postgres,
}

impl Kind {
    const fn port(self) -> u16 {
        match self {
            Kind::Redis => 6379,
            Kind::Postgres => 5432,
        }
    }
}

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Tcp { name: String, port: u16 },
    Unix(PathBuf),
}

impl Host {
    /// Whether nothing between us and it could listen in.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Host::Unix(_) => true,
            Host::Tcp { name, .. } => {
                name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp { name, port } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Host::Tcp { name, port } => write!(f, "{name}:{port}"),
            Host::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whether and how a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tls {
    Off,
    /// If the server can; its certificate is not looked at.
    Prefer,
    /// Always; its certificate is not looked at (what libpq means by `require`).
    Require,
    /// Always; the certificate must be signed by somebody we trust, and be for this host.
    Verify,
}

/// What it takes to connect to one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    pub(crate) kind: Kind,
    pub(crate) host: Host,
    pub(crate) tls: Tls,
    /// A file of certificates to trust instead of the system's.
    pub(crate) ca: Option<PathBuf>,
}

/// Where the locks of a space are. Shown without its password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) kind: Kind,
    /// To be tried in this order; at least one.
    pub(crate) hosts: Vec<Host>,
    /// `None` is the default user of Redis.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// A number for Redis.
    pub(crate) database: String,
    /// `None`: as it suits the host.
    pub(crate) tls: Option<Tls>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) space: String,
    pub(crate) lease: Duration,
    /// Where PostgreSQL itself listens, if the hosts are PgBouncers.
    pub(crate) listen: Option<Host>,
    /// Whether the server takes the end of our connection for our death (`life=connection`), and not only
    /// the end of the lease.
    pub(crate) guarded: bool,
    /// Whether we only look: then nothing is made that is not there.
    pub(crate) observed: bool,
}

impl Address {
    /// Whether it is for us to say what is wrong with this URL.
    pub(crate) fn is_meant_by(url: &str) -> bool {
        url.split_once(':').is_some_and(|(scheme, _)| parse::SCHEMES.contains(&scheme))
    }
    /// What it takes to connect to `host`, one of this address.
    pub(crate) fn endpoint(&self, host: &Host) -> Endpoint {
        let suits = match self.kind {
            Kind::Postgres if !host.is_loopback() => Tls::Prefer,
            Kind::Postgres | Kind::Redis => Tls::Off,
        };
        Endpoint { kind: self.kind, host: host.clone(), tls: self.tls.unwrap_or(suits), ca: self.ca.clone() }
    }
}

/// What stays as it is in a part of a URL.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same in a path.
const PATH: &AsciiSet = &PART.remove(b'/');

/// The canonical URL: equal addresses look the same, and all that is not secret is in it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.kind, self.tls) {
            (Kind::Redis, None) => "redis://",
            (Kind::Redis, Some(_)) => "rediss://",
            (Kind::Postgres, _) => "postgres://",
        })?;
        if let Some(user) = &self.user {
            write!(f, "{}", utf8_percent_encode(user, PART))?;
        }
        match (&self.user, &self.password) {
            (_, Some(_)) => f.write_str(":***@")?,
            (Some(_), None) => f.write_str("@")?,
            (None, None) => {}
        }
        for (index, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "," }, Written(host))?;
        }
        if (self.kind, &*self.database) != (Kind::Redis, "0") {
            write!(f, "/{}", utf8_percent_encode(&self.database, PART))?;
        }
        write!(f, "?space={}", self.space)?;
        if self.lease != parse::LEASE {
            write!(f, "&lease={}", humantime::format_duration(self.lease).to_string().replace(' ', ""))?;
        }
        if let (Kind::Postgres, Some(tls)) = (self.kind, self.tls) {
            write!(f, "&sslmode={}", tls.sslmode())?;
        }
        if let Some(ca) = &self.ca {
            write!(f, "&ca={}", encoded(ca))?;
        }
        if let Some(listen) = &self.listen {
            write!(f, "&listen={}", Written(listen))?;
        }
        if self.kind == Kind::Postgres && !self.guarded {
            f.write_str("&life=lease")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl Tls {
    const fn sslmode(self) -> &'static str {
        match self {
            Tls::Off => "disable",
            Tls::Prefer => "prefer",
            Tls::Require => "require",
            Tls::Verify => "verify-full",
        }
    }
}

/// A host as it is written in a URL: the directory and the port of a socket are separated again.
struct Written<'a>(&'a Host);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Host::Unix(path) = self.0 else { return write!(f, "{}", self.0) };
        let directory = path.parent().unwrap_or(Path::new("/")).to_string_lossy();
        write!(f, "{}", utf8_percent_encode(&directory, PART))?;
        match path.extension() {
            Some(port) => write!(f, ":{}", port.to_string_lossy()),
            None => Ok(()),
        }
    }
}

fn encoded(path: &Path) -> String {
    utf8_percent_encode(&path.to_string_lossy(), PATH).to_string()
}
