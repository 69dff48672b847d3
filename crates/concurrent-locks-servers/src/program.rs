//! The paths of the servers' programs, and the user for those that refuse root.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::error::Error;

/// A program that is needed and not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// The environment variable that names the program, or the folder it is in.
    pub variable: &'static str,
}

pub(crate) const REDIS: Missing =
    Missing { program: "redis-server", package: "redis-server", variable: "LOCKS_REDIS_SERVER" };
pub(crate) const POSTGRES: Missing =
    Missing { program: "postgres", package: "postgresql", variable: "LOCKS_POSTGRES_BIN" };
pub(crate) const PGBOUNCER: Missing =
    Missing { program: "pgbouncer", package: "pgbouncer", variable: "LOCKS_PGBOUNCER" };

/// Those of all the servers' programs that are not here.
#[must_use]
pub fn missing() -> Vec<Missing> {
    let mut missing = Vec::new();
    missing.extend(find(REDIS).is_err().then_some(REDIS));
    missing.extend(postgres("postgres").is_err().then_some(POSTGRES));
    missing.extend(find(PGBOUNCER).is_err().then_some(PGBOUNCER));
    missing
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { program, package, variable } = self;
        write!(
            f,
            "`{program}` is not installed: apt-get install {package} (all servers: apt-get install redis-server \
             postgresql pgbouncer), or say where it is with {variable}"
        )
    }
}

/// The path of a server's program: from its variable, else from `PATH`, else where Debian puts it.
pub(crate) fn find(program: Missing) -> Result<PathBuf, Error> {
    let found = match env::var_os(program.variable) {
        Some(path) => Some(PathBuf::from(path)).filter(|path| path.is_file()),
        None => in_path(program.program),
    };
    found.ok_or(Error::Missing(program))
}

/// The path of a program of PostgreSQL; all of them come from one folder.
pub(crate) fn postgres(program: &str) -> Result<PathBuf, Error> {
    let folder = match env::var_os(POSTGRES.variable) {
        Some(folder) => Some(PathBuf::from(folder)),
        // What is in `PATH` may be a link to one of them.
        None => in_path(POSTGRES.program)
            .and_then(|path| Some(path.canonicalize().ok()?.parent()?.to_owned()))
            .filter(|folder| is_whole(folder))
            .or_else(debian),
    };
    folder.filter(|folder| is_whole(folder)).map(|folder| folder.join(program)).ok_or(Error::Missing(POSTGRES))
}

/// Whether a folder has all programs of PostgreSQL that are needed.
fn is_whole(folder: &Path) -> bool {
    ["postgres", "initdb", "psql"].iter().all(|program| folder.join(program).is_file())
}

/// Debian keeps each version's programs out of `PATH`. The newest of those.
fn debian() -> Option<PathBuf> {
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = folders.filter(|folder| is_whole(&folder.join("bin"))).max_by_key(|folder| version(folder))?;
    Some(newest.join("bin"))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A user without rights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// Who runs a server that refuses root: nobody else if we are not root.
    pub(crate) fn instead_of_root() -> Option<User> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        ["postgres", "nobody"].into_iter().find_map(|name| {
            let id = |which: &str| {
                let output = Command::new("id").args([which, name]).output().ok()?;
                String::from_utf8(output.stdout).ok()?.trim().parse().ok()
            };
            Some(User { name, uid: id("-u")?, gid: id("-g")? })
        })
    }
}
