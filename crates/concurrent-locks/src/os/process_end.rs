//! The end of this process, as far as it knows of it: by `exit`, or by returning from `main`.
#![cfg_attr(unix, expect(unsafe_code, reason = "the C library's list of what to call at the end"))]

/// Has `handler` called at this process's end, and at that of each child it forks. Where the system has no
/// room for one more handler, and after `_exit` or a signal, it is not called: nobody may rely on it.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    #[cfg(unix)]
    // SAFETY: `handler` is a plain function; the library it is in is not unloaded before the process ends.
    unsafe {
        libc::atexit(handler);
    }
    #[cfg(not(unix))]
    let _ = handler;
}
