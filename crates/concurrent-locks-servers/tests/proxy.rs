//! The proxy, before a server that sends everything back.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use concurrent_locks_servers::Proxy;

/// Sends back what it gets, a letter of its own before it.
fn echo(letter: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 1000];
                while let Ok(length @ 1..) = client.read(&mut buffer) {
                    if client.write_all(&[letter]).and_then(|()| client.write_all(&buffer[..length])).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client
}

fn expect(client: &mut TcpStream, answer: &str) {
    let mut read = vec![0; answer.len()];
    client.read_exact(&mut read).unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), answer);
}

fn assert_closed(client: &mut TcpStream) {
    match client.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("not closed but {other:?}"),
    }
}

fn assert_silent(client: &mut TcpStream) {
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let silence = client.read(&mut [0; 1]).unwrap_err().kind();
    assert!(matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence:?}");
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
}

#[test]
fn everything_goes_through_and_is_counted() {
    let proxy = Proxy::to(echo(b'a'));
    let mut client = connect(&proxy);
    client.write_all(b"hello").unwrap();
    expect(&mut client, "ahello");
    // The count may come just after the bytes.
    let start = Instant::now();
    while proxy.bytes() != (5, 6) {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", proxy.bytes());
    }
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn a_cut_closes_what_is_open_and_nothing_else() {
    let proxy = Proxy::to(echo(b'a'));
    let mut clients = [connect(&proxy), connect(&proxy)];
    for client in &mut clients {
        client.write_all(b"x").unwrap();
        expect(client, "ax");
    }
    proxy.cut();
    clients.iter_mut().for_each(assert_closed);
    let mut client = connect(&proxy);
    client.write_all(b"y").unwrap();
    expect(&mut client, "ay");
}

#[test]
fn a_refusal_is_for_new_connections() {
    let proxy = Proxy::to(echo(b'a'));
    let mut old = connect(&proxy);
    old.write_all(b"x").unwrap();
    expect(&mut old, "ax");
    proxy.refuse(true);
    assert_closed(&mut connect(&proxy));
    old.write_all(b"y").unwrap();
    expect(&mut old, "ay");
    proxy.refuse(false);
    let mut new = connect(&proxy);
    new.write_all(b"z").unwrap();
    expect(&mut new, "az");
}

#[test]
fn a_stall_holds_everything_up_and_loses_nothing() {
    let proxy = Proxy::to(echo(b'a'));
    let mut old = connect(&proxy);
    old.write_all(b"x").unwrap();
    expect(&mut old, "ax");
    proxy.stall(true);
    let mut new = connect(&proxy);
    for client in [&mut old, &mut new] {
        client.write_all(b"y").unwrap();
        assert_silent(client);
    }
    proxy.stall(false);
    for client in [&mut old, &mut new] {
        expect(client, "ay");
    }
}

#[test]
fn a_cut_ends_connections_that_are_stalled() {
    let proxy = Proxy::to(echo(b'a'));
    let mut client = connect(&proxy);
    client.write_all(b"x").unwrap();
    expect(&mut client, "ax");
    proxy.stall(true);
    proxy.cut();
    assert_closed(&mut client);
}

#[test]
fn a_delay_is_one_of_each_direction_and_does_not_add_up() {
    let delay = Duration::from_millis(50);
    let proxy = Proxy::to(echo(b'a'));
    proxy.delay(delay);
    let mut client = connect(&proxy);
    let start = Instant::now();
    for _ in 0..20 {
        client.write_all(b"x").unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    expect(&mut client, "ax");
    assert!(start.elapsed() >= delay * 2, "{:?}", start.elapsed());
}

#[test]
fn after_a_redirection_new_connections_go_elsewhere() {
    let proxy = Proxy::to(echo(b'a'));
    let mut old = connect(&proxy);
    proxy.redirect(echo(b'b'));
    let mut new = connect(&proxy);
    new.write_all(b"x").unwrap();
    expect(&mut new, "bx");
    old.write_all(b"x").unwrap();
    let mut letter = [0; 1];
    old.read_exact(&mut letter).unwrap();
}

#[test]
fn a_client_that_has_said_everything_still_gets_its_answer() {
    let proxy = Proxy::to(echo(b'a'));
    let mut client = connect(&proxy);
    client.write_all(b"x").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "ax");
}

#[test]
fn a_server_that_is_down_and_a_proxy_that_has_ended_take_no_connection() {
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_closed(&mut connect(&Proxy::to(nowhere)));
    let proxy = Proxy::to(echo(b'a'));
    let mut client = connect(&proxy);
    client.write_all(b"x").unwrap();
    expect(&mut client, "ax");
    let address = proxy.address();
    drop(proxy);
    assert_closed(&mut client);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
