//! The system calls that have no safe wrapper: shared mappings, pshared rwlocks, OFD locks.

#![expect(unsafe_code, reason = "the peers are system interfaces; every other file of the benchmarks is safe")]

use std::{
    fs::File,
    io::{Error, ErrorKind, Result},
    os::fd::AsRawFd,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64},
};

/// A shared mapping of the first `bytes` of a file, kept until the process ends.
fn map(file: &File, bytes: usize) -> Result<NonNull<u8>> {
    if file.metadata()?.len() < bytes as u64 {
        return Err(Error::new(ErrorKind::InvalidInput, "the file is shorter than its mapping"));
    }
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| Error::other("mmap returned null"))
}

/// The first `count` 64-bit words of a file, shared with every process that maps it.
pub(crate) fn map_words(file: &File, count: usize) -> Result<&'static [AtomicU64]> {
    let start = map(file, count * 8)?.cast::<AtomicU64>();
    // SAFETY: the mapping is page aligned, `count * 8` bytes long, never unmapped, and the file is never cut
    // short while in use; any bytes are valid words, and all processes access them as atomics.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), count) })
}

/// The first `count` 32-bit words of a file, shared with every process that maps it.
pub(crate) fn map_bells(file: &File, count: usize) -> Result<&'static [AtomicU32]> {
    let start = map(file, count * 4)?.cast::<AtomicU32>();
    // SAFETY: as in `map_words`.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), count) })
}

/// Bytes between two rwlocks: a lock has 56, and two should not share a cache line.
pub(crate) const RWLOCK_STRIDE: usize = 64;

/// A process-shared pthread rwlock in a mapped file.
#[derive(Debug)]
pub(crate) struct PthreadRwLock(NonNull<libc::pthread_rwlock_t>);

impl PthreadRwLock {
    /// Makes the locks in a file. To be done once, before anybody opens them.
    pub(crate) fn create(file: &File, count: usize) -> Result<()> {
        let start = map(file, count * RWLOCK_STRIDE)?;
        for index in 0..count {
            // SAFETY: the offset is within the mapping, aligned to 64 bytes, and nobody uses the lock yet;
            // the attributes are initialised before use and destroyed after it.
            let result = unsafe {
                let lock = start.add(index * RWLOCK_STRIDE).cast::<libc::pthread_rwlock_t>();
                let mut attributes = std::mem::zeroed::<libc::pthread_rwlockattr_t>();
                check(libc::pthread_rwlockattr_init(&raw mut attributes))?;
                let shared = libc::pthread_rwlockattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED);
                let made = libc::pthread_rwlock_init(lock.as_ptr(), &raw const attributes);
                libc::pthread_rwlockattr_destroy(&raw mut attributes);
                check(shared).and(check(made))
            };
            result?;
        }
        Ok(())
    }

    /// The locks of a file that `create` has prepared.
    pub(crate) fn open(file: &File, count: usize) -> Result<Vec<PthreadRwLock>> {
        let start = map(file, count * RWLOCK_STRIDE)?;
        // SAFETY: the offsets are within the mapping.
        Ok((0..count).map(|index| PthreadRwLock(unsafe { start.add(index * RWLOCK_STRIDE).cast() })).collect())
    }

    pub(crate) fn read(&self) -> Result<PthreadHeld<'_>> {
        // SAFETY: the lock was initialised by `create` and its mapping is never removed.
        check(unsafe { libc::pthread_rwlock_rdlock(self.0.as_ptr()) })?;
        Ok(PthreadHeld(self))
    }

    pub(crate) fn write(&self) -> Result<PthreadHeld<'_>> {
        // SAFETY: as in `read`.
        check(unsafe { libc::pthread_rwlock_wrlock(self.0.as_ptr()) })?;
        Ok(PthreadHeld(self))
    }
}

/// A held [`PthreadRwLock`]. Not `Send`: the thread that locked must unlock.
#[derive(Debug)]
pub(crate) struct PthreadHeld<'a>(&'a PthreadRwLock);

impl Drop for PthreadHeld<'_> {
    fn drop(&mut self) {
        // SAFETY: this thread holds the lock, which is as valid as in `read`.
        unsafe { libc::pthread_rwlock_unlock(self.0.0.as_ptr()) };
    }
}

fn check(code: i32) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::from_raw_os_error(code)) }
}

/// Sets (`F_RDLCK`, `F_WRLCK`) or removes (`F_UNLCK`) an OFD lock on a whole file, waiting for it.
pub(crate) fn ofd_lock(file: &File, kind: i32) -> Result<()> {
    // SAFETY: all zeros is a valid `flock`: offset 0, length 0 (the whole file), pid 0 (which OFD locks ask for).
    let mut whole: libc::flock = unsafe { std::mem::zeroed() };
    whole.l_type = kind as i16;
    whole.l_whence = libc::SEEK_SET as i16;
    // SAFETY: the descriptor is open and the argument a valid `flock` that the kernel reads during the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw const whole) } {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}
