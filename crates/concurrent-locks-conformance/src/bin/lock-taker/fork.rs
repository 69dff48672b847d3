//! Forking with everything held: the child takes over the conversation.

use std::io;

use concurrent_locks_conformance::DEADLINE;
use rustix::process::{Pid, WaitOptions, waitpid};

/// Forks. Returns `true` in the child at once, and `false` in the parent after the child's end;
/// in between the child is the one who reads commands.
pub(crate) fn child_first() -> bool {
    #[expect(unsafe_code, reason = "fork is what the case is about")]
    // SAFETY: the thread that forks holds no lock of the allocator or of the standard library, so
    // the child's copy of this thread can go on. Threads of the lock engine are not copied; that
    // the engine copes with it is what the case checks.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    let Some(child) = Pid::from_raw(pid) else {
        end_in_time();
        return true;
    };
    waitpid(Some(child), WaitOptions::empty()).expect("the end of the child");
    false
}

/// Has children that are forked from now on live in a PID namespace of their own, which takes root.
/// Where there are no such namespaces, says so.
pub(crate) fn enter_pid_namespace() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "no safe wrapper of unshare is at hand")]
    // SAFETY: a new PID namespace changes nothing for this process.
    unsafe {
        if libc::unshare(libc::CLONE_NEWPID) == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

/// The test process can kill only its own children. If a case fails and leaves this one waiting
/// for ever, the alarm ends it.
fn end_in_time() {
    #[expect(unsafe_code, reason = "no safe wrapper of alarm is at hand")]
    // SAFETY: `alarm` touches no memory; its signal is not handled and ends the process.
    unsafe {
        libc::alarm(5 * DEADLINE.as_secs() as u32);
    }
}
