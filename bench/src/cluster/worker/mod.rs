//! A worker in this language: what [`errand`](super::errand) describes: its commands and answers.

mod postgres;
mod redis;
mod tasks;

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use concurrent_locks::{Guard, LockManager, Resource};
use tokio::runtime::Runtime;

use super::kind::Kind;
use crate::machine::clock;

/// What can be acquired and released; a thread of ours waits for it.
trait Lock {
    fn lock(&mut self) -> Result<()>;
    fn unlock(&mut self) -> Result<()>;

    /// Whether `unlock` makes somebody's `lock` return without that anything is held: a bare push.
    fn is_a_push(&self) -> bool {
        false
    }
}

fn lock(kind: Kind, url: &str, name: &str) -> Result<Box<dyn Lock>> {
    Ok(match kind {
        Kind::OursRedis | Kind::OursPostgres => Box::new(Ours { lock: ours(url)?.resource(name)?, held: None }),
        Kind::OursRedisAwaited | Kind::OursPostgresAwaited => {
            Box::new(Awaited { runtime: tasks::runtime()?, lock: ours(url)?.resource(name)?, held: None })
        }
        Kind::Scripts => Box::new(redis::Scripts::new(url)?),
        Kind::ScriptsAwaited => Box::new(redis::ScriptsAwaited::new(url)?),
        Kind::Blpop => Box::new(redis::List::new(url, name)?),
        Kind::Publish => Box::new(redis::Channel::new(url, name)?),
        Kind::Rslock => Box::new(redis::Rslock::new(url, name)?),
        Kind::Statements => Box::new(postgres::Statements::new(url)?),
        Kind::StatementsAwaited => Box::new(postgres::StatementsAwaited::new(url)?),
        Kind::Advisory => Box::new(postgres::Advisory::new(url, name)?),
        Kind::Notify => Box::new(postgres::Channel::new(url, name, "SELECT pg_notify($1, 'go')")?),
        Kind::NotifyRow => Box::new(postgres::Channel::new(url, name, "SELECT raw_notify($1)")?),
        Kind::RedisPy | Kind::PythonRedisLock | Kind::NodeRedlock => bail!("{kind:?} is not written in this language"),
    })
}

fn ours(url: &str) -> Result<LockManager> {
    Ok(LockManager::connect(&format!("{url}?space=bench")).blocking()?)
}

struct Ours {
    lock: Resource,
    held: Option<Guard>,
}

impl Lock for Ours {
    fn lock(&mut self) -> Result<()> {
        self.held = Some(self.lock.write().blocking()?);
        Ok(())
    }

    fn unlock(&mut self) -> Result<()> {
        Ok(self.held.take().context("nothing is held")?.release()?)
    }
}

struct Awaited {
    runtime: Runtime,
    lock: Resource,
    held: Option<Guard>,
}

impl Lock for Awaited {
    fn lock(&mut self) -> Result<()> {
        self.held = Some(self.runtime.block_on(async { self.lock.write().await })?);
        Ok(())
    }

    fn unlock(&mut self) -> Result<()> {
        Ok(self.held.take().context("nothing is held")?.release()?)
    }
}

/// The whole life of a worker.
pub(crate) fn run(kind: Kind, url: &str, name: &str) -> Result<()> {
    let mut lock = lock(kind, url, name)?;
    let push = lock.is_a_push();
    if !push {
        lock.lock()?;
        lock.unlock()?;
    }
    say("ready")?;
    for line in io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["pairs", pairs] => {
                let start = clock();
                for _ in 0..pairs.parse::<u32>()? {
                    lock.lock()?;
                    lock.unlock()?;
                }
                say(&(clock() - start).to_string())?;
            }
            ["hold"] => {
                if !push {
                    lock.lock()?;
                }
                say("held")?;
            }
            ["release"] => {
                let released = clock();
                lock.unlock()?;
                say(&released.to_string())?;
            }
            ["take"] => {
                say("asking")?;
                lock.lock()?;
                let taken = clock();
                if !push {
                    lock.unlock()?;
                }
                say(&taken.to_string())?;
            }
            ["turns", hold, until] => {
                let (turns, longest) = turns(&mut *lock, hold.parse()?, until.parse()?)?;
                say(&format!("{turns} {longest}"))?;
            }
            ["tasks", tasks, slice] => {
                let (pairs, time) = tasks::pairs(kind, url, tasks.parse()?, slice.parse()?)?;
                say(&format!("{pairs} {time}"))?;
            }
            _ => bail!("a worker does not know {line:?}"),
        }
    }
    Ok(())
}

/// Turns until `until`, and the longest wait. A wait that is not over by then counts as far as it got.
fn turns(lock: &mut dyn Lock, hold: u64, until: u64) -> Result<(u64, u64)> {
    let (mut turns, mut longest) = (0, 0);
    loop {
        let asked = clock();
        if asked >= until {
            return Ok((turns, longest));
        }
        lock.lock()?;
        let taken = clock();
        longest = longest.max(taken.min(until) - asked);
        turns += u64::from(taken < until);
        // After the end the others still wait: they are let through.
        if taken < until {
            thread::sleep(Duration::from_nanos(hold));
        }
        lock.unlock()?;
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
