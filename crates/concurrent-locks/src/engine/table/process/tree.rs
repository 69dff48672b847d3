//! Locks that outlive their process, for the processes that it started.
//!
//! The process locks its slot's tree byte (L5) through an open file description of its own, and the
//! processes that it starts inherit a descriptor of that description.
//!
//! - TR1. The tree byte is locked before the first of them is started. A process that dies before that
//!   closes the only descriptor, and the kernel frees the byte.
//! - TR2. A normal end unlocks the byte through the description, so processes that have inherited a
//!   descriptor keep nothing with it, even when the slot has a new occupant: a description without a lock
//!   blocks nobody.
//! - TR3. An end that leaves the locks to the tree only closes the descriptor. The slot then stays as it
//!   is: its records are removed by the first process that finds both bytes free.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use crate::{
    engine::{
        Bequest,
        table::{Table, machine::kernel, place::life_bytes::tree_byte},
    },
    words::error::{Error, ErrorKind},
};

/// The tree byte of this process's slot, locked.
struct TreeByte {
    table: &'static Table,
    slot: u32,
    description: OwnedFd,
}

impl Table {
    /// Locks the tree byte of this process's slot; `None` in a private table, which has no other processes.
    pub(crate) fn lock_tree(&self) -> Result<Option<Box<dyn Bequest>>, Error> {
        let slot = self.me()?.slot;
        let Some(file) = &self.file else { return Ok(None) };
        let description = OwnedFd::from(file.reopen()?);
        let locked = kernel::try_lock_bytes(description.as_fd(), tree_byte(slot), 1);
        if !locked.map_err(|error| self.broken(error))? {
            let message = format!("the locks of this process in {} are already held for its children", self.url);
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(Some(Box::new(TreeByte { table: self.forever(), slot, description })))
    }
}

impl Bequest for TreeByte {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.description.as_fd()]
    }

    fn revoke(self: Box<Self>) -> Result<(), Error> {
        let byte = tree_byte(self.slot);
        kernel::unlock_bytes(self.description.as_fd(), byte, 1).map_err(|error| self.table.broken(error))
    }

    fn leave(self: Box<Self>, patience: Duration) -> Result<bool, Error> {
        let TreeByte { table, slot, description } = *self;
        drop(description);
        let Some(liveness) = &table.me()?.liveness else { return Ok(false) };
        let began = Instant::now();
        loop {
            let has_tree = liveness.has_tree(table, slot)?;
            if !has_tree || began.elapsed() >= patience {
                return Ok(has_tree);
            }
            // The kernel wakes nobody when a lock of this kind ends by itself.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl fmt::Debug for TreeByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeByte").field("table", &self.table.url).field("slot", &self.slot).finish_non_exhaustive()
    }
}
