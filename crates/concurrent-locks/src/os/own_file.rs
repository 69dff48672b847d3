//! An open file whose descriptor number other code may reuse.
//!
//! A process may close descriptors that it does not know: daemons close all of them. The number then goes
//! to the next file that is opened, which is none of ours.
//!
//! - **D1** A number is used, and closed, only while the file behind it is the one that was opened.
//! - **D2** No number is 0, 1 or 2: what some library prints when these are closed would be written into
//!   our file.

use std::{
    fs::{File, Metadata},
    io,
};

/// An open file of ours. Dropping it closes it, unless its number names another file by now.
#[derive(Debug)]
pub(crate) struct OwnFile {
    /// `None` only while it is dropped.
    file: Option<File>,
    identity: Identity,
}

impl OwnFile {
    pub(crate) fn new(file: File) -> io::Result<OwnFile> {
        let file = above_standard_streams(file)?;
        let identity = Identity::of(&file.metadata()?);
        Ok(OwnFile { file: Some(file), identity })
    }

    /// The file, if it is still open under its number (D1).
    pub(crate) fn get(&self) -> Option<&File> {
        let still = |file: &&File| file.metadata().is_ok_and(|found| Identity::of(&found) == self.identity);
        self.file.as_ref().filter(still)
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.get().is_none() {
            std::mem::forget(self.file.take());
        }
    }
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Identity {
    #[cfg(unix)]
    pub(crate) fn of(found: &Metadata) -> Identity {
        use std::os::unix::fs::MetadataExt;
        Identity { device: found.dev(), inode: found.ino() }
    }

    /// Handles are not given again while their owner has them, and nobody closes those of others.
    #[cfg(not(unix))]
    pub(crate) fn of(_found: &Metadata) -> Identity {
        Identity {}
    }
}

/// The same open file under a number that is no standard stream's (D2).
#[cfg(unix)]
pub(crate) fn above_standard_streams(file: File) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    // A duplicate is never given one of the three.
    if file.as_raw_fd() > 2 { Ok(file) } else { file.try_clone() }
}

#[cfg(not(unix))]
pub(crate) fn above_standard_streams(file: File) -> io::Result<File> {
    Ok(file)
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        io::{Read, Seek, Write},
        os::fd::{AsRawFd, FromRawFd, IntoRawFd},
    };

    use super::*;

    /// Gives the number of an open file to another file.
    #[expect(unsafe_code, reason = "closing what others own is what the tests are about")]
    fn usurp(number: i32, with: &File) -> File {
        // SAFETY: both numbers are open; that the old file's owner copes with it is what is tested.
        assert_eq!(unsafe { libc::dup2(with.as_raw_fd(), number) }, number);
        // SAFETY: from here on the number is the new file's.
        unsafe { File::from_raw_fd(number) }
    }

    #[test]
    fn a_number_that_went_to_another_file_is_neither_used_nor_closed() {
        let own = OwnFile::new(tempfile::tempfile().unwrap()).unwrap();
        let number = own.get().unwrap().as_raw_fd();
        let mut log = usurp(number, &tempfile::tempfile().unwrap());
        assert!(own.get().is_none());
        drop(own);
        log.write_all(b"still open").unwrap();
        let mut text = String::new();
        log.rewind().unwrap();
        log.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still open");
    }

    #[test]
    #[expect(unsafe_code, reason = "closing what others own is what the test is about")]
    fn a_number_that_was_closed_is_not_closed_again() {
        let own = OwnFile::new(tempfile::tempfile().unwrap()).unwrap();
        // SAFETY: that the file's owner copes with it is what is tested.
        assert_eq!(unsafe { libc::close(own.get().unwrap().as_raw_fd()) }, 0);
        assert!(own.get().is_none());
        drop(own);
    }

    #[test]
    fn what_is_dropped_is_closed() {
        let own = OwnFile::new(tempfile::tempfile().unwrap()).unwrap();
        let number = own.get().unwrap().as_raw_fd();
        let path = std::fs::read_link(format!("/proc/self/fd/{number}"));
        drop(own);
        // Another test may have been given the number.
        assert!(path.is_err() || path.ok() != std::fs::read_link(format!("/proc/self/fd/{number}")).ok());
    }

    /// In a child of its own, whose standard streams may be closed.
    #[test]
    #[expect(unsafe_code, reason = "there is no other way to fork")]
    fn no_number_is_a_standard_streams() {
        let file = tempfile::tempfile().unwrap().into_raw_fd();
        // SAFETY: the child makes system calls only, apart from what it checks, and ends.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: numbers are moved and closed that only this child has.
            let low = unsafe {
                for number in 0..3 {
                    libc::close(number);
                }
                File::from_raw_fd(libc::dup(file))
            };
            let was_low = low.as_raw_fd() == 0;
            let moved = OwnFile::new(low).is_ok_and(|own| own.get().is_some_and(|file| file.as_raw_fd() > 2));
            // SAFETY: asks whether the number is open; ends the process.
            unsafe {
                let closed = libc::fcntl(0, libc::F_GETFD) < 0;
                libc::_exit(i32::from(!(was_low && moved && closed)));
            }
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
