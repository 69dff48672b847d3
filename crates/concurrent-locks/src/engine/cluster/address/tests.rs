use proptest::prelude::*;

use super::*;
use crate::words::error::{Error, ErrorKind};

fn nothing_set(_: &str) -> Option<String> {
    None
}

/// With a user, so that the tests do not depend on who runs them.
fn user_set(variable: &str) -> Option<String> {
    (variable == "PGUSER").then(|| "me".to_owned())
}

fn read(url: &str) -> Result<Address, Error> {
    Address::parse_in(url, &user_set)
}

fn shown(url: &str) -> String {
    read(url).unwrap().to_string()
}

fn tcp(name: &str, port: u16) -> Host {
    Host::Tcp { name: name.into(), port }
}

#[test]
fn every_part_is_read() {
    let address = read("redis://jo%40home:p%3Aw%2F@One:7000,[::1],127.0.0.1/3?space=blue.1&lease=1m%2030s").unwrap();
    assert_eq!(address.kind, Kind::Redis);
    assert_eq!(address.hosts, [tcp("one", 7000), tcp("::1", 6379), tcp("127.0.0.1", 6379)]);
    assert_eq!((address.user.as_deref(), address.database.as_str()), (Some("jo@home"), "3"));
    assert_eq!(address.password.as_deref(), Some("p:w/"));
    assert_eq!((address.space.as_str(), address.lease), ("blue.1", Duration::from_secs(90)));
    assert_eq!((address.tls, address.listen), (None, None));

    let address = read(
        "postgresql://jo:pw@pg.example,[fe80::2]:5433/sh%20op?sslmode=verify-full&ca=/etc/ca.pem&listen=direct:6000",
    )
    .unwrap();
    assert_eq!(address.kind, Kind::Postgres);
    assert_eq!(address.hosts, [tcp("pg.example", 5432), tcp("fe80::2", 5433)]);
    assert_eq!(address.database, "sh op");
    assert_eq!((address.tls, address.ca), (Some(Tls::Verify), Some("/etc/ca.pem".into())));
    assert_eq!(address.listen, Some(tcp("direct", 6000)));
    assert!(address.guarded);
    assert!(!read("postgres://jo@pg?life=lease").unwrap().guarded && !read("redis://h").unwrap().guarded);
    assert_eq!(
        read("postgres://jo@h/d?life=lease&space=s").unwrap().to_string(),
        "postgres://jo@h:5432/d?space=s&life=lease"
    );
}

#[test]
fn what_is_missing_comes_from_the_environment_or_is_usual() {
    assert_eq!(shown("redis://h"), "redis://h:6379?space=default");
    assert_eq!(shown("postgres://h"), "postgres://me@h:5432/me?space=default");
    assert_eq!(shown("postgres://jo@h"), "postgres://jo@h:5432/jo?space=default");
    let set = |variable: &str| match variable {
        "PGUSER" => Some("ann".to_owned()),
        "PGPASSWORD" => Some("secret".to_owned()),
        "PGDATABASE" => Some("shop".to_owned()),
        "LOCKS_SPACE" => Some("green".to_owned()),
        _ => None,
    };
    let address = Address::parse_in("postgres://h", &set).unwrap();
    assert_eq!(address.to_string(), "postgres://ann:***@h:5432/shop?space=green");
    assert_eq!(address.password.as_deref(), Some("secret"));
    let address = Address::parse_in("postgres://jo:own@h/db?space=red", &set).unwrap();
    assert_eq!(address.to_string(), "postgres://jo:***@h:5432/db?space=red");
    assert_eq!(address.password.as_deref(), Some("own"));
    assert_eq!(Address::parse_in("redis://h", &set).unwrap().password, None, "that is PostgreSQL's");
    let somebody = Address::parse_in("postgres://h", &nothing_set).unwrap().user;
    assert!(somebody.is_some_and(|user| !user.is_empty()), "the user of this process");
    assert_eq!(read("redis://h").unwrap().user, None);
    let bad = Address::parse_in("redis://h", &|_| Some("not good".to_owned())).unwrap_err();
    assert!(bad.to_string().contains("LOCKS_SPACE"), "{bad}");
}

#[test]
fn sockets_are_directories() {
    let socket = |port: u16| vec![Host::Unix(format!("/run/Pg/.s.PGSQL.{port}").into())];
    assert_eq!(read("postgres:///db?host=/run/Pg").unwrap().hosts, socket(5432));
    assert_eq!(read("postgres://:5433/db?host=/run/Pg").unwrap().hosts, socket(5433));
    assert_eq!(read("postgres://jo@%2Frun%2FPg:5433/db").unwrap().hosts, socket(5433));
    assert_eq!(shown("postgres:///db?host=/run/Pg"), "postgres://me@%2Frun%2FPg:5432/db?space=default");
}

#[test]
fn encryption_is_what_the_url_says_or_what_suits_the_host() {
    let tls = |url: &str| {
        let address = read(url).unwrap();
        address.endpoint(&address.hosts[0]).tls
    };
    assert_eq!(tls("redis://h"), Tls::Off);
    assert_eq!(tls("rediss://localhost"), Tls::Verify);
    assert_eq!(tls("postgres://h"), Tls::Prefer);
    for host in ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "%2Frun"] {
        assert_eq!(tls(&format!("postgres://{host}")), Tls::Off, "{host}");
    }
    assert_eq!(tls("postgres://localhost?sslmode=require"), Tls::Require);
    assert_eq!(tls("postgres://h?sslmode=disable"), Tls::Off);
    assert_eq!(tls("postgres://h?ca=/ca.pem"), Tls::Verify);
    assert!(shown("rediss://h?ca=/my%20ca.pem").ends_with("&ca=/my%20ca.pem"));
}

