//! The environment variables that the library reads, and passes to child processes.

/// The environment variable with the URL of [`LockManager::global`](crate::LockManager::global).
pub const URL_VARIABLE: &str = "CONCURRENT_LOCKS_URL";

/// The environment variable with the space of `host:` if the URL names none.
pub const SPACE_VARIABLE: &str = "LOCKS_SPACE";

/// The environment variable that carries an owner's label to child processes.
pub const OWNER_VARIABLE: &str = "LOCKS_OWNER";

/// The environment variable that carries an owner's id (16 hexadecimal digits) to child processes, after
/// those of the owners it inherited from, joined by dots.
pub const OWNER_ID_VARIABLE: &str = "LOCKS_OWNER_ID";
