//! Liveness, by the kernel's file locks; pids are never trusted.
//!
//! - L1. A process is alive in a slot while it holds the write lock on the slot's *life byte*, far beyond
//!   the end of the table file. The lock is on an open file description that only a mapping of this address
//!   space refers to, so it ends exactly with the address space: not with a forked child, not with a closed
//!   descriptor, but with exec and with death of any kind.
//! - L2. If nobody holds either byte of a slot (L5), the occupant is dead, and so is every earlier one.
//!   Proving it is read-only: a reaper holds nothing that a stopped or dead reaper could keep.
//! - L3. The death word (a robust mutex) only hints when to check: it belongs to a thread.
//! - L4. A process with much memory keeps its locks while the kernel frees that memory (70 ms a
//!   GiB). In the same PID namespace it is dead before that: when the mark is set and every one of
//!   its tasks is exiting, none of them returns to user mode. That proof is bound to the slot's
//!   generation, because it does not hold the byte. It is no proof unless `/proc` itself numbers
//!   processes as our PID namespace does: a container may see that of its host.
//! - L5. Beside its life byte a slot has a *tree byte*. A process whose locks are to outlive it locks the
//!   tree byte through a description whose descriptor its child processes inherit (`tree.rs`): the kernel
//!   frees it with the last of them. The slot's locks are released only when both bytes are free. Only the
//!   holder of the life byte takes the tree byte, so a tree byte that is free while the life byte is free
//!   or ours stays free. A short lock (S) is held by threads: there the life byte alone decides.
//! - L6. Before a descriptor is used to query the table it has proved to be the table's: a daemon that
//!   closes all descriptors and opens files of its own would otherwise query those.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{
            AtomicU32,
            Ordering::{Acquire, Relaxed},
        },
    },
};

use crate::{
    engine::table::{
        Table,
        machine::kernel,
        map::{
            layout::{Layout, Slot},
            pages::Pages,
        },
        place::{
            elsewhere::Announcement,
            file::TableFile,
            life_bytes::{life_byte, tree_byte},
            whereabouts::Whereabouts,
        },
        process::{attach::Attachment, occupancy::Occupancy},
        protocol::short_lock,
    },
    words::{
        error::{Error, ErrorKind},
        status::ProcessState,
    },
};

/// `FUTEX_OWNER_DIED` of the kernel.
const OWNER_DIED: u32 = 0x4000_0000;
/// `FUTEX_WAITERS` of the kernel: without it the kernel wakes nobody at death.
const WATCHED: u32 = 0x8000_0000;
/// `PF_EXITING` of the kernel.
const EXITING: u64 = 4;

/// This process's proof of life, and its means of asking for that of others.
pub(crate) struct Liveness {
    slot: u32,
    /// Keeps the open file description with the lock (L1).
    _pin: Pages,
    /// Another description of the same file: locks of one description do not see each other.
    probe: RwLock<Arc<File>>,
    /// By which others learn of this table; none if it was named by its path.
    announced: Vec<Announcement>,
}

impl Liveness {
    /// Claims a slot by taking its bytes, and keeps the life byte.
    pub(crate) fn claim(file: &TableFile, layout: &Layout) -> Result<Liveness, Error> {
        let failed = |error: io::Error| Error::io(format_args!("cannot lock in {}", file.path().display()), error);
        let announced = file.announce()?;
        let holder = file.reopen()?;
        let probe = file.reopen()?;
        let slots = layout.geometry().slots;
        // Free slots first, and those that were left; then those whose occupant may be dead.
        for live in [false, true] {
            for slot in 0..slots {
                let occupancy = Occupancy::of(layout.slot(slot)?.state.load(Acquire));
                if (occupancy == Occupancy::Live) != live {
                    continue;
                }
                if kernel::try_lock_bytes(holder.as_fd(), life_byte(slot), 2).map_err(failed)? {
                    kernel::unlock_bytes(holder.as_fd(), tree_byte(slot), 1).map_err(failed)?;
                    let pin = Pages::pin(holder.as_fd()).map_err(failed)?;
                    // `holder` is closed here; the pin keeps its description and the lock.
                    return Ok(Liveness { slot, _pin: pin, probe: RwLock::new(Arc::new(probe)), announced });
                }
            }
        }
        Err(Error::new(
            ErrorKind::Full,
            format!(
                "{}: all {slots} process slots are taken by living processes; end some of them, or name a new table \
                 that is made for more (?processes=N)",
                file.path().display()
            ),
        ))
    }

    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// Whether the process in the slot lives.
    fn is_alive(&self, table: &Table, slot: u32) -> Result<bool, Error> {
        self.is_locked(table, life_byte(slot))
    }

