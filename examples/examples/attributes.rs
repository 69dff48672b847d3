//! Locks as attributes, the smallest change to code that exists:
//! `cargo run -p agent-memories --example attributes`

#![expect(clippy::print_stdout, reason = "an example talks on stdout")]

use std::{error::Error, fs, io, path::PathBuf, thread};

use concurrent_locks::{LockManager, read_lock, write_lock};

/// A number in a file. Reading and writing it back are two steps, which the attribute makes one.
struct Counter {
    name: String,
    path: PathBuf,
    locks: LockManager,
}

impl Counter {
    #[read_lock("counter:{self.name}", timeout = "10s", locks = &self.locks)]
    fn get(&self) -> io::Result<u64> {
        self.load()
    }

    #[write_lock("counter:{self.name}", timeout = "30s", locks = &self.locks)]
    fn increment(&self) -> io::Result<()> {
        let number = self.load()?;
        fs::write(&self.path, (number + 1).to_string())
    }

    fn load(&self) -> io::Result<u64> {
        match fs::read_to_string(&self.path) {
            Ok(text) => text.parse().map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("attributes-{}", std::process::id()));
    let counter = Counter { name: "visits".to_owned(), path, locks: LockManager::local() };
    thread::scope(|scope| {
        let agents: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..100).try_for_each(|_| counter.increment()))).collect();
        agents.into_iter().try_for_each(|agent| agent.join().expect("no agent panics"))
    })?;
    println!("4 agents counted to 100 each: {}", counter.get()?);
    fs::remove_file(&counter.path)?;
    Ok(())
}
