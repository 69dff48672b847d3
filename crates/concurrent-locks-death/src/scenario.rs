//! The operations at which a victim dies, and what the rest of the world does meanwhile.

use std::{
    any::Any,
    future::{Future, IntoFuture},
    pin::pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use concurrent_locks::{ErrorKind, Guard, LockManager, Mode, Status};

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
    /// Requests that must be granted however the victim dies.
    pub waiters: Vec<JoinHandle<Result<()>>>,
    /// Set once the victim is dead.
    pub over: Arc<AtomicBool>,
    /// Starts a child that stands before the operation of another scenario.
    pub start: &'a dyn Fn(&Scenario, &str) -> Result<Victim>,
}

impl Scenario {
    const PLAIN: Scenario = Scenario {
        name: "",
        prepare: |_, _| Err("this scenario has no victim".into()),
        furnish: |_| Ok(()),
        new_names: false,
        held_before: false,
        stage: |_| Ok(()),
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
    RELEASE,
    Scenario { name: "release-to-writer", stage: |stage| stage.wait_in_line(&[Mode::Write]), ..RELEASE },
    Scenario { name: "release-to-readers", stage: |stage| stage.wait_in_line(&[Mode::Read; 6]), ..RELEASE },
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
    Scenario {
        name: "wait",
        held_before: true,
        prepare: |url, name| {
            let locks = attached(url)?;
            Ok(operation(move || Ok(locks.write(name).blocking()?)))
        },
        stage: |stage| {
            // Gives the lock back as soon as the victim waits, so that it is granted to a sleeper.
            let (locks, name, over) = (stage.locks.clone(), stage.name.to_owned(), Arc::clone(&stage.over));
            let held = stage.held.take();
            stage.waiters.push(std::thread::spawn(move || {
                until(|| Ok(over.load(Relaxed) || status(&locks, &name)?.pending_requests > 0))?;
                drop(held);
                Ok(())
            }));
            Ok(())
        },
        ..Scenario::PLAIN
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
            Ok(operation(move || Ok(LockManager::connect(&url)?.write(name).try_now()?)))
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
    Scenario {
        name: "take-over",
        prepare: |url, name| {
            let locks = attached(url)?;
            Ok(operation(move || Ok(locks.write(name).blocking()?)))
        },
        stage: |stage| {
            // Another one dies at one of many places of an acquisition, most of them in the short lock.
            let acquire = Scenario::named("acquire").ok_or("there is no such scenario")?;
            let mut corpse = (stage.start)(acquire, stage.name)?;
            corpse.step(50 + stage.round * 61 % 1000)?;
            Ok(corpse.kill()?)
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "evict",
        new_names: true,
        furnish: |locks| {
            let capacity = locks.health()?.resources.capacity;
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

fn operation<T: 'static>(run: impl FnOnce() -> Result<T> + 'static) -> Operation {
    Box::new(|| Ok(Box::new(run()?) as Box<dyn Any>))
}

/// A manager whose process has used the table before.
fn attached(url: &str) -> Result<LockManager> {
    let locks = LockManager::connect(url)?;
    drop(locks.read("warm").try_now()?);
    Ok(locks)
}

/// Queues a future; the operation is to drop it.
fn queued_future(url: &str, name: &'static str) -> Result<Operation> {
    let locks = attached(url)?;
    let mut future = Box::pin(locks.write(name).timeout(None).into_future());
    match pin!(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Ok(operation(move || {
            drop(future);
            Ok(())
        })),
        Poll::Ready(result) => Err(format!("the lock was not held: {result:?}").into()),
    }
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
}

/// The status of a resource that may be unknown.
pub fn status(locks: &LockManager, name: &str) -> Result<Status> {
    let unknown = Status {
        resource_name: name.to_owned(),
        readers: 0,
        writer_active: false,
        current_writer: None,
        current_readers: Vec::new(),
        pending_writes: 0,
        pending_requests: 0,
        holders: Vec::new(),
        waiters: Vec::new(),
    };
    Ok(locks.status(name)?.unwrap_or(unknown))
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
