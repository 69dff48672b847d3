//! [`Address`]: the URL of a server, read and checked.

use std::{fmt, path::PathBuf};

/// Which kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Redis,
    Postgres,
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address { pub(crate) kind: Kind, pub(crate) hosts: Vec<Host>, pub(crate) user: Option<String>, pub(crate) password: Option<String>, pub(crate) database: String, pub(crate) tls: Tls, pub(crate) ca: Option<PathBuf>, pub(crate) space: String, pub(crate) lease: std::time::Duration, pub(crate) listen: Option<Host> }
impl Address {
    pub(crate) fn is_meant_by(url: &str) -> bool { url.starts_with("redis://") || url.starts_with("postgres://") }
    pub(crate) fn parse(url: &str) -> Result<Address, crate::error::Error> {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
        let host = host.split('/').next().unwrap();
        let (name, port) = host.split_once(':').unwrap();
        let get = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned);
        Ok(Address { kind: if scheme == "redis" { Kind::Redis } else { Kind::Postgres }, hosts: vec![Host::Tcp { name: name.into(), port: port.parse().unwrap() }], user: None, password: None, database: "0".into(), tls: Tls::Off, ca: None, space: get("space").unwrap_or("default".into()), lease: get("lease").map_or(std::time::Duration::from_secs(10), |t| humantime::parse_duration(&t).unwrap()), listen: None })
    }
    pub(crate) fn endpoint(&self, host: &Host) -> Endpoint { Endpoint { kind: self.kind, host: host.clone(), tls: self.tls, ca: self.ca.clone() } }
    pub(crate) fn is_guarded(&self) -> bool { self.kind == Kind::Postgres }
}
impl fmt::Display for Address { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}://{}?space={}", if self.kind == Kind::Redis { "redis" } else { "postgres" }, self.hosts[0], self.space) } }
