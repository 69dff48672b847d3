//! The commands, one arm each.

use std::{
    fs,
    os::unix::process::CommandExt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::Command,
    time::Duration,
};

use concurrent_locks::{Error, Guard, GuardAll, LockManager, Mode, Owner};
use concurrent_locks_conformance::{
    DEADLINE,
    history::{self, Plan},
};

use crate::{background::Background, fork, say};

/// What this process holds and who it is.
pub(crate) struct Taker {
    locks: LockManager,
    owner: Option<Owner>,
    held: Vec<(String, Guard)>,
    held_together: Vec<GuardAll>,
    background: Option<Background>,
}

/// What comes after a command.
pub(crate) enum Step {
    Answer(String),
    Exit,
}

/// The options of a request.
struct Options<'a> {
    timeout: Duration,
    priority: i8,
    note: &'a str,
    manner: Manner,
}

enum Manner {
    Blocking,
    Async,
    Try,
}

impl Taker {
    pub(crate) fn new(locks: LockManager) -> Taker {
        Taker { locks, owner: None, held: Vec::new(), held_together: Vec::new(), background: None }
    }

    pub(crate) fn obey(&mut self, line: &str) -> Result<Step, Error> {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match *words {
            ["read", name, ref options @ ..] => self.take(name, Mode::Read, options)?,
            ["write", name, ref options @ ..] => self.take(name, Mode::Write, options)?,
            ["all", ref names @ ..] => self.take_all(names)?,
            ["upgrade", name] => {
                self.guard(name).upgrade().timeout(DEADLINE).blocking()?;
                granted(self.guard(name))
            }
            ["downgrade", name] => {
                self.guard(name).downgrade()?;
                granted(self.guard(name))
            }
            ["release", name] => self.give_up(name).release().map(|()| "released".to_owned())?,
            ["drop", name] => {
                drop(self.give_up(name));
                "dropped".to_owned()
            }
            ["owner", label] => self.become_owner(Some(self.locks.owner(label)?)),
            ["inherit"] => self.become_owner(self.locks.inherited_owner()?),
            ["loop", mode, name] => {
                self.background = Some(Background::start(&self.locks, name, mode_of(mode)));
                "looping".to_owned()
            }
            ["stop"] => format!("stopped {}", self.background.take().expect("a loop").stop()?),
            ["add", name, file, times] => {
                for _ in 0..number(times) {
                    let _guard = self.locks.write(name).timeout(DEADLINE).blocking()?;
                    add_one(file);
                }
                "added".to_owned()
            }
            ["history", seed, tasks, threads, requests, names] => {
                let [tasks, threads, requests, names] =
                    [tasks, threads, requests, names].map(|word| number(word) as usize);
                let plan = Plan { seed: number(seed), tasks, threads, requests, names };
                history::run(&self.locks, plan).iter().for_each(|record| say(&record.to_string()));
                "end".to_owned()
            }
            ["fork"] => {
                if fork::child_first() {
                    format!("child {}", std::process::id())
                } else {
                    "forked".to_owned()
                }
            }
            ["fork", "apart"] => match fork::enter_pid_namespace() {
                Ok(()) if fork::child_first() => format!("child {}", std::process::id()),
                Ok(()) => "forked".to_owned(),
                Err(error) => format!("cannot {error}"),
            },
            ["exec"] => {
                let program = std::env::current_exe().expect("the path of this program");
                let error = Command::new(program).arg(self.locks.url()).exec();
                panic!("exec: {error}");
            }
            ["panic", name] => {
                let locks = &self.locks;
                let section = catch_unwind(AssertUnwindSafe(|| {
                    let _guard = locks.write(name).blocking().expect("a free lock");
                    resume_unwind(Box::new("on purpose"));
                }));
                assert!(section.is_err());
                "panicked".to_owned()
            }
            ["exit"] => return Ok(Step::Exit),
            _ => panic!("lock-taker: unknown command {line:?}"),
        };
        Ok(Step::Answer(answer))
    }

    fn take(&mut self, name: &str, mode: Mode, options: &[&str]) -> Result<String, Error> {
        let options = Options::read(options);
        let mut request = self.locks.request(name, mode);
        if let Some(owner) = &self.owner {
            request = request.owner(owner);
        }
        let request = request.timeout(options.timeout).priority(options.priority).note(options.note);
        let guard = match options.manner {
            Manner::Blocking => request.blocking(),
            Manner::Async => pollster::block_on(request.into_future()),
            Manner::Try => request.try_now(),
        }?;
        let answer = granted(&guard);
        self.held.push((name.to_owned(), guard));
        Ok(answer)
    }

    fn take_all(&mut self, names: &[&str]) -> Result<String, Error> {
        let mut request = self.locks.lock_all(names.iter().map(|name| (*name, Mode::Write))).timeout(DEADLINE);
        if let Some(owner) = &self.owner {
            request = request.owner(owner);
        }
        self.held_together.push(request.blocking()?);
        Ok("granted 0".to_owned())
    }

    fn become_owner(&mut self, owner: Option<Owner>) -> String {
        let answer =
            format!("owner {}", owner.as_ref().map_or_else(|| "none".to_owned(), |owner| owner.id().to_string()));
        self.owner = owner;
        answer
    }

    fn guard(&mut self, name: &str) -> &mut Guard {
        &mut self.held.iter_mut().rfind(|(held, _)| held == name).expect("a held lock").1
    }

    fn give_up(&mut self, name: &str) -> Guard {
        let index = self.held.iter().rposition(|(held, _)| held == name).expect("a held lock");
        self.held.remove(index).1
    }
}

impl<'a> Options<'a> {
    fn read(words: &[&'a str]) -> Options<'a> {
        let mut options = Options { timeout: DEADLINE, priority: 0, note: "", manner: Manner::Blocking };
        for word in words {
            match word.split_once('=') {
                None if *word == "try" => options.manner = Manner::Try,
                None if *word == "async" => options.manner = Manner::Async,
                Some(("timeout", milliseconds)) => options.timeout = Duration::from_millis(number(milliseconds)),
                Some(("priority", priority)) => options.priority = priority.parse().expect("a priority"),
                Some(("note", note)) => options.note = note,
                _ => panic!("lock-taker: unknown option {word:?}"),
            }
        }
        options
    }
}

fn granted(guard: &Guard) -> String {
    format!("granted {}", guard.token())
}

fn mode_of(word: &str) -> Mode {
    if word == "write" { Mode::Write } else { Mode::Read }
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

/// Not atomic on purpose: only the lock keeps two of these from losing one another's work.
fn add_one(file: &str) {
    let count = number(&fs::read_to_string(file).expect("the counter"));
    fs::write(file, (count + 1).to_string()).expect("the counter");
}
