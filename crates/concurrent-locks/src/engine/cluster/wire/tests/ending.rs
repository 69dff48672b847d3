//! The end of a link: everybody is notified, once.

use super::*;
use crate::{engine::cluster::wire::election::Phase, words::error::ErrorKind};

/// Three blocked threads and two futures wait; then `last` is what the server does.
fn ends(last: impl FnOnce(Peer) + Send + 'static, why: &str) {
    let (endpoint, _server) = serve(|mut peer| {
        (0..5).for_each(|_| drop(peer.call().unwrap()));
        last(peer);
    });
    let (link, listener) = open(endpoint);
    let _attention = link.attend();
    let (one, two) = (gather(&link, "future"), gather(&link, "future"));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| ask(&link, "thread"))).collect();
        for thread in threads {
            assert!(matches!(thread.join().unwrap(), Err(Failure::Broken(text)) if text.contains(why)));
        }
    });
    for future in [&one, &two] {
        assert!(matches!(heard(future), Err(Failure::Broken(text)) if text.contains(why)));
        assert!(future.recv().is_err(), "told once");
    }
    assert!(!link.is_open());
    eventually("the listener is notified", || !listener.ends.lock().unwrap().is_empty());
    assert!(matches!(ask(&link, "too late"), Err(Failure::Broken(_))));
    assert!(!link.wait(None, &mut || false));
    link.close();
    eventually("nobody reads", || link.election().role.is_some());
    assert_eq!(listener.ends.lock().unwrap().len(), 1, "told once");
    assert!(listener.ends.lock().unwrap()[0].contains(why));
}

#[test]
fn by_the_server_closing() {
    ends(drop, "closed the connection");
}

/// As daemons do with all descriptors; the number goes to a file of theirs.
#[test]
#[expect(unsafe_code, reason = "closing what others own is what the test is about")]
fn by_this_process_closing_the_descriptor() {
    use std::os::fd::{AsRawFd, FromRawFd};
    let (endpoint, _server) = serve(|mut peer| peer.echo());
    let (link, listener) = open(endpoint);
    assert_eq!(ask(&link, "hello").unwrap(), "hello");
    let number = link.lines[0].stream.socket().number();
    let log = tempfile::tempfile().unwrap();
    // SAFETY: that the owner of the number copes with it is what is tested; from here on it is the file's.
    let mut log = unsafe {
        assert_eq!(libc::dup2(log.as_raw_fd(), number), number);
        std::fs::File::from_raw_fd(number)
    };
    assert!(link.has_ended());
    assert!(matches!(ask(&link, "a secret"), Err(Failure::Broken(_))));
    eventually("the listener is notified", || !listener.ends.lock().unwrap().is_empty());
    drop(link);
    log.write_all(b"mine").unwrap();
    let mut text = String::new();
    std::io::Seek::rewind(&mut log).unwrap();
    log.read_to_string(&mut text).unwrap();
    assert_eq!(text, "mine");
}

#[test]
fn by_a_frame() {
    ends(
        |mut peer| {
            peer.say("xno more");
            peer.echo();
        },
        "no more",
    );
}

#[test]
fn by_bytes_that_are_invalid() {
    ends(
        |mut peer| {
            peer.say("#?");
            peer.echo();
        },
        "damaged",
    );
}

#[test]
fn by_an_answer_that_nobody_asked_for() {
    let (endpoint, _server) = serve(|mut peer| {
        peer.say("=what?");
        peer.echo();
    });
    let (link, listener) = open(endpoint);
    assert!(!link.wait(Some(Instant::now() + LONG), &mut || false));
    assert!(listener.ends.lock().unwrap()[0].contains("nobody asked"));
}

#[test]
fn by_close_which_wakes_all() {
    let (endpoint, server) = serve(|mut peer| while peer.call().is_some() {});
    let (link, listener) = open(endpoint);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| ask_until(&link, "a", None))).collect();
        eventually("one reads, two follow", || link.election().role.is_none() && link.election().followers.len() == 2);
        link.close();
        for thread in threads {
            assert!(matches!(thread.join().unwrap(), Some(Err(Failure::Broken(_)))));
        }
    });
    assert_eq!(listener.ends.lock().unwrap().len(), 1);
    server.join().unwrap();
}

#[test]
fn by_drop_which_tells_what_is_outstanding() {
    let (endpoint, server) = serve(|mut peer| while peer.call().is_some() {});
    let (link, listener) = open(endpoint);
    let told = gather(&link, "a");
    drop(link);
    assert!(matches!(told.try_recv().unwrap(), Err(Failure::Broken(_))));
    assert_eq!(listener.ends.lock().unwrap().len(), 1);
    server.join().unwrap();
}

