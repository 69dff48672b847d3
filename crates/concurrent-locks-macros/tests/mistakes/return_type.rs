use std::{future::Future, pin::Pin};

use concurrent_locks::{Error, read_lock, write_lock};

#[write_lock("db")]
fn nothing() {}

#[write_lock("db")]
async fn number(id: u64) -> u64 {
    id
}

#[read_lock("db")]
fn optional() -> Option<u64> {
    None
}

#[read_lock("db")]
fn future() -> impl Future<Output = Result<(), Error>> {
    async { Ok(()) }
}

#[read_lock("db")]
fn boxed() -> Pin<Box<dyn Future<Output = Result<(), Error>>>> {
    let future = async { Ok(()) };
    Box::pin(future)
}

#[read_lock("db")]
fn other_error() -> Result<(), std::num::ParseIntError> {
    Ok(())
}

#[read_lock("db")]
async fn only_named_so() -> std::fmt::Result {
    Ok(())
}

fn main() {}
