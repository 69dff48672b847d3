use concurrent_locks::{Error, read_lock};

struct Memory {
    path: String,
}

impl Memory {
    #[read_lock("db:{self.path")]
    fn unclosed(&self) -> Result<(), Error> {
        Ok(())
    }

    #[read_lock("db:{self.{path}}")]
    fn nested(&self) -> Result<(), Error> {
        Ok(())
    }

    #[read_lock("db:}")]
    fn unopened(&self) -> Result<(), Error> {
        Ok(())
    }

    #[read_lock("db:{}")]
    fn empty_placeholder(&self) -> Result<(), Error> {
        Ok(())
    }

    #[read_lock("")]
    fn empty_name(&self) -> Result<(), Error> {
        Ok(())
    }

    #[read_lock("db:{self.path.len()}")]
    fn call(&self) -> Result<(), Error> {
        Ok(())
    }

    #[read_lock("db:{path}")]
    async fn unknown_argument(&self, id: u64) -> Result<(), Error> {
        Ok(())
    }

    #[read_lock("db:{id}")]
    fn no_arguments() -> Result<(), Error> {
        Ok(())
    }

    #[read_lock("db:{self.id}")]
    fn unknown_field(&self) -> Result<(), Error> {
        Ok(())
    }

    #[read_lock("db:{memory}")]
    fn not_display(memory: &Memory) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {}
