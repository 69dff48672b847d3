//! Journals: what each agent begins and finishes, in a file of its own that only it writes.
//!
//! An operation is begun in the journal before it is begun in a store and done after it is done
//! there. So whatever happens to the agent, the store has everything that is done, and of what is
//! begun and not done it may have any part.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use agent_memories::{Error, Section};
use anyhow::Context;
use concurrent_locks::{ErrorKind, Mode};
use serde::{Deserialize, Serialize};

use super::{clock::Clock, counters::Effect, work_folder::WorkFolder};

/// A line of a journal. Times are microseconds of the fleet's clock.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub(super) enum Entry {
    /// An operation begins.
    Begun { operation: u64, what: String, effects: Vec<Effect> },
    /// All of it is in the stores.
    Done { operation: u64 },
    /// It was refused its lock, so nothing of it is in the stores.
    Refused { operation: u64, error: String, timed_out: bool },
    /// It failed half-way; `torn` if a file was found damaged.
    Failed { operation: u64, error: String, torn: bool },
    /// A request was refused to break a deadlock; the operation continues with another attempt.
    Deadlock { operation: u64, cycle: String },
    /// A section has ended.
    Section(Held),
}

/// A section as the journal has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    /// Names, and when each was granted by the clock of the locks.
    pub(super) locks: Vec<(String, u64)>,
    pub(super) mode: Mode,
    pub(super) asked: u64,
    pub(super) granted: u64,
    pub(super) released: u64,
}

/// The journal of one agent, shared by its tasks and threads.
#[derive(Debug)]
pub(super) struct Journal {
    /// Each entry is one append: a kill cuts off the last line at most.
    file: Mutex<File>,
    broken: Mutex<Option<io::Error>>,
    begun: AtomicU64,
    done: AtomicU64,
    clock: Clock,
}

impl Journal {
    pub(super) fn open(path: &Path) -> anyhow::Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Journal {
            file: Mutex::new(file.with_context(|| path.display().to_string())?),
            broken: Mutex::default(),
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            clock: Clock::new(),
        })
    }

    /// Begins an operation; returns its number.
    pub(super) fn begin(&self, what: &str, effects: Vec<Effect>) -> u64 {
        let operation = self.begun.fetch_add(1, Ordering::Relaxed);
        self.write(&Entry::Begun { operation, what: what.to_owned(), effects });
        operation
    }

    /// Writes down how an operation ended; returns whether it is done.
    pub(super) fn end<T>(&self, operation: u64, result: Result<T, Error>) -> bool {
        let is_done = result.is_ok();
        let entry = match result {
            Ok(_) => {
                self.done.fetch_add(1, Ordering::Relaxed);
                Entry::Done { operation }
            }
            // The only failures that leave the stores as they were for certain.
            Err(Error::Lock(error)) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Deadlock) => {
                let timed_out = error.kind() == ErrorKind::TimedOut;
                Entry::Refused { operation, error: error.to_string(), timed_out }
            }
            Err(error) => {
                let torn = matches!(error, Error::Json { .. });
                Entry::Failed { operation, error: error.to_string(), torn }
            }
        };
        self.write(&entry);
        is_done
    }

    pub(super) fn deadlock(&self, operation: u64, error: &concurrent_locks::Error) {
        self.write(&Entry::Deadlock { operation, cycle: error.to_string() });
    }

    pub(super) fn section(&self, section: &Section<'_>) {
        self.write(&Entry::Section(Held {
            locks: section.locks.iter().map(|lock| (lock.resource.clone(), self.clock.micros(lock.granted))).collect(),
            mode: section.mode,
            asked: self.clock.micros(section.asked),
            granted: self.clock.micros(section.granted),
            released: self.clock.micros(section.released),
        }));
    }

    /// How many operations are done.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Whether every entry was written.
    pub(super) fn check(&self) -> io::Result<()> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    fn write(&self, entry: &Entry) {
        let written = serde_json::to_vec(entry).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
        });
        if let Err(error) = written {
            *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}

/// The journals of the whole fleet.
#[derive(Debug)]
pub(super) struct Account {
    /// One per agent, in the order of their numbers.
    pub(super) agents: Vec<Vec<Entry>>,
}

impl Account {
    pub(super) fn read(folder: &WorkFolder, agents: u32) -> anyhow::Result<Account> {
        let agents = (0..agents).map(|number| read(&folder.journal(number))).collect::<Result<_, _>>()?;
        Ok(Account { agents })
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.agents.iter().flatten()
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parse =
        |(index, line)| serde_json::from_str(line).with_context(|| format!("{}: line {}", path.display(), index + 1));
    // A kill in the middle of an append leaves part of a line: what was never written was never begun.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_off_by_a_kill_was_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent-0.jsonl");
        let journal = Journal::open(&path).unwrap();
        let operation = journal.begin("recall", Vec::new());
        assert!(journal.end(operation, Ok(())));
        journal.check().unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert!(matches!(read(&path).unwrap()[..], [Entry::Begun { operation: 0, .. }]));
        fs::write(&path, whole).unwrap();
        assert!(matches!(read(&path).unwrap()[..], [Entry::Begun { .. }, Entry::Done { operation: 0 }]));
    }
}
