//! Lock files that outlive this process, for the processes that it starts.
//!
//! The kernel's lock belongs to the open file description, of which a child process inherits a descriptor: it
//! ends with the last of them, or when it is released ([`KernelLock::release`] unlocks the description,
//! so that a child which is left behind keeps nothing).
//!
//! [`KernelLock::release`]: crate::os::kernel_lock::KernelLock::release

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use super::process::Process;
use crate::{
    engine::{Bequest, Grant},
    words::error::Error,
};

/// Further descriptors of the lock files of some grants.
#[derive(Debug)]
pub(super) struct LockFiles(Vec<File>);

impl Process {
    /// Further descriptors of the lock files of these grants.
    pub(super) fn inheritable(&self, grants: &[Grant]) -> Result<LockFiles, Error> {
        let mut files = Vec::new();
        for grant in grants {
            let name = self.name_of(grant)?;
            let Some(resource) = self.used(&name) else { return Err(self.lost("grant")) };
            let file = resource.duplicate();
            self.forget(resource);
            files.push(file?);
        }
        Ok(LockFiles(files))
    }
}

impl Bequest for LockFiles {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd).collect()
    }

    /// Giving the grants back is enough, see above.
    fn revoke(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }

    /// The kernel does not say who else has a descriptor, and need not: it frees the lock when nobody has.
    fn leave(self: Box<Self>, _patience: Duration) -> Result<bool, Error> {
        Ok(true)
    }
}
