//! [`Stream`]: bytes to and from one server, encrypted or not, and its use during the handshake.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    dialect::HandshakeStream,
    socket::{self, Socket},
    tls::{self, Session},
};
use crate::{
    engine::cluster::address::{Endpoint, Host, Kind, Tls},
    words::error::{Error, ErrorKind},
};

/// PostgreSQL's question whether it speaks TLS: a length and a magic number.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

pub(super) struct Stream {
    socket: Socket,
    tls: Option<Session>,
}

impl Stream {
    pub(super) fn connect(endpoint: &Endpoint, patience: &Patience) -> Result<Stream, Error> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut => patience.over(&endpoint.host),
            _ => Error::io(format_args!("cannot connect to {}", endpoint.host), error),
        };
        let socket = Socket::connect(&endpoint.host, patience.deadline).map_err(failed)?;
        let mut stream = Stream { socket, tls: None };
        let Host::Tcp { name, .. } = &endpoint.host else {
            return Ok(stream); // the file system says who may read it: no TLS, whatever was asked (as libpq)
        };
        let encrypt = match (endpoint.tls, endpoint.kind) {
            (Tls::Off, _) => false,
            // Preferred, not asked for: as libpq does where it was built without TLS.
            (Tls::Prefer, _) if !tls::AVAILABLE => false,
            (_, Kind::Redis) => true,
            (wanted, Kind::Postgres) => match stream.ask_for_tls(&endpoint.host, patience)? {
                b'S' => true,
                b'N' if wanted == Tls::Prefer => false,
                b'N' => {
                    let message = format!("{} does not speak TLS, but sslmode= requires it", endpoint.host);
                    return Err(Error::new(ErrorKind::Unreachable, message));
                }
                _ => {
                    let message = format!("{} is not a PostgreSQL server", endpoint.host);
                    return Err(Error::new(ErrorKind::Unreachable, message));
                }
            },
        };
        if encrypt {
            let verify = endpoint.tls == Tls::Verify;
            let ca = endpoint.ca.as_deref();
            stream.tls = Some(Session::begin(&stream.socket, name, verify, ca, patience.deadline)?);
        }
        Ok(stream)
    }

    /// The server's one byte. No more is read: what somebody put behind it unencrypted must not be
    /// taken for the server's word.
    fn ask_for_tls(&self, host: &Host, patience: &Patience) -> Result<u8, Error> {
        let mut conversation = Conversation { stream: self, host, patience };
        conversation.write(&SSL_REQUEST)?;
        let mut byte = [0];
        conversation.again(false, |stream| match io::Read::read(&mut &stream.socket, &mut byte) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) => Err(error),
        })?;
        Ok(byte[0])
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Appends what has come to `bytes`, which has room; 0 is the end of the stream.
    pub(super) fn read(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.read(bytes),
            Some(session) => session.read(&self.socket, bytes),
        }
    }

    /// Takes from `bytes` and writes what the system takes; whether nothing is left.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        if let Some(session) = &self.tls {
            return session.write(&self.socket, bytes);
        }
        let mut written = 0;
        let result = loop {
            if written == bytes.len() {
                break Ok(true);
            }
            match self.socket.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        bytes.drain(..written);
        result
    }
}

/// How long opening may take.
pub(super) struct Patience {
    deadline: Instant,
    time: Duration,
}

impl Patience {
    pub(super) fn new(time: Duration) -> Patience {
        let now = Instant::now();
        // What cannot be counted is as good as a day.
        let deadline = now.checked_add(time).unwrap_or(now + Duration::from_secs(86_400));
        Patience { deadline, time }
    }

    fn over(&self, host: &Host) -> Error {
        let time = self.time.as_secs_f64();
        Error::new(ErrorKind::Unreachable, format!("{host} did not answer within {time:.3} s"))
    }
}

/// A stream that one thread uses alone and blocking, until its time limit.
pub(super) struct Conversation<'a> {
    pub(super) stream: &'a Stream,
    pub(super) host: &'a Host,
    pub(super) patience: &'a Patience,
}

impl Conversation<'_> {
    /// Tries until it is no longer `WouldBlock` or `false`.
    fn again(&self, writable: bool, mut attempt: impl FnMut(&Stream) -> io::Result<bool>) -> Result<(), Error> {
        loop {
            match attempt(self.stream) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::io(format_args!("talking to {}", self.host), error)),
            }
            if Instant::now() >= self.patience.deadline {
                return Err(self.patience.over(self.host));
            }
            socket::sleep(&[self.stream.socket()], writable, Some(self.patience.deadline))
                .map_err(|error| Error::io(format_args!("waiting for {}", self.host), error))?;
        }
    }
}

impl HandshakeStream for Conversation<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut bytes = bytes.to_vec();
        self.again(true, |stream| stream.write(&mut bytes))
    }

    fn read(&mut self, input: &mut Vec<u8>) -> Result<(), Error> {
        const ROOM: usize = 4096;
        self.again(false, |stream| {
            input.reserve(ROOM);
            match stream.read(input)? {
                0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
                _ => Ok(true),
            }
        })
    }
}
