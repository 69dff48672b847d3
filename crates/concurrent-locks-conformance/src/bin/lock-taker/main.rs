//! A process that takes locks on command, for the cases that need other processes.
//!
//! `lock-taker [URL]` (default: the process-wide default) says `started PID`, then reads commands from its standard input, one a line,
//! and answers each with one line.
//!
//! | command | answer |
//! |---|---|
//! | `read NAME [OPTION...]`, `write NAME [OPTION...]` | `granted TOKEN` |
//! | `all NAME...` (to write) | `granted 0` |
//! | `upgrade NAME`, `downgrade NAME` | `granted TOKEN` |
//! | `release NAME`, `drop NAME` | `released`, `dropped` |
//! | `owner LABEL`, `inherit` | `owner ID` |
//! | `loop MODE NAME`, then `stop` | `looping`, `stopped COUNT` |
//! | `add NAME FILE TIMES`: adds 1 to the number in a file, under the lock | `added` |
//! | `history SEED TASKS THREADS REQUESTS NAMES` | a line per record, then `end` |
//! | `fork`: the child takes over; when it has ended | `child PID`; `forked` |
//! | `fork apart`: the same, the child being pid 1 of a PID namespace of its own | or `cannot REASON` |
//! | `exec`: the same program again, in this process | `started PID` |
//! | `panic NAME`: a section that panics | `panicked` |
//! | `exit` (also end of input): ends without giving anything back | |
//!
//! Options: `try`, `async`, `timeout=MS`, `priority=P`, `note=TEXT`. What fails is answered with
//! `error KIND message`.

mod background;
mod commands;
mod fork;

use std::{
    io::{self, BufRead, Write},
    process::ExitCode,
};

use commands::{Step, Taker};
use concurrent_locks::LockManager;

fn main() -> ExitCode {
    let url = std::env::args().nth(1);
    let locks = match url.map_or_else(|| LockManager::global().cloned(), |url| LockManager::connect(&url).blocking()) {
        Ok(locks) => locks,
        Err(error) => {
            eprintln!("lock-taker: {error}");
            return ExitCode::FAILURE;
        }
    };
    say(&format!("started {}", std::process::id()));
    let mut taker = Taker::new(locks);
    let mut line = String::new();
    loop {
        line.clear();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        match taker.obey(line.trim_end()) {
            Ok(Step::Answer(answer)) => say(&answer),
            Ok(Step::Exit) => break,
            Err(error) => say(&format!("error {:?} {error}", error.kind())),
        }
    }
    // Ends as a program does that forgets its guards.
    std::process::exit(0)
}

/// Says one line to whoever drives this process. If nobody listens, there is nothing left to do.
fn say(answer: &str) {
    let mut output = io::stdout().lock();
    if writeln!(output, "{answer}").and_then(|()| output.flush()).is_err() {
        std::process::exit(1);
    }
}
