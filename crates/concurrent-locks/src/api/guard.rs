//! Guards: locks that are held.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use crate::{
    api::{
        holdings::Held,
        identity::Identity,
        lost::{Lost, Watch},
        upgrade::Upgrade,
        verify::Verify,
    },
    engine::{Ask, Ending, Engine, Grant, Limit, Progress, Tenure, Terms, Wait, Who},
    words::{
        error::{Error, ErrorKind},
        lease::{Lease, Standing},
        mode::Mode,
        name::Name,
    },
};

/// A lock that is held. Dropping it releases the lock and hands it to the next waiters.
///
/// `Send`: it may be dropped on another thread or task than the one that acquired it. After a `fork`, the
/// child's copy of a guard holds and releases nothing; the parent's is not affected.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct Guard {
    // What the engine has written down of the grant is asked of it: a guard is moved more often than that.
    engine: &'static dyn Engine,
    /// Of the request it comes from: an upgrade asks with them.
    terms: Terms,
    handle: u64,
    token: u64,
    mode: Mode,
    state: State,
    /// `Some` for a labelled owner, whose count of requests includes this guard.
    identity: Option<Arc<Identity>>,
    /// The callbacks for the lock's loss, if any.
    watch: OnceLock<Arc<Watch>>,
}

/// What there is to release.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    /// The engine has reported the loss and dropped the grant: do not pass it to the engine again.
    Lost,
    Over,
}

impl Guard {
    /// The guard of a grant; from here on it counts with its owner.
    #[inline]
    pub(crate) fn new(
        engine: &'static dyn Engine,
        terms: Terms,
        grant: Grant,
        identity: Option<&Arc<Identity>>,
    ) -> Result<Guard, Error> {
        let mut guard = Guard::plain(engine, terms, grant);
        if let Some(identity) = identity {
            guard.belong_to(identity)?;
        }
        Ok(guard)
    }

    /// The guard of a grant to an owner of its own.
    #[inline]
    pub(crate) fn plain(engine: &'static dyn Engine, terms: Terms, grant: Grant) -> Guard {
        let Grant { handle, token, mode } = grant;
        Guard { engine, terms, handle, token, mode, state: State::Held, identity: None, watch: OnceLock::new() }
    }

    /// The guard of a grant that counts with its owner already.
    pub(crate) fn counted(engine: &'static dyn Engine, terms: Terms, grant: Grant, identity: &Arc<Identity>) -> Guard {
        let mut guard = Guard::plain(engine, terms, grant);
        guard.identity = Some(Arc::clone(identity));
        guard
    }

    fn belong_to(&mut self, identity: &Arc<Identity>) -> Result<(), Error> {
        self.identity = Some(Arc::clone(identity));
        let earlier = identity.holdings.took(self.as_held());
        if earlier.is_empty() { Ok(()) } else { self.record_order(&earlier, &identity.who.label) }
    }

    fn as_held(&self) -> Held {
        Held { engine: self.engine, handle: self.handle }
    }

    #[inline]
    pub(crate) fn grant(&self) -> Grant {
        Grant { handle: self.handle, token: self.token, mode: self.mode }
    }

    fn tenure(&self) -> Tenure {
        self.engine.tenure(&self.grant())
    }

    /// Records that the owner acquired this resource while it held the earlier ones.
    #[cold]
    fn record_order(&self, earlier: &[Held], label: &str) -> Result<(), Error> {
        let name = self.name()?;
        for held in earlier {
            // What was broken by an operator meanwhile has no name and no order.
            let Some(other) = held.name() else { continue };
            if other != name {
                self.engine.record_order(Name::new(&other)?, Name::new(&name)?, label)?;
            }
        }
        Ok(())
    }

