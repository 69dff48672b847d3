//! URLs: one string determines the reach of a lock.

use std::{
    fmt,
    path::{Path, PathBuf},
};

#[cfg(feature = "cluster")]
use crate::engine::cluster::Address;
use crate::{
    engine::table::Geometry,
    words::{
        error::{Error, ErrorKind},
        variables::SPACE_VARIABLE,
    },
};

/// The target of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// A space in this process.
    Local(String),
    /// A table file shared by the processes of one user on this machine.
    Host(PathBuf),
    /// The same, shared by a group of users.
    Group(PathBuf),
    /// A directory of lock files.
    File(PathBuf),
    /// A space of a server.
    #[cfg(feature = "cluster")]
    Cluster(Box<Address>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Local(space) => write!(f, "local:{space}"),
            Target::Host(path) => write!(f, "host:{}", path.display()),
            Target::Group(path) => write!(f, "host:{}?share=group", path.display()),
            Target::File(directory) => write!(f, "file:{}", directory.display()),
            #[cfg(feature = "cluster")]
            Target::Cluster(address) => address.fmt(f),
        }
    }
}

/// Parses `local:[SPACE]`, `host:[SPACE]`, `host:/path/to/table`, `file:DIR`, or the URL of a server
/// ([`Address`]). The first three may end in `?resources=N&requests=N&processes=N`: the capacity of a new
/// table. `host:/path/to/table?share=group` is a group's table.
pub(crate) fn parse(url: &str) -> Result<(Target, Geometry), Error> {
    check_is_built(url)?;
    #[cfg(feature = "cluster")]
    if Address::is_meant_by(url) {
        return Ok((Target::Cluster(Box::new(Address::parse(url)?)), Geometry::DEFAULT));
    }
    // Whatever is wrong with it, a password in it is not shown.
    if has_login(url) {
        let message = "this lock URL names a user or password, and no server that locks know: \
                       use redis://, rediss:// or postgres:// (in small letters), or local:, host: or file:";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let Some((plain, query)) = url.split_once('?') else { return Ok((parse_target(url)?, Geometry::DEFAULT)) };
    let mut target = parse_target(plain)?;
    let invalid = |what: &str| Error::new(ErrorKind::InvalidInput, format!("the lock URL {url:?} {what}"));
    if matches!(target, Target::File(_)) {
        return Err(invalid("has a capacity, which lock files do not need"));
    }
    let mut geometry = Geometry::DEFAULT;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key == "share" {
            target = match target {
                Target::Host(path) if value == "group" && plain.starts_with("host:/") => Target::Group(path),
                _ => return Err(invalid("has share=, which is only possible as host:/path/to/table?share=group")),
            };
            continue;
        }
        let number: u32 = value.parse().map_err(|_| invalid(&format!("has {pair:?}; a whole number must follow =")))?;
        geometry = match key {
            "resources" => geometry.with_resources(number),
            "requests" => geometry.with_requests(number),
            "processes" => geometry.with_processes(number),
            _ => None.ok_or_else(|| {
                invalid(&format!("has {key:?}; valid keys are resources, requests, processes and share"))
            })?,
        }
        .ok_or_else(|| invalid(&format!("sets {key} = {number}, which is out of range")))?;
    }
    Ok((target, geometry))
}

