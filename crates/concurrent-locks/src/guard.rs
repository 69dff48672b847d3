//! Guards: what the caller holds.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use crate::{
    deadlock::DeadlockPolicy,
    engine::{self, Ask, Ending, Engine, Grant, Progress, Wait},
    error::Error,
    holdings::Held,
    manager::Fairness,
    mode::Mode,
    name::Name,
    owner::Identity,
    upgrade::Upgrade,
};

/// What a guard keeps of the request it comes from: who gave it, and how an upgrade of it asks.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) engine: &'static dyn Engine,
    pub(crate) upgrade_timeout: Option<Duration>,
    pub(crate) priority: i8,
    pub(crate) policy: DeadlockPolicy,
    pub(crate) fairness: Fairness,
}

/// A lock that is held. Dropping it gives the lock back and hands it to the next waiters.
///
/// `Send`: it may be dropped on another thread or task than it was taken on. After a `fork`, the
/// child's copy of a guard holds and releases nothing; the parent's is untouched.
#[must_use = "the lock is given back as soon as the guard is dropped"]
pub struct Guard {
    terms: Terms,
    grant: Grant,
    /// Whether there is something to give back.
    held: bool,
    /// `Some` for a labelled owner, whose count of requests this guard is part of.
    identity: Option<Arc<Identity>>,
}

impl Guard {
    /// The guard of a grant that was made; from here on its owner knows of it.
    #[inline]
    pub(crate) fn new(terms: Terms, grant: Grant, identity: Option<&Arc<Identity>>) -> Result<Guard, Error> {
        let mut guard = Guard { terms, grant, held: true, identity: None };
        if let Some(identity) = identity {
            guard.belong_to(identity)?;
        }
        Ok(guard)
    }

    fn belong_to(&mut self, identity: &Arc<Identity>) -> Result<(), Error> {
        self.identity = Some(Arc::clone(identity));
        let earlier = identity.holdings.took(self.as_held());
        if earlier.is_empty() { Ok(()) } else { self.record_order(&earlier, &identity.label) }
    }

    fn as_held(&self) -> Held {
        Held { engine: self.terms.engine, handle: self.grant.handle }
    }

    /// Notes that the owner took this resource while it held the earlier ones.
    #[cold]
    fn record_order(&self, earlier: &[Held], label: &str) -> Result<(), Error> {
        let name = self.name()?;
        for held in earlier {
            // What was broken by an operator meanwhile has no name and no order.
            let Some(other) = held.name() else { continue };
            if other != name {
                self.terms.engine.record_order(Name::new(&other)?, Name::new(&name)?, label)?;
            }
        }
        Ok(())
    }

    /// The fencing token: strictly increasing per resource, minted at the grant, the same for a
    /// re-entry. Pass it along with writes to storage that refuses older tokens.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.grant.token
    }

    /// How long the request waited; zero if the lock was free.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.grant.waited)
    }

    /// How long the lock has been held.
    #[must_use]
    pub fn held_for(&self) -> Duration {
        self.terms.engine.held_for(&self.grant)
    }

    /// How the lock is held.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.grant.mode
    }

    /// The resource's name.
    ///
    /// # Errors
    /// `Lost` if the grant is gone (broken by an operator, or this is a forked child's copy).
    pub fn name(&self) -> Result<String, Error> {
        self.terms.engine.name_of(&self.grant)
    }

    /// Gives the lock back and says whether it was still ours. Dropping the guard does the same
    /// and cannot say.
    ///
    /// # Errors
    /// `Lost` if the grant was gone already: broken by an operator, or this is a forked child's
    /// copy. Whoever gets this error was not alone in its section.
    pub fn release(mut self) -> Result<(), Error> {
        self.give_back(Ending::Normal)
    }

    /// Turns a write guard into a read guard. Nobody can write in between; waiting readers at the
    /// head of the queue join at once. Does nothing to a read guard. Does not wait.
    ///
    /// # Errors
    /// `Unsupported` if the engine cannot, `Lost` as [`Guard::release`]; the guard is unchanged.
    pub fn downgrade(&mut self) -> Result<(), Error> {
        self.grant = self.terms.engine.downgrade(&self.grant)?;
        Ok(())
    }

    /// Turns a read guard into a write guard, once every other reader is gone. Goes ahead of all
    /// other waiters; of two owners that upgrade one resource, one is refused with `Deadlock` at
    /// once, since each would wait for the other's read guard. The guard stays a read guard until
    /// it succeeds, also if it fails or is cancelled. The write grant has a token of its own.
    ///
    /// Await it, or finish it with `.blocking()` or `.try_now()`; `.timeout()` as for a request.
    pub fn upgrade(&mut self) -> Upgrade<'_> {
        Upgrade::new(self)
    }

    /// Begins the upgrade: a request by the same owner, which the grant rule puts first.
    pub(crate) fn begin_upgrade(&self, wait: Wait) -> Result<Progress, Error> {
        let name = self.name()?;
        let label = self.identity.as_ref().map_or("", |identity| identity.label.as_str());
        let ask = Ask {
            name: Name::new(&name)?,
            hint: None,
            ancestors: self.identity.as_ref().map_or(&[], |identity| identity.ancestors.as_slice()),
            mode: Mode::Write,
            owner: self.grant.owner,
            label,
            may_hold: true,
            priority: self.terms.priority,
            note: "",
            wait,
            policy: self.terms.policy,
            fairness: self.terms.fairness,
        };
        engine::begin(self.terms.engine, &ask)
    }

    /// Puts the new write grant in the place of the read grant, which is given back.
    pub(crate) fn upgraded(&mut self, grant: Grant) -> Result<(), Error> {
        let read = std::mem::replace(&mut self.grant, grant);
        if let Some(identity) = &self.identity {
            let read = Held { engine: self.terms.engine, handle: read.handle };
            identity.holdings.replaced(&read, &self.as_held());
        }
        self.terms.engine.release(&read, Ending::Normal, self.terms.fairness)
    }

    pub(crate) fn engine(&self) -> &'static dyn Engine {
        self.terms.engine
    }

    pub(crate) fn upgrade_timeout(&self) -> Option<Duration> {
        self.terms.upgrade_timeout
    }

    #[inline]
    fn give_back(&mut self, ending: Ending) -> Result<(), Error> {
        if !std::mem::replace(&mut self.held, false) {
            return Ok(());
        }
        if let Some(identity) = &self.identity {
            identity.holdings.gave(&self.as_held());
        }
        self.terms.engine.release(&self.grant, ending, self.terms.fairness)
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        let ending = if std::thread::panicking() { Ending::Panicked } else { Ending::Normal };
        // A drop has nobody to tell that the grant was lost; `release` does.
        let _ = self.give_back(ending);
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

/// Several locks held together: what [`lock_all`](crate::LockManager::lock_all) gives. Dereferences
/// to the single guards, in the order of their names. Dropping it gives all of them back.
#[must_use = "the locks are given back as soon as the guard is dropped"]
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

    /// Gives all of them back; the first loss is the error.
    ///
    /// # Errors
    /// As [`Guard::release`]; all locks are given back all the same.
    pub fn release(self) -> Result<(), Error> {
        self.guards.into_iter().map(Guard::release).fold(Ok(()), Result::and)
    }
}

impl Deref for GuardAll {
    type Target = [Guard];

    fn deref(&self) -> &[Guard] {
        &self.guards
    }
}
