//! Blocked threads: one reads for all.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;

#[test]
fn answers_reach_their_callers_in_order() {
    let (endpoint, server) = serve(|mut peer| peer.echo());
    let (link, _) = open(endpoint);
    thread::scope(|scope| {
        for id in 0..8 {
            let link = &link;
            scope.spawn(move || {
                for round in 0..2_000 {
                    let text = format!("{id}-{round}");
                    assert_eq!(ask(link, &text).unwrap(), text);
                }
            });
        }
    });
    drop(link);
    server.join().unwrap();
}

#[test]
fn many_calls_of_one_thread_are_under_way_at_once() {
    let (endpoint, _server) = serve(|mut peer| {
        let calls: Vec<String> = (0..100).map(|_| peer.call().unwrap()).collect();
        calls.iter().for_each(|call| peer.say(&format!("={call}")));
        peer.echo();
    });
    let (link, _) = open(endpoint);
    let order = Arc::new(Mutex::new(Vec::new()));
    for round in 0..100 {
        let order = order.clone();
        let answer = Box::new(move |result: Result<String, Failure>| order.lock().unwrap().push(result.unwrap()));
        send(&link, &round.to_string(), Pace::Now, answer);
    }
    assert!(link.wait(Some(Instant::now() + LONG), &mut || order.lock().unwrap().len() == 100));
    assert_eq!(*order.lock().unwrap(), (0..100).map(|round| round.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_follower_takes_over_when_the_reader_has_its_answer() {
    let (first, mut may_answer_first) = gate();
    let (second, mut may_answer_second) = gate();
    let (endpoint, _server) = serve(move |mut peer| {
        let calls = [peer.call().unwrap(), peer.call().unwrap()];
        may_answer_first();
        peer.say(&format!("={}", calls[0]));
        may_answer_second();
        peer.say(&format!("={}", calls[1]));
        peer.echo();
    });
    let (link, _) = open(endpoint);
    thread::scope(|scope| {
        let reader = scope.spawn(|| ask(&link, "first"));
        eventually("somebody reads", || link.election().role.is_none());
        let follower = scope.spawn(|| ask(&link, "second"));
        eventually("somebody follows", || link.election().followers.len() == 1);
        first.send(()).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), "first");
        eventually("the follower reads", || link.election().role.is_none() && link.election().followers.is_empty());
        second.send(()).unwrap();
        assert_eq!(follower.join().unwrap().unwrap(), "second");
    });
    assert!(link.election().role.is_some(), "the last one puts the role back");
}

/// A follower that is done passes on the wake-up it was given as the next reader.
#[test]
fn a_promotion_that_comes_too_late_is_passed_on() {
    let (endpoint, _server) = serve(|mut peer| {
        let calls: Vec<String> = (0..3).map(|_| peer.call().unwrap()).collect();
        peer.say(&format!("={}", calls[0]));
        peer.echo();
    });
    let (link, _) = open(endpoint);
    // The test itself is the reader that stops: whom it wakes is done already.
    let inboxes = link.election().role.take().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| ask(&link, "a"));
        eventually("somebody follows", || link.election().followers.len() == 1);
        let late = scope.spawn(|| link.wait(Some(Instant::now() + LONG), &mut || done.load(SeqCst)));
        eventually("the second follows", || link.election().followers.len() == 2);
        done.store(true, SeqCst);
        let next = {
            let mut election = link.election();
            election.role = Some(inboxes);
            election.next()
        };
        link.tell(next);
        assert!(late.join().unwrap());
        eventually("the first reads", || link.election().role.is_none());
        let _ = begin(&link, "b");
        let _ = begin(&link, "c");
        assert_eq!(sleeper.join().unwrap().unwrap(), "a");
    });
}

