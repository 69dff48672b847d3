//! The table's bytes, seen as types made of atomics. Where the bytes come from is `pages.rs`.
#![expect(unsafe_code, reason = "laying types over memory")]

use std::io;

use crate::engine::table::map::pages::Pages;

/// Memory of the table: mapped pages, or their portable replacement.
///
/// # Invariants
/// M1. `Pages::base` is page aligned, and `Pages::len` bytes from it stay valid until drop.
/// M2. The bytes are only ever accessed through atomics, because other processes write them.
#[derive(Debug)]
pub(crate) struct Mapping(Pages);

impl Mapping {
    pub(crate) fn over(pages: Pages) -> Mapping {
        Mapping(pages)
    }

    /// Zeroed private memory that a forked child finds zeroed again, after [`Mapping::blank_in_child`].
    pub(crate) fn private(len: usize) -> io::Result<Mapping> {
        Pages::private(len).map(Mapping)
    }

    /// To be called on private memory by a process that may be a forked child, before it relies on
    /// finding zeros.
    #[inline]
    pub(crate) fn blank_in_child(&self) {
        self.0.blank_in_child();
    }

    /// Asks for large pages behind the range, if there are any.
    pub(crate) fn prefer_large(&self, offset: usize, len: usize) {
        self.0.prefer_large(offset, len);
    }

    /// Makes sure that the range has memory behind it, so that a full file system is an error here
    /// and not a SIGBUS later.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        self.0.populate(offset, len)
    }

    /// A view of the bytes at `offset` as `T`, if they lie inside and are aligned.
    ///
    /// `T` must be made of atomics only ([`Shared`]).
    pub(crate) fn at<T: Shared>(&self, offset: usize) -> Option<&T> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len() || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: in bounds (checked) of a live mapping (M1) and aligned (checked; the base is page
        // aligned); `Shared` types are valid for every bit pattern and accessed atomically (M2).
        Some(unsafe { self.0.base().add(offset).cast::<T>().as_ref() })
    }

    /// [`Mapping::at`] without its checks.
    ///
    /// # Safety
    /// `offset` is a multiple of `T`'s alignment, and the bytes of a `T` from there lie inside.
    #[inline]
    pub(crate) unsafe fn at_unchecked<T: Shared>(&self, offset: usize) -> &T {
        debug_assert!(self.at::<T>(offset).is_some());
        // SAFETY: in bounds and aligned (the caller's promise) of a live mapping (M1); `Shared`
        // types are valid for every bit pattern and accessed atomically (M2).
        unsafe { self.0.base().add(offset).cast::<T>().as_ref() }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Begins to load a value's first cache line, if the processor wants to.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is a hint without effect on memory.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Types that may be laid over the table's bytes.
///
/// # Safety
/// Every field is an atomic integer, an array of such, or a `Shared` struct; so every bit pattern
/// is valid and concurrent writes by other processes are not data races.
pub(crate) unsafe trait Shared {}
