//! A socket that never blocks, and the one place where a thread sleeps for it.

use std::{
    fs::File,
    io,
    net::{TcpStream, ToSocketAddrs},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    net::{SendFlags, Shutdown, sockopt},
};

use crate::{engine::cluster::address::Host, os::own_file::OwnFile};

/// A silent connection is probed after this time: a server that vanished without a word ends the
/// connection within half a minute, and routers on the way do not forget it.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// That the other end sends no more. Elsewhere that is a part of `HUP`, as far as the system reports it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ENDED: PollFlags = PollFlags::RDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ENDED: PollFlags = PollFlags::empty();

/// Dropping it closes this process's descriptor only: a forked child says nothing on its parent's connection.
/// If the process has closed the descriptor, the connection has ended: its number may be another file's.
pub(super) struct Socket(OwnFile);

impl Socket {
    fn new(descriptor: impl Into<OwnedFd>) -> io::Result<Socket> {
        OwnFile::new(File::from(descriptor.into())).map(Socket)
    }

    fn own(&self) -> io::Result<&File> {
        let closed =
            || io::Error::new(io::ErrorKind::NotConnected, "this process has closed the connection's descriptor");
        self.0.get().ok_or_else(closed)
    }

    /// Connects until `deadline`. The time the system takes to look a name up is not bounded.
    pub(super) fn connect(host: &Host, deadline: Instant) -> io::Result<Socket> {
        let (name, port) = match host {
            Host::Tcp { name, port } => (name, port),
            Host::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                return Socket::new(stream);
            }
        };
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (name.as_str(), *port).to_socket_addrs()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    keep_alive(&stream)?;
                    return Socket::new(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    #[cfg(test)]
    pub(super) fn number(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(self.own().unwrap())
    }

    /// Appends what has come to `bytes`, which has room; 0 is the end of the stream.
    pub(super) fn read(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let own = self.own()?;
        retry(|| rustix::io::read(own, rustix::buffer::spare_capacity(bytes)))
    }

    /// Writes what the system takes now.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        // std sets SO_NOSIGPIPE where there is no such flag.
        #[cfg(target_vendor = "apple")]
        let flags = SendFlags::empty();
        #[cfg(not(target_vendor = "apple"))]
        let flags = SendFlags::NOSIGNAL;
        let own = self.own()?;
        retry(|| rustix::net::send(own, bytes, flags))
    }

    /// Whether the other end has closed the connection, or it broke: also if what came before is not read yet.
    pub(super) fn has_ended(&self) -> bool {
        let Ok(own) = self.own() else { return true };
        let mut entry = [PollFd::new(own, ENDED)];
        let ended = ENDED | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        // If it cannot be queried, it has not ended as far as is known; the reader finds out.
        retry(|| rustix::event::poll(&mut entry, Some(&Timespec::default())))
            .is_ok_and(|_| entry[0].revents().intersects(ended))
    }

    /// Ends the connection for all its users, and wakes the thread that sleeps for it.
    pub(super) fn shutdown(&self) {
        // It fails only where the connection has ended already.
        let _ = self.own().map(|own| rustix::net::shutdown(own, Shutdown::Both));
    }
}

impl io::Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let own = self.own()?;
        retry(|| rustix::io::read(own, &mut *buffer))
    }
}

impl io::Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Socket::write(self, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sleeps until `sockets` can be read (or one can be written, with `writable`), at most until `deadline`.
/// Bit `i` of the answer: the socket `i` has something, be it an error. Zero: the deadline, or a signal.
pub(super) fn sleep(sockets: &[&Socket], writable: bool, deadline: Option<Instant>) -> io::Result<u8> {
    const LINES: usize = 2;
    let wanted = if writable { PollFlags::OUT } else { PollFlags::IN };
    let first = PollFd::new(sockets[0].own()?, wanted);
    let mut entries: [PollFd<'_>; LINES] = [first.clone(), first];
    let count = sockets.len().min(LINES);
    for (entry, socket) in entries.iter_mut().zip(sockets) {
        *entry = PollFd::new(socket.own()?, wanted);
    }
    let timeout = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        // What does not fit is longer than anybody waits.
        Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 })
    });
    match rustix::event::poll(&mut entries[..count], timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(0),
        Err(error) => return Err(error.into()),
    }
    let ready = entries[..count].iter().enumerate().filter(|(_, entry)| !entry.revents().is_empty());
    Ok(ready.fold(0, |bits, (index, _)| bits | 1 << index))
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    Ok(())
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other.map_err(Into::into),
        }
    }
}
