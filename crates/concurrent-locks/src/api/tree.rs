//! [`TreeHold`]: locks that outlive the process that took them, for the processes that it started.

use std::{os::fd::BorrowedFd, time::Duration};

use crate::{api::guard::GuardAll, engine::Bequest, words::error::Error};

/// Keeps locks for a tree of processes: made by [`GuardAll::hold_for_tree`], before the tree is started.
///
/// While a process lives that has inherited one of its [`descriptors`](TreeHold::descriptors), the locks
/// stay held, also if the process that took them is killed. It ends in one of two ways: [`TreeHold::revoke`]
/// (the work is done; whoever is left behind keeps nothing), or [`TreeHold::leave`] (whoever is left may
/// still be at work). Dropping it does neither: the locks are held until they are given back, and longer by
/// a tree that outlives this process.
#[derive(Debug)]
#[must_use = "children keep the locks only if they inherit its descriptors"]
pub struct TreeHold(Box<dyn Bequest>);

impl TreeHold {
    /// What the tree must inherit, of each a descriptor of any number. They are closed on exec until a copy
    /// is made that is not.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.0.descriptors()
    }

    /// Takes the locks back from the tree: they are this process's alone again.
    ///
    /// # Errors
    /// `Unreachable` if the lock state is out of reach; then the tree keeps the locks.
    pub fn revoke(self) -> Result<(), Error> {
        self.0.revoke()
    }

    /// Leaves the locks to the tree. `None`: they are held for as long as a process of the tree lives, and
    /// until this process has ended. The guards come back if no process of the tree is left, or if the last
    /// one ends within `patience`.
    ///
    /// # Errors
    /// `Unreachable` if the lock state is out of reach; the locks are left to the tree all the same.
    pub fn leave(self, guards: GuardAll, patience: Duration) -> Result<Option<GuardAll>, Error> {
        let left = self.0.leave(patience);
        if left.as_ref().is_ok_and(|left| !left) {
            return Ok(Some(guards));
        }
        std::mem::forget(guards);
        left.map(|_| None)
    }
}

impl GuardAll {
    /// Has these locks outlive this process, for the processes that it is about to start; on `host:`
    /// everything that this process holds there. `None` where no process can inherit a lock (`local:`,
    /// and servers, which know only of leases).
    ///
    /// # Errors
    /// `Unreachable` if the lock state is out of reach; `InvalidInput` if it was done before and not revoked.
    pub fn hold_for_tree(&self) -> Result<Option<TreeHold>, Error> {
        let Some(first) = self.first() else { return Ok(None) };
        let grants: Vec<_> = self.iter().map(|guard| guard.grant()).collect();
        Ok(first.engine().hold_for_tree(&grants)?.map(TreeHold))
    }
}
