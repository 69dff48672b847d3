//! Writing to a server that does not read.

use std::os::unix::net::UnixListener;

use super::*;

/// More than the buffers of a connection hold.
const CALLS: usize = 2_000;
const LENGTH: usize = 16 * 1024;

#[test]
fn a_write_never_waits() {
    let (go, mut may_read) = gate();
    let (endpoint, _server) = serve(move |mut peer| {
        may_read();
        for _ in 0..CALLS {
            let call = peer.call().unwrap();
            assert_eq!(call.len(), LENGTH);
            peer.say(&format!("={}", call.trim_start_matches('.')));
        }
        peer.echo();
    });
    let (link, _) = open(endpoint);
    let order = Arc::new(Mutex::new(Vec::new()));
    for round in 0..CALLS {
        let order = order.clone();
        let answer = Box::new(move |result: Result<String, Failure>| order.lock().unwrap().push(result.unwrap()));
        let pace = if round % 2 == 0 { Pace::Now } else { Pace::Gathered };
        send(&link, &format!("{round:.>LENGTH$}"), pace, answer);
    }
    assert!(link.output().writer && !link.output().bytes.is_empty(), "the system took it all: make it more");
    go.send(()).unwrap();
    assert!(link.wait(Some(Instant::now() + LONG), &mut || order.lock().unwrap().len() == CALLS));
    assert_eq!(*order.lock().unwrap(), (0..CALLS).map(|round| round.to_string()).collect::<Vec<_>>());
    eventually("the writer goes", || !link.output().writer);
    assert_eq!(ask(&link, "and then").unwrap(), "and then");
}

/// The writer needs no reader: what a dropped guard sent gets out although nobody waits.
#[test]
fn the_rest_gets_out_although_nobody_reads() {
    let (go, mut may_read) = gate();
    let (endpoint, server) = serve(move |mut peer| {
        may_read();
        (0..CALLS).map(|_| peer.call().unwrap().len()).sum::<usize>()
    });
    let (link, _) = open(endpoint);
    for _ in 0..CALLS {
        send(&link, &".".repeat(LENGTH), Pace::Now, Box::new(|_| {}));
    }
    go.send(()).unwrap();
    assert_eq!(server.join().unwrap(), CALLS * LENGTH);
}

#[test]
fn the_writer_goes_when_the_link_ends() {
    let (go, mut may_end) = gate();
    let (endpoint, _server) = serve(move |_peer| may_end());
    let (link, listener) = open(endpoint);
    for _ in 0..CALLS {
        send(&link, &".".repeat(LENGTH), Pace::Now, Box::new(|_| {}));
    }
    assert!(link.output().writer);
    link.close();
    eventually("the writer lets go of the link", || Arc::strong_count(&link) == 1);
    assert_eq!(listener.ends.lock().unwrap().len(), 1);
    go.send(()).unwrap();
}

#[test]
fn a_socket_file_is_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server");
    let listener = UnixListener::bind(&path).unwrap();
    let _server = thread::spawn(move || Peer::after_handshake(listener.accept().unwrap().0).echo());
    let (link, _) = open(Endpoint { kind: Kind::Postgres, host: Host::Unix(path), tls: Tls::Require, ca: None });
    assert_eq!(ask(&link, "a").unwrap(), "a");
}
