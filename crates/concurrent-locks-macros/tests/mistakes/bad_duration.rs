use concurrent_locks::{Error, write_lock};

#[write_lock("db", timeout = "10 parsecs")]
fn unit() -> Result<(), Error> {
    Ok(())
}

#[write_lock("db", timeout = 10)]
fn number() -> Result<(), Error> {
    Ok(())
}

fn main() {}