    /// The fencing token: greater than those of all earlier grants of this resource that could write, and
    /// smaller than those of all later ones; a re-entry has that of the grant it re-enters. Pass it along
    /// with writes to storage that refuses older tokens.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token
    }

    /// How long the request waited; zero if the lock was free.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.tenure().waited
    }

    /// How long the lock has been held.
    #[must_use]
    pub fn held_for(&self) -> Duration {
        self.tenure().held_for
    }

    /// The mode in which the lock is held.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The resource's name.
    ///
    /// # Errors
    /// `Lost` if the grant has ended (see [`Guard::release`]).
    pub fn name(&self) -> Result<String, Error> {
        self.engine.name_of(&self.grant())
    }

    /// Checks whether the lock is still held. Await it, or finish it with `.blocking()`. Use it where the
    /// check is cheap compared with the risk: before a step that cannot be undone. A lock with a lease can
    /// be lost right after the answer; only storage that refuses old [tokens](Guard::token) is safe then.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Standing};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
    /// # let locks = LockManager::connect("local:doc-verify").blocking()?;
    /// let guard = locks.write("skills").await?;
    /// assert_eq!(guard.verify().await, Standing::Held); // with a lease: Renewed
    ///
    /// locks.break_lock("skills", guard.token()).blocking()?; // an operator takes it away
    /// assert_eq!(guard.verify().blocking(), Standing::Lost);
    /// # Ok(()) }
    /// ```
    pub fn verify(&self) -> Verify<'_> {
        Verify::new(std::slice::from_ref(self))
    }

    /// A future that is ready with the error, of kind `Lost`, when the lock is lost: its lease
    /// or [`max_hold`](crate::Request::max_hold) expired, or an operator broke it. It borrows nothing, so
    /// it can be awaited beside the work:
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # async fn rewrite(_: &concurrent_locks::Guard) {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
    /// # let locks = LockManager::connect("local:doc-lost").blocking()?;
    /// let guard = locks.write("skills").await?;
    /// tokio::select! {
    ///     () = rewrite(&guard) => {}
    ///     error = guard.lost() => return Err(error), // drops the work where it is
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// On `file:` it is ready within about a second after the lock file was deleted or replaced. Without a
    /// lease (`local:`, `host:`) only an operator can break a lock; that is not reported, and the future is
    /// pending for ever. [`Guard::verify`] detects it.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing: the next one is ready at once if the lock was lost in between.
    pub fn lost(&self) -> Lost {
        Lost::of([self.watch()])
    }

    /// Has `tell` called with that error when the lock is lost; at once, in this thread, if it is lost
    /// already. Otherwise a thread of the library calls it, on which all renewals and hand-offs of the
    /// process depend: it must not block, and not acquire locks. See [`Guard::lost`] for when that is.
    ///
    /// ```
    /// # use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-on-lost").blocking()?;
    /// let guard = locks.write("skills").blocking()?;
    /// let stop = Arc::new(AtomicBool::new(false));
    /// let stopped = Arc::clone(&stop);
    /// guard.on_lost(move |_| stopped.store(true, Ordering::Relaxed));
    /// while !stop.load(Ordering::Relaxed) {
    ///     # stop.store(true, Ordering::Relaxed);
    ///     // one step of the work
    /// }
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn on_lost(&self, tell: impl FnOnce(Error) + Send + 'static) {
        self.watch().on_lost(Box::new(tell));
    }

    /// How long the lock stays held without further contact with its server; `None` where there is no
    /// lease, so that it is held until it is released. Makes no call.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-lease").blocking()?;
    /// let guard = locks.write("skills").blocking()?;
    /// assert!(guard.lease().is_none()); // redis://, postgres://: how much is left
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.engine.lease(&self.grant())
    }

    /// Whether it is still held, as far as is known without a call to a server.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let name = self.name()?;
        match self.lease() {
            Some(lease) if lease.remaining.is_zero() => {
                Err(Error::new(ErrorKind::Lost, format!("the lease of {name:?} has expired")).on(&name))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.engine.verify(&self.grant())
    }

    pub(crate) fn standing_later(&self, tell: Box<dyn FnOnce(Standing) + Send>) {
        self.engine.verify_later(&self.grant(), tell);
    }

    /// One for all callers, so that frequent calls leave nothing behind in the engine.
    fn watch(&self) -> Arc<Watch> {
        let watch = self.watch.get_or_init(|| {
            let watch = Arc::new(Watch::default());
            self.keep_watch(&watch);
            watch
        });
        Arc::clone(watch)
    }

    fn keep_watch(&self, watch: &Arc<Watch>) {
        let watch = Arc::clone(watch);
        self.engine.on_lost(&self.grant(), Box::new(move |loss| watch.tell(&loss)));
    }

    /// Releases the lock and reports whether it was still held. Dropping the guard does the same without
    /// the report.
    ///
    /// # Errors
    /// `Lost` if the grant had already ended: its lease expired, an operator broke it, or this is a forked
    /// child's copy. Then the section was not exclusive.
    pub fn release(mut self) -> Result<(), Error> {
        self.end(Ending::Normal)
    }

    /// Downgrades a write guard to a read guard. Nobody can write in between; waiting readers at the head
    /// of the queue are granted at once. Does nothing to a read guard. Does not wait.
    ///
    /// # Errors
    /// `Unsupported` if the engine does not support it, `Lost` as [`Guard::release`]; the guard is
    /// unchanged.
    pub fn downgrade(&mut self) -> Result<(), Error> {
        let grant = self.engine.downgrade(&self.grant())?;
        self.become_grant(grant);
        Ok(())
    }

    /// Upgrades a read guard to a write guard, once every other reader is gone, before all other waiters.
    /// Of two owners that upgrade one resource, one is refused with `Deadlock` at once, since each would
    /// wait for the other's read guard. The guard stays a read guard until it succeeds, even if it fails or
    /// is cancelled. The write grant has a token of its own. If the read guard was lost while it waited,
    /// the upgrade fails with `Lost`: the data read may have changed.
    ///
    /// Await it, or finish it with `.blocking()` or `.try_now()`; `.timeout()` as for a request.
    pub fn upgrade(&mut self) -> Upgrade<'_> {
        Upgrade::new(self)
    }

    /// Begins the upgrade: a request by the same owner, which the grant rule puts first.
    pub(crate) fn begin_upgrade(&self, wait: Wait, parks: bool) -> Result<Progress, Error> {
        let name = self.name()?;
        let Tenure { owner, max_hold, .. } = self.tenure();
        let identity = self.identity.as_ref().map(|identity| &identity.who);
        // It asks as the owner of the read grant, which may be one that its own inherits from.
        let who = Who {
            id: owner,
            label: identity.map_or_else(String::new, |who| who.label.clone()),
            ancestors: identity.map_or_else(Vec::new, |who| who.ancestors.clone()),
        };
        let ask = Ask::new(Name::new(&name)?, Mode::Write, self.terms).waiting(wait);
        let max_hold = Limit::of(max_hold);
        self.engine.begin(&Ask { who: Some(&who), max_hold, may_hold: true, parks, ..ask })
    }

    /// Replaces the read grant, which is released, by the new write grant. If the read grant was lost
    /// meanwhile, others may have written since it was read: then the new grant is released, too.
    pub(crate) fn upgraded(&mut self, grant: Grant) -> Result<(), Error> {
        let (engine, fairness) = (self.engine, self.terms.fairness);
        if let Err(error) = engine.release(&self.grant(), Ending::Normal, fairness)
            && error.kind() == ErrorKind::Lost
        {
            // If that was lost as well, there is no more to say.
            let _ = engine.release(&grant, Ending::Normal, fairness);
            self.state = State::Lost;
            if let Some(watch) = self.watch.get() {
                watch.tell(&error);
            }
            return Err(error);
        }
        let read = self.as_held();
        self.become_grant(grant);
        if let Some(identity) = &self.identity {
            identity.holdings.replaced(&read, &self.as_held());
        }
        if let Some(watch) = self.watch.get() {
            self.keep_watch(watch);
        }
        Ok(())
    }

    fn become_grant(&mut self, grant: Grant) {
        Grant { handle: self.handle, token: self.token, mode: self.mode } = grant;
    }

    pub(crate) fn engine(&self) -> &'static dyn Engine {
        self.engine
    }

    pub(crate) fn upgrade_timeout(&self) -> Option<Duration> {
        self.terms.upgrade_timeout.time()
    }

    #[inline]
    fn end(&mut self, ending: Ending) -> Result<(), Error> {
        let state = std::mem::replace(&mut self.state, State::Over);
        if state == State::Over {
            return Ok(());
        }
        if let Some(identity) = &self.identity {
            identity.gave(&self.as_held());
        }
        match state {
            State::Lost => self.name().map(drop),
            _ => self.engine.release(&self.grant(), ending, self.terms.fairness),
        }
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        let ending = if std::thread::panicking() { Ending::Panicked } else { Ending::Normal };
        // A drop cannot report that the grant was lost; `release` does.
        let _ = self.end(ending);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("name", &self.name().ok())
            .field("mode", &self.mode())
            .field("token", &self.token())
            .finish_non_exhaustive()
    }
}

