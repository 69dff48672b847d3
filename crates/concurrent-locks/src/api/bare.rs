//! [`Bare`]: a grant without a guard, for bindings that keep what is held in an object of their own.
//!
//! Moving a guard and counting its owner's references costs about as much as the lock. A binding that keeps the owner
//! alive and releases on every way out needs neither. Whatever else is asked of the grant, a [`Guard`] answers:
//! [`Bare::into_guard`].

use std::{num::NonZeroU64, sync::atomic::AtomicU64};

use crate::{
    api::{guard::Guard, holdings::Held, identity::Identity, manager::LockManager, owner::Owner, request::Request},
    engine::{Ask, Ending, Engine, Grant, Limit, Terms},
    words::{error::Error, mode::Mode, name::Name},
};

/// A grant that nothing releases but [`Bare::release`]. Plain data: handle and token.
#[doc(hidden)]
#[must_use = "nothing else releases the lock"]
#[derive(Clone, Copy, Debug)]
pub struct Bare {
    handle: NonZeroU64,
    token: u64,
}

/// A name that bare grants are taken of: checked, hashed and with its place in the engine, like a
/// [`Resource`](crate::Resource).
#[doc(hidden)]
pub struct BareName {
    engine: &'static dyn Engine,
    terms: Terms,
    name: Box<str>,
    hash: u64,
    place: AtomicU64,
}

impl BareName {
    /// # Errors
    /// `InvalidName`.
    pub fn new(locks: &LockManager, name: &str) -> Result<BareName, Error> {
        let hash = Name::new(name)?.hash();
        let (engine, terms) = (locks.engine(), Terms::of(locks.settings()));
        Ok(BareName { engine, terms, name: name.into(), hash, place: AtomicU64::new(0) })
    }

    /// [`take_bare`](Request::take_bare) of a request for it by this owner.
    #[inline]
    pub fn take(&self, mode: Mode, owner: &Owner) -> Option<Bare> {
        let identity = owner.identity();
        if identity.may_hold() {
            return None;
        }
        let ask = Ask::new(Name::known(&self.name, self.hash), mode, self.terms);
        take(self.engine, identity, &Ask { hint: Some(&self.place), who: Some(&identity.who), ..ask })
    }
}

impl Request<'_> {
    /// Takes a lock that is free, for a labelled owner that holds nothing. `None`: nothing was done, and the request
    /// is to be made again in another way.
    #[doc(hidden)]
    #[inline]
    pub fn take_bare(mut self) -> Option<Bare> {
        let identity = self.identity?;
        let ask = &mut self.ask;
        if identity.may_hold() || ask.max_hold != Limit::NONE || !ask.name.hash_if(ask.hint.is_none()) {
            return None;
        }
        take(self.engine, identity, ask)
    }
}

#[inline]
fn take(engine: &'static dyn Engine, identity: &Identity, ask: &Ask<'_>) -> Option<Bare> {
    let (handle, token) = engine.take_free(ask)?;
    let bare = Bare { handle, token };
    let held = Held { engine, handle: handle.get() };
    if identity.holdings.took(held).is_empty() {
        return Some(bare);
    }
    // Another thread took a lock for this owner meanwhile: the order of the two has to be recorded.
    identity.holdings.gave(&held);
    // An error would be that somebody broke the lock already.
    let _ = engine.release(&bare.grant(ask.mode), Ending::Normal, ask.terms.fairness);
    None
}

impl Bare {
    /// The guard of this grant, made with the manager, the owner, the mode and the priority of its request, in the
    /// same process. It releases the grant from now on.
    #[cold]
    pub fn into_guard(self, locks: &LockManager, owner: &Owner, mode: Mode, priority: i8) -> Guard {
        let terms = Terms { priority, ..Terms::of(locks.settings()) };
        Guard::counted(locks.engine(), terms, self.grant(mode), owner.identity())
    }

    /// Releases it, as [`Guard::release`] does, with what its request was made with.
    ///
    /// # Errors
    /// `Lost` if the grant had already ended.
    #[inline]
    pub fn release(self, locks: &LockManager, owner: &Owner, mode: Mode) -> Result<(), Error> {
        let engine = locks.engine();
        owner.identity().gave(&Held { engine, handle: self.handle.get() });
        engine.release(&self.grant(mode), Ending::Normal, locks.settings().fairness)
    }

    fn grant(self, mode: Mode) -> Grant {
        Grant { handle: self.handle.get(), token: self.token, mode }
    }
}
