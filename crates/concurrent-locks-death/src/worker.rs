//! One of the processes of [`crate::chaos`]: locks at random until it is killed or asked to stop.

use std::{
    future::{Future, IntoFuture},
    hint::black_box,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::Duration,
};

use concurrent_locks::{Error, ErrorKind, Guard, LockManager, Mode, Owner};
use fastrand::Rng;

use crate::{Result, claims::Claims};

struct Worker {
    names: Vec<String>,
    owner: Owner,
    claims: Claims,
    random: Rng,
}

/// `victim chaos URL DIRECTORY NAMES WORKER INCARNATION SEED`.
///
/// # Errors
/// What it saw go wrong, which it also leaves in a file for the runner.
pub fn work(arguments: &[String]) -> Result<()> {
    let [url, directory, numbers @ ..] = arguments else { return Err("chaos needs a URL and a directory".into()) };
    let numbers = numbers.iter().map(|number| number.parse()).collect::<std::result::Result<Vec<u64>, _>>()?;
    let [names, worker, incarnation, seed] = numbers[..] else {
        return Err("chaos needs four numbers".into());
    };
    let directory = PathBuf::from(directory);
    let run = || -> Result<()> {
        let locks = LockManager::connect(url).blocking()?;
        let mut worker = Worker {
            names: (0..names).map(|name| format!("chaos/{name}")).collect(),
            owner: locks.owner(&format!("worker-{worker}"))?,
            claims: Claims::open(&directory, names as usize, incarnation)?,
            random: Rng::with_seed(seed),
        };
        worker.go_on_until(&directory.join("stop"))
    };
    run().inspect_err(|error| {
        // If even this fails, the exit code still tells that something went wrong.
        let _ = std::fs::write(directory.join(format!("complaint-{incarnation}")), error.to_string());
    })
}

impl Worker {
    fn go_on_until(&mut self, stop: &Path) -> Result<()> {
        while !stop.exists() {
            for _ in 0..20 {
                self.one_section(true)?;
            }
        }
        Ok(())
    }

    /// Takes a lock somehow, and holds it for a moment; now and then takes a second one meanwhile.
    fn one_section(&mut self, nest: bool) -> Result<()> {
        let name = self.random.usize(..self.names.len());
        let mode = if self.random.u8(..3) == 0 { Mode::Write } else { Mode::Read };
        let guard = match self.acquire(name, mode) {
            Ok(Some(guard)) => guard,
            Ok(None) => return Ok(()),
            Err(error) if is_busy(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if !nest {
            // It may be a re-entry, whose claim stands already.
            return Ok(guard.release()?);
        }
        self.claims.take(name, mode)?;
        self.claims.check_token(name, mode, guard.token())?;
        for spin in 0..self.random.u32(..2000) {
            black_box(spin);
        }
        if self.random.u8(..4) == 0 {
            self.one_section(false)?;
        }
        self.claims.give(name)?;
        Ok(guard.release()?)
    }

    fn acquire(&mut self, name: usize, mode: Mode) -> std::result::Result<Option<Guard>, Error> {
        let request = match mode {
            Mode::Read => self.owner.read(&self.names[name]),
            Mode::Write => self.owner.write(&self.names[name]),
        };
        let patience = Duration::from_micros(self.random.u64(..20_000));
        let request = request.timeout(patience).priority(self.random.i8(-2..=2)).note("chaos");
        match self.random.u8(..4) {
            0 => request.try_now().map(Some),
            1 => block_on(request.into_future()).map(Some),
            // Cancelled, perhaps in the instant of the grant.
            2 => match pin!(request.into_future()).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => result.map(Some),
                Poll::Pending => Ok(None),
            },
            _ => request.blocking().map(Some),
        }
    }
}

fn is_busy(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Deadlock)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
