//! One resource as this process sees it: which of its requests have the private table's grant, and
//! whether the kernel has given the process the lock file.
//!
//! The table lets in readers together or one writer, so the requests that have *entered* agree on
//! what they need of the kernel. The first takes the lock file for all, the last releases it.
//!
//! - **H1** A grant depends on one *hold* of the lock file, and only while that file is the one that others
//!   find. If somebody deletes it, its grants are lost for good; later requests use the file that is there,
//!   as a new hold.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant, SystemTime},
};

use super::{files::Files, record, token};
use crate::{
    engine::Engine,
    os::kernel_lock::KernelLock,
    words::{
        error::{Error, ErrorKind},
        mode::Mode,
        name::Name,
        status::{Holder, NoToken, Waiter},
    },
};

#[derive(Debug)]
pub(super) struct Resource {
    name: String,
    hash: u64,
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// How many holds there were (H1).
    holds: u64,
    /// In the order in which they entered.
    entrants: Vec<Entrant>,
    /// Whether a thread waits for the lock file, by mode. Such a thread cannot be called back: when
    /// nobody needs the lock any more, it releases it as soon as it has it.
    asking: [bool; 2],
}

#[derive(Debug)]
struct Held {
    kernel: KernelLock,
    /// Which hold it is (H1).
    number: u64,
    mode: Mode,
    /// The token under which the holder file names this process, once it does.
    recorded: Option<u64>,
}

/// A request that has the table's grant.
#[derive(Debug)]
pub(super) struct Entrant {
    pub(super) request: u64,
    pub(super) owner: u64,
    pub(super) mode: Mode,
    /// The token of the table's grant: the same for all re-entries of one owner.
    pub(super) pass: u64,
    pub(super) begun: Instant,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// For the kernel; with whom to wake.
    Waiting(Option<Waker>),
    Granted(Granted),
    Failed(Error),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    pub(super) token: u64,
    pub(super) at: Instant,
    /// The hold it stands on (H1).
    hold: u64,
}

/// What became of a request that entered.
#[derive(Debug)]
pub(super) enum Entered {
    Granted(Granted),
    Waiting,
    /// The lock file is locked by another process, and the request would not wait: it is out again.
    Busy,
    /// Its owner reads already. The kernel cannot turn that into writing without a gap: it is out again.
    Upgrade,
}

