//! Encrypted channels.

use std::path::PathBuf;

use rcgen::{CertifiedKey, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};
use tempfile::TempDir;

use super::*;

type Encrypted = StreamOwned<ServerConnection, TcpStream>;

/// A certificate, and the file that makes clients trust it.
struct Authority {
    certified: CertifiedKey<KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn of(name: &str) -> Authority {
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certified.cert.pem()).unwrap();
        Authority { certified, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn encrypt(&self, stream: TcpStream) -> Encrypted {
        let key = PrivateKeyDer::try_from(self.certified.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certified.cert.der().clone()], key)
            .unwrap();
        StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream)
    }
}

/// A server for one connection that gets the bare stream.
fn accept<T: Send + 'static>(
    kind: Kind,
    tls: Tls,
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Endpoint, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (endpoint(port, kind, tls), thread::spawn(move || serve(listener.accept().unwrap().0)))
}

fn encrypted<T: Send + 'static>(
    authority: &Arc<Authority>,
    conversation: impl FnOnce(Peer<Encrypted>) -> T + Send + 'static,
) -> (Endpoint, JoinHandle<T>) {
    let authority = authority.clone();
    accept(Kind::Redis, Tls::Verify, move |stream| conversation(Peer::after_handshake(authority.encrypt(stream))))
}

/// PostgreSQL's question, and what the server says to it.
fn asked(stream: &mut TcpStream, say: &[u8]) {
    let mut question = [0; 8];
    stream.read_exact(&mut question).unwrap();
    assert_eq!(question, [0, 0, 0, 8, 4, 210, 22, 47]);
    stream.write_all(say).unwrap();
}

fn refused(endpoint: Endpoint) -> String {
    let channels = vec![Channel { endpoint, dialect: Box::new(Lines) }];
    Link::open(channels, "me", Arc::new(Heard::default()), LONG).map(drop).unwrap_err().to_string()
}

#[test]
fn a_trusted_server_is_spoken_to() {
    let authority = Arc::new(Authority::of("127.0.0.1"));
    let (endpoint, server) = encrypted(&authority, |mut peer| peer.echo());
    let (link, _) = open(Endpoint { ca: Some(authority.ca()), ..endpoint });
    thread::scope(|scope| {
        for id in 0..4 {
            let link = &link;
            scope.spawn(move || {
                for round in 0..500 {
                    let text = format!("{id}-{round}");
                    assert_eq!(ask(link, &text).unwrap(), text);
                }
            });
        }
    });
    let _attention = link.attend();
    assert_eq!(heard(&gather(&link, "future")).unwrap(), "future");
    link.close();
    server.join().unwrap();
}

#[test]
fn long_texts_and_a_server_that_does_not_read() {
    const LENGTH: usize = 256 * 1024;
    let authority = Arc::new(Authority::of("127.0.0.1"));
    let (go, mut may_read) = gate();
    let (endpoint, _server) = encrypted(&authority, move |mut peer| {
        may_read();
        peer.echo();
    });
    let (link, _) = open(Endpoint { ca: Some(authority.ca()), ..endpoint });
    let total = Arc::new(Mutex::new(0));
    for _ in 0..60 {
        let total = total.clone();
        let answer = Box::new(move |result: Result<String, Failure>| *total.lock().unwrap() += result.unwrap().len());
        send(&link, &".".repeat(LENGTH), Pace::Now, answer);
    }
    assert!(link.output().writer, "the system took it all: make it more");
    go.send(()).unwrap();
    assert!(link.wait(Some(Instant::now() + LONG), &mut || *total.lock().unwrap() == 60 * LENGTH));
}

#[test]
fn an_untrusted_server_is_refused() {
    let (server_s, ours) = (Arc::new(Authority::of("127.0.0.1")), Authority::of("127.0.0.1"));
    let (endpoint, _server) = encrypted(&server_s, drop);
    let said = refused(Endpoint { ca: Some(ours.ca()), ..endpoint });
    assert!(said.contains("TLS with 127.0.0.1 failed") && said.contains("certificate"), "{said}");
    let (endpoint, _server) = encrypted(&server_s, drop);
    assert!(refused(endpoint).contains("certificate"), "the system does not know it either");
}

#[test]
fn a_certificate_for_somebody_else_is_refused() {
    let authority = Arc::new(Authority::of("elsewhere.example"));
    let (endpoint, _server) = encrypted(&authority, drop);
    let said = refused(Endpoint { ca: Some(authority.ca()), ..endpoint });
    assert!(said.contains("not valid for name"), "{said}");
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let authority = Arc::new(Authority::of("127.0.0.1"));
    std::fs::write(authority.ca(), "nothing").unwrap();
    let (endpoint, _server) = encrypted(&authority, drop);
    let said = refused(Endpoint { ca: Some(authority.ca()), ..endpoint });
    assert!(said.contains("ca.pem"), "{said}");
}

#[test]
fn postgres_is_asked_first_and_require_looks_at_no_certificate() {
    for (tls, trusted) in [(Tls::Prefer, false), (Tls::Require, false), (Tls::Verify, true)] {
        let authority = Arc::new(Authority::of("127.0.0.1"));
        let ca = trusted.then(|| authority.ca());
        let (endpoint, _server) = accept(Kind::Postgres, tls, move |mut stream| {
            asked(&mut stream, b"S");
            Peer::after_handshake(authority.encrypt(stream)).echo();
        });
        let (link, _) = open(Endpoint { ca, ..endpoint });
        assert_eq!(ask(&link, "a").unwrap(), "a");
    }
}

#[test]
fn postgres_without_tls_is_enough_for_prefer_only() {
    let (endpoint, _server) = accept(Kind::Postgres, Tls::Prefer, |mut stream| {
        asked(&mut stream, b"N");
        Peer::after_handshake(stream).echo();
    });
    let (link, _) = open(endpoint);
    assert_eq!(ask(&link, "a").unwrap(), "a");
    for tls in [Tls::Require, Tls::Verify] {
        let (endpoint, _server) = accept(Kind::Postgres, tls, |mut stream| asked(&mut stream, b"N"));
        assert!(refused(endpoint).contains("does not speak TLS"));
    }
}

/// Bytes put behind the server's yes would otherwise count as sent by the encrypted server.
#[test]
fn what_is_said_in_the_clear_before_tls_is_never_heard() {
    let authority = Authority::of("127.0.0.1");
    let (endpoint, _server) = accept(Kind::Postgres, Tls::Require, move |mut stream| {
        asked(&mut stream, b"Swelcome\n>forged\n");
        let mut line = String::new();
        BufReader::new(authority.encrypt(stream)).read_line(&mut line)
    });
    assert!(refused(endpoint).contains("TLS"));
}

/// A forked child drops the link, and its parent must not lose the connection by that.
#[test]
fn a_dropped_link_says_nothing() {
    let authority = Arc::new(Authority::of("127.0.0.1"));
    let (endpoint, server) =
        encrypted(&authority, |mut peer| peer.stream.read_to_end(&mut Vec::new()).unwrap_err().kind());
    let (link, _) = open(Endpoint { ca: Some(authority.ca()), ..endpoint });
    drop(link);
    assert_eq!(server.join().unwrap(), std::io::ErrorKind::UnexpectedEof, "without close_notify");
}