    /// Whether a process lives that keeps the slot's locks for its tree (L5).
    pub(crate) fn has_tree(&self, table: &Table, slot: u32) -> Result<bool, Error> {
        self.is_locked(table, tree_byte(slot))
    }

    fn is_locked(&self, table: &Table, byte: i64) -> Result<bool, Error> {
        let probe = self.probe(table)?;
        kernel::byte_is_locked(probe.as_fd(), byte).map_err(|error| table.broken(error))
    }

    /// The probe, opened again if the process has closed it (L6).
    fn probe(&self, table: &Table) -> Result<Arc<File>, Error> {
        let probe = Arc::clone(&self.probe.read().unwrap_or_else(PoisonError::into_inner));
        let Some(file) = &table.file else { return Ok(probe) };
        if file.is(&probe) {
            return Ok(probe);
        }
        let opened = Arc::new(file.reopen()?);
        let closed =
            std::mem::replace(&mut *self.probe.write().unwrap_or_else(PoisonError::into_inner), Arc::clone(&opened));
        // Its number may be another file's by now, which is not ours to close.
        std::mem::forget(closed);
        std::mem::forget(probe);
        Ok(opened)
    }

    /// The folders in which this table is announced.
    pub(crate) fn announced_in(&self) -> Vec<String> {
        self.announced.iter().map(|announcement| announcement.folder().display().to_string()).collect()
    }

    /// Where the table's file is.
    pub(crate) fn whereabouts(&self, file: &TableFile) -> Whereabouts {
        file.whereabouts(&self.probe.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The inode of this process's PID namespace: pids of different namespaces mean different processes.
pub(crate) fn pid_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

/// Whether `/proc` numbers processes as our PID namespace does. Its own line for this process has one
/// number for each namespace from that of `/proc` down to ours.
fn proc_is_ours() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or("").split_whitespace();
    let ours = numbers.next().and_then(|number| number.parse().ok()) == Some(std::process::id());
    ours && numbers.next().is_none()
}

/// A proven death: of a slot's occupant of this generation, and so of all before it.
pub(crate) struct DeadSlot {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// The slot's state word as it was judged (O1).
    pub(crate) state: u32,
}

impl Table {
    /// Whether the process a short lock names is provably dead.
    pub(crate) fn is_dead(&self, me: &Attachment, name: short_lock::Name) -> Result<bool, Error> {
        let Some(liveness) = &me.liveness else { return Ok(false) };
        let slot = self.layout.slot(name.slot)?;
        if slot.generation.load(Acquire) & 0x7fff != name.generation {
            return Ok(true);
        }
        if name == me.name {
            return Ok(false);
        }
        let locked = liveness.is_alive(self, name.slot)?;
        // The generation again: a new process may have taken the byte in between.
        Ok(!locked || slot.generation.load(Acquire) & 0x7fff != name.generation || self.exits(slot, name.generation))
    }

    /// Proves the occupant of a slot dead, if it is.
    pub(crate) fn dead_slot(&self, me: &Attachment, index: u32) -> Result<Option<DeadSlot>, Error> {
        let Some(liveness) = &me.liveness else { return Ok(None) };
        let slot = self.layout.slot(index)?;
        let state = slot.state.load(Acquire);
        if index == me.slot || Occupancy::of(state) == Occupancy::Free {
            return Ok(None);
        }
        let generation = slot.generation.load(Acquire);
        let is_alive = liveness.is_alive(self, index)?;
        // In this order: a process that has ended, or exits, takes no tree byte any more.
        let dead = (!is_alive || self.exits(slot, generation & 0x7fff)) && !liveness.has_tree(self, index)?;
        // A new process takes the bytes first and then raises the generation (A2): under this one nobody is alive.
        let same = slot.generation.load(Acquire) == generation;
        Ok((dead && same).then_some(DeadSlot { slot: index, generation, state }))
    }

    /// Proof L4: marked, and every task of the process is exiting, twice over.
    fn exits(&self, slot: &Slot, generation: u32) -> bool {
        let marked = |slot: &Slot| self.death_word(slot).is_some_and(|word| word.load(Acquire) & OWNER_DIED != 0);
        if !marked(slot) {
            return false;
        }
        let own = pid_namespace();
        if own == 0 || slot.namespace.load(Relaxed) != own || !proc_is_ours() {
            return false;
        }
        let pid = slot.pid.load(Relaxed);
        let first = exiting_tasks(pid);
        first.is_some()
            && first == exiting_tasks(pid)
            // It may have been mounted over meanwhile.
            && proc_is_ours()
            && marked(slot)
            && slot.pid.load(Relaxed) == pid
            && slot.generation.load(Acquire) & 0x7fff == generation
    }

    /// The futex word of a slot's death mutex.
    pub(crate) fn death_word<'t>(&self, slot: &'t Slot) -> Option<&'t AtomicU32> {
        let offset = slot.death_offset.load(Relaxed) as usize;
        crate::engine::table::map::layout::half(&slot.death, offset)
    }

