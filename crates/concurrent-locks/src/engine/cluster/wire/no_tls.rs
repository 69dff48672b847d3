//! Builds without the feature `tls`: nothing is encrypted, and a connection that must be is refused.

use std::{io, path::Path, time::Instant};

use super::socket::Socket;
use crate::words::error::{Error, ErrorKind};

pub(super) const AVAILABLE: bool = false;

/// There is none.
pub(super) enum Session {}

impl Session {
    pub(super) fn begin(
        _socket: &Socket,
        name: &str,
        _verify: bool,
        _ca: Option<&Path>,
        _deadline: Instant,
    ) -> Result<Session, Error> {
        let message = format!(
            "the connection to {name} must be encrypted, and this program was built without TLS; build \
             concurrent-locks with its feature `tls`"
        );
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    pub(super) fn read(&self, _socket: &Socket, _bytes: &mut Vec<u8>) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn write(&self, _socket: &Socket, _bytes: &mut Vec<u8>) -> io::Result<bool> {
        match *self {}
    }
}
