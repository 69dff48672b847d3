//! A queue of commands behind one lock: what they cost while nothing happens, and how fast the queue is
//! worked off. `locks run NAME -- true` against `flock FILE true`.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{command::locks, folder};
use crate::{
    measure::{Contender, Plan, rounds},
    peers::url,
    report::{Aim, Table},
};

const FLOCK: &str = "flock FILE true";
const LOCKS: &str = "locks run NAME -- true";

/// CPU time of processes that only wait.
pub(crate) fn idle(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let sizes: &[usize] = if plan.quick { &[20, 100] } else { &[50, 200] };
    let watched = Duration::from_secs(if plan.quick { 2 } else { 5 });
    let columns: Vec<String> = sizes.iter().map(|count| format!("{count} waiters, ms/s")).collect();
    let table = measure(
        plan,
        "Processes that wait for one lock while nothing happens: ms of CPU per second, together",
        "Once all of them wait, user and system time of all their threads.",
        &columns,
        |start| sizes.iter().map(|count| at_rest(*count, watched, start)).collect(),
    )?;
    let last = columns.len() - 1;
    let aims = vec![Aim::at_most(format!("{LOCKS}, {}", columns[last]), 10.0, "ms/s", table.median(LOCKS, last))];
    Ok((table, aims))
}

/// Time per command of a queue that is worked off.
pub(crate) fn drain(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let sizes: &[usize] = if plan.quick { &[10, 60] } else { &[20, 150] };
    let columns: Vec<String> = sizes.iter().map(|count| format!("{count} commands, ms each")).collect();
    let table = measure(
        plan,
        "A queue of commands behind one lock, from its release to the end of the last one: ms per command",
        "All of them wait already; each is `true`.",
        &columns,
        |start| sizes.iter().map(|count| work_off(*count, start)).collect(),
    )?;
    let last = columns.len() - 1;
    let few = table.median(LOCKS, 0).zip(table.median(LOCKS, last)).map(|(few, many)| many / few);
    let aims = vec![
        Aim::at_most(
            format!("drain {} of {LOCKS} / {FLOCK}", columns[last]),
            3.0,
            "x",
            table.ratio(LOCKS, FLOCK, last),
        ),
        Aim::at_most(format!("drain of {LOCKS}: {} / {}", columns[last], columns[0]), 1.5, "x", few),
    ];
    Ok((table, aims))
}

/// Starts `ARGS...` under the lock.
type Start<'a> = &'a dyn Fn(&[&str]) -> Command;

fn measure(
    plan: Plan,
    title: &str,
    note: &str,
    columns: &[String],
    run: impl Fn(Start<'_>) -> Result<Vec<f64>>,
) -> Result<Table> {
    let (folder, program) = (folder()?, locks()?);
    let file = folder.path().join("file.lock");
    let by_flock = |command: &[&str]| under(Path::new("flock"), &[file.to_string_lossy().as_ref()], command);
    let by_locks = |command: &[&str]| {
        let mut locks = under(&program, &["run", "bench", "--"], command);
        locks.env("CONCURRENT_LOCKS_URL", url(folder.path()));
        locks
    };
    let contenders = vec![Contender::new(FLOCK, || run(&by_flock)), Contender::new(LOCKS, || run(&by_locks))];
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    Ok(Table::new(title, note, &columns, FLOCK, rounds(plan.at_most(3), contenders)?))
}

fn under(program: &Path, arguments: &[&str], command: &[&str]) -> Command {
    let mut started = Command::new(program);
    started.args(arguments).args(command).stdin(Stdio::null()).stderr(Stdio::null());
    started
}

/// A holder, and the processes that wait behind it.
struct Queue {
    holder: Child,
    waiters: Vec<Child>,
}

impl Queue {
    fn form(count: usize, start: Start<'_>) -> Result<Queue> {
        let holder =
            start(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("starting a holder")?;
        let mut queue = Queue { holder, waiters: Vec::new() };
        // The lock is taken before its command is started.
        let children = format!("/proc/{0}/task/{0}/children", queue.holder.id());
        while !fs::read_to_string(&children)?.trim().chars().any(|digit| digit.is_ascii_digit()) {
            sleep(Duration::from_millis(1));
        }
        for _ in 0..count {
            queue.waiters.push(start(&["true"]).spawn().context("starting a waiter")?);
        }
        // They wait once starting has cost them something and they cost next to nothing more.
        let mut before = queue.cost()?;
        loop {
            sleep(Duration::from_secs(1));
            let now = queue.cost()?;
            if now - before < 0.1 * before {
                return Ok(queue);
            }
            before = now;
        }
    }

    /// CPU time of the waiters so far, in seconds.
    fn cost(&self) -> Result<f64> {
        let mut nanos = 0_u64;
        for waiter in &self.waiters {
            for task in fs::read_dir(format!("/proc/{}/task", waiter.id()))? {
                let text = fs::read_to_string(task?.path().join("schedstat"))?;
                nanos += text.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).context("schedstat")?;
            }
        }
        Ok(nanos as f64 / 1e9)
    }

    /// Lets the holder end, and everybody after it.
    fn end(mut self) -> Result<()> {
        drop(self.holder.stdin.take());
        for waiter in self.waiters.iter_mut().chain([&mut self.holder]) {
            let status = waiter.wait()?;
            ensure!(status.success(), "a waiter ended with {status}");
        }
        Ok(())
    }
}

fn at_rest(count: usize, watched: Duration, start: Start<'_>) -> Result<f64> {
    let queue = Queue::form(count, start)?;
    let (before, started) = (queue.cost()?, Instant::now());
    sleep(watched);
    let cost = (queue.cost()? - before) / started.elapsed().as_secs_f64() * 1e3;
    queue.end()?;
    Ok(cost)
}

fn work_off(count: usize, start: Start<'_>) -> Result<f64> {
    let queue = Queue::form(count, start)?;
    let started = Instant::now();
    queue.end()?;
    Ok(started.elapsed().as_secs_f64() * 1e3 / count as f64)
}
