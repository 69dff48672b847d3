//! Mapped pages: the table's, the page by which a forked child recognises itself, and the page that
//! pins a liveness lock to this address space.
#![expect(unsafe_code, reason = "memory mappings")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
};

/// Pages of this address space, unmapped on drop. Keeps M1.
#[derive(Debug)]
pub(crate) struct Pages {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: pages are plain memory, not bound to a thread; by M2 (`memory.rs`) all access is atomic.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Zeroed private memory that a forked child finds zeroed again.
    pub(crate) fn private(len: usize) -> io::Result<Pages> {
        let pages = Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, None)?;
        pages.advise(0, len, libc::MADV_WIPEONFORK)?;
        Ok(pages)
    }

    /// `len` bytes of a file, shared with everyone who maps it.
    pub(crate) fn shared(file: BorrowedFd<'_>, len: usize) -> io::Result<Pages> {
        Self::map(len, libc::MAP_SHARED, Some(file))
    }

    /// The same, only to read.
    pub(crate) fn read_only(file: BorrowedFd<'_>, len: usize) -> io::Result<Pages> {
        Self::map_for(libc::PROT_READ, len, libc::MAP_SHARED, Some(file))
    }

    /// One page through `file` that a forked child does not get. While it is mapped, the open file
    /// description (and the locks on it) lives, although the descriptor may be closed; it dies
    /// with this address space and with nothing else.
    pub(crate) fn pin(file: BorrowedFd<'_>) -> io::Result<Pages> {
        let pages = Self::map(page_size(), libc::MAP_SHARED, Some(file))?;
        pages.advise(0, pages.len, libc::MADV_DONTFORK)?;
        Ok(pages)
    }

    fn map(len: usize, flags: i32, file: Option<BorrowedFd<'_>>) -> io::Result<Pages> {
        Self::map_for(libc::PROT_READ | libc::PROT_WRITE, len, flags, file)
    }

    fn map_for(access: i32, len: usize, flags: i32, file: Option<BorrowedFd<'_>>) -> io::Result<Pages> {
        let descriptor = file.map_or(-1, |file| file.as_raw_fd());
        // SAFETY: no address is asked for, so no existing mapping is touched; the kernel checks
        // length and descriptor.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, descriptor, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(base.cast()).map(|base| Pages { base, len }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn advise(&self, offset: usize, len: usize, advice: i32) -> io::Result<()> {
        // SAFETY: the range lies in these pages (callers pass parts of it); the advices used do
        // not unmap or change the contents seen by this process.
        let answer = unsafe { libc::madvise(self.base.as_ptr().add(offset).cast(), len, advice) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Asks for large pages behind the range, which the system may refuse: nothing but time depends on it.
    pub(crate) fn prefer_large(&self, offset: usize, len: usize) {
        let _ = self.advise(offset, len, libc::MADV_HUGEPAGE);
    }

    /// Makes sure that the range has memory behind it, so that a full file system is an error here
    /// and not a SIGBUS later. Kernels before 5.14 cannot; there it does nothing.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        let page = page_size();
        let start = offset / page * page;
        let end = (offset + len).min(self.len);
        match self.advise(start, end - start, libc::MADV_POPULATE_WRITE) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EFAULT | libc::ENOMEM)) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            other => other,
        }
    }

    /// Nothing to do: the kernel wiped private pages at the fork.
    #[inline]
    pub(crate) fn blank_in_child(&self) {}

    #[inline]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map` and no reference outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