/// Callbacks run without a lock of the link: they may send.
#[test]
fn a_callback_may_send_also_at_the_end() {
    let (endpoint, _server) = serve(|mut peer| {
        let call = peer.call().unwrap();
        peer.say(&format!("={call}"));
        peer.call();
    });
    let (link, _) = open(endpoint);
    let (tell, told) = channel();
    let again = link.clone();
    let answer = Box::new(move |_| {
        let last = again.clone();
        let answer = Box::new(move |first: Result<String, Failure>| {
            assert!(matches!(first, Err(Failure::Broken(_))));
            send(&last, "third", Pace::Now, Box::new(move |result| tell.send(result).unwrap()));
        });
        send(&again, "second", Pace::Now, answer);
    });
    send(&link, "first", Pace::Now, answer);
    assert!(!link.wait(Some(Instant::now() + LONG), &mut || false));
    assert!(matches!(heard(&told), Err(Failure::Broken(_))));
}

#[test]
fn who_waits_while_the_end_is_reported_is_notified_too() {
    let (endpoint, _server) = serve(|mut peer| while peer.call().is_some() {});
    let (link, _) = open(endpoint);
    // The first answer holds up the end until the other thread sleeps.
    let held = link.clone();
    let answer = Box::new(move |_| eventually("somebody follows", || held.election().followers.len() == 1));
    send(&link, "a", Pace::Now, answer);
    let slot = Arc::new(Mutex::new(None));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let (thread, filled) = (thread::current(), slot.clone());
            let answer = Box::new(move |result| {
                *filled.lock().unwrap() = Some(result);
                thread.unpark();
            });
            send(&link, "b", Pace::Now, answer);
            eventually("the end begins", || !link.is_open());
            link.wait(Some(Instant::now() + LONG), &mut || slot.lock().unwrap().is_some())
        });
        eventually("both are asked", || link.election().answers.len() == 2);
        link.close();
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn an_answer_that_a_reader_has_taken_counts_although_the_link_has_ended() {
    let (endpoint, _server) = serve(|mut peer| {
        let call = peer.call().unwrap();
        peer.say(&format!("={call}"));
        peer.call();
    });
    let (link, _) = open(endpoint);
    let _attention = link.attend();
    eventually("the reader thread reads", || link.election().role.is_none());
    let (taken, is_taken) = channel();
    let slot = Arc::new(Mutex::new(None));
    let (thread, filled, held) = (thread::current(), slot.clone(), link.clone());
    let answer = Box::new(move |result| {
        taken.send(()).unwrap();
        eventually("somebody waits for it", || held.election().followers.len() == 1);
        *filled.lock().unwrap() = Some(result);
        thread.unpark();
    });
    send(&link, "a", Pace::Now, answer);
    is_taken.recv_timeout(LONG).unwrap();
    link.close();
    assert!(matches!(link.election().phase, Phase::Over(_)));
    assert!(link.wait(Some(Instant::now() + LONG), &mut || slot.lock().unwrap().is_some()));
    assert_eq!(slot.lock().unwrap().take().unwrap().unwrap(), "a");
}

/// A waiter for a push has no answer whose callback would wake it.
#[test]
fn who_waits_for_a_push_is_woken_by_the_end() {
    let (endpoint, _server) = serve(|mut peer| while peer.call().is_some() {});
    let (link, _) = open(endpoint);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| link.wait(None, &mut || false))).collect();
        eventually("one reads, two follow", || link.election().role.is_none() && link.election().followers.len() == 2);
        link.close();
        eventually("all are woken", || link.election().followers.is_empty());
        waiters.into_iter().for_each(|waiter| assert!(!waiter.join().unwrap()));
    });
}

#[test]
fn a_server_that_does_not_greet_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let channels = vec![Channel { endpoint: endpoint(port, Kind::Redis, Tls::Off), dialect: Box::new(Lines) }];
    let patience = Duration::from_millis(50);
    let refused = Link::open(channels, "me", Arc::new(Heard::default()), patience).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unreachable);
    assert!(refused.to_string().contains("did not answer within 0.050 s"), "{refused}");
}

#[test]
fn a_port_without_a_server_is_refused_with_its_name() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let channels = vec![Channel { endpoint: endpoint(port, Kind::Redis, Tls::Off), dialect: Box::new(Lines) }];
    let refused = Link::open(channels, "me", Arc::new(Heard::default()), LONG).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unreachable);
    assert!(refused.to_string().contains(&format!("127.0.0.1:{port}")), "{refused}");
}