/// Refuses the URL of a server whose engine was left out of this program. The URL itself is not shown: it may have a
/// password.
fn check_is_built(url: &str) -> Result<(), Error> {
    let (scheme, _) = url.split_once(':').unwrap_or_default();
    let missing = match scheme {
        "redis" | "rediss" if !cfg!(feature = "redis") => "redis",
        "postgres" | "postgresql" if !cfg!(feature = "postgres") => "postgres",
        _ => return Ok(()),
    };
    let message = format!(
        "this program was built without {scheme}://: enable the feature `{missing}` of the crate concurrent-locks, and \
         `tls` if the connection is to be encrypted"
    );
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// Whether a part of it looks like `user:password@`, or could be one: an @ after `://`, or after a colon
/// where neither a folder nor a table is named.
fn has_login(url: &str) -> bool {
    let Some((before, _)) = url.rsplit_once('@') else { return false };
    match before.split_once(':') {
        Some((_, rest)) if rest.starts_with("//") => true,
        Some(("local" | "host" | "file", _)) => false,
        Some(_) => true,
        None => true,
    }
}

fn parse_target(url: &str) -> Result<Target, Error> {
    let invalid = |why: &str| {
        Error::new(
            ErrorKind::InvalidInput,
            format!(
                "the lock URL {url:?} {why}; use local:, host:, host:/path/to/table, file:DIR, redis:// or postgres://"
            ),
        )
    };
    let Some((scheme, rest)) = url.split_once(':') else { return Err(invalid("has no scheme")) };
    match scheme {
        "local" => Ok(Target::Local(rest.to_owned())),
        "host" if rest.starts_with('/') => Ok(Target::Host(PathBuf::from(rest))),
        "host" => {
            let variable =
                if rest.is_empty() { std::env::var(SPACE_VARIABLE).unwrap_or_default() } else { String::new() };
            let (who, space) = match (rest, &*variable) {
                ("", "") => (String::new(), "default"),
                ("", variable) => (format!("the environment variable {SPACE_VARIABLE}"), variable),
                (space, _) => (format!("the lock URL {url:?}"), space),
            };
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
            if space.len() > 100 || !space.chars().all(plain) || space.starts_with('.') {
                let text = format!("{who} names the space {space:?}, which may have letters, digits, - _ and . only");
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
            Ok(Target::Host(crate::engine::table::default_path(space)))
        }
        "file" if rest.is_empty() => Err(invalid("names no directory")),
        "file" if rest.starts_with('~') => Err(invalid(
            "has a ~, which nobody expands here: it would be a folder of that name in each current folder; write out \
             the home folder (file:\"$HOME/...\" in a shell)",
        )),
        "file" if !Path::new(rest).is_absolute() => Err(invalid(
            "is relative to the current folder: processes in two folders would have two locks of one name; write out \
             the whole path",
        )),
        "file" => Ok(Target::File(std::path::absolute(rest).map_err(|error| Error::io(url, error))?)),
        _ => Err(invalid(&format!("has the unknown scheme {scheme:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_names_its_target() {
        let target = |url| parse(url).unwrap().0;
        assert_eq!(target("local:"), Target::Local(String::new()));
        assert_eq!(target("host:/tmp/x.table"), Target::Host("/tmp/x.table".into()));
        assert_eq!(target("host:/tmp/x.table?resources=64&processes=2"), target("host:/tmp/x.table"));
        assert_eq!(target("host:/tmp/x.table?share=group&processes=2"), Target::Group("/tmp/x.table".into()));
        assert_ne!(parse("local:?requests=64").unwrap().1, Geometry::DEFAULT);
        assert_eq!(target("file:/tmp/locks"), Target::File("/tmp/locks".into()));
        let Target::Host(path) = target("host:blue") else { panic!("not a host target") };
        assert!(path.ends_with("blue.table"));
    }

    #[cfg(not(feature = "redis"))]
    #[test]
    fn a_server_that_was_left_out_is_named_with_its_feature() {
        let error = parse("redis://u:s3cret@h").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("feature `redis`") && !error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn no_url_that_is_refused_shows_its_password() {
        for bad in [
            "valkey://locks:s3cret@h",
            "redis+sentinel://:s3cret@h/mymaster",
            "postgresql+asyncpg://u:s3cret@h/db?ssl=true",
            "REDIS://u:s3cret@h",
            "Postgres://u:p@s3cret@h",
            " redis://u:s3cret@h",
            "host://u:s3cret@h",
            "redis:/u:s3cret@h",
            "redis:u:s3cret@h",
            "u:s3cret@h",
            "postgres//u:s3cret@h",
            "mysql://u:a?s3cret@h/x",
            "mysql://u:s3cret?@h/x",
        ] {
            let error = parse(bad).unwrap_err();
            // `Unsupported`: the engine was left out.
            assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported), "{bad}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        assert!(parse("file:/home/me@work/locks").is_ok());
        assert!(parse("host:/tmp/me@work.table").is_ok());
    }

    #[test]
    fn nonsense_is_refused_with_what_is_possible() {
        for bad in ["host:../x", "host:a b", "host:.x"] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("letters, digits"), "{error}");
        }
        for bad in ["", "local", "ftp:x", "file:", "file:locks", "file:./locks", "file:~/locks"] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("host:/path/to/table"), "{error}");
        }
        for bad in [
            "local:?",
            "local:?resources",
            "local:?resources=x",
            "local:?locks=3",
            "local:?processes=0",
            "file:/x?resources=3",
            "host:x?share=group",
            "host:/x?share=all",
            "local:?share=group",
        ] {
            assert_eq!(parse(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
    }
}
