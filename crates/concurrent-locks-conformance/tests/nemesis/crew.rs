//! The processes, as the test sees them: driven, harmed, and judged.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use concurrent_locks::{LockManager, Mode};
use concurrent_locks_conformance::{
    DEADLINE,
    history::{self, Rules, judge, now},
    until,
};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{
    journal::{Belief, Grant, Journal, Story},
    server::Server,
    worker::{CLING, DONE, LET_GO, NAMES, SAYS, SEED_VARIABLE, URL_VARIABLE},
};

/// Nanoseconds. Without an order to cling, locks are held for some milliseconds.
const LONG: u64 = 500_000_000;

/// Some processes that take locks until they are asked to end.
pub(crate) struct Crew {
    pub(crate) processes: Vec<Process>,
    seed: u64,
}

/// One of them. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    journal: Arc<Mutex<Journal>>,
    done: Arc<AtomicBool>,
    killed: Option<u64>,
}

/// Something that is held, as far as is known.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) grant: Grant,
}

impl Crew {
    /// Starts as many, and waits until each has held something.
    pub(crate) fn start(case: &str, url: &str, size: usize) -> Crew {
        let seed = history::seed(case);
        let start = |number: usize| Process::start(url, seed.wrapping_add(number as u64 * 1000));
        let crew = Crew { processes: (0..size).map(start).collect(), seed };
        crew.all_go_on();
        crew
    }

    /// Waits until each that lives has had locks again.
    pub(crate) fn all_go_on(&self) {
        let living = || self.processes.iter().filter(|process| process.killed.is_none());
        let before: Vec<usize> = living().map(Process::grants).collect();
        until("everybody gets locks", || living().zip(&before).all(|(process, before)| process.grants() > before + 10));
    }

    /// Waits until somebody else has got what was held, by a later grant that conflicts with it.
    pub(crate) fn passes_to_another(&self, from: usize, held: &Holding) {
        let later = |story: &Story| {
            let conflicts = story.name == held.name && story.mode.conflicts_with(held.mode);
            conflicts && story.grant.is_some_and(|grant| grant.token > held.grant.token)
        };
        until("somebody else gets the lock", || {
            let others = self.processes.iter().enumerate().filter(|(number, _)| *number != from);
            others.into_iter().any(|(_, other)| other.read(|journal| journal.stories().any(later)))
        });
    }

    /// Ends all, and judges what they saw. Nothing may be left on the server, nor held.
    pub(crate) fn end(mut self, server: &Server, url: &str, rules: Rules, belief: Belief) {
        for process in &mut self.processes {
            process.orders = None;
        }
        for process in &mut self.processes {
            process.ends();
        }
        let all = || self.processes.iter().map(|process| (process, process.journal()));
        let open: Vec<String> = all()
            .filter(|(process, _)| process.killed.is_none())
            .flat_map(|(_, journal)| journal.open().map(|story| format!("{story:?}")).collect::<Vec<_>>())
            .collect();
        assert!(open.is_empty(), "seed {}: without an end: {open:#?}", self.seed);
        let records: Vec<_> = all().flat_map(|(process, journal)| journal.records(process.killed, belief)).collect();
        eprintln!("{} requests", records.len());
        if let Err(broken) = judge(&records, rules) {
            panic!("seed {}: {broken}", self.seed);
        }
        let locks = LockManager::connect(url).blocking().unwrap();
        for name in NAMES {
            locks.write(name).timeout(DEADLINE).blocking().unwrap().release().unwrap();
        }
        server.assert_empty();
    }
}

impl Process {
    fn start(url: &str, seed: u64) -> Process {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "worker::plays_its_role", "--nocapture", "--test-threads=1"])
            .env(URL_VARIABLE, url)
            .env(SEED_VARIABLE, seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (journal, done) = (Arc::<Mutex<Journal>>::default(), Arc::<AtomicBool>::default());
        let (written, ended) = (Arc::clone(&journal), Arc::clone(&done));
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                match line.strip_prefix(SAYS) {
                    Some(DONE) => ended.store(true, Ordering::Release),
                    Some(entry) => written.lock().unwrap_or_else(PoisonError::into_inner).note(entry.parse().unwrap()),
                    None => {}
                }
            }
        });
        Process { child, orders, journal, done, killed: None }
    }

    fn journal(&self) -> std::sync::MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<R>(&self, look: impl FnOnce(&Journal) -> R) -> R {
        look(&self.journal())
    }

    /// How often it has had a lock.
    pub(crate) fn grants(&self) -> usize {
        self.read(|journal| journal.stories().filter(|story| story.grant.is_some()).count())
    }

    /// How many losses were reported to it.
    pub(crate) fn losses(&self) -> usize {
        let lost = |story: &&Story| story.grant.is_some_and(|grant| grant.lost.is_some());
        self.read(|journal| journal.stories().filter(lost).count())
    }

    /// What it holds and believes in.
    pub(crate) fn holdings(&self) -> Vec<Holding> {
        self.read(|journal| {
            let held =
                journal.open().filter_map(|story| Some((story, story.grant.filter(|grant| grant.lost.is_none())?)));
            held.map(|(story, grant)| Holding { name: story.name.clone(), mode: story.mode, grant }).collect()
        })
    }

    /// Has it go on holding what it holds, and waits until there is such: something that has been held for
    /// longer than anything is held otherwise.
    pub(crate) fn clings(&mut self) -> Holding {
        self.order(CLING);
        let mut held = None;
        until("it holds something", || {
            held = self.holdings().into_iter().find(|held| now().saturating_sub(held.grant.at) > LONG);
            held.is_some()
        });
        held.expect("what was found")
    }

    pub(crate) fn let_go(&mut self) {
        self.order(LET_GO);
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().expect("it was not asked to end"), "{order}").expect("a living process");
    }

    /// Stops it where it is, and waits until it has stopped.
    pub(crate) fn stop(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        let status = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(status, WaitStatus::Stopped(self.pid(), Signal::SIGSTOP));
    }

    pub(crate) fn go_on(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// Kills it: it believes in nothing from here on.
    pub(crate) fn kill(&mut self) {
        self.killed = Some(now());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn ends(&mut self) {
        if self.killed.is_some() {
            return;
        }
        until("it ends", || self.child.try_wait().unwrap().is_some());
        assert!(self.child.wait().unwrap().success(), "a process has failed");
        until("it has said so", || self.done.load(Ordering::Acquire));
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
