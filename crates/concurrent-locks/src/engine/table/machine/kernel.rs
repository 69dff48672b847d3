//! The system calls the table relies on: futexes, file-description locks, memory advice.
//!
//! Thin and total: each function does one call and says what its answer means. What `local:` needs
//! of them on other systems is `portable/kernel.rs`.
#![expect(unsafe_code, reason = "system calls")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use once_cell::race::OnceBool;

/// How many words one `futex_waitv` can watch (`FUTEX_WAITV_MAX`).
pub(crate) const WATCH_MAX: usize = 128;

/// The longest sleep of a waiter. A signal that has a handler ends it at once, unless the handler restarts calls.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Whether [`futex_wait_any`] was refused.
static ONE_WORD_ONLY: AtomicBool = AtomicBool::new(false);

/// Whether this process can sleep on several words, as far as is known.
pub(crate) fn can_wait_for_many() -> bool {
    !ONE_WORD_ONLY.load(Relaxed)
}

/// One word to sleep on, and the value it must still have.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) word: &'a AtomicU32,
    pub(crate) expected: u32,
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Sleeps until the word changes, is woken, or `timeout` has passed. Spurious returns are allowed.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let timeout = timespec(timeout);
    // SAFETY: `word` is a live, aligned u32 and `timeout` a live timespec for the whole call;
    // FUTEX_WAIT only reads both. A failed call (EAGAIN, EINTR, ETIMEDOUT) is a spurious return.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const timeout);
    }
}

/// Wakes up to `count` sleepers of the word.
pub(crate) fn futex_wake(word: &AtomicU32, count: i32) {
    // SAFETY: FUTEX_WAKE uses the address only as a key.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count);
    }
}

/// `struct futex_waitv` of the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
struct FutexWaitv {
    val: u64,
    uaddr: u64,
    flags: u32,
    reserved: u32,
}

const FUTEX2_SIZE_U32: u32 = 2;

/// Sleeps on several words at once, until one of them changes or is woken, or `timeout` has
/// passed. Where the kernel has no `futex_waitv` (before Linux 5.16, or seccomp refuses it), the call
/// sleeps on the first word only, for a short time.
pub(crate) fn futex_wait_any(watches: &[Watch<'_>], timeout: Duration) {
    let [first, rest @ ..] = watches else { return };
    if rest.is_empty() || !can_wait_for_many() {
        return futex_wait(first.word, first.expected, timeout);
    }
    let mut waiters = [FutexWaitv { val: 0, uaddr: 0, flags: 0, reserved: 0 }; WATCH_MAX];
    let count = watches.len().min(WATCH_MAX);
    for (waiter, watch) in waiters.iter_mut().zip(watches) {
        *waiter = FutexWaitv {
            val: watch.expected.into(),
            uaddr: watch.word.as_ptr() as u64,
            flags: FUTEX2_SIZE_U32,
            reserved: 0,
        };
    }
    // futex_waitv takes an absolute time, by the kernel's own clock and not by a replacement of it.
    let deadline = timespec(kernel_monotonic() + timeout);
    // SAFETY: `waiters` holds `count` initialised entries whose addresses are live, aligned words
    // borrowed by `watches`; `deadline` lives for the whole call. The kernel only reads them.
    let answer = unsafe {
        libc::syscall(libc::SYS_futex_waitv, waiters.as_ptr(), count, 0, &raw const deadline, libc::CLOCK_MONOTONIC)
    };
    if answer < 0 {
        let error = io::Error::last_os_error().raw_os_error();
        if matches!(error, Some(libc::ENOSYS | libc::EPERM | libc::EINVAL)) {
            ONE_WORD_ONLY.store(true, Relaxed);
            futex_wait(first.word, first.expected, timeout.min(Duration::from_millis(50)));
        }
    }
}

/// CLOCK_MONOTONIC. Asks the kernel itself where a library (libfaketime) stands in for the C
/// library's clock: the other processes of the table have the real one.
pub(crate) fn monotonic() -> Duration {
    static IS_FAKED: OnceBool = OnceBool::new();
    let is_faked = IS_FAKED.get_or_init(|| {
        let before = kernel_monotonic();
        let told = library_monotonic();
        !(before..=kernel_monotonic()).contains(&told)
    });
    if is_faked { kernel_monotonic() } else { library_monotonic() }
}

fn library_monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live timespec that the call fills; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    duration(&now)
}

