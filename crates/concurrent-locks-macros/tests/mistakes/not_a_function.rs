use concurrent_locks::{Error, read_lock};

#[read_lock("db")]
struct Memory {
    path: String,
}

#[read_lock("db")]
mod memory {}

trait Store {
    #[read_lock("db")]
    fn load(&self) -> Result<(), Error>;
}

#[read_lock("db")]
const fn constant() -> Result<(), Error> {
    Ok(())
}

fn main() {}
