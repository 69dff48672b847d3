//! Futures: the link's own thread reads, and calls are gathered.

use super::*;
use crate::engine::cluster::wire::election::ReaderThread;

fn reader_thread_is_gone(link: &Link) -> bool {
    matches!(link.election().reader_thread, ReaderThread::None)
}

#[test]
fn the_reader_thread_reads_while_futures_wait_and_then_goes() {
    let (endpoint, _server) = serve(|mut peer| {
        let call = peer.call().unwrap();
        peer.say(&format!("={call}\n>granted"));
        peer.echo();
    });
    let (link, listener) = open(endpoint);
    let attention = link.attend();
    assert_eq!(heard(&gather(&link, "a")).unwrap(), "a");
    eventually("the push comes", || *listener.pushes.lock().unwrap() == ["granted"]);
    let second = link.attend();
    drop(attention);
    assert_eq!(heard(&gather(&link, "b")).unwrap(), "b");
    drop(second);
    eventually("the reader thread stops", || reader_thread_is_gone(&link) && link.election().role.is_some());
    let _third = link.attend();
    assert_eq!(heard(&gather(&link, "c")).unwrap(), "c");
}

#[test]
fn the_reader_thread_takes_over_from_a_blocked_thread() {
    let (endpoint, _server) = serve(|mut peer| {
        assert_eq!(peer.call().as_deref(), Some("blocked"));
        assert_eq!(peer.call().as_deref(), Some("future"));
        peer.say("=blocked");
        assert_eq!(peer.call().as_deref(), Some("over"));
        peer.say("=future\n=over");
        peer.echo();
    });
    let (link, _) = open(endpoint);
    thread::scope(|scope| {
        let blocked = scope.spawn(|| ask(&link, "blocked"));
        eventually("somebody reads", || link.election().role.is_none());
        let _attention = link.attend();
        assert!(reader_thread_is_gone(&link), "nobody is started while somebody reads");
        let (tell, told) = channel();
        send(&link, "future", Pace::Now, Box::new(move |result| tell.send(result).unwrap()));
        assert_eq!(blocked.join().unwrap().unwrap(), "blocked");
        send(&link, "over", Pace::Now, Box::new(|_| {}));
        assert_eq!(heard(&told).unwrap(), "future");
    });
}

#[test]
fn threads_and_futures_share_one_link() {
    let (endpoint, server) = serve(|mut peer| peer.echo());
    let (link, _) = open(endpoint);
    thread::scope(|scope| {
        for id in 0..4 {
            let link = &link;
            scope.spawn(move || {
                for round in 0..1_000 {
                    let text = format!("t{id}-{round}");
                    assert_eq!(ask(link, &text).unwrap(), text);
                }
            });
            scope.spawn(move || {
                for round in 0..1_000 {
                    let text = format!("f{id}-{round}");
                    let _attention = link.attend();
                    assert_eq!(heard(&gather(link, &text)).unwrap(), text);
                }
            });
        }
    });
    link.close();
    server.join().unwrap();
}

#[test]
fn gathered_calls_go_in_order_when_the_next_answer_comes() {
    let (go, mut may_answer) = gate();
    let (endpoint, _server) = serve(move |mut peer| {
        let first = peer.call().unwrap();
        may_answer();
        peer.say(&format!("={first}"));
        peer.echo();
    });
    let (link, _) = open(endpoint);
    let _attention = link.attend();
    eventually("the reader thread reads", || link.election().role.is_none());
    let first = gather(&link, "first");
    assert!(link.output().bytes.is_empty(), "nothing is outstanding: it is written at once");
    let calls: Vec<_> = (0..63).map(|round| (round, gather(&link, &round.to_string()))).collect();
    assert_eq!(link.output().bytes.split(|byte| *byte == b'\n').count(), 64, "63 calls are kept");
    go.send(()).unwrap();
    assert_eq!(heard(&first).unwrap(), "first");
    for (round, told) in calls {
        assert_eq!(heard(&told).unwrap(), round.to_string());
    }
    assert!(link.output().bytes.is_empty());
}

#[test]
fn a_call_of_a_blocked_thread_takes_along_what_is_kept() {
    let (endpoint, _server) = serve(|mut peer| {
        let calls: Vec<_> = (0..3).map(|_| peer.call().unwrap()).collect();
        assert_eq!(calls, ["first", "kept", "now"]);
        peer.say("=first\n=kept\n=now");
        peer.echo();
    });
    let (link, _) = open(endpoint);
    let _attention = link.attend();
    eventually("the reader thread reads", || link.election().role.is_none());
    let (first, kept) = (gather(&link, "first"), gather(&link, "kept"));
    assert!(!link.output().bytes.is_empty());
    assert_eq!(ask(&link, "now").unwrap(), "now");
    assert_eq!((heard(&first).unwrap(), heard(&kept).unwrap()), ("first".into(), "kept".into()));
}

#[test]
fn nothing_is_kept_when_nobody_reads() {
    let (written, is_written) = channel();
    let (endpoint, _server) = serve(move |mut peer| {
        peer.call().unwrap();
        written.send(peer.call().unwrap()).unwrap();
        peer.echo();
    });
    let (link, _) = open(endpoint);
    let (_first, _second) = (gather(&link, "first"), gather(&link, "second"));
    assert_eq!(is_written.recv_timeout(LONG).unwrap(), "second");
}

#[test]
fn who_stops_reading_writes_what_is_kept() {
    let (go, mut may_push) = gate();
    let (written, is_written) = channel();
    let (endpoint, _server) = serve(move |mut peer| {
        peer.call().unwrap();
        may_push();
        peer.say(">enough");
        // Without an answer, only the reader's leaving can make it come.
        written.send(peer.call().unwrap()).unwrap();
        peer.echo();
    });
    let (link, heard) = open(endpoint);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let _unanswered = begin(&link, "first");
            link.wait(Some(Instant::now() + LONG), &mut || !heard.pushes.lock().unwrap().is_empty())
        });
        eventually("somebody reads", || link.election().role.is_none());
        let _kept = gather(&link, "second");
        assert!(!link.output().bytes.is_empty(), "it is kept");
        go.send(()).unwrap();
        assert!(reader.join().unwrap());
    });
    assert_eq!(is_written.recv_timeout(LONG).unwrap(), "second");
}