#[test]
fn a_deadline_is_kept_although_the_server_is_silent() {
    let (endpoint, _server) = serve(|mut peer| while peer.call().is_some() {});
    let (link, _) = open(endpoint);
    let short = Duration::from_millis(50);
    let start = Instant::now();
    assert!(ask_until(&link, "reader", Some(start + short)).is_none());
    assert!(start.elapsed() >= short);
    thread::scope(|scope| {
        let reader = scope.spawn(|| link.wait(Some(Instant::now() + LONG), &mut || !link.is_open()));
        eventually("somebody reads", || link.election().role.is_none());
        let start = Instant::now();
        assert!(ask_until(&link, "follower", Some(start + short)).is_none());
        assert!(start.elapsed() >= short);
        assert!(link.election().followers.is_empty(), "who gives up does not follow any more");
        link.close();
        assert!(reader.join().unwrap());
    });
}

#[test]
fn what_has_come_is_read_even_behind_the_deadline() {
    let (endpoint, _server) = serve(|mut peer| peer.echo());
    let (link, _) = open(endpoint);
    let slot = begin(&link, "a");
    let past = Instant::now();
    eventually("it has come", || link.wait(Some(past), &mut || slot.lock().unwrap().is_some()));
}

#[test]
fn answers_in_pieces_are_put_together() {
    let (endpoint, _server) = serve(|mut peer| {
        while let Some(call) = peer.call() {
            for byte in format!("=long {call}\n.\n").bytes() {
                peer.stream.get_mut().write_all(&[byte]).unwrap();
            }
        }
    });
    let (link, _) = open(endpoint);
    for round in 0..50 {
        assert_eq!(ask(&link, &round.to_string()).unwrap(), format!("long {round}"));
    }
}

#[test]
fn a_long_answer_comes_whole() {
    let (endpoint, _server) = serve(|mut peer| {
        let call = peer.call().unwrap();
        peer.say(&format!("={}", call.repeat(1 << 20)));
        peer.echo();
    });
    let (link, _) = open(endpoint);
    assert_eq!(ask(&link, "0123456789").unwrap().len(), 10 << 20);
    assert_eq!(ask(&link, "next").unwrap(), "next");
}

#[test]
fn a_refusal_is_an_answer() {
    let (endpoint, _server) = serve(|mut peer| {
        let call = peer.call().unwrap();
        peer.say(&format!("!no {call}"));
        peer.echo();
    });
    let (link, _) = open(endpoint);
    assert!(matches!(ask(&link, "a"), Err(Failure::Refused(why)) if why == "no a"));
    assert_eq!(ask(&link, "b").unwrap(), "b");
}

#[test]
fn a_push_ends_a_wait() {
    let (endpoint, _server) = serve(|mut peer| {
        let call = peer.call().unwrap();
        peer.say(&format!("={call}\n>granted"));
        peer.echo();
    });
    let (link, heard) = open(endpoint);
    assert_eq!(ask(&link, "a").unwrap(), "a");
    assert!(link.wait(Some(Instant::now() + LONG), &mut || *heard.pushes.lock().unwrap() == ["granted"]));
}

#[test]
fn pushes_come_over_the_second_channel_and_answers_do_not() {
    let (calls, _server) = serve(|mut peer| peer.echo());
    let (go, mut may_answer) = gate();
    let (pushes, _pusher) = serve(move |mut peer| {
        peer.say(">granted");
        may_answer();
        peer.say("=stray");
        peer.echo();
    });
    let heard = Arc::new(Heard::default());
    let channels = [calls, pushes].map(|endpoint| Channel { endpoint, dialect: Box::new(Lines) });
    let link = Link::open(channels.into(), "me", heard.clone(), LONG).unwrap();
    assert!(link.wait(Some(Instant::now() + LONG), &mut || *heard.pushes.lock().unwrap() == ["granted"]));
    assert_eq!(ask(&link, "a").unwrap(), "a");
    go.send(()).unwrap();
    assert!(!link.wait(Some(Instant::now() + LONG), &mut || false));
    assert!(heard.ends.lock().unwrap()[0].contains("pushes"));
}

#[test]
fn what_came_behind_the_handshake_is_not_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _server = thread::spawn(move || {
        let mut peer = Peer { stream: BufReader::new(listener.accept().unwrap().0) };
        peer.line();
        peer.say("welcome\n>early");
        peer.echo();
    });
    let (link, heard) = open(endpoint(port, Kind::Redis, Tls::Off));
    assert!(link.wait(Some(Instant::now() + LONG), &mut || *heard.pushes.lock().unwrap() == ["early"]));
}
