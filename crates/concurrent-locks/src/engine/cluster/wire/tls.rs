//! Encryption of one channel, by `rustls`.
//!
//! No `close_notify` is ever written: a link may be dropped in a forked child, whose parent goes on
//! with the same connection. The protocols inside know the length of their frames, so a stream that
//! is cut short is noticed without it.

use std::{
    io::{self, BufRead, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use super::socket::{self, Socket};
use crate::words::error::{Error, ErrorKind};

pub(super) const AVAILABLE: bool = true;

/// A finished handshake. One lock for both directions: a record read can make one to be written.
pub(super) struct Session(Mutex<ClientConnection>);

impl Session {
    /// Shakes hands over `socket`. Without `verify` anybody's certificate is good.
    pub(super) fn begin(
        socket: &Socket,
        name: &str,
        verify: bool,
        ca: Option<&Path>,
        deadline: Instant,
    ) -> Result<Session, Error> {
        let provider = Arc::new(ring::default_provider());
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Unreachable, format!("TLS with {name} failed: {error}"))
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?;
        let config = if verify {
            builder.with_root_certificates(roots(ca)?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        }
        .with_no_client_auth();
        let server = ServerName::try_from(name.to_owned()).map_err(|error| failed(&error))?;
        let mut connection = ClientConnection::new(Arc::new(config), server).map_err(|error| failed(&error))?;
        connection.set_buffer_limit(None);
        shake_hands(&mut connection, socket, deadline).map_err(|error| failed(&error))?;
        Ok(Session(Mutex::new(connection)))
    }

    /// Appends to `bytes` what has come; 0 is the end of the stream. Records that carry no data are
    /// `WouldBlock`, like an empty socket.
    pub(super) fn read(&self, socket: &Socket, bytes: &mut Vec<u8>) -> io::Result<usize> {
        /// What rustls reads at once: if it got less, the socket is empty.
        const PORTION: usize = 4096;
        let mut connection = self.lock();
        let before = bytes.len();
        let ended = loop {
            let came = match connection.read_tls(&mut &*socket) {
                Ok(came) => Some(came),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) => return Err(error),
            };
            let state = connection.process_new_packets().map_err(|error| {
                // The server is notified why, if possible; the connection ends anyhow.
                let _ = drain(&mut connection, socket);
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?;
            let whole = bytes.len() + state.plaintext_bytes_to_read();
            while bytes.len() < whole {
                let mut reader = connection.reader();
                let chunk = reader.fill_buf()?;
                let length = chunk.len();
                bytes.extend_from_slice(chunk);
                reader.consume(length);
            }
            if came == Some(0) || state.peer_has_closed() {
                break true;
            }
            if came.is_none_or(|came| came < PORTION) {
                break false;
            }
        };
        // Some records want an answer (a new key); what the system does not take now goes with the next write.
        drain(&mut connection, socket)?;
        match bytes.len() - before {
            0 if ended => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => Ok(length),
        }
    }

    /// Encrypts all of `bytes` and writes what the system takes; whether nothing is left.
    pub(super) fn write(&self, socket: &Socket, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let mut connection = self.lock();
        connection.writer().write_all(bytes)?;
        bytes.clear();
        drain(&mut connection, socket)
    }

    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the records that are ready; whether none is left.
fn drain(connection: &mut ClientConnection, socket: &Socket) -> io::Result<bool> {
    while connection.wants_write() {
        match connection.write_tls(&mut &*socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn shake_hands(connection: &mut ClientConnection, socket: &Socket, deadline: Instant) -> io::Result<()> {
    loop {
        let blocked = !drain(connection, socket)?;
        if !blocked && !connection.is_handshaking() {
            return Ok(());
        }
        if socket::sleep(&[socket], blocked, Some(deadline))? == 0 {
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            continue;
        }
        if blocked {
            continue;
        }
        match connection.read_tls(&mut &*socket) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if let Err(error) = connection.process_new_packets() {
            // The server is notified why, if possible.
            let _ = drain(connection, socket);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let unreadable = |error: &dyn std::fmt::Display| {
            let message = format!("the certificates in {} (ca=) cannot be used: {error}", path.display());
            Error::new(ErrorKind::InvalidInput, message)
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        if roots.is_empty() {
            return Err(unreadable(&"it contains none"));
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let message = format!("the system trusts no certificates; name a file with ca= ({})", errors.join("; "));
        return Err(Error::new(ErrorKind::Unreachable, message));
    }
    Ok(roots)
}

/// Trusts every certificate, but not a server that has not the key to the one it shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
