//! A test pooler in front of PostgreSQL, in transaction mode, which also supports prepared statements: what PgBouncer does
//! from 1.21 on, and other poolers do.
//!
//! - Each transaction of a client goes to whichever connection of the server is free, the last used first; between two
//!   transactions a client has none. What one leaves there (settings, advisory locks, LISTEN) another finds.
//! - A statement that a client prepared is prepared again, unseen, where it is used and not known.
//! - The key that a client receives (`BackendKeyData`) is the pooler's own, as with PgBouncer, or, to be worse than any
//!   we know, that of the server process which answered first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// The code of a startup message of protocol 3.0, and of the question for TLS.
const STARTUP: u32 = 196_608;
const TLS: u32 = 80_877_103;

/// The pooler. Its connections end with it.
#[derive(Debug)]
pub struct Pooler {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    most: usize,
    forges_keys: bool,
    over: AtomicBool,
    clients: AtomicU64,
    pool: Mutex<Pool>,
    freed: Condvar,
}

/// The connections to the server, all of one user and database.
#[derive(Debug, Default)]
struct Pool {
    startup: Vec<u8>,
    free: Vec<Upstream>,
    count: usize,
    /// Of clients and server, to be ended.
    open: Vec<TcpStream>,
}

/// One connection to the server.
#[derive(Debug)]
struct Upstream {
    stream: TcpStream,
    /// The prepared statements it knows, by client and name.
    known: HashSet<Vec<u8>>,
    /// What it said of itself: parameters, and its key.
    greeting: Vec<Message>,
}

/// A message: its kind and its body.
#[derive(Clone, Debug)]
struct Message {
    kind: u8,
    body: Vec<u8>,
}