impl Resource {
    pub(super) fn new(directory: &Path, name: Name<'_>) -> Resource {
        Resource {
            name: name.text().to_owned(),
            hash: name.hash(),
            files: Files::of(directory, name),
            state: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the lock file.
    pub(super) fn wait(&self, mode: Mode) -> Result<KernelLock, Error> {
        self.files.in_folder(|files| KernelLock::take(&files.lock, mode))
    }

    /// Whether a granted request still keeps others out (H1).
    pub(super) fn stands(&self, request: u64) -> bool {
        self.state().stands(request, &self.files.lock)
    }

    /// The error of one that does not.
    pub(super) fn lost(&self) -> Error {
        let (name, path) = (&self.name, self.files.lock.display());
        let message = format!(
            "the lock on {name:?} was lost: {path} was deleted or replaced, or its descriptor closed by this process, \
             while it was held, so others may have entered; keep cleaners away from the folder"
        );
        Error::new(ErrorKind::Lost, message).on(name)
    }

    /// Whether a write request of this owner would be an upgrade.
    pub(super) fn would_upgrade(&self, owner: u64) -> bool {
        self.state().would_upgrade(owner)
    }

    /// Lets a request in that has the table's grant. Takes the lock file for it if it is free.
    pub(super) fn enter(&self, table: &dyn Engine, entrant: Entrant, may_wait: bool) -> Result<Entered, Error> {
        let (request, mode) = (entrant.request, entrant.mode);
        let mut state = self.state();
        if mode == Mode::Write && state.would_upgrade(entrant.owner) {
            return Ok(Entered::Upgrade);
        }
        // H1. Closing the file releases everything.
        state.held.take_if(|held| !held.kernel.is_at(&self.files.lock));
        debug_assert!(state.held.as_ref().is_none_or(|held| held.mode.covers(mode)), "the table excludes the others");
        if state.held.is_none() && !(may_wait && state.asking[mode as usize]) {
            match self.files.in_folder(|files| KernelLock::try_take(&files.lock, mode))? {
                Some(kernel) => state.hold(kernel, mode),
                None if !may_wait => return Ok(Entered::Busy),
                None => {}
            }
        }
        state.entrants.push(entrant);
        let wakers = self.admit(&mut state, table);
        let entered = match state.look(request) {
            Some(Stage::Granted(granted)) => Ok(Entered::Granted(*granted)),
            Some(Stage::Failed(error)) => Err(error.clone()),
            _ => Ok(Entered::Waiting),
        };
        if entered.is_err() {
            state.remove(request);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        entered
    }

    /// Looks at a request that entered. If it waits, `waker` will be woken when it does no longer.
    pub(super) fn look(&self, request: u64, waker: &Waker) -> Option<Result<Granted, Error>> {
        match self.state().look(request)? {
            Stage::Granted(granted) => Some(Ok(*granted)),
            Stage::Failed(error) => Some(Err(error.clone())),
            Stage::Waiting(own) => {
                *own = Some(waker.clone());
                None
            }
        }
    }

    /// Takes a request out; with the last one the lock file is released. The table's grant must be
    /// released after this, so that its successor finds the lock file as it is.
    ///
    /// # Errors
    /// `Lost` if it was granted and does not stand any more.
    pub(super) fn leave(&self, request: u64) -> Result<(), Error> {
        let mut state = self.state();
        let stood = state.stands(request, &self.files.lock);
        let granted = matches!(state.remove(request), Some(Entrant { stage: Stage::Granted(_), .. }));
        let result = if state.is_needed() { Ok(()) } else { self.release_file(&mut state) };
        if granted && !stood { Err(self.lost()) } else { result }
    }

    /// The mode in which somebody must begin to wait for the lock file, if somebody must.
    pub(super) fn begin_asking(&self) -> Option<Mode> {
        let mut state = self.state();
        let mode = state.needs()?;
        let asking = std::mem::replace(&mut state.asking[mode as usize], true);
        (!asking).then_some(mode)
    }

    /// The wait for the lock file has ended: the waiters are granted, or else it is released.
    pub(super) fn asked(&self, table: &dyn Engine, mode: Mode, kernel: Result<KernelLock, Error>) {
        let mut state = self.state();
        state.asking[mode as usize] = false;
        let wakers = match kernel {
            Ok(kernel) if state.needs() == Some(mode) => {
                state.hold(kernel, mode);
                self.admit(&mut state, table)
            }
            // Closing the file releases the lock. A failure would concern nobody.
            Ok(kernel) => {
                let _ = kernel.release(&self.files.lock);
                Vec::new()
            }
            Err(error) => state.settle(|_| Stage::Failed(error.clone())),
        };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Grants all waiters, if the process has the lock file. Returns those to wake.
    fn admit(&self, state: &mut State, table: &dyn Engine) -> Vec<Waker> {
        let Some(hold) = state.held.as_ref().map(|held| held.number) else { return Vec::new() };
        let mut given: Vec<(u64, u64)> = state.granted().map(|(entrant, own)| (entrant.pass, own.token)).collect();
        let wakers = state.settle(|pass| {
            let re_entry = given.iter().find(|(own, _)| *own == pass).map(|(_, token)| *token);
            match re_entry.map_or_else(|| self.files.in_folder(|files| token::next(&files.token)), Ok) {
                Ok(token) => {
                    given.push((pass, token));
                    Stage::Granted(Granted { token, at: Instant::now(), hold })
                }
                Err(error) => Stage::Failed(error),
            }
        });
        let first = state.granted().next().map(|(entrant, granted)| (entrant.pass, granted.token));
        match (first, &mut state.held) {
            (Some((pass, token)), Some(held)) if held.recorded.is_none() => {
                // Only a message for others: not to be able to leave it is no reason to refuse the lock.
                let _ = self.record(table, pass, token);
                held.recorded = Some(token);
            }
            (Some(_), _) => {}
            // Every token failed, which is reported; releasing the lock is only tidy.
            (None, _) => drop(self.release_file(state)),
        }
        wakers
    }

    /// Writes the holder file, with what the table knows of the grant.
    fn record(&self, table: &dyn Engine, pass: u64, token: u64) -> Result<(), Error> {
        let status = table.status(Some(Name::known(&self.name, self.hash)))?.remove(&self.name);
        match status.into_iter().flat_map(|status| status.holders).find(|holder| holder.token == pass) {
            Some(holder) => {
                let holder = Holder { token, since: Some(SystemTime::now()), ..holder };
                record::write(&self.files.holder, &self.name, &holder)
            }
            None => Ok(()),
        }
    }

    fn release_file(&self, state: &mut State) -> Result<(), Error> {
        let Some(held) = state.held.take() else { return Ok(()) };
        if let Some(token) = held.recorded {
            let _ = record::clear(&self.files.holder, std::process::id(), token);
        }
        held.kernel.release(&self.files.lock)
    }

    /// Tells holders from those who wait for the kernel, among those whom the table takes for holders.
    pub(super) fn tell_apart(&self, seen: Vec<Holder>) -> (Vec<Holder>, Vec<Waiter>) {
        let (mut holders, mut waiters) = (Vec::new(), Vec::new());
        let state = self.state();
        for seen in seen {
            let entrant = state.entrants.iter().find(|entrant| entrant.pass == seen.token && entrant.mode == seen.mode);
            match entrant {
                Some(Entrant { stage: Stage::Granted(granted), .. }) => {
                    let (since, held) = ago(granted.at);
                    holders.push(Holder { token: granted.token, since, held, ..seen });
                }
                waiting => waiters.push(waiter(seen, waiting.map(|entrant| entrant.begun))),
            }
        }
        if state.held.is_none() && !waiters.is_empty() {
            holders.extend(self.recorded_holder());
        }
        (holders, waiters)
    }

    /// Whom the holder file names: somebody in another process, as long as the lock file is not ours.
    pub(super) fn recorded_holder(&self) -> Option<Holder> {
        record::read(&self.files.holder)
    }

    /// Another descriptor of the lock file, if this process has its lock.
    #[cfg(unix)]
    pub(super) fn duplicate(&self) -> Result<std::fs::File, Error> {
        let state = self.state();
        let file = state.held.as_ref().ok_or_else(|| self.lost())?.kernel.file()?;
        file.try_clone().map_err(|error| crate::os::kernel_lock::failed("open a second time", &self.files.lock, error))
    }

    /// In a forked child: closes the parent's lock file, without giving the lock back.
    pub(super) fn close_inherited(&self) {
        if let Ok(mut state) = self.state.try_lock() {
            state.held = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn would_upgrade(&self, owner: u64) -> bool {
        let mut own = self.entrants.iter().filter(|entrant| entrant.owner == owner).peekable();
        own.peek().is_some() && own.all(|entrant| entrant.mode == Mode::Read)
    }

    /// Begins a hold.
    fn hold(&mut self, kernel: KernelLock, mode: Mode) {
        self.holds += 1;
        self.held = Some(Held { kernel, number: self.holds, mode, recorded: None });
    }

    /// Those who are granted on the present hold.
    fn granted(&self) -> impl Iterator<Item = (&Entrant, &Granted)> {
        let hold = self.held.as_ref().map(|held| held.number);
        self.entrants.iter().filter_map(move |entrant| match &entrant.stage {
            Stage::Granted(granted) if Some(granted.hold) == hold => Some((entrant, granted)),
            _ => None,
        })
    }

    /// H1.
    fn stands(&self, request: u64, path: &Path) -> bool {
        self.granted().any(|(entrant, _)| entrant.request == request)
            && self.held.as_ref().is_some_and(|held| held.kernel.is_at(path))
    }

    /// Whether somebody uses the lock file or waits for it.
    fn is_needed(&self) -> bool {
        let waits = |entrant: &Entrant| matches!(entrant.stage, Stage::Waiting(_));
        self.granted().next().is_some() || self.entrants.iter().any(waits)
    }

    /// What the waiters need of the kernel.
    fn needs(&self) -> Option<Mode> {
        if self.held.is_some() {
            return None;
        }
        let waiting = self.entrants.iter().filter(|entrant| matches!(entrant.stage, Stage::Waiting(_)));
        waiting.map(|entrant| entrant.mode).max()
    }

    fn look(&mut self, request: u64) -> Option<&mut Stage> {
        self.entrants.iter_mut().find(|entrant| entrant.request == request).map(|entrant| &mut entrant.stage)
    }

    fn remove(&mut self, request: u64) -> Option<Entrant> {
        let index = self.entrants.iter().position(|entrant| entrant.request == request)?;
        Some(self.entrants.remove(index))
    }

    /// Ends all waits, each with the result of `end` for its pass. Returns those to wake.
    fn settle(&mut self, mut end: impl FnMut(u64) -> Stage) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for entrant in &mut self.entrants {
            if let Stage::Waiting(waker) = &mut entrant.stage {
                wakers.extend(waker.take());
                entrant.stage = end(entrant.pass);
            }
        }
        wakers
    }
}

fn ago(instant: Instant) -> (Option<SystemTime>, Duration) {
    let elapsed = instant.elapsed();
    (SystemTime::now().checked_sub(elapsed), elapsed)
}

/// One whom the table takes for a holder, as the waiter that it is.
fn waiter(seen: Holder, begun: Option<Instant>) -> Waiter {
    let Holder { owner, label, pid, host, mode, priority, note, process, .. } = seen;
    let (since, waited) = begun.map_or_else(|| (seen.since, seen.held), ago);
    Waiter { owner, label, pid, host, mode, since, waited, priority, no_token: NoToken, note, process }
}

/// What is left of a wait; `None` when it has ended.
pub(super) fn left(deadline: Option<Instant>) -> Option<Duration> {
    match deadline {
        None => Some(Duration::MAX),
        Some(deadline) => deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()),
    }
}
