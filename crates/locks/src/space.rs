//! Which locks: from the arguments and the environment to a manager.

use std::env::VarError;

use concurrent_locks::{LockManager, URL_VARIABLE};

use crate::{cli::Global, exit::UsageError};

/// The locks that the arguments name, else the environment, else `host:` (whose space the library
/// takes from `LOCKS_SPACE`). What is said on the command line goes before what the environment says.
pub(crate) fn open(global: &Global) -> anyhow::Result<LockManager> {
    let url = match (&global.url, &global.space) {
        (Some(url), _) => url.clone(),
        (None, Some(space)) => format!("host:{space}"),
        (None, None) => match std::env::var(URL_VARIABLE) {
            Ok(url) if !url.is_empty() => url,
            Err(error @ VarError::NotUnicode(_)) => return Err(UsageError(format!("{URL_VARIABLE}: {error}")).into()),
            _ => "host:".to_owned(),
        },
    };
    Ok(LockManager::connect(&url)?)
}