#[test]
fn nonsense_is_refused_with_what_is_possible() {
    for (bad, said) in [
        ("", "redis://, rediss:// or postgres://"),
        ("redis:h", "redis://, rediss:// or postgres://"),
        ("http://h", "redis://, rediss:// or postgres://"),
        ("redis://", "has no host"),
        ("redis://a,,b", "has no host"),
        ("redis://h:0", "port"),
        ("redis://h:x", "port"),
        ("redis://h:70000", "port"),
        ("redis://::1", "[ and ]"),
        ("redis://[::1", "without ]"),
        ("redis://[h]", "IPv6"),
        ("redis://[::1]x", "between ]"),
        ("redis://a b", "host"),
        ("redis://%2Frun", "directory"),
        ("redis://h/x", "number"),
        ("redis://h/1/2", "number"),
        ("redis://h#1", "%23"),
        ("redis://%ff@h", "UTF-8"),
        ("redis://a%00@h", "NUL"),
        ("redis://h?", "key=value"),
        ("redis://h?space", "key=value"),
        ("redis://h?space=", "1 to 100"),
        ("redis://h?space=a/b", "1 to 100"),
        ("redis://h?space=%C3%A4", "1 to 100"),
        ("redis://h?space=a&space=b", "twice"),
        ("redis://:a?b@h", "%XX"),
        ("redis://h?Space=a", "valid keys are space and lease"),
        ("redis://h?lease=0s", "1s to 1h"),
        ("redis://h?lease=999ms", "1s to 1h"),
        ("redis://h?lease=61m", "1s to 1h"),
        ("redis://h?lease=soon", "lease"),
        ("redis://h?db=3", "valid keys are space and lease"),
        ("redis://h?sslmode=require", "valid keys are space and lease"),
        ("redis://h?ca=/x", "rediss://"),
        ("rediss://h?x=1", "space, lease and ca"),
        ("postgres://h?connect_timeout=3", "space, lease, sslmode, ca, listen, life and host"),
        ("postgres://h?sslmode=verify-ca", "verify-full"),
        ("postgres://h?sslmode=require&ca=/x", "verify-full"),
        ("postgres://h?listen=", "host"),
        ("postgres://h?life=long", "connection and lease"),
        ("redis://h?life=lease", "valid keys are"),
        ("postgres://h?host=/run", "twice"),
        ("postgres:///d?host=h", "directory"),
    ] {
        let error = read(bad).expect_err(bad);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
        assert!(error.to_string().contains(said), "{bad}: {error}");
    }
    for url in ["redis:h", "rediss://", "postgres:", "postgresql://h"] {
        assert!(Address::is_meant_by(url), "{url}");
    }
    assert!(!Address::is_meant_by("host:redis") && !Address::is_meant_by("redis"));
    let long = "a".repeat(100);
    assert!(read(&format!("redis://h?space={long}")).is_ok());
    assert!(read(&format!("redis://h?space={long}a")).is_err());
}

proptest! {
    #[test]
    fn no_input_panics(url in ".*", rest in ".*", scheme in "redis|rediss|postgres") {
        let _ = read(&url);
        let _ = read(&format!("{scheme}://{rest}"));
    }

    #[test]
    fn no_pieces_panic(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "redis://", "postgres://", "h", ":", "@", "/", "?", "&", "=", ",", "[", "]", "::1", "%", "%2F", "%00", "%ff",
            "space", "lease", "1s", "ca", "sslmode", "host", "listen", "5", "ä", "#",
        ]), 0..12)) {
        let _ = read(&format!("redis://{}", pieces.concat()));
        let _ = read(&format!("postgres://{}", pieces.concat()));
    }

    /// What is shown names the same address.
    #[test]
    fn a_shown_address_reads_back(
        scheme in "redis|rediss|postgres",
        user in "[a-zA-Z@:/ ä%]{1,8}",
        hosts in prop::collection::vec("[a-z][a-z0-9.-]{0,8}(:[1-9][0-9]{0,3})?|\\[::[1-9]\\]", 1..4),
        number in 0..16,
        space in "[A-Za-z0-9._-]{1,20}",
        lease in 1_000_u64..3_600_000,
    ) {
        let user = utf8_percent_encode(&user, PART);
        let url = format!("{scheme}://{user}@{}/{number}?space={space}&lease={lease}ms", hosts.join(","));
        let address = read(&url).unwrap();
        prop_assert_eq!(read(&address.to_string()).unwrap(), address);
    }

    /// Wherever a URL is wrong, its password stays unsaid.
    #[test]
    fn a_password_is_never_shown(
        password in "[a-z]{4}Q[0-9/?:%&=,]{0,2}[A-Z]{6}",
        before in "(redis|rediss|postgres)://([a-z]{0,3})",
        after in "(@h|@h:x|@|@\\[h|@h/x|@h?y=1|@h?space=!|)(\\?ca=/x)?",
    ) {
        let url = format!("{before}:{password}{after}");
        let said = match read(&url) {
            Ok(address) => format!("{address} {address:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        // The part that no URL has by itself.
        let secret = &password[password.len() - 6..];
        prop_assert!(!said.contains(secret), "{}", said);
    }
}
