use concurrent_locks::{Error, LockManager, write_lock};

#[write_lock("db", locks = locks)]
fn moved(locks: LockManager) -> Result<(), Error> {
    Ok(())
}

#[write_lock("db", owner = "agent-7")]
fn label(locks: &LockManager) -> Result<(), Error> {
    Ok(())
}

fn main() {}
