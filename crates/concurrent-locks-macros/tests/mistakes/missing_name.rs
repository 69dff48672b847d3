use concurrent_locks::{Error, distributed_lock, read_lock, write_lock};

#[read_lock]
fn nothing() -> Result<(), Error> {
    Ok(())
}

#[write_lock(timeout = "10s")]
fn only_options() -> Result<(), Error> {
    Ok(())
}

#[distributed_lock(NAME)]
fn not_a_string() -> Result<(), Error> {
    Ok(())
}

fn main() {}