    /// The death word of a slot and the value to sleep on; `None` if it is marked already (sleeping
    /// on it would never end) or cannot be watched.
    pub(crate) fn watch_death(&self, index: u32) -> Option<kernel::Watch<'_>> {
        let slot = self.layout.slot(index).ok()?;
        let word = self.death_word(slot)?;
        let seen = word.load(Acquire);
        if !names_a_living_thread(seen) {
            return None;
        }
        word.fetch_or(WATCHED, Relaxed);
        Some(kernel::Watch { word, expected: seen | WATCHED })
    }

    /// Whether its death would wake who watches it.
    pub(crate) fn can_be_watched(&self, index: u32) -> bool {
        self.layout
            .slot(index)
            .ok()
            .and_then(|slot| self.death_word(slot))
            .is_some_and(|word| names_a_living_thread(word.load(Acquire)))
    }

    /// Whether the kernel has marked the slot's attaching thread as ended.
    pub(crate) fn is_marked(&self, index: u32) -> bool {
        self.layout
            .slot(index)
            .ok()
            .and_then(|slot| self.death_word(slot))
            .is_some_and(|word| word.load(Acquire) & OWNER_DIED != 0)
    }

    pub(crate) fn broken(&self, error: io::Error) -> Error {
        Error::io(format_args!("the lock table {} is out of reach", self.url), error)
    }

    /// What the kernel says of the occupant of a slot; for display. `me` is nobody for an observer.
    pub(crate) fn process_state(&self, me: Option<&Attachment>, index: u32) -> Result<ProcessState, Error> {
        let is_locked = |byte| match (me, &self.observer) {
            (Some(me), _) if me.slot != index => me.liveness.as_ref().map_or(Ok(true), |it| it.is_locked(self, byte)),
            (None, Some(observer)) => {
                kernel::byte_is_locked(observer.probe.as_fd(), byte).map_err(|error| self.broken(error))
            }
            _ => Ok(true),
        };
        Ok(if is_locked(life_byte(index))? {
            ProcessState::Alive
        } else if is_locked(tree_byte(index))? {
            ProcessState::Orphaned
        } else {
            ProcessState::Dead
        })
    }
}

/// Whether a death word is that of a thread the kernel will mark: not marked, and not taken away (D1).
fn names_a_living_thread(word: u32) -> bool {
    word & OWNER_DIED == 0 && word & !WATCHED != 0
}

/// The number of tasks of a process if all of them are exiting.
fn exiting_tasks(pid: u32) -> Option<usize> {
    let mut count = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        // pid (comm) state ppid pgrp session tty tpgid flags ...; comm may contain anything.
        let fields = stat.rsplit_once(')')?.1;
        let flags: u64 = fields.split_whitespace().nth(6)?.parse().ok()?;
        if flags & EXITING == 0 {
            return None;
        }
        count += 1;
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse::<usize>().ok()?;
    (count > 0 && count == threads).then_some(count)
}
