//! The identity of this process across forks: a number that differs from those of all processes it was forked
//! from. Everything that a forked child must not use carries the number of the process that made it.
//!
//! Pids cannot serve: they are reused, and the first process of a PID namespace has pid 1 like the
//! first process of the namespace that it was forked from.
//!
//! - **FG1** The number lies in a page that the kernel wipes in a forked child, so a child finds none and
//!   draws its own.
//! - **FG2** Numbers are counted in ordinary memory, which a child inherits: its number is greater than
//!   those of all processes that it descends from. Two children of one process may have the same, but
//!   neither has memory of the other.
//! - **FG3** Nothing blocks: a lock might be held by a thread that the child does not have.
#![cfg_attr(
    all(target_os = "linux", not(concurrent_locks_portable)),
    expect(unsafe_code, reason = "a page that the kernel wipes in a forked child")
)]

/// One process of a line of forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForkGeneration(u64);

impl ForkGeneration {
    /// That of the calling process.
    #[inline]
    pub(crate) fn current() -> ForkGeneration {
        ForkGeneration(system::number())
    }

    /// Whether the calling process is the one that asked for it, and not a forked child.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }
}

#[cfg(all(target_os = "linux", not(concurrent_locks_portable)))]
mod system {
    use std::{
        ptr,
        sync::atomic::{
            AtomicPtr, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    };

    /// The page of FG1, which begins with the number; null before it is mapped.
    static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

    /// The greatest number drawn (FG2).
    static DRAWN: AtomicU64 = AtomicU64::new(0);

    /// Stands for the page where the kernel gives none; stays 0.
    static NO_PAGE: AtomicU64 = AtomicU64::new(0);

    #[inline]
    pub(super) fn number() -> u64 {
        // SAFETY: null, or a static, or a page that is never unmapped and holds an atomic.
        match unsafe { PAGE.load(Acquire).as_ref() }.map(|page| page.load(Acquire)) {
            Some(number) if number != 0 => number,
            _ => draw(),
        }
    }

    #[cold]
    fn draw() -> u64 {
        let page = page();
        if ptr::eq(page, &raw const NO_PAGE) {
            return super::by_pid();
        }
        let number = DRAWN.fetch_add(1, Relaxed) + 1;
        match page.compare_exchange(0, number, AcqRel, Acquire) {
            Ok(_) => number,
            Err(faster) => faster,
        }
    }

    /// The page, mapped by whichever thread is first.
    fn page() -> &'static AtomicU64 {
        let mut page = PAGE.load(Acquire);
        if page.is_null() {
            let own = map();
            page = match PAGE.compare_exchange(page, own, AcqRel, Acquire) {
                Ok(_) => own,
                Err(faster) => {
                    unmap(own);
                    faster
                }
            };
        }
        // SAFETY: from `map`; what is in PAGE is never unmapped.
        unsafe { &*page }
    }

    /// A page that is zero in a forked child, or [`NO_PAGE`].
    fn map() -> *mut AtomicU64 {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: no address is asked for, so no existing mapping is touched; less than a page is one page.
        let page = unsafe {
            libc::mmap(ptr::null_mut(), size_of::<AtomicU64>(), access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        if page == libc::MAP_FAILED {
            return (&raw const NO_PAGE).cast_mut();
        }
        // SAFETY: advice on the page just mapped, which changes nothing in this process. Emulators say
        // yes to any advice and do nothing: from one that accepts nonsense, yes means nothing.
        let wiped = unsafe {
            libc::madvise(page, size_of::<AtomicU64>(), libc::MADV_WIPEONFORK) == 0
                && libc::madvise(page, size_of::<AtomicU64>(), -1) != 0
        };
        if wiped {
            return page.cast();
        }
        unmap(page.cast());
        (&raw const NO_PAGE).cast_mut()
    }

    fn unmap(page: *mut AtomicU64) {
        if !ptr::eq(page, &raw const NO_PAGE) {
            // SAFETY: mapped by `map`, and nobody else has seen it.
            unsafe { libc::munmap(page.cast(), size_of::<AtomicU64>()) };
        }
    }
}

/// Where the kernel wipes nothing, the pid has to serve. A process is then taken for one that it
/// descends from only if it was given the same pid, and nobody between them asked.
#[cfg(not(all(target_os = "linux", not(concurrent_locks_portable))))]
mod system {
    pub(super) use super::by_pid as number;
}

/// No number that is drawn is as great.
fn by_pid() -> u64 {
    1 << 63 | u64::from(std::process::id())
}

/// What `child` says in a forked child. A panic there is a no, and so is a child that hangs: its alarm ends it.
#[cfg(all(test, unix))]
#[expect(unsafe_code, reason = "there is no other way to fork")]
pub(crate) fn in_a_fork(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child uses its memory, which the C library makes usable after a fork, and this library, which says
    // that a forked child may; it ends without running anything of the test harness.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: its signal has no handler and ends the process.
        unsafe { libc::alarm(60) };
        let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status == 0
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_as_long_as_the_process_in_all_threads() {
        let here = ForkGeneration::current();
        assert!(here.is_current());
        assert!(std::thread::scope(|scope| scope.spawn(|| here.is_current()).join().unwrap()));
    }

    #[test]
    fn a_forked_child_and_a_grandchild_are_others() {
        let here = ForkGeneration::current();
        assert!(in_a_fork(|| {
            let child = ForkGeneration::current();
            !here.is_current()
                && child.is_current()
                && in_a_fork(|| !here.is_current() && !child.is_current() && ForkGeneration::current().is_current())
        }));
        // Also if the process in between never asks.
        assert!(in_a_fork(|| in_a_fork(|| !here.is_current())));
        assert!(here.is_current());
    }
}
