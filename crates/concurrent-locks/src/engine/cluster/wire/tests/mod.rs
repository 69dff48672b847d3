//! A link against servers that are threads of the test: lines of text over real sockets.

mod ending;
mod futures;
mod threads;
#[cfg(feature = "tls")]
mod tls;
mod writing;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Answer, Channel, Dialect, Failure, Frame, HandshakeStream, Link, Listener, Pace, Past};
use crate::{
    engine::cluster::{
        address::{Endpoint, Host, Kind, Tls},
        protocol::{Call, Verb},
    },
    words::error::Error,
};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(30);

/// A call is `VERB ARGUMENTS`; a line back is `=answer`, `!refusal`, `>push`, `.nothing`, `xend`, or damaged.
struct Lines;

impl Dialect for Lines {
    fn handshake(&self, stream: &mut dyn HandshakeStream, input: &mut Vec<u8>, session: &str) -> Result<(), Error> {
        stream.write(format!("hello {session}\n").as_bytes())?;
        while !input.contains(&b'\n') {
            stream.read(input)?;
        }
        let end = input.iter().position(|byte| *byte == b'\n').unwrap();
        assert_eq!(&input[..end], b"welcome");
        input.drain(..=end);
        Ok(())
    }

    fn look(&self, _: &mut dyn HandshakeStream, _: &mut Vec<u8>) -> Result<Past, Error> {
        Ok(Past::default())
    }

    fn proves_life(&self) -> bool {
        false
    }

    fn encode(&self, call: &Call<'_>, output: &mut Vec<u8>) {
        output.extend_from_slice(format!("{} {}\n", call.verb.name(), call.arguments.join(" ")).as_bytes());
    }

    fn decode(&self, input: &[u8]) -> Result<Option<(usize, Frame)>, Failure> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let text = String::from_utf8(input[1..end].to_vec()).unwrap();
        let frame = match input[0] {
            b'=' => Frame::Answer(Ok(text)),
            b'!' => Frame::Answer(Err(Failure::Refused(text))),
            b'>' => Frame::Push(text),
            b'.' => Frame::Nothing,
            b'x' => Frame::End(text),
            _ => return Err(Failure::Broken(format!("damaged: {text}"))),
        };
        Ok(Some((end + 1, frame)))
    }
}

/// The server's end of one connection, after the handshake.
struct Peer<S: Read + Write = TcpStream> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Peer<S> {
    fn after_handshake(stream: S) -> Peer<S> {
        let mut peer = Peer { stream: BufReader::new(stream) };
        assert_eq!(peer.line().as_deref(), Some("hello me"));
        peer.say("welcome");
        peer
    }

    /// The next call without its verb; `None` at the end.
    fn call(&mut self) -> Option<String> {
        Some(self.line()?.split_once(' ').unwrap().1.to_owned())
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches('\n').to_owned()),
        }
    }

    fn say(&mut self, line: &str) {
        // A listener that has gone does not get it.
        let _ = self.stream.get_mut().write_all(format!("{line}\n").as_bytes());
    }

    fn echo(&mut self) {
        while let Some(call) = self.call() {
            self.say(&format!("={call}"));
        }
    }
}

#[derive(Default)]
struct Heard {
    pushes: Mutex<Vec<String>>,
    ends: Mutex<Vec<String>>,
}

impl Listener for Heard {
    fn pushed(&self, text: &str) {
        self.pushes.lock().unwrap().push(text.to_owned());
    }

    fn ended(&self, why: &str) {
        self.ends.lock().unwrap().push(why.to_owned());
    }
}

fn endpoint(port: u16, kind: Kind, tls: Tls) -> Endpoint {
    Endpoint { kind, host: Host::Tcp { name: "127.0.0.1".into(), port }, tls, ca: None }
}

/// A server for one connection, which goes as `conversation` says.
fn serve<T: Send + 'static>(conversation: impl FnOnce(Peer) -> T + Send + 'static) -> (Endpoint, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        stream.set_nodelay(true).unwrap();
        conversation(Peer::after_handshake(stream))
    });
    (endpoint(port, Kind::Redis, Tls::Off), server)
}

fn open(endpoint: Endpoint) -> (Arc<Link>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let channels = vec![Channel { endpoint, dialect: Box::new(Lines) }];
    (Link::open(channels, "me", heard.clone(), LONG).unwrap(), heard)
}

fn send(link: &Link, text: &str, pace: Pace, answer: Answer) {
    link.send(&Call { verb: Verb::Status, arguments: &[text] }, pace, answer);
}

/// Sends as a blocked thread does; the answer comes in `wait`.
fn begin(link: &Link, text: &str) -> Arc<Mutex<Option<Result<String, Failure>>>> {
    let slot = Arc::new(Mutex::new(None));
    let (thread, filled) = (thread::current(), slot.clone());
    let answer = Box::new(move |result| {
        assert!(filled.lock().unwrap().replace(result).is_none(), "answered twice");
        thread.unpark();
    });
    send(link, text, Pace::Now, answer);
    slot
}

fn ask_until(link: &Link, text: &str, deadline: Option<Instant>) -> Option<Result<String, Failure>> {
    let slot = begin(link, text);
    let done = link.wait(deadline, &mut || slot.lock().unwrap().is_some());
    let result = slot.lock().unwrap().take();
    assert_eq!(done, result.is_some());
    result
}

/// The answer to a blocked thread.
fn ask(link: &Link, text: &str) -> Result<String, Failure> {
    ask_until(link, text, Some(Instant::now() + LONG)).expect("no answer")
}

/// Sends as a future does: somebody else must read.
fn gather(link: &Link, text: &str) -> Receiver<Result<String, Failure>> {
    let (tell, told) = channel();
    // A test that has ended does not listen any more.
    send(link, text, Pace::Gathered, Box::new(move |result| drop(tell.send(result))));
    told
}

fn heard(told: &Receiver<Result<String, Failure>>) -> Result<String, Failure> {
    told.recv_timeout(LONG).expect("no answer")
}

/// Waits for a fact about the link.
fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !fact() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}

/// A gate that the server waits at.
fn gate() -> (Sender<()>, impl FnMut()) {
    let (open, gate) = channel();
    (open, move || gate.recv_timeout(LONG).expect("the test never opened the gate"))
}
