//! Attaching a process to a table: the private things it needs there, made once per process, and
//! made again by a forked child.
//!
//! - A1. Everything private is reached through one page that is blank in a forked child (`pages.rs`).
//!   So a child finds itself unattached, and cannot use its parent's slot, records or hub.
//! - A2. The new generation of a slot is published before anything is cleaned up for its previous occupant,
//!   so that nobody mistakes the new process for the dead one (prototype bug 1).
#![expect(unsafe_code, reason = "the attachment is reached through a page that is wiped on fork")]

use std::sync::{
    Arc,
    atomic::{
        AtomicPtr, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use crate::{
    engine::{
        table::{
            Table,
            machine::kernel,
            map::memory::{Mapping, Shared},
            process::{
                liveness::Liveness,
                occupancy::{self, Occupancy},
                records::Pool,
                sleepers::Hub,
            },
            protocol::short_lock,
        },
        unsupported,
    },
    words::error::Error,
};

/// What this process has in the table.
pub(crate) struct Attachment {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) pid: u32,
    /// This process as lock words name it.
    pub(crate) name: short_lock::Name,
    pub(crate) pool: Arc<Pool>,
    pub(crate) hub: Hub,
    /// `None` in a private table, which has no other processes.
    pub(crate) liveness: Option<Liveness>,
    pub(crate) may_spin: bool,
    /// When this process last saw the table's file in its place.
    pub(crate) checked: AtomicU64,
}

/// The page of A1.
pub(crate) struct ForkPage(Mapping);

/// Its contents, zero in a forked child.
#[repr(C)]
struct Contents {
    attachment: AtomicPtr<Attachment>,
    /// 0 not attached, 1 a thread is attaching.
    attaching: AtomicU32,
}

// SAFETY: two atomics; every bit pattern is valid as a value. That the pointer may be followed is
// A1, stated where it is.
unsafe impl Shared for Contents {}

impl ForkPage {
    pub(crate) fn new() -> std::io::Result<ForkPage> {
        Mapping::private(size_of::<Contents>()).map(ForkPage)
    }

    #[inline]
    fn contents(&self) -> &Contents {
        self.0.blank_in_child();
        // SAFETY: `ForkPage::new` made it of this size, and offset 0 is aligned (M1).
        unsafe { self.0.at_unchecked(0) }
    }

    /// The attachment of this process, if it has one.
    #[inline]
    pub(crate) fn get(&self) -> Option<&Attachment> {
        // SAFETY: the pointer is null (a fresh or wiped page) or was stored by `attach` in this
        // very process (A1) from a leaked box that is never freed.
        unsafe { self.contents().attachment.load(Acquire).as_ref() }
    }

    /// Attaches, once per process, whichever thread comes first.
    pub(crate) fn get_or_attach(
        &self,
        attach: impl FnOnce() -> Result<Attachment, Error>,
    ) -> Result<&Attachment, Error> {
        let contents = self.contents();
        // Not a std mutex: a thread of the parent might have held it at the fork.
        while contents.attaching.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            std::thread::yield_now();
        }
        let result = match self.get() {
            Some(_) => Ok(()),
            None => attach().map(|attachment| {
                contents.attachment.store(Box::into_raw(Box::new(attachment)), Release);
            }),
        };
        contents.attaching.store(0, Release);
        result?;
        match self.get() {
            Some(attachment) => Ok(attachment),
            None => unreachable!("stored above"),
        }
    }
}

impl Table {
    /// This process in the table; attaches on first use and again in a forked child.
    #[inline]
    pub(crate) fn me(&self) -> Result<&Attachment, Error> {
        match self.fork_page.get() {
            Some(me) => Ok(me),
            None => self.attach(),
        }
    }

    #[cold]
    fn attach(&self) -> Result<&Attachment, Error> {
        if self.observer.is_some() {
            return Err(unsupported(&self.url, "be used here, where it is only observed", "use LockManager::connect"));
        }
        self.fork_page.get_or_attach(|| {
            let liveness = match &self.file {
                Some(file) => Some(Liveness::claim(file, &self.layout)?),
                None => {
                    self.initialise_if_blank();
                    None
                }
            };
            let slot = liveness.as_ref().map_or(0, Liveness::slot);
            let entry = self.layout.slot(slot)?;
            // A2: from here on, words of the previous occupant name somebody else.
            for word in &entry.death {
                word.store(0, Relaxed);
            }
            entry.pid.store(0, Relaxed);
            let generation = entry.generation.fetch_add(1, Release).wrapping_add(1);
            let me = Attachment {
                slot,
                generation,
                pid: std::process::id(),
                name: short_lock::Name::new(slot, generation),
                pool: Arc::new(Pool::new(self.layout.geometry())),
                hub: Hub::new(),
                liveness,
                may_spin: kernel::processors() > 1,
                checked: AtomicU64::new(0),
            };
            if Occupancy::of(entry.state.load(Acquire)) != Occupancy::Free {
                self.remove_occupant(&me, entry)?;
            }
            self.sweep_locks(&me)?;
            self.publish(&me)?;
            self.reap_marked(&me)?;
            if me.liveness.is_some() {
                crate::engine::table::process::detach::at_exit();
            }
            Ok(me)
        })
    }

    /// Fills the slot and makes it live.
    fn publish(&self, me: &Attachment) -> Result<(), Error> {
        let entry = self.layout.slot(me.slot)?;
        entry.pid.store(std::process::id(), Relaxed);
        entry.namespace.store(crate::engine::table::process::liveness::pid_namespace(), Relaxed);
        entry.attached.store(self.clock.now(), Relaxed);
        entry.letters.store(0, Relaxed);
        let program = std::env::current_exe()
            .ok()
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_default();
        let program = entry.program.store(&program) as u32;
        let host = entry.host.store(&kernel::host_name()) as u32;
        entry.text_lens.store(program | host << 8, Relaxed);
        if me.liveness.is_some() {
            let offset = kernel::lock_death_word(&entry.death)
                .map_err(|error| Error::io("cannot make the death word of the lock table", error))?;
            entry.death_offset.store(offset, Relaxed);
        }
        occupancy::enter(&entry.state, me.generation);
        self.layout.header().counters.slots_used.fetch_max(me.slot + 1, Relaxed);
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use crate::{ErrorKind, LockManager};

    #[test]
    fn a_forked_child_finds_an_empty_private_table_and_gives_nothing_back() {
        let locks = LockManager::connect("local:forked").blocking().unwrap();
        let guard = locks.write("a").try_now().unwrap();
        // SAFETY: the child only uses the engine, whose locks are its own, and memory, which the C
        // library makes usable after a fork; it ends without running anything of the test harness.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                assert!(locks.status_all().blocking().unwrap().is_empty());
                let own = locks.write("a").try_now().unwrap();
                assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
                assert_eq!(locks.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
                std::thread::scope(|scope| {
                    let waiter = scope.spawn(|| locks.write("a").blocking().unwrap().token());
                    while locks.status("a").blocking().unwrap().is_none_or(|status| status.waiters.is_empty()) {
                        std::thread::yield_now();
                    }
                    let token = own.token();
                    drop(own);
                    assert!(waiter.join().unwrap() > token);
                });
            }));
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(result.is_err())) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child says why, with --nocapture");
        assert_eq!(locks.status("a").blocking().unwrap().unwrap().holders.len(), 1);
        guard.release().unwrap();
    }
}
