//! The locks belong to CMD and all that it starts: if `locks run` is killed, they stay held until the last of
//! these processes has ended, because each of them has a descriptor that carries the lock.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    process::ExitStatus,
    time::Duration,
};

use concurrent_locks::{Error, GuardAll, LockManager, TreeHold};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use crate::{
    cli::{Orphan, RunArgs},
    exit::UsageError,
};

/// The least numbers that the descriptors may have, the first that can be had: behind those that scripts name
/// (3 to 9, 99, 200) and shells use for themselves (10 and more), below 64, up to which a process has room
/// for descriptors without asking for more.
const NUMBERS: [i32; 3] = [40, 10, 3];

/// How long a command that was ended by a signal may take the processes that it started with it.
const GRACE: Duration = Duration::from_millis(100);

/// What is to become of CMD if we are killed.
pub(crate) fn orphan(args: &RunArgs, locks: &LockManager) -> Result<Orphan, UsageError> {
    let can_hold = !locks.capabilities().lease && cfg!(target_os = "linux");
    let option = if args.no_fork { "--no-fork" } else { "--if-killed hold" };
    match args.if_killed.or(args.no_fork.then_some(Orphan::Hold)) {
        Some(Orphan::Hold) if !can_hold => Err(UsageError(format!(
            "{option} is for host: and file: on Linux: no process can inherit the locks of {}",
            locks.url()
        ))),
        Some(asked) => Ok(asked),
        None => Ok(if can_hold { Orphan::Hold } else { Orphan::Term }),
    }
}

/// The locks, held for the tree of processes that CMD will be the root of.
pub(crate) struct Tree(Option<TreeHold>);

impl Tree {
    pub(crate) fn hold(guards: &GuardAll, orphan: Orphan) -> Result<Tree, Error> {
        Ok(Tree(if orphan == Orphan::Leave { None } else { guards.hold_for_tree()? }))
    }

    /// Descriptors as CMD must find them. Open only until it is started: nobody else is to inherit them.
    pub(crate) fn descriptors(&self) -> std::io::Result<Vec<OwnedFd>> {
        let descriptors = self.0.as_ref().map(TreeHold::descriptors).unwrap_or_default();
        Ok(descriptors.into_iter().map(inheritable).collect::<Result<_, _>>()?)
    }

    /// Takes the locks back from what CMD left behind, unless a signal ended CMD: then what it started may
    /// still be at work, and the locks are left to it (`None`).
    pub(crate) fn end(self, guards: GuardAll, status: Option<ExitStatus>) -> Result<Option<GuardAll>, Error> {
        let Some(hold) = self.0 else { return Ok(Some(guards)) };
        if status.is_some_and(|status| status.code().is_none()) {
            return hold.leave(guards, GRACE);
        }
        hold.revoke()?;
        Ok(Some(guards))
    }
}

fn inheritable(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let copy = |least: &i32| fcntl_dupfd_cloexec(descriptor, *least).ok();
    let copy = match NUMBERS.iter().find_map(copy) {
        Some(copy) => copy,
        None => fcntl_dupfd_cloexec(descriptor, 0)?,
    };
    fcntl_setfd(&copy, FdFlags::empty())?;
    Ok(copy)
}
