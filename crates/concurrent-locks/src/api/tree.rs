//! [`TreeHold`]: locks that outlive the process that acquired them, for the processes that it started.

use std::{os::fd::BorrowedFd, time::Duration};

use crate::{api::guard::GuardAll, engine::Bequest, words::error::Error};

/// Keeps locks for a tree of processes: made by [`GuardAll::hold_for_tree`], before the tree is started.
///
/// While a process is alive that has inherited one of its [`descriptors`](TreeHold::descriptors), the locks
/// stay held, even if the process that acquired them is killed. It ends in one of two ways:
/// [`TreeHold::revoke`] (the work is done; remaining processes keep nothing), or [`TreeHold::leave`]
/// (remaining processes may still be working). Dropping it does neither: the locks are held until they are
/// released, and longer by a tree that outlives this process.
#[derive(Debug)]
#[must_use = "children keep the locks only if they inherit its descriptors"]
pub struct TreeHold(Box<dyn Bequest>);

impl TreeHold {
    /// Descriptors that the tree must inherit, each under any number. They are closed on exec until a copy
    /// is made that is not.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.0.descriptors()
    }

    /// Takes the locks back from the tree: only this process holds them again.
    ///
    /// # Errors
    /// `Unreachable` if the lock state is out of reach; then the tree keeps the locks.
    pub fn revoke(self) -> Result<(), Error> {
        self.0.revoke()
    }

    /// Leaves the locks to the tree. `None`: they are held while a process of the tree is alive, and until
    /// this process has ended. The guards are returned if no process of the tree is left, or if the last
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
    /// Makes these locks outlive this process, for the processes that it is about to start; on `host:`, all
    /// locks that this process holds there. `None` where no process can inherit a lock (`local:`, and
    /// servers, which know only leases).
    ///
    /// # Errors
    /// `Unreachable` if the lock state is out of reach; `InvalidInput` if it was done before and not revoked.
    pub fn hold_for_tree(&self) -> Result<Option<TreeHold>, Error> {
        let Some(first) = self.first() else { return Ok(None) };
        let grants: Vec<_> = self.iter().map(|guard| guard.grant()).collect();
        Ok(first.engine().hold_for_tree(&grants)?.map(TreeHold))
    }
}