fn kernel_monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live timespec that the call fills.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) };
    duration(&now)
}

fn duration(time: &libc::timespec) -> Duration {
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Whether a byte of a file is locked by another open file description.
pub(crate) fn byte_is_locked(file: BorrowedFd<'_>, offset: i64) -> io::Result<bool> {
    any_byte_is_locked(file, offset, 1)
}

/// Whether any of `len` bytes is. The file may be open only to read.
pub(crate) fn any_byte_is_locked(file: BorrowedFd<'_>, offset: i64, len: i64) -> io::Result<bool> {
    let mut lock = byte_range(libc::F_WRLCK, offset, len);
    control(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Tries to take the write lock on `len` bytes (0: to the end of time); `false`: somebody has it.
pub(crate) fn try_lock_bytes(file: BorrowedFd<'_>, offset: i64, len: i64) -> io::Result<bool> {
    match control(file, libc::F_OFD_SETLK, &mut byte_range(libc::F_WRLCK, offset, len)) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tries to take a read lock on one byte: a descriptor that may only read is enough.
pub(crate) fn try_share_byte(file: BorrowedFd<'_>, offset: i64) -> io::Result<bool> {
    match control(file, libc::F_OFD_SETLK, &mut byte_range(libc::F_RDLCK, offset, 1)) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A byte of a range that another open file description has locked, in whichever way.
pub(crate) fn locked_byte(file: BorrowedFd<'_>, offset: i64, len: i64) -> io::Result<Option<i64>> {
    let mut lock = byte_range(libc::F_WRLCK, offset, len);
    control(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_start.max(offset)))
}

pub(crate) fn unlock_bytes(file: BorrowedFd<'_>, offset: i64, len: i64) -> io::Result<()> {
    control(file, libc::F_OFD_SETLK, &mut byte_range(libc::F_UNLCK, offset, len))
}

fn byte_range(kind: i32, offset: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset,
        l_len: len,
        l_pid: 0,
    }
}

fn control(file: BorrowedFd<'_>, command: i32, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed and so open; `lock` is a live flock the call reads and fills.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many processors this process may run on; 1 where there are more than fit the question. (std's
/// answer takes a look at control groups too, of some twenty system calls.)
pub(crate) fn processors() -> usize {
    let mut set = std::mem::MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zeros are an empty set, which the call fills up to its size.
    unsafe {
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) < 0 {
            return 1;
        }
        libc::CPU_COUNT(&set.assume_init()).unsigned_abs() as usize
    }
}

/// Whether the kernel trusts the processor's time stamp counter enough to be its own clock; `None`
/// where it does not report it (no `/sys`).
pub(crate) fn trusts_ticks() -> Option<bool> {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(source).ok().map(|source| source.trim() == "tsc")
}

/// How far this process's time namespace has moved its CLOCK_MONOTONIC, in nanoseconds.
pub(crate) fn clock_offset() -> i64 {
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    let mut fields = offsets.lines().find_map(|line| line.strip_prefix("monotonic")).unwrap_or("").split_whitespace();
    let mut next = || fields.next().and_then(|field| field.parse::<i64>().ok()).unwrap_or(0);
    let (seconds, nanos) = (next(), next());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// This boot of the machine, as 128 bits.
pub(crate) fn boot() -> io::Result<[u64; 2]> {
    let text =
        std::fs::read_to_string(BOOT).map_err(|error| io::Error::new(error.kind(), format!("{BOOT}: {error}")))?;
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let part = |range| hex.get(range).and_then(|hex| u64::from_str_radix(hex, 16).ok());
    match (part(0..16), part(16..32)) {
        (Some(high), Some(low)) => Ok([high, low]),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{BOOT} reads {text:?}"))),
    }
}

/// This machine's host name.
pub(crate) fn host_name() -> String {
    let mut name = [0_u8; 65];
    // SAFETY: the call fills at most so many bytes.
    let answer = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    if answer < 0 { String::new() } else { String::from_utf8_lossy(&name[..end]).into_owned() }
}

/// Gives an unnamed temporary file a name; fails with `AlreadyExists` if the name is taken.
pub(crate) fn link_unnamed(file: BorrowedFd<'_>, path: &std::ffi::CStr) -> io::Result<()> {
    let own = std::ffi::CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    // SAFETY: both paths are NUL-terminated strings that live for the whole call.
    let answer =
        unsafe { libc::linkat(libc::AT_FDCWD, own.as_ptr(), libc::AT_FDCWD, path.as_ptr(), libc::AT_SYMLINK_FOLLOW) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The effective user id.
pub(crate) fn user() -> u32 {
    // SAFETY: no preconditions, cannot fail.
    unsafe { libc::geteuid() }
}

/// What the kernel says of the file system of an open file: its kind, and how many bytes are free.
pub(crate) fn file_system(file: BorrowedFd<'_>) -> io::Result<(u32, u64)> {
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is borrowed and so open; the call fills the struct when it returns 0.
    let answer = unsafe {
        if libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        answer.assume_init()
    };
    let free = answer.f_bavail.saturating_mul(u64::try_from(answer.f_bsize).unwrap_or(0));
    Ok((answer.f_type as u32, free))
}

/// A limit of this process that a table may exceed.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// Bytes of a file (`ulimit -f`).
    FileSize,
    /// Bytes of address space (`ulimit -v`).
    Addresses,
}

/// How many bytes a limit allows; `None`: any number.
pub(crate) fn limit(limit: Limit) -> Option<u64> {
    let which = match limit {
        Limit::FileSize => libc::RLIMIT_FSIZE,
        Limit::Addresses => libc::RLIMIT_AS,
    };
    let mut answer = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `answer` is a live struct that the call fills.
    let code = unsafe { libc::getrlimit(which, &raw mut answer) };
    (code == 0 && answer.rlim_cur != libc::RLIM_INFINITY).then_some(answer.rlim_cur)
}

/// Makes a robust, process-shared mutex in 64 bytes of shared memory and locks it for good: when
/// this thread ends, the kernel marks the word and wakes one sleeper. Returns where in the 64
/// bytes the futex word lies. The memory must stay mapped as long as the thread lives.
pub(crate) fn lock_death_word(place: &[std::sync::atomic::AtomicU64; 8]) -> io::Result<u32> {
    const { assert!(size_of::<libc::pthread_mutex_t>() <= 64) };
    let mutex = place.as_ptr().cast_mut().cast::<libc::pthread_mutex_t>();
    let check = |code: i32| if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) };
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    // SAFETY: `place` is 64 aligned bytes (asserted to be enough) of a mapping that is never
    // unmapped (tables live as long as the process); nobody else uses this mutex as a mutex: the
    // slot is ours (its byte lock is held), others only watch the futex word.
    unsafe {
        check(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
        check(libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED))?;
        check(libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST))?;
        check(libc::pthread_mutex_init(mutex, attributes.as_ptr()))?;
        check(libc::pthread_mutexattr_destroy(attributes.as_mut_ptr()))?;
        check(libc::pthread_mutex_lock(mutex))?;
    }
    // glibc keeps the futex word first, musl after its type.
    Ok(if cfg!(target_env = "musl") { 4 } else { 0 })
}
