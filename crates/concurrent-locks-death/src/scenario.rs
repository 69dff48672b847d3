//! The operations during which a victim dies, and the concurrent operations of others.

use std::{
    any::Any,
    future::{Future, IntoFuture},
    path::PathBuf,
    pin::{Pin, pin},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use concurrent_locks::{ErrorKind, Fairness, Guard, LockManager, Mode, Status};

use crate::{Result, stepper::Victim};

/// How long anything may take that must happen.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What the victim does between its marks. What it returns lives on until the victim is killed.
pub type Operation = Box<dyn FnOnce() -> Result<Box<dyn Any>>>;

/// One operation and its surroundings.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// As the command line knows it.
    pub name: &'static str,
    /// In the victim: everything before the operation.
    pub prepare: fn(url: &str, name: &'static str) -> Result<Operation>,
    /// In the runner, before the first victim.
    pub furnish: fn(&LockManager) -> Result<()>,
    /// Each victim gets a name that the table has not seen.
    pub new_names: bool,
    /// The runner holds the name when the victim starts.
    pub held_before: bool,
    /// In the runner, while the victim stands before the operation.
    pub stage: fn(&mut Stage<'_>) -> Result<()>,
    /// In the runner, once the victim is dead: what is to be looked at besides the table of all victims.
    pub aftermath: fn(&Remains<'_>) -> Result<()>,
}

/// The surroundings of one victim.
pub struct Stage<'a> {
    /// Another process than the victim: the runner.
    pub locks: &'a LockManager,
    /// The resource it is about.
    pub name: &'a str,
    /// Counts the victims.
    pub round: u64,
    /// The victim's process.
    pub pid: u32,
    /// What the runner holds of the name until the victim is dead.
    pub held: Option<Guard>,
    /// Other children, which stand where they are until the victim is dead and the others have gone on.
    pub others: Vec<Victim>,
    /// Requests that must be granted however the victim dies.
    pub waiters: Vec<JoinHandle<Result<()>>>,
    /// Set once the victim is dead.
    pub over: Arc<AtomicBool>,
    /// Starts a child that stands before the operation of another scenario.
    pub start: &'a dyn Fn(&Scenario, &str) -> Result<Victim>,
}

/// What a dead victim left behind.
pub struct Remains<'a> {
    /// The table of all victims.
    pub url: &'a str,
    /// The resource it was about.
    pub name: &'a str,
    /// Has [`visit`] run in a new process.
    pub visit: &'a dyn Fn(&str) -> Result<()>,
}

impl Scenario {
    const PLAIN: Scenario = Scenario {
        name: "",
        prepare: |_, _| Err("this scenario has no victim".into()),
        furnish: |_| Ok(()),
        new_names: false,
        held_before: false,
        stage: |_| Ok(()),
        aftermath: |_| Ok(()),
    };

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Scenario> {
        ALL.iter().find(|scenario| scenario.name == name)
    }

    /// The child for this scenario.
    #[must_use]
    pub fn command(&self, victim: &std::path::Path, url: &str, name: &str) -> Command {
        let mut command = Command::new(victim);
        command.args([self.name, url, name]);
        command
    }
}

/// The second name of operations on several.
#[must_use]
pub fn second(name: &str) -> String {
    format!("{name}/second")
}

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "acquire-new-name",
        new_names: true,
        prepare: |url, name| {
            let locks = attached(url)?;
            Ok(operation(move || Ok(locks.write(name).note("about to die").try_now()?)))
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "acquire",
        prepare: |url, name| {
            let agent = attached(url)?.owner("victim")?;
            Ok(operation(move || Ok(agent.write(name).try_now()?)))
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "acquire-two",
        prepare: |url, name| {
            let locks = attached(url)?;
            let other = second(name);
            Ok(operation(move || Ok(locks.lock_all([(name, Mode::Write), (&other, Mode::Read)]).try_now()?)))
        },
        ..Scenario::PLAIN
    },
    Scenario {
        // The straight line, which a process takes once it has its first records and looked where the table is.
        name: "straight",
        prepare: |url, name| {
            let locks = attached(url)?;
            locks.write(name).try_now()?.release()?;
            Ok(operation(move || Ok(locks.write(name).try_now()?.release()?)))
        },
        ..Scenario::PLAIN
    },
    RELEASE,
    Scenario { name: "release-to-writer", stage: |stage| stage.wait_in_line(&[Mode::Write]), ..RELEASE },
    Scenario { name: "release-to-readers", stage: |stage| stage.wait_in_line(&[Mode::Read; 6]), ..RELEASE },
    Scenario {
        // Wakes the head without a grant, and leaves the lock free.
        name: "release-to-window",
        prepare: |url, name| {
            let guard = windowed(&attached(url)?).write(name).blocking()?;
            Ok(operation(move || Ok(guard.release()?)))
        },
        stage: |stage| stage.wait_in_line(&[Mode::Write; 2]),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "break",
        held_before: true,
        prepare: |url, name| {
            let locks = attached(url)?;
            let token = status(&locks, name)?.holders.first().ok_or("nobody holds it")?.token;
            Ok(operation(move || Ok(locks.break_lock(name, token).blocking()?)))
        },
        stage: |stage| stage.wait_in_line(&[Mode::Read, Mode::Read, Mode::Write]),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "downgrade",
        prepare: |url, name| {
            let mut guard = attached(url)?.write(name).blocking()?;
            Ok(operation(move || {
                guard.downgrade()?;
                Ok(guard)
            }))
        },
        stage: |stage| stage.wait_in_line(&[Mode::Read, Mode::Read, Mode::Write]),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "upgrade",
        prepare: |url, name| {
            let mut guard = attached(url)?.owner("victim")?.read(name).blocking()?;
            Ok(operation(move || {
                guard.upgrade().try_now()?;
                Ok(guard)
            }))
        },
        stage: |stage| stage.wait_in_line(&[Mode::Write]),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "time-out",
        held_before: true,
        prepare: |url, name| {
            let locks = attached(url)?;
            Ok(operation(move || match locks.write(name).timeout(Duration::from_millis(3)).blocking() {
                Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
                other => Err(format!("not a time-out: {other:?}").into()),
            }))
        },
        ..Scenario::PLAIN
    },
    WAIT,
    Scenario {
        name: "wait-asleep",
        stage: |stage| {
            stage.release_when(|stage| Ok(asleep(stage.pid)));
            Ok(())
        },
        ..WAIT
    },
    Scenario {
        // It is woken without a grant, and takes what lies free for it.
        name: "wait-for-window",
        stage: |stage| {
            drop(stage.held.take());
            stage.held = Some(windowed(stage.locks).write(stage.name).blocking()?);
            stage.release_when(|stage| Ok(asleep(stage.pid)));
            Ok(())
        },
        ..WAIT
    },
    Scenario {
        name: "cancel",
        held_before: true,
        prepare: queued_future,
        stage: |stage| stage.wait_in_line(&[Mode::Write]),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "cancel-when-granted",
        held_before: true,
        prepare: queued_future,
        stage: |stage| {
            stage.wait_in_line(&[Mode::Write])?;
            drop(stage.held.take());
            until(|| Ok(status(stage.locks, stage.name)?.holders.iter().any(|holder| holder.pid == stage.pid)))
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "attach",
        prepare: |url, name| {
            let url = url.to_owned();
            Ok(operation(move || Ok(LockManager::connect(&url).blocking()?.write(name).try_now()?)))
        },
        ..Scenario::PLAIN
    },
    Scenario {
        // A table of its own for each victim. How it is attached to is another scenario.
        name: "create",
        new_names: true,
        prepare: |url, name| {
            let (_, url) = own_table(url, name);
            Ok(operation(move || Ok(LockManager::connect(&url).blocking()?)))
        },
        aftermath: |remains| {
            let (path, url) = own_table(remains.url, remains.name);
            (remains.visit)(&url)?;
            std::fs::remove_file(&path)?;
            let left: Vec<_> = std::fs::read_dir(path.parent().ok_or("no directory")?)?.collect();
            if left.len() == 1 { Ok(()) } else { Err(format!("more than the table of all victims: {left:?}").into()) }
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "reap",
        prepare: |url, name| {
            let locks = attached(url)?;
            Ok(operation(move || Ok(locks.write(name).blocking()?)))
        },
        stage: |stage| (stage.start)(&RELEASE, stage.name)?.kill().map_err(Into::into),
        ..Scenario::PLAIN
    },
    REAP_MANY,
    RELEASE_MANY,
    Scenario {
        name: "take-over",
        prepare: |url, name| {
            let locks = attached(url)?;
            Ok(operation(move || Ok(locks.write(name).blocking()?)))
        },
        stage: |stage| {
            // Another one dies at one of many places of an acquisition, most of them in the short lock.
            let acquire = Scenario::named("acquire").ok_or("there is no such scenario")?;
            let mut victim = (stage.start)(acquire, stage.name)?;
            victim.step(50 + stage.round * 61 % 1000)?;
            Ok(victim.kill()?)
        },
        ..Scenario::PLAIN
    },
    Scenario {
        // The victim stands behind one that sleeps through its hand-off, and takes it back.
        name: "pass-over",
        held_before: true,
        prepare: |url, name| {
            let locks = attached(url)?;
            Ok(operation(move || Ok(locks.write(name).blocking()?)))
        },
        stage: |stage| {
            let sleeper = (stage.start)(&SLEEPER, stage.name)?;
            until(|| Ok(status(stage.locks, stage.name)?.pending_requests == 1))?;
            drop(stage.held.take());
            stage.wait_in_line(&[Mode::Write])?;
            stage.others.push(sleeper);
            Ok(())
        },
        ..Scenario::PLAIN
    },
    SLEEPER,
    Scenario {
        name: "evict",
        new_names: true,
        furnish: |locks| {
            let capacity = locks.health().blocking()?.resources.capacity;
            (0..capacity).try_for_each(|number| Ok(locks.read(&format!("idle/{number}")).try_now()?.release()?))
        },
        prepare: |url, name| {
            let locks = attached(url)?;
            Ok(operation(move || Ok(locks.write(name).try_now()?)))
        },
        ..Scenario::PLAIN
    },
];

const RELEASE: Scenario = Scenario {
    name: "release",
    prepare: |url, name| {
        let guard = attached(url)?.write(name).blocking()?;
        Ok(operation(move || Ok(guard.release()?)))
    },
    ..Scenario::PLAIN
};

/// Cleans up after one who held many locks, of which it waits for the first.
pub const REAP_MANY: Scenario = Scenario {
    name: "reap-many",
    prepare: |url, name| {
        let locks = attached(url)?;
        let first = many(name).swap_remove(0);
        Ok(operation(move || Ok(locks.write(&first).blocking()?)))
    },
    stage: |stage| (stage.start)(&RELEASE_MANY, stage.name)?.kill().map_err(Into::into),
    aftermath: many_are_free,
    ..Scenario::PLAIN
};

/// Gives many locks back.
pub const RELEASE_MANY: Scenario = Scenario {
    name: "release-many",
    prepare: |url, name| {
        let locks = attached(url)?;
        let held =
            many(name).iter().map(|name| locks.write(name).blocking()).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(operation(move || {
            drop(held);
            Ok(())
        }))
    },
    aftermath: many_are_free,
    ..Scenario::PLAIN
};

fn many_are_free(remains: &Remains<'_>) -> Result<()> {
    let locks = LockManager::connect(remains.url).blocking()?;
    many(remains.name).iter().try_for_each(|name| Ok(locks.write(name).timeout(DEADLINE).blocking()?.release()?))
}

/// The names of operations on many, in buckets that differ.
#[must_use]
pub fn many(name: &str) -> Vec<String> {
    (0..5).map(|index| format!("{name}/{index}")).collect()
}

/// Takes a grant up in the instant in which it is taken back from it, and looks at the queue.
const SLEEPER: Scenario = Scenario {
    name: "sleeper",
    held_before: true,
    prepare: |url, name| {
        let mut future = queued(&hasty(&attached(url)?), name)?;
        Ok(operation(move || {
            let polled = pin!(&mut future).poll(&mut Context::from_waker(Waker::noop()));
            Ok((polled.is_ready(), future))
        }))
    },
    stage: |stage| {
        stage.wait_in_line(&[Mode::Write])?;
        drop(stage.held.take());
        Ok(())
    },
    ..Scenario::PLAIN
};

const WAIT: Scenario = Scenario {
    name: "wait",
    held_before: true,
    prepare: |url, name| {
        let locks = attached(url)?;
        Ok(operation(move || Ok(locks.write(name).blocking()?)))
    },
    // Before it sleeps: it comes to its sleep one instruction at a time.
    stage: |stage| {
        stage.release_when(|stage| Ok(status(&stage.locks, &stage.name)?.pending_requests > 0));
        Ok(())
    },
    ..Scenario::PLAIN
};

fn operation<T: 'static>(run: impl FnOnce() -> Result<T> + 'static) -> Operation {
    Box::new(|| Ok(Box::new(run()?) as Box<dyn Any>))
}

/// A manager whose process has used the table before.
fn attached(url: &str) -> Result<LockManager> {
    let locks = LockManager::connect(url).blocking()?;
    drop(locks.read("warm").try_now()?);
    Ok(locks)
}

/// The same locks with a wake window.
fn windowed(locks: &LockManager) -> LockManager {
    locks.clone().with_settings(locks.settings().fairness(Fairness::Window))
}

/// The same locks, whose hand-offs go to the next almost at once.
fn hasty(locks: &LockManager) -> LockManager {
    locks.clone().with_settings(locks.settings().pass_over_after(Duration::from_millis(1)))
}

/// The table that only this victim makes: where it is, and its URL.
fn own_table(url: &str, name: &str) -> (PathBuf, String) {
    let url = url.replacen("table?", &format!("{}?", name.replace('/', "-")), 1);
    let path = url.trim_start_matches("host:").split('?').next().unwrap_or_default();
    (path.into(), url)
}

/// Whether a process sleeps in the kernel. One that its tracer has stopped does not; one that cannot
/// be looked at is dead.
fn asleep(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
}

/// What a newcomer finds in a table, whoever died while making it: it is alone there, all is well,
/// and it gets what it asks for.
///
/// # Errors
/// If that is not so.
pub fn visit(url: &str) -> Result<()> {
    let locks = LockManager::connect(url).blocking()?;
    let _guard = locks.write("visited").timeout(DEADLINE).blocking()?;
    let health = locks.health().blocking()?;
    let alone = health.processes.used == 1 && health.requests.used == 1;
    if alone && health.problems.is_empty() { Ok(()) } else { Err(format!("in {url}: {health:?}").into()) }
}

/// Queues a future; the operation is to drop it.
fn queued_future(url: &str, name: &'static str) -> Result<Operation> {
    let future = queued(&attached(url)?, name)?;
    Ok(operation(move || {
        drop(future);
        Ok(())
    }))
}

type QueuedFuture = Pin<Box<dyn Future<Output = std::result::Result<Guard, concurrent_locks::Error>>>>;

/// A future that has its place in the queue.
fn queued(locks: &LockManager, name: &'static str) -> Result<QueuedFuture> {
    let mut future: QueuedFuture = Box::pin(locks.write(name).timeout(None).into_future());
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Ok(future),
        Poll::Ready(result) => Err(format!("the lock was not held: {result:?}").into()),
    }
}

/// What a thread of the runner looks at while the victim is stepped.
struct Watched {
    locks: LockManager,
    name: String,
    pid: u32,
}

impl Stage<'_> {
    /// Queues requests behind each other, in this order.
    fn wait_in_line(&mut self, modes: &[Mode]) -> Result<()> {
        for mode in modes {
            let before = status(self.locks, self.name)?.pending_requests;
            let (locks, name, mode) = (self.locks.clone(), self.name.to_owned(), *mode);
            self.waiters.push(std::thread::spawn(move || {
                // Longer than anybody is given: a grant that is found only at the end of its time came too late.
                Ok(locks.request(&name, mode).timeout(3 * DEADLINE).blocking()?.release()?)
            }));
            until(|| Ok(status(self.locks, self.name)?.pending_requests > before))?;
        }
        Ok(())
    }

    /// Releases what the runner holds as soon as `fact` is so, or the victim is dead.
    fn release_when(&mut self, fact: impl Fn(&Watched) -> Result<bool> + Send + 'static) {
        let watched = Watched { locks: self.locks.clone(), name: self.name.to_owned(), pid: self.pid };
        let (held, over) = (self.held.take(), Arc::clone(&self.over));
        self.waiters.push(std::thread::spawn(move || {
            until(|| Ok(over.load(Relaxed) || fact(&watched)?))?;
            drop(held);
            Ok(())
        }));
    }
}

/// The status of a resource that may be unknown.
pub fn status(locks: &LockManager, name: &str) -> Result<Status> {
    Ok(locks.status(name).blocking()?.unwrap_or_default())
}

/// Polls for a fact.
pub fn until(mut fact: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !fact()? {
        if begin.elapsed() > 3 * DEADLINE {
            return Err("waited for something that never came".into());
        }
        std::thread::yield_now();
    }
    Ok(())
}