/// Several locks held together: the result of [`lock_all`](crate::LockManager::lock_all). Dereferences to
/// the single guards, in the order of their names. Dropping it releases all of them.
#[must_use = "the locks are released as soon as the guard is dropped"]
#[derive(Debug)]
pub struct GuardAll {
    guards: Vec<Guard>,
}

impl GuardAll {
    pub(crate) fn new(guards: Vec<Guard>) -> GuardAll {
        GuardAll { guards }
    }

    /// The guard of one of the names.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Guard> {
        self.guards.iter().find(|guard| guard.name().is_ok_and(|own| own == name))
    }

    /// Checks whether all of them are still held: the answer is the worst of the single ones. See
    /// [`Guard::verify`].
    pub fn verify(&self) -> Verify<'_> {
        Verify::new(&self.guards)
    }

    /// A future that is ready with the error when the first of them is lost. See [`Guard::lost`].
    pub fn lost(&self) -> Lost {
        Lost::of(self.guards.iter().map(Guard::watch))
    }

    /// Has `tell` called with the error when the first of them is lost. See [`Guard::on_lost`].
    pub fn on_lost(&self, tell: impl FnOnce(Error) + Send + 'static) {
        let tell = Arc::new(Mutex::new(Some(tell)));
        for guard in &self.guards {
            let tell = Arc::clone(&tell);
            guard.on_lost(move |loss| {
                let first = tell.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(tell) = first {
                    tell(loss);
                }
            });
        }
    }

    /// The lease that expires first. See [`Guard::lease`].
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.guards.iter().filter_map(Guard::lease).min_by_key(|lease| lease.remaining)
    }

    /// Releases all of them; the first loss is the error.
    ///
    /// # Errors
    /// As [`Guard::release`]; all locks are released even if some were lost.
    pub fn release(self) -> Result<(), Error> {
        self.guards.into_iter().map(Guard::release).fold(Ok(()), Result::and)
    }
}

/// The single guards, in the order of their names.
impl IntoIterator for GuardAll {
    type Item = Guard;
    type IntoIter = std::vec::IntoIter<Guard>;

    fn into_iter(self) -> Self::IntoIter {
        self.guards.into_iter()
    }
}

impl Deref for GuardAll {
    type Target = [Guard];

    fn deref(&self) -> &[Guard] {
        &self.guards
    }
}
