//! Redis: started, killed, started again, stopped, replicated.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use concurrent_locks_servers::{Error, Redis, Reply};

/// A connection to the port, as clients make it.
fn client(redis: &Redis) -> TcpStream {
    let client = TcpStream::connect(redis.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client
}

fn ask(client: &mut TcpStream, line: &str) -> String {
    client.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut answer = [0; 200];
    let length = client.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

fn value(redis: &Redis, key: &str) -> Reply {
    redis.command(&["GET", key]).unwrap()
}

#[test]
fn it_answers_on_its_port_as_soon_as_it_has_started() {
    let redis = Redis::start().unwrap();
    assert_eq!(redis.url(), format!("redis://{}", redis.address()));
    assert_eq!(ask(&mut client(&redis), "PING"), "+PONG\r\n");
    assert!(matches!(redis.command(&["NONSENSE"]), Err(Error::Refused(said)) if said.contains("unknown command")));
}

#[test]
fn two_are_two() {
    let (one, two) = (Redis::start().unwrap(), Redis::start().unwrap());
    assert_ne!(one.address(), two.address());
    one.command(&["SET", "a", "1"]).unwrap();
    assert_eq!(value(&two, "a"), Reply::Nil);
}

#[test]
fn a_restart_keeps_the_port_and_forgets_the_data() {
    let mut redis = Redis::start().unwrap();
    redis.command(&["SET", "a", "1"]).unwrap();
    let (address, pid) = (redis.address(), redis.pid());
    redis.kill();
    assert!(!redis.is_running());
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(redis.command(&["PING"]).is_err());
    redis.restart().unwrap();
    assert_eq!(redis.address(), address);
    assert_ne!(redis.pid(), pid);
    assert_eq!(ask(&mut client(&redis), "PING"), "+PONG\r\n");
    assert_eq!(value(&redis, "a"), Reply::Nil);
}

#[test]
fn an_append_only_server_forgets_nothing() {
    let mut redis = Redis::options().append_only().start().unwrap();
    redis.command(&["SET", "a", "1"]).unwrap();
    redis.restart().unwrap();
    assert_eq!(value(&redis, "a").text(), "1");
}

#[test]
fn a_stopped_process_is_silent_until_it_goes_on() {
    let mut redis = Redis::start().unwrap();
    let mut client = client(&redis);
    redis.stop_process();
    client.write_all(b"PING\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let silence = client.read(&mut [0; 10]).unwrap_err().kind();
    assert!(matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence:?}");
    redis.resume_process();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = [0; 7];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[test]
fn a_password_is_asked_for() {
    let redis = Redis::options().password("secret").start().unwrap();
    assert_eq!(redis.url(), format!("redis://:secret@{}", redis.address()));
    let mut client = client(&redis);
    assert!(ask(&mut client, "PING").contains("NOAUTH"));
    assert_eq!(ask(&mut client, "AUTH secret"), "+OK\r\n");
}

#[test]
fn an_access_list_is_obeyed() {
    let redis = Redis::options().access("user default off\nuser locks on >secret ~locks:* +get").start().unwrap();
    let mut client = client(&redis);
    assert_eq!(ask(&mut client, "AUTH locks secret"), "+OK\r\n");
    assert_eq!(ask(&mut client, "GET locks:a"), "$-1\r\n");
    assert!(ask(&mut client, "GET other").contains("NOPERM"));
    assert_eq!(redis.url_of("locks", "secret"), format!("redis://locks:secret@{}", redis.address()));
    assert_eq!(value(&redis, "other"), Reply::Nil, "the test itself may do everything");
}

#[test]
fn a_replica_follows_and_takes_over() {
    let mut primary = Redis::options().password("secret").start().unwrap();
    primary.command(&["SET", "before", "1"]).unwrap();
    let mut replica = Redis::options().replica_of(&primary).start().unwrap();
    assert_eq!(value(&replica, "before").text(), "1");
    primary.command(&["SET", "after", "2"]).unwrap();
    assert_eq!(primary.command(&["WAIT", "1", "30000"]).unwrap(), Reply::Number(1));
    assert_eq!(value(&replica, "after").text(), "2");
    assert!(replica.command(&["SET", "a", "1"]).is_err());
    primary.kill();
    replica.promote();
    replica.command(&["SET", "a", "1"]).unwrap();
    replica.restart().unwrap();
    assert_eq!(
        replica.command(&["ROLE"]).unwrap(),
        Reply::List(vec![Reply::Text("master".into()), Reply::Number(0), Reply::List(vec![]),])
    );
}

#[test]
fn a_cluster_of_one_node_has_all_slots() {
    let redis = Redis::options().cluster().start().unwrap();
    let told = redis.command(&["CLUSTER", "INFO"]).unwrap();
    assert!(told.text().contains("cluster_slots_ok:16384"), "{told:?}");
    redis.command(&["SET", "a", "1"]).unwrap();
}

#[test]
fn a_setting_that_is_wrong_is_reported_with_what_the_server_wrote() {
    let error = Redis::options().setting("no-such-setting", "1").start().unwrap_err().to_string();
    assert!(error.contains("redis-server did not start") && error.contains("no-such-setting"), "{error}");
}
