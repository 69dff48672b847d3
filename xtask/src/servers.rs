//! The servers that tests of the cluster engines share.

use concurrent_locks_servers::{POSTGRES_VARIABLE, Postgres, REDIS_VARIABLE, Redis, missing};

use crate::tools;

/// What tells tests where the servers are: started once, and ended with this process, however it ends.
/// Those that the environment names already are left as they are.
pub(crate) fn environment() -> Result<Vec<(&'static str, String)>, String> {
    let missing = missing();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
        let why: String = missing.iter().map(|program| format!("\n{program}")).collect();
        tools::install_packages(&packages).map_err(|problem| format!("{problem}{why}"))?;
    }
    let failed = |error: concurrent_locks_servers::Error| format!("no servers for the tests: {error}");
    let redis = Redis::shared().map_err(failed)?;
    let postgres = Postgres::shared().map_err(failed)?;
    Ok(vec![(REDIS_VARIABLE, redis.url().to_owned()), (POSTGRES_VARIABLE, postgres.url().to_owned())])
}
