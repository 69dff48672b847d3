//! Where the system hands over.
//!
//! A script may start `locks run` thousands of times, so what every start costs matters. Rust's own start of a
//! program reads from `/proc` where the stack ends, to explain an overflow; that and its other preparations take a
//! tenth of the time that `flock FILE true` takes as a whole. So with glibc, where the standard library finds the
//! arguments by itself, the C library's start calls us, and what we need of those preparations is done here:
//! streams that are closed, the signal of a broken pipe, and panics. An overflow of the stack ends us unexplained.

use std::{
    ffi::{c_char, c_int},
    os::fd::IntoRawFd,
    panic::catch_unwind,
    process::{abort, exit},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, fcntl_getfd},
    stdio::{stderr, stdin, stdout},
};

/// The exit code after a panic, as everywhere in Rust.
const PANICKED: c_int = 101;

#[expect(unsafe_code)]
// SAFETY: this is the one `main` of the program, with the parameters that C's start passes.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    open_streams();
    // A reader that went away is an error to handle, not the end; commands start with the default again.
    #[expect(unsafe_code)]
    // SAFETY: no other thread runs yet, and to ignore a signal runs no code of ours.
    let _ = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    exit(catch_unwind(crate::locks).map_or(PANICKED, |code| code.0.into()))
}

/// Descriptors 0, 1 and 2 are never those of a file of ours, into which somebody's messages would be written.
fn open_streams() {
    for stream in [stdin(), stdout(), stderr()] {
        if fcntl_getfd(stream) == Err(Errno::BADF) {
            // It gets the lowest number that is free, which is this one.
            match open("/dev/null", OFlags::RDWR, Mode::empty()) {
                Ok(null) => _ = null.into_raw_fd(),
                Err(_) => abort(),
            }
        }
    }
}
