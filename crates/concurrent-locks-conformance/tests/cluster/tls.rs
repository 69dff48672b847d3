//! Encrypted connections, to servers whose certificates we trust.

use std::fs;

use concurrent_locks::ErrorKind;
use concurrent_locks_conformance::{Bench, Space};
use concurrent_locks_servers::{Certificates, Postgres, Redis};
use tempfile::TempDir;

use crate::stage::refusal;

/// A file with the certificate of an authority.
struct Authority(TempDir);

impl Authority {
    fn of(certificates: &Certificates) -> Authority {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), certificates.authority()).unwrap();
        Authority(folder)
    }

    fn path(&self) -> String {
        self.0.path().join("ca.pem").display().to_string()
    }
}

/// Locks are taken, waited for and handed on between two processes.
fn assert_works(url: &str) {
    let bench = Bench::new(Space { url: url.to_owned(), directory: None }, env!("CARGO_BIN_EXE_lock-taker").into());
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut next = bench.taker();
    next.send("write a");
    bench.until_waiting("a", 1);
    guard.release().unwrap();
    next.answer().token();
    next.ask("release a").after("released");
    bench.assert_free("a");
}

#[test]
fn redis_by_tls_is_verified() {
    let certificates = Certificates::new().unwrap();
    let server = Redis::options().tls(&certificates).start().unwrap();
    let ours = Authority::of(&certificates);
    let strangers = Authority::of(&Certificates::new().unwrap());
    assert_works(&format!("{}?ca={}", server.url(), ours.path()));
    assert_works(&format!("{}?ca={}", server.url().replace("127.0.0.1", "localhost"), ours.path()));
    for refused in [
        format!("{}?ca={}", server.url(), strangers.path()),
        // Not one of the system's.
        server.url(),
        // Not the host that the certificate is for.
        format!("{}?ca={}", server.url().replace("127.0.0.1", "127.0.0.2"), ours.path()),
        // Not encrypted.
        server.url().replace("rediss", "redis"),
    ] {
        assert_eq!(refusal(&refused).kind(), ErrorKind::Unreachable, "{refused}");
    }
}

#[test]
fn postgres_by_tls_is_verified() {
    let certificates = Certificates::new().unwrap();
    let server = Postgres::options().tls(&certificates).password("secret").start().unwrap();
    let ours = Authority::of(&certificates);
    let strangers = Authority::of(&Certificates::new().unwrap());
    let url = |query: &str| format!("{}?{query}", server.url("postgres"));
    assert_works(&url(&format!("sslmode=verify-full&ca={}", ours.path())));
    // Encrypted, and no certificate looked at.
    assert_works(&url("sslmode=require"));
    let strange = refusal(&url(&format!("sslmode=verify-full&ca={}", strangers.path())));
    assert_eq!(strange.kind(), ErrorKind::Unreachable, "{strange}");
    let system = refusal(&url("sslmode=verify-full"));
    assert_eq!(system.kind(), ErrorKind::Unreachable, "{system}");
    // Refused by the server.
    let plain = refusal(&url("sslmode=disable"));
    assert_eq!(plain.kind(), ErrorKind::Permission, "{plain}");
}
