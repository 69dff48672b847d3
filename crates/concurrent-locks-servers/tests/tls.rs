//! Servers that speak TLS, seen by their own clients, which check the certificate.
#![cfg(feature = "tls")]

use std::{fs, process::Command};

use concurrent_locks_servers::{Certificates, Postgres, Redis};

#[test]
fn redis_speaks_tls_and_nothing_else() {
    let certificates = Certificates::new().unwrap();
    let redis = Redis::options().tls(&certificates).start().unwrap();
    assert_eq!(redis.url(), format!("rediss://{}", redis.address()));
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    fs::write(&authority, certificates.authority()).unwrap();
    let ping = |arguments: &[&str]| {
        let port = redis.address().port().to_string();
        let mut command = Command::new("redis-cli");
        let output = command.args(["-h", "127.0.0.1", "-p", &port]).args(arguments).arg("PING").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ping(&["--tls", "--cacert", authority.to_str().unwrap()]), "PONG\n");
    assert_ne!(ping(&[]), "PONG\n");
    fs::write(&authority, Certificates::new().unwrap().authority()).unwrap();
    assert_ne!(ping(&["--tls", "--cacert", authority.to_str().unwrap()]), "PONG\n", "a stranger's certificate");
}

#[test]
fn postgres_speaks_tls_and_nothing_else() {
    let certificates = Certificates::new().unwrap();
    let server = Postgres::options().tls(&certificates).password("secret").start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    fs::write(&authority, certificates.authority()).unwrap();
    let works = |query: &str| {
        let url = format!("{}?{query}", server.url("postgres"));
        Command::new("psql").args(["-X", "-c", "select 1", &url]).env_clear().output().unwrap().status.success()
    };
    assert!(works(&format!("sslmode=verify-full&sslrootcert={}", authority.display())));
    assert!(!works("sslmode=disable"));
    fs::write(&authority, Certificates::new().unwrap().authority()).unwrap();
    assert!(!works(&format!("sslmode=verify-full&sslrootcert={}", authority.display())), "a stranger's certificate");
}