impl Pooler {
    /// One before a server that trusts us, with at most so many connections to it.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn before(server: SocketAddr, connections: usize) -> Pooler {
        Pooler::start(server, connections, false)
    }

    /// The same, but clients receive the key of a server process, as if it were theirs.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn that_forges_keys(server: SocketAddr, connections: usize) -> Pooler {
        Pooler::start(server, connections, true)
    }

    fn start(server: SocketAddr, most: usize, forges_keys: bool) -> Pooler {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("the address of a listener");
        let shared = Arc::new(Shared {
            server,
            most,
            forges_keys,
            over: AtomicBool::new(false),
            clients: AtomicU64::new(0),
            pool: Mutex::default(),
            freed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&accepting);
                // A client or server that goes is no matter of ours.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Pooler { address, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with this pooler's address in the place of the server's.
    ///
    /// # Panics
    /// If the server's address is not in it.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let server = self.shared.server.to_string();
        assert!(url.contains(&server), "{url} is not of {server}");
        url.replacen(&server, &self.address.to_string(), 1)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        for stream in self.shared.pool().open.drain(..) {
            // It fails where it has ended.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        client.set_nodelay(true)?;
        self.pool().open.push(client.try_clone()?);
        self.pool().startup = loop {
            let body = read_body(&mut client)?;
            match u32::from_be_bytes(body[..4].try_into().expect("four bytes")) {
                TLS => client.write_all(b"N")?,
                STARTUP => break body,
                _ => return Ok(()),
            }
        };
        self.greet(&mut client, number)?;
        let mut prepared = HashMap::new();
        loop {
            let first = Message::read(&mut client)?;
            if first.kind == b'X' {
                return Ok(());
            }
            let mut upstream = self.take()?;
            let done = transaction(&mut client, &mut upstream, number, first, &mut prepared);
            self.release(done.is_ok().then_some(upstream));
            done?;
        }
    }

    fn greet(&self, client: &mut TcpStream, number: u64) -> io::Result<()> {
        let upstream = self.take()?;
        let mut greeting = Vec::new();
        Message { kind: b'R', body: vec![0; 4] }.append(&mut greeting);
        for message in &upstream.greeting {
            if message.kind == b'S' || self.forges_keys {
                message.append(&mut greeting);
            }
        }
        if !self.forges_keys {
            // No process has such a number.
            let key = (0x7000_0000_0000_0000 | number).to_be_bytes().to_vec();
            Message { kind: b'K', body: key }.append(&mut greeting);
        }
        Message { kind: b'Z', body: b"I".to_vec() }.append(&mut greeting);
        self.release(Some(upstream));
        client.write_all(&greeting)
    }

    /// A connection that nobody uses, made if there may be one more.
    fn take(&self) -> io::Result<Upstream> {
        let mut pool = self.pool();
        while pool.free.is_empty() && pool.count >= self.most {
            pool = self.freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(upstream) = pool.free.pop() {
            return Ok(upstream);
        }
        pool.count += 1;
        let startup = pool.startup.clone();
        drop(pool);
        let made = self.connect(&startup);
        if made.is_err() {
            self.release(None);
        }
        made
    }

    /// `None`: it is broken.
    fn release(&self, upstream: Option<Upstream>) {
        let mut pool = self.pool();
        match upstream {
            Some(upstream) => pool.free.push(upstream),
            None => pool.count -= 1,
        }
        self.freed.notify_one();
    }

    fn connect(&self, startup: &[u8]) -> io::Result<Upstream> {
        let mut stream = TcpStream::connect(self.server)?;
        stream.set_nodelay(true)?;
        self.pool().open.push(stream.try_clone()?);
        stream.write_all(&[&length(startup)[..], startup].concat())?;
        let mut greeting = Vec::new();
        loop {
            let message = Message::read(&mut stream)?;
            match message.kind {
                b'Z' => return Ok(Upstream { stream, known: HashSet::new(), greeting }),
                b'E' => return Err(io::Error::other(String::from_utf8_lossy(&message.body).into_owned())),
                b'S' | b'K' => greeting.push(message),
                _ => {}
            }
        }
    }
}

/// Passes on one transaction, which begins with `first`.
fn transaction(
    client: &mut TcpStream,
    upstream: &mut Upstream,
    number: u64,
    first: Message,
    prepared: &mut HashMap<Vec<u8>, Vec<u8>>,
) -> io::Result<()> {
    // For each statement that is being prepared, whether the client asked for that now.
    let mut asked = VecDeque::new();
    let mut out = Vec::new();
    let mut next = Some(first);
    loop {
        let message = match next.take() {
            Some(message) => message,
            None => Message::read(client)?,
        };
        let ends = matches!(message.kind, b'Q' | b'S');
        match message.kind {
            b'P' if message.body[0] != 0 => {
                let (name, rest) = cut(&message.body);
                prepared.insert(name.to_vec(), rest.to_vec());
                upstream.known.insert(own_name(number, name));
                asked.push_back(true);
                prepare(number, name, rest).append(&mut out);
            }
            b'B' => {
                let (portal, rest) = cut(&message.body);
                let (name, rest) = cut(rest);
                let own = if name.is_empty() { Vec::new() } else { own_name(number, name) };
                if let Some(text) = prepared.get(name).filter(|_| !upstream.known.contains(&own)) {
                    prepare(number, name, text).append(&mut out);
                    asked.push_back(false);
                    upstream.known.insert(own.clone());
                }
                let body = [portal, b"\0", &own, b"\0", rest].concat();
                Message { kind: b'B', body }.append(&mut out);
            }
            _ => {
                if message.kind == b'P' {
                    asked.push_back(true);
                }
                message.append(&mut out);
            }
        }
        if !ends {
            continue;
        }
        upstream.stream.write_all(&out)?;
        out.clear();
        let mut back = Vec::new();
        let state = loop {
            let message = Message::read(&mut upstream.stream)?;
            if message.kind != b'1' || asked.pop_front() != Some(false) {
                message.append(&mut back);
            }
            if message.kind == b'Z' {
                break message.body[0];
            }
        };
        asked.clear();
        client.write_all(&back)?;
        if state == b'I' {
            return Ok(());
        }
    }
}

fn prepare(number: u64, name: &[u8], rest: &[u8]) -> Message {
    Message { kind: b'P', body: [&own_name(number, name)[..], b"\0", rest].concat() }
}

/// What the server knows a client's statement by.
fn own_name(number: u64, name: &[u8]) -> Vec<u8> {
    [format!("{number}_").as_bytes(), name].concat()
}

/// A text that ends in NUL, and what is behind it.
fn cut(body: &[u8]) -> (&[u8], &[u8]) {
    let end = body.iter().position(|byte| *byte == 0).expect("a text ends in NUL");
    (&body[..end], &body[end + 1..])
}

/// The length of a body, with its own four bytes.
fn length(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len() + 4).expect("a short message").to_be_bytes()
}

fn read_body(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
    stream.read_exact(&mut body)?;
    Ok(body)
}

impl Message {
    fn read(stream: &mut TcpStream) -> io::Result<Message> {
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        Ok(Message { kind: kind[0], body: read_body(stream)? })
    }

    fn append(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        out.extend_from_slice(&length(&self.body));
        out.extend_from_slice(&self.body);
    }
}
