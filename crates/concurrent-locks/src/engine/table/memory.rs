//! Mappings: the table's bytes, the page that tells a forked child that it is one, and the page
//! that pins a liveness lock to this address space.
#![expect(unsafe_code, reason = "memory mappings")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
};

/// A mapping, unmapped on drop.
///
/// # Invariants
/// M1. `base` is page aligned and `len` bytes from it stay mapped until drop.
/// M2. The bytes are only ever accessed through atomics, because other processes write them.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory, not bound to a thread; by M2 all access is atomic.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed private memory that a forked child finds zeroed again.
    pub(super) fn private(len: usize) -> io::Result<Mapping> {
        let mapping = Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, None)?;
        mapping.advise(0, len, libc::MADV_WIPEONFORK)?;
        Ok(mapping)
    }

    /// `len` bytes of a file, shared with everyone who maps it.
    pub(super) fn shared(file: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        Self::map(len, libc::MAP_SHARED, Some(file))
    }

    /// One page through `file` that a forked child does not get. While it is mapped, the open file
    /// description (and the locks on it) lives, although the descriptor may be closed; it dies
    /// with this address space and with nothing else.
    pub(super) fn pin(file: BorrowedFd<'_>) -> io::Result<Mapping> {
        let mapping = Self::map(page_size(), libc::MAP_SHARED, Some(file))?;
        mapping.advise(0, mapping.len, libc::MADV_DONTFORK)?;
        Ok(mapping)
    }

    fn map(len: usize, flags: i32, file: Option<BorrowedFd<'_>>) -> io::Result<Mapping> {
        let descriptor = file.map_or(-1, |file| file.as_raw_fd());
        // SAFETY: no address is asked for, so no existing mapping is touched; the kernel checks
        // length and descriptor.
        let base =
            unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, descriptor, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(base.cast()).map(|base| Mapping { base, len }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn advise(&self, offset: usize, len: usize, advice: i32) -> io::Result<()> {
        // SAFETY: the range lies in this mapping (callers pass parts of it); the advices used do
        // not unmap or change the contents seen by this process.
        let answer = unsafe { libc::madvise(self.base.as_ptr().add(offset).cast(), len, advice) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Makes sure that the range has memory behind it, so that a full file system is an error here
    /// and not a SIGBUS later. Kernels before 5.14 cannot; there it does nothing.
    pub(super) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
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

    /// A view of the bytes at `offset` as `T`, if they lie inside and are aligned.
    ///
    /// `T` must be made of atomics only ([`Shared`]).
    pub(super) fn at<T: Shared>(&self, offset: usize) -> Option<&T> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: in bounds (checked) of a live mapping (M1) and aligned (checked; the base is page
        // aligned); `Shared` types are valid for every bit pattern and accessed atomically (M2).
        Some(unsafe { self.base.add(offset).cast::<T>().as_ref() })
    }

    /// [`Mapping::at`] without its checks.
    ///
    /// # Safety
    /// `offset` is a multiple of `T`'s alignment, and the bytes of a `T` from there lie inside.
    #[inline]
    pub(super) unsafe fn at_unchecked<T: Shared>(&self, offset: usize) -> &T {
        debug_assert!(self.at::<T>(offset).is_some());
        // SAFETY: in bounds and aligned (the caller's promise) of a live mapping (M1); `Shared`
        // types are valid for every bit pattern and accessed atomically (M2).
        unsafe { self.base.add(offset).cast::<T>().as_ref() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map` and no reference outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Types that may be laid over the table's bytes.
///
/// # Safety
/// Every field is an atomic integer, an array of such, or a `Shared` struct; so every bit pattern
/// is valid and concurrent writes by other processes are not data races.
pub(super) unsafe trait Shared {}

pub(super) fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
