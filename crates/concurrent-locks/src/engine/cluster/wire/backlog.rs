//! Writing, and the backlog of a server that does not read.

use std::{io, sync::MutexGuard, thread};

use super::{Link, socket};

/// What is encoded and not written.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// Whether a thread writes the bytes that the system did not accept (B1).
    pub(super) writer: bool,
}

impl Link {
    /// Writes what the system takes now, and leaves the rest to the writer. The link ends if it cannot be
    /// written to; nothing is locked then.
    pub(super) fn write(&self, mut output: MutexGuard<'_, Output>) {
        if output.writer {
            return;
        }
        let failed = match self.lines[0].stream.write(&mut output.bytes) {
            Ok(true) => return,
            Ok(false) => match self.start_writer() {
                Ok(()) => {
                    output.writer = true;
                    return;
                }
                Err(error) => format!("no thread to write with: {error}"),
            },
            Err(error) => format!("cannot write: {error}"),
        };
        drop(output);
        self.end(&failed);
    }

    fn start_writer(&self) -> io::Result<()> {
        // Without a strong reference nobody waits for what is written.
        let Some(link) = self.me.upgrade() else { return Ok(()) };
        thread::Builder::new().name("locks-writer".into()).spawn(move || link.write_backlog()).map(drop)
    }

    fn write_backlog(&self) {
        let stream = &self.lines[0].stream;
        loop {
            let mut failed = socket::sleep(&[stream.socket()], true, None).err();
            let mut output = self.output();
            if failed.is_none() {
                match stream.write(&mut output.bytes) {
                    Ok(true) => {
                        output.writer = false;
                        return;
                    }
                    Ok(false) => {}
                    Err(error) => failed = Some(error),
                }
            }
            drop(output);
            if let Some(error) = failed {
                // It stays in charge of the rest, which nobody else may write any more.
                return self.end(&format!("cannot write: {error}"));
            }
        }
    }
}
