use concurrent_locks::{Error, read_lock};

#[read_lock("db", timout = "10s")]
fn misspelt() -> Result<(), Error> {
    Ok(())
}

#[read_lock("db", timeout = "10s", timeout = "20s")]
fn twice() -> Result<(), Error> {
    Ok(())
}

#[read_lock("db", on_error = "ignore")]
fn ignoring() -> Result<(), Error> {
    Ok(())
}

fn main() {}
