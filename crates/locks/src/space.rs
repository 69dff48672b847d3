//! Which locks: from the arguments and the environment to a manager.

use std::{env::VarError, time::Duration};

use concurrent_locks::{LockManager, URL_VARIABLE};

use crate::{cli::Global, exit::UsageError};

/// The locks that the arguments name, else the environment, else `host:` (whose space the library
/// takes from `LOCKS_SPACE`). The command line overrides the environment.
pub(crate) fn open(global: &Global) -> anyhow::Result<LockManager> {
    open_with_lease(global, None)
}

/// The same locks, only to look at them: makes nothing, and takes no part.
pub(crate) fn observe(global: &Global) -> anyhow::Result<LockManager> {
    let url = url(global)?;
    if url.starts_with("local:") {
        let text = format!("{url} reaches only one process: its locks cannot be inspected from outside");
        return Err(UsageError(text).into());
    }
    Ok(LockManager::observe(&url).blocking()?)
}

/// The same with this lease instead of the URL's.
pub(crate) fn open_with_lease(global: &Global, lease: Option<Duration>) -> anyhow::Result<LockManager> {
    let mut url = url(global)?;
    if let Some(lease) = lease {
        url = with_lease(&url, lease)?;
    }
    Ok(LockManager::connect(&url).blocking()?)
}

fn url(global: &Global) -> Result<String, UsageError> {
    match (&global.url, &global.space) {
        (Some(url), _) => Ok(url.clone()),
        (None, Some(space)) => Ok(format!("host:{space}")),
        (None, None) => match std::env::var(URL_VARIABLE) {
            Ok(url) if !url.is_empty() => Ok(url),
            Err(error @ VarError::NotUnicode(_)) => Err(UsageError(format!("{URL_VARIABLE}: {error}"))),
            _ => Ok("host:".to_owned()),
        },
    }
}

/// The URL with this value for its parameter `lease`.
fn with_lease(url: &str, lease: Duration) -> Result<String, UsageError> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    if matches!(scheme, "local" | "host" | "file") {
        return Err(no_lease(url));
    }
    if lease < Duration::from_millis(1) {
        return Err(UsageError("--lease must be at least a millisecond".to_owned()));
    }
    let (plain, query) = url.split_once('?').unwrap_or((url, ""));
    let others = query.split('&').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("lease"));
    let own = format!("lease={}ms", lease.as_millis());
    let query: Vec<_> = others.chain([own.as_str()]).collect();
    Ok(format!("{plain}?{}", query.join("&")))
}

/// What is wrong with `--lease` for such locks.
pub(crate) fn no_lease(url: &str) -> UsageError {
    UsageError(format!(
        "--lease is for redis:// and postgres://: the locks of {url} have none, they are held until they are released"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_takes_the_place_of_the_urls() {
        let with = |url: &str| with_lease(url, Duration::from_secs(3)).map_err(|error| error.to_string()).unwrap();
        assert_eq!(with("redis://h"), "redis://h?lease=3000ms");
        assert_eq!(with("redis://h/2?lease=10s"), "redis://h/2?lease=3000ms");
        assert_eq!(
            with("postgres://u:p@h/db?space=x&lease=10s&sslmode=require"),
            "postgres://u:p@h/db?space=x&sslmode=require&lease=3000ms"
        );
        assert_eq!(with("redis://h?lease_of=x"), "redis://h?lease_of=x&lease=3000ms");
    }

    #[test]
    fn locks_without_a_lease_and_leases_of_no_time_are_refused() {
        for url in ["host:", "host:/x", "file:/x", "local:"] {
            assert!(with_lease(url, Duration::from_secs(3)).is_err(), "{url}");
        }
        assert!(with_lease("redis://h", Duration::ZERO).is_err());
    }
}
