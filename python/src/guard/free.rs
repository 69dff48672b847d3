//! The straight way: a guard takes a lock that is free, and releases it. Almost every pass goes this way.
//!
//! What it holds then is [`Hold::Bare`], handle and token, without the crate's guard: to move that, and to count its
//! owner's references, costs about as much as the lock.
//!
//! - **B1** A bare hold has an owner, which its guard keeps alive, and the request's mode.
//! - **B2** Nothing releases it by itself: who takes it out of the phase releases it. In a forked child, where it is
//!   the parent's, it is dropped.
//! - **B3** For whatever else is asked of it, it first becomes the crate's guard: [`Guard::settle`].

use concurrent_locks::{Bare, Mode};
use pyo3::prelude::*;

use super::{Guard, Held, Phase, Target};
use crate::{
    error::OrRaise,
    known, names,
    owner::{self, Asker, OwnerObject},
    pending::Hold,
    waking,
};

/// What became of [`Guard::take_free`].
pub(crate) enum Tried {
    Taken,
    /// The lock is not free, or that takes more than taking it; the guard is idle, and this is the caller.
    Busy(Py<OwnerObject>),
    /// The guard or its caller is not as usual.
    Unusual,
}

impl Guard {
    /// Takes the lock for the caller, if both are as usual: the caller known, the lock free. Else nothing was done.
    #[inline]
    pub(crate) fn take_free(&self, py: Python<'_>) -> Tried {
        let (Target::One { name, mode }, Asker::Current) = (&self.target, &self.asker) else { return Tried::Unusual };
        let is_usual = self.priority == 0 && self.note.is_none() && self.max_hold.is_none();
        if !is_usual || !self.is_idle() {
            return Tried::Unusual;
        }
        let Some(owner) = known::owner(py).or_else(|| owner::of_known_task(py)) else { return Tried::Unusual };
        let (name, asks) = (name.bind(py), owner.get().owner());
        let taken = names::with(name, self.locks, |known| known.take(*mode, asks)).unwrap_or_else(|| {
            let name = name.to_str().ok()?;
            self.locks.request(name, *mode).owner(asks).take_bare()
        });
        let Some(bare) = taken else { return Tried::Busy(owner) };
        let held = Phase::Held(Held::new(Hold::Bare(bare), Some(owner)));
        // It was idle: there is nothing to drop.
        std::mem::forget(std::mem::replace(&mut *self.phase.borrow_mut(), held));
        Tried::Taken
    }

    /// Releases a bare hold of this process; `None` if there is none.
    #[inline]
    pub(super) fn release_bare(&self, py: Python<'_>) -> Option<PyResult<()>> {
        let (bare, mode, owner) = self.take_bare_out()?;
        let given = waking::collect(py, || bare.release(self.locks, owner.get().owner(), mode));
        owner.drop_ref(py);
        Some(given.or_raise(py))
    }

    /// The same at the end of the interpreter, which wakes no task any more.
    pub(super) fn release_bare_late(&self) {
        if let Some((bare, mode, owner)) = self.take_bare_out() {
            // That it was lost interests nobody any more.
            let _ = bare.release(self.locks, owner.get().owner(), mode);
            std::mem::forget(owner);
        }
    }

    /// A bare hold of this process, of which the caller disposes (B2).
    #[inline]
    fn take_bare_out(&self) -> Option<(Bare, Mode, Py<OwnerObject>)> {
        let mut phase = self.phase.borrow_mut();
        let Phase::Held(held) = &mut *phase else { return None };
        let (Hold::Bare(bare), Target::One { mode, .. }) = (&held.hold, &self.target) else { return None };
        if !held.is_ours() {
            return None;
        }
        let (bare, owner) = (*bare, held.owner.take()?);
        // Nothing is left in it to drop.
        std::mem::forget(std::mem::replace(&mut *phase, Phase::Idle));
        Some((bare, *mode, owner))
    }

    /// Makes the crate's guard of a bare hold of this process (B3).
    pub(super) fn settle(&self) {
        let mut phase = self.phase.borrow_mut();
        if let (Phase::Held(held), Target::One { mode, .. }) = (&mut *phase, &self.target)
            && held.is_ours()
            && let (Hold::Bare(bare), Some(owner)) = (&held.hold, &held.owner)
        {
            held.hold = Hold::One(bare.into_guard(self.locks, owner.get().owner(), *mode, self.priority));
        }
    }
}
