//! PostgreSQL and PgBouncer: started, killed, started again, stopped.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use concurrent_locks_servers::{Error, PgBouncer, Postgres, missing};

/// What `psql`, as clients connect, makes of a query.
fn query(url: &str, sql: &str) -> Result<String, String> {
    let output = Command::new("psql").args(["-X", "-A", "-t", "-q", url, "-c", sql]).env_clear().output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Asks whether there is TLS, which every server answers at once.
fn greet(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    client
}

fn assert_silent_until(address: SocketAddr, go_on: impl FnOnce()) {
    let mut client = greet(address);
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let silence = client.read(&mut [0; 1]).unwrap_err().kind();
    assert!(matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence:?}");
    go_on();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn nothing_is_missing_where_these_tests_run() {
    assert_eq!(missing(), []);
}

#[test]
fn it_answers_on_its_port_as_soon_as_it_has_started() {
    let server = Postgres::start().unwrap();
    assert_eq!(query(&server.url("postgres"), "select 1 + 1").unwrap(), "2");
    assert_eq!(server.sql("postgres", "select 1, 'a'").unwrap(), "1|a");
    assert!(matches!(server.sql("postgres", "nonsense"), Err(Error::Refused(said)) if said.contains("syntax error")));
}

#[test]
fn databases_and_servers_are_apart() {
    let (one, two) = (Postgres::start().unwrap(), Postgres::start().unwrap());
    assert_ne!(one.address(), two.address());
    let [a, b] = [(); 2].map(|()| one.create_database().unwrap());
    query(&one.url(&a), "create table t()").unwrap();
    assert!(query(&one.url(&b), "table t").is_err());
    assert!(query(&two.url(&a), "select 1").unwrap_err().contains("does not exist"));
}

#[test]
fn what_is_committed_survives_a_kill() {
    let mut server = Postgres::start().unwrap();
    let (address, pid) = (server.address(), server.pid());
    server.sql("postgres", "create table t(n int); insert into t values (7)").unwrap();
    // Somebody is connected, so there is a child.
    let mut connected = greet(address);
    server.kill();
    assert!(!server.is_running());
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    connected.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    let _ = connected.read_to_end(&mut rest);
    assert!(rest.len() <= 1, "the child goes on to talk");
    server.restart().unwrap();
    assert_eq!(server.address(), address);
    assert_ne!(server.pid(), pid);
    assert_eq!(query(&server.url("postgres"), "table t").unwrap(), "7");
}

#[test]
fn a_stopped_server_is_silent_until_it_goes_on() {
    let mut server = Postgres::start().unwrap();
    server.stop_process();
    assert_silent_until(server.address(), || server.resume_process());
}

#[test]
fn open_connections_of_a_stopped_server_are_silent_too() {
    let mut server = Postgres::start().unwrap();
    let mut client = Command::new("psql");
    client.args(["-X", "-A", "-t", "-q", &server.url("postgres")]).env_clear();
    let mut client = client.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
    writeln!(input, "select 1;").unwrap();
    output.read_exact(&mut [0; 2]).unwrap();
    server.stop_process();
    writeln!(input, "select 2;").unwrap();
    drop(input);
    // It would have ended by now if it had been answered; that it has not is no proof, but what is
    // seen of the processes is.
    for pid in std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok()) {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let mut words = stat.rsplit_once(") ").unwrap().1.split(' ');
        let (state, parent) = (words.next().unwrap(), words.next().unwrap());
        if parent == server.pid().to_string() {
            assert_eq!(state, "T", "a child that runs: {stat}");
        }
    }
    assert!(client.try_wait().unwrap().is_none());
    server.resume_process();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "2\n");
    assert!(client.wait().unwrap().success());
}

#[test]
fn a_password_is_asked_for() {
    let server = Postgres::options().password("secret").start().unwrap();
    assert_eq!(query(&server.url("postgres"), "select 1").unwrap(), "1");
    let without = server.url("postgres").replace(":secret", "");
    assert!(query(&without, "select 1").unwrap_err().contains("no password"));
    assert!(query(&server.url("postgres").replace("secret", "wrong"), "select 1").is_err());
    let bouncer = PgBouncer::start(&server).unwrap();
    assert_eq!(query(&bouncer.url("postgres"), "select 1").unwrap(), "1");
    assert!(query(&bouncer.url("postgres").replace("secret", "wrong"), "select 1").is_err());
}

#[test]
fn a_durable_server_waits_for_the_disk() {
    let show = "show fsync";
    assert_eq!(Postgres::start().unwrap().sql("postgres", show).unwrap(), "off");
    assert_eq!(Postgres::options().durable().start().unwrap().sql("postgres", show).unwrap(), "on");
}

#[test]
fn a_bouncer_shares_connections_between_transactions() {
    let server = Postgres::start().unwrap();
    let mut bouncer = PgBouncer::start(&server).unwrap();
    let database = server.create_database().unwrap();
    let backend = || query(&bouncer.url(&database), "select pg_backend_pid()").unwrap();
    assert_eq!(backend(), backend(), "one connection of the server serves one client after the other");
    let address = bouncer.address();
    bouncer.stop_process();
    assert_silent_until(address, || bouncer.resume_process());
}

#[test]
fn a_setting_that_is_wrong_is_reported_with_what_the_server_wrote() {
    let error = Postgres::options().setting("no_such_setting", "1").start().unwrap_err().to_string();
    assert!(error.contains("postgres did not start") && error.contains("no_such_setting"), "{error}");
}

#[test]
fn a_shared_server_is_one_server_and_has_room_for_everybody() {
    let (one, two) = (Postgres::shared().unwrap(), Postgres::shared().unwrap());
    assert_eq!(one.url(), two.url());
    assert_ne!(one.fresh_space(), two.fresh_space());
    let database = Postgres::fresh_database(&one).unwrap();
    assert_eq!(query(&database, "select 1").unwrap(), "1");
}
