//! What a process does: some tasks and threads take locks at random until it is asked to end, and write
//! down what they see.

use std::{
    env,
    io::{Write, stdin, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use concurrent_locks::{Begun, Error, ErrorKind, Guard, LockManager, Mode, Owner, Request};
use concurrent_locks_conformance::{DEADLINE, history::now};
use fastrand::Rng;

use crate::journal::{Entry, Event};

pub(crate) const URL_VARIABLE: &str = "NEMESIS_URL";
pub(crate) const SEED_VARIABLE: &str = "NEMESIS_SEED";
/// What its lines begin with: the test harness writes to the same pipe.
pub(crate) const SAYS: &str = "#nemesis ";
/// The last line of a process that has ended well.
pub(crate) const DONE: &str = "done";
/// Told to a process: go on holding what you hold until it is lost, and end that.
pub(crate) const CLING: &str = "cling";
pub(crate) const LET_GO: &str = "let go";

pub(crate) const NAMES: [&str; 2] = ["nemesis/a", "nemesis/b"];
const TASKS: usize = 2;
const THREADS: usize = 2;

/// Not a test: what a child process runs. In the test run itself there is no URL, and it does nothing.
#[test]
fn plays_its_role() {
    let (Ok(url), Ok(seed)) = (env::var(URL_VARIABLE), env::var(SEED_VARIABLE)) else { return };
    let locks = LockManager::connect(&url).blocking().unwrap();
    let orders: &'static Orders = Box::leak(Box::default());
    thread::spawn(|| orders.follow());
    run(&locks, orders, seed.parse().unwrap());
    say(DONE);
}

fn say(text: &str) {
    // In one piece, on a line of its own, whatever the harness wrote before.
    let mut output = stdout().lock();
    output.write_all(format!("\n{SAYS}{text}\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

/// What the test has told this process to do.
#[derive(Default)]
struct Orders {
    cling: AtomicBool,
    end: AtomicBool,
}

impl Orders {
    fn follow(&self) {
        for line in stdin().lines() {
            self.cling.store(line.unwrap() == CLING, Ordering::Relaxed);
        }
        self.cling.store(false, Ordering::Relaxed);
        self.end.store(true, Ordering::Relaxed);
    }
}

fn run(locks: &LockManager, orders: &'static Orders, seed: u64) {
    let worker = |number: usize| Worker {
        locks: locks.clone(),
        orders,
        random: Rng::with_seed(seed.wrapping_add(number as u64)),
        owner: locks.owner(&format!("worker-{number}")).unwrap(),
        blocks: number < THREADS,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let tasks: Vec<_> = (THREADS..THREADS + TASKS).map(|number| runtime.spawn(worker(number).work())).collect();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let mut worker = worker(number);
            scope.spawn(move || pollster::block_on(worker.work_on()));
        }
    });
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
}

struct Worker {
    locks: LockManager,
    orders: &'static Orders,
    random: Rng,
    owner: Owner,
    /// Whether it is a thread, which waits by blocking; else a task.
    blocks: bool,
}

/// Something that is held.
struct Held {
    guard: Guard,
    /// Its number, which changes with an upgrade or a downgrade.
    number: Arc<AtomicU64>,
    until: u64,
}

/// What is asked for.
#[derive(Clone)]
struct Wanted {
    name: &'static str,
    mode: Mode,
    /// `None` is an owner of its own.
    owner: Option<Owner>,
    id: u64,
}

impl Worker {
    async fn work(mut self) {
        self.work_on().await;
    }

    async fn work_on(&mut self) {
        while !self.orders.end.load(Ordering::Relaxed) {
            let labelled = self.random.u8(..4) != 0;
            let wanted = Wanted {
                name: NAMES[self.random.usize(..NAMES.len())],
                mode: self.some_mode(),
                owner: labelled.then(|| self.owner.clone()),
                id: if labelled { id_of(&self.owner) } else { self.random.u64(..) },
            };
            if let Some(held) = self.take(&wanted).await {
                self.hold(wanted, held).await;
            }
        }
    }

    fn some_mode(&mut self) -> Mode {
        if self.random.u8(..5) < 2 { Mode::Write } else { Mode::Read }
    }

    /// One request, in any of the ways there are.
    async fn take(&mut self, wanted: &Wanted) -> Option<Held> {
        let number = next();
        let locks = self.locks.clone();
        let mut request = locks.request(wanted.name, wanted.mode).timeout(DEADLINE);
        if let Some(owner) = &wanted.owner {
            request = request.owner(owner);
        }
        note(number, Event::Asked { name: wanted.name.to_owned(), mode: wanted.mode, owner: wanted.id, at: now() });
        let (expected, result) = match self.random.u8(..12) {
            0 => (Some(ErrorKind::WouldBlock), request.try_now().map(Some)),
            1 | 2 => {
                let request = request.timeout(Duration::from_micros(self.random.u64(..5000)));
                (Some(ErrorKind::TimedOut), self.wait(number, request, false).await)
            }
            3 => (None, self.wait(number, request, true).await),
            4..=6 if self.blocks => (None, request.blocking().map(Some)),
            4..=6 => (None, request.await.map(Some)),
            _ => (None, self.wait(number, request, false).await),
        };
        match result {
            Ok(Some(guard)) => Some(Held::new(number, guard)),
            Ok(None) => {
                note(number, Event::Failed { why: "cancelled".to_owned() });
                None
            }
            Err(error) => {
                assert!(Some(error.kind()) == expected || is_trouble(&error), "{:?} {error}", error.kind());
                note(number, Event::Failed { why: format!("{:?}", error.kind()) });
                None
            }
        }
    }

    /// Begins a request, notes when it has its place, and waits for it; `None` if it is cancelled there.
    async fn wait(&mut self, number: u64, request: Request<'_>, cancel: bool) -> Result<Option<Guard>, Error> {
        let asks = !self.blocks && self.random.bool();
        let begun = if asks { request.ask()? } else { request.begin()? };
        let queued = match begun {
            Begun::Granted(guard) => return Ok(Some(guard)),
            Begun::Queued(queued) => queued,
        };
        if !asks {
            note(number, Event::Placed { at: now() });
        }
        let patience = self.random.u64(..3);
        match (self.blocks, cancel) {
            (true, cancel) => queued.blocking_while(|| !cancel),
            (false, false) => queued.await.map(Some),
            (false, true) => {
                let patience = Duration::from_millis(patience);
                tokio::time::timeout(patience, queued).await.map_or(Ok(None), |result| result.map(Some))
            }
        }
    }

    async fn hold(&mut self, mut wanted: Wanted, mut held: Held) {
        let mut inner = None;
        for _ in 0..self.random.u8(..5) {
            match self.random.u8(..8) {
                0 | 1 if inner.is_none() && wanted.owner.is_some() => {
                    let mode = if wanted.mode == Mode::Write { self.some_mode() } else { Mode::Read };
                    inner = self.take(&Wanted { mode, ..wanted.clone() }).await;
                }
                2 if wanted.mode == Mode::Read && inner.is_none() => self.upgrade(&mut wanted, &mut held).await,
                3 if wanted.mode == Mode::Write && inner.is_none() => downgrade(&mut wanted, &mut held),
                _ => {
                    let pause = self.random.u64(..2000);
                    self.rest(pause).await;
                }
            }
            held.tell_until();
        }
        while self.orders.cling.load(Ordering::Relaxed) && !held.has_ended() {
            self.rest(5000).await;
            held.tell_until();
            inner.as_mut().map(Held::tell_until).unwrap_or_default();
        }
        for held in inner.iter().chain([&held]).filter(|held| held.has_ended()) {
            // Seen before it was reported; then nobody reports it any more once it is released.
            note(held.number.load(Ordering::Relaxed), Event::Lost { at: now() });
        }
        let inner_first = self.random.bool();
        let (first, second) = if inner_first { (inner, Some(held)) } else { (Some(held), inner) };
        for held in [first, second].into_iter().flatten() {
            self.release(held);
        }
    }

    async fn rest(&self, micros: u64) {
        let time = Duration::from_micros(micros);
        if self.blocks {
            thread::sleep(time);
        } else {
            tokio::time::sleep(time).await;
        }
    }

    async fn upgrade(&mut self, wanted: &mut Wanted, held: &mut Held) {
        let number = next();
        note(number, Event::Asked { name: wanted.name.to_owned(), mode: Mode::Write, owner: wanted.id, at: now() });
        let upgrade = held.guard.upgrade().timeout(DEADLINE);
        let result = if self.blocks { upgrade.blocking() } else { upgrade.await };
        match result {
            Ok(()) => {
                wanted.mode = Mode::Write;
                held.change(number);
            }
            Err(error) => {
                let expected = error.kind() == ErrorKind::Deadlock;
                assert!(expected || is_trouble(&error), "{:?} {error}", error.kind());
                note(number, Event::Failed { why: format!("{:?}", error.kind()) });
            }
        }
    }

    /// Some by dropping, which says nothing.
    fn release(&mut self, mut held: Held) {
        held.tell_until();
        let (number, at) = (held.number.load(Ordering::Relaxed), now());
        let mut confirmed = false;
        if self.random.u8(..4) == 0 {
            drop(held);
        } else if let Err(error) = held.guard.release() {
            assert!(is_trouble(&error), "{:?} {error}", error.kind());
        } else {
            // A future's release does not wait for the answer.
            confirmed = self.blocks;
        }
        note(number, Event::Released { at, confirmed });
    }
}

fn downgrade(wanted: &mut Wanted, held: &mut Held) {
    let number = next();
    held.tell_until();
    let old = held.number.load(Ordering::Relaxed);
    let at = now();
    match held.guard.downgrade() {
        Ok(()) => {
            note(old, Event::Released { at, confirmed: true });
            wanted.mode = Mode::Read;
            note(number, Event::Asked { name: wanted.name.to_owned(), mode: Mode::Read, owner: wanted.id, at });
            held.tell_granted(number);
        }
        Err(error) => assert!(is_trouble(&error), "{:?} {error}", error.kind()),
    }
}

impl Held {
    fn new(number: u64, guard: Guard) -> Held {
        let mut held = Held { guard, number: Arc::default(), until: 0 };
        held.tell_granted(number);
        let number = Arc::clone(&held.number);
        held.guard.on_lost(move |_| note(number.load(Ordering::Relaxed), Event::Lost { at: now() }));
        held
    }

    /// What is held is from here on reported under this number.
    fn tell_granted(&mut self, number: u64) {
        let at = now();
        self.until = until(&self.guard);
        note(number, Event::Granted { token: self.guard.token(), at, until: self.until });
        self.number.store(number, Ordering::Relaxed);
    }

    /// Became a grant of its own, by an upgrade.
    fn change(&mut self, number: u64) {
        let old = self.number.load(Ordering::Relaxed);
        self.tell_granted(number);
        note(old, Event::Released { at: now(), confirmed: false });
    }

    fn tell_until(&mut self) {
        let (at, until) = (now(), until(&self.guard));
        if until > 0 {
            self.until = until;
            note(self.number.load(Ordering::Relaxed), Event::Until { at, until });
        }
    }

    fn has_ended(&self) -> bool {
        self.guard.lease().is_none_or(|lease| lease.remaining.is_zero())
    }
}

/// Until when the lease runs, as far as the process knows; 0 if it has expired.
fn until(guard: &Guard) -> u64 {
    let asked = now();
    let remaining = guard.lease().expect("a lease").remaining;
    if remaining.is_zero() { 0 } else { asked + remaining.as_nanos() as u64 }
}

/// What the nemesis may bring about.
fn is_trouble(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Lost)
}

fn id_of(owner: &Owner) -> u64 {
    u64::from_str_radix(&owner.id().to_string(), 16).unwrap()
}

fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn note(request: u64, event: Event) {
    say(&Entry { request, event }.to_string());
}
