//! The table's private memory from the allocator, for systems other than Linux.
#![expect(unsafe_code, reason = "zeroed memory that is seen as types made of atomics")]

use std::{
    alloc::{self, Layout},
    io,
    ptr::NonNull,
};

use crate::os::per_process::PerProcess;

/// What `Layout` of the table asks for, and more than any type in it needs.
const PAGE: usize = 4096;

/// Memory of this process. Keeps M1: it is never freed.
#[derive(Debug)]
pub(crate) struct Pages {
    memory: PerProcess<Zeroed>,
    len: usize,
}

/// Memory that was zero when it was made, aligned to pages.
#[derive(Debug)]
struct Zeroed(NonNull<u8>);

// SAFETY: plain memory, not bound to a thread; by M2 (`memory.rs`) all access is atomic.
unsafe impl Send for Zeroed {}
// SAFETY: as above.
unsafe impl Sync for Zeroed {}

impl Zeroed {
    /// `None` if there is no memory.
    fn new(len: usize) -> Option<Zeroed> {
        // Aligned here, not by the allocator: asked for alignment, it would write the zeros itself
        // and so use all of the memory at once.
        let layout = Self::layout(len)?;
        // SAFETY: the layout is larger than 0.
        let base = NonNull::new(unsafe { alloc::alloc_zeroed(layout) })?;
        // SAFETY: less than `PAGE`, which is how much larger than `len` the allocation is.
        Some(Zeroed(unsafe { base.add(base.as_ptr().align_offset(PAGE)) }))
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len.checked_add(PAGE)?, align_of::<u64>()).ok()
    }
}

impl Pages {
    /// Zeroed private memory, which a forked child finds zeroed again once it has called
    /// [`Pages::blank_in_child`].
    pub(crate) fn private(len: usize) -> io::Result<Pages> {
        let zeroed = Zeroed::new(len).ok_or(io::ErrorKind::OutOfMemory)?;
        let memory = PerProcess::new();
        memory.own(|| zeroed);
        Ok(Pages { memory, len })
    }

    /// Other memory for a forked child. Ends the process, as any allocation does, if there is none.
    #[inline]
    pub(crate) fn blank_in_child(&self) {
        self.memory.own(|| match (Zeroed::new(self.len), Zeroed::layout(self.len)) {
            (Some(zeroed), _) => zeroed,
            (None, Some(layout)) => alloc::handle_alloc_error(layout),
            (None, None) => unreachable!("`private` made as much"),
        });
    }

    #[inline]
    pub(crate) fn base(&self) -> NonNull<u8> {
        match self.memory.inherited() {
            Some(zeroed) => zeroed.0,
            None => unreachable!("made by `private`"),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Nothing to ask for: the allocator chose.
    pub(crate) fn prefer_large(&self, _offset: usize, _len: usize) {}

    /// Nothing to do: private memory takes no room in a file system.
    pub(crate) fn populate(&self, _offset: usize, _len: usize) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::engine::table::map::memory::Mapping;

    #[test]
    fn memory_is_zeroed_and_aligned() {
        for len in [1, PAGE, 3 * PAGE + 8] {
            let pages = Pages::private(len).unwrap();
            assert!(pages.base().as_ptr().addr().is_multiple_of(PAGE));
            let mapping = Mapping::over(pages);
            assert!((0..len / 4).all(|word| mapping.at::<AtomicU32>(4 * word).unwrap().load(Relaxed) == 0));
            assert!(mapping.at::<AtomicU32>(len.next_multiple_of(4)).is_none());
        }
        assert_eq!(Pages::private(usize::MAX).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn it_stays_until_a_fork_and_is_blank_in_the_child() {
        let mapping = Mapping::private(PAGE).unwrap();
        let word = || mapping.at::<AtomicU32>(64).unwrap();
        word().store(7, Relaxed);
        mapping.blank_in_child();
        assert_eq!(word().load(Relaxed), 7);
        // SAFETY: the child only allocates, which the C library makes usable after a fork, and ends.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let before = word().load(Relaxed);
            mapping.blank_in_child();
            let after = word().load(Relaxed);
            word().store(9, Relaxed);
            mapping.blank_in_child();
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from((before, after, word().load(Relaxed)) != (7, 0, 9))) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(word().load(Relaxed), 7);
    }
}
