//! A TCP proxy that fails on demand.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Passes on what clients and a server say to each other, until it is made to do worse. All of its
/// connections end with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    weather: Mutex<Weather>,
    /// The stall or the proxy has ended.
    changed: Condvar,
    accepted: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

#[derive(Debug)]
struct Weather {
    target: SocketAddr,
    refuse: bool,
    stalled: bool,
    delay: Duration,
    over: bool,
    /// Both ends of each connection.
    open: Vec<[TcpStream; 2]>,
}

/// How much may be on its way in one direction while it is delayed or stalled, in reads.
const IN_FLIGHT: usize = 64;

impl Proxy {
    /// A proxy to a server, on a port that the kernel chooses.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("the address of a listener");
        let weather =
            Weather { target, refuse: false, stalled: false, delay: Duration::ZERO, over: false, open: Vec::new() };
        let state = Arc::new(State {
            weather: Mutex::new(weather),
            changed: Condvar::new(),
            accepted: AtomicU64::new(0),
            to_server: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
        });
        let shared = state.clone();
        let listener = thread::spawn(move || {
            for client in listener.incoming() {
                if shared.weather().over {
                    return;
                }
                // A client that is gone already is no matter of ours.
                if let Ok(client) = client {
                    shared.accept(client);
                }
            }
        });
        Proxy { address, state, listener: Some(listener) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with this proxy's address in the place of the server's.
    ///
    /// # Panics
    /// If the server's address is not in it.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let target = self.state.weather().target.to_string();
        assert!(url.contains(&target), "{url} is not of {target}");
        url.replacen(&target, &self.address.to_string(), 1)
    }

    /// Closes all connections. New ones are welcome.
    pub fn cut(&self) {
        self.state.cut(&mut self.state.weather());
    }

    /// Whether new connections are closed at once. The open ones stay.
    pub fn refuse(&self, refuse: bool) {
        self.state.weather().refuse = refuse;
    }

    /// Whether nothing goes through, neither way, as when a cable is pulled: connections stay open,
    /// new ones are accepted, and what was sent meanwhile arrives when the stall has ended.
    pub fn stall(&self, stalled: bool) {
        self.state.weather().stalled = stalled;
        self.state.changed.notify_all();
    }

    /// How long everything takes from now on, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.state.weather().delay = delay;
    }

    /// New connections go to another server: the other one after a failover.
    pub fn redirect(&self, target: SocketAddr) {
        self.state.weather().target = target;
    }

    /// How many connections were accepted, those that were refused included.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::Relaxed)
    }

    /// How many bytes have gone to the server and to the clients.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.state.to_server.load(Ordering::Relaxed), self.state.to_client.load(Ordering::Relaxed))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut weather = self.state.weather();
            weather.over = true;
            self.state.cut(&mut weather);
        }
        self.state.changed.notify_all();
        // Wakes the listener, which then sees that it has ended.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(listener) = self.listener.take().filter(|_| woken) {
            let _ = listener.join();
        }
    }
}

impl State {
    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, weather: &mut Weather) {
        for end in weather.open.drain(..).flatten() {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: &Arc<State>, client: TcpStream) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let mut weather = self.weather();
        weather.open.retain(|[client, _]| client.peer_addr().is_ok());
        if weather.refuse {
            return;
        }
        // A server that is down refuses; so does the proxy then, by closing.
        let Ok(server) = TcpStream::connect(weather.target) else { return };
        let ends = || -> io::Result<_> {
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            Ok(([client.try_clone()?, server.try_clone()?], [client.try_clone()?, server.try_clone()?]))
        };
        let Ok((open, [client_too, server_too])) = ends() else { return };
        weather.open.push(open);
        drop(weather);
        self.pump(client, server_too, |state| &state.to_server);
        self.pump(server, client_too, |state| &state.to_client);
    }

    /// Passes on what comes from `from`, one thread to read and one to write, so that a delay delays
    /// and does not throttle.
    fn pump(self: &Arc<State>, mut from: TcpStream, to: TcpStream, count: fn(&State) -> &AtomicU64) {
        let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
        let (reader, writer) = (self.clone(), self.clone());
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while reader.calm() {
                let Ok(length @ 1..) = from.read(&mut buffer) else { return };
                let due = Instant::now() + reader.weather().delay;
                if sender.send((due, buffer[..length].to_vec())).is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || writer.write(&receiver, to, count(&writer)));
    }

    fn write(&self, receiver: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream, count: &AtomicU64) {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if !self.calm() || to.write_all(&bytes).is_err() {
                break;
            }
            count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        // One side has closed: so does the other, once it has got everything.
        if self.calm() {
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    /// Waits until nothing is stalled; `false` when the proxy has ended.
    fn calm(&self) -> bool {
        let stalled = |weather: &mut Weather| weather.stalled && !weather.over;
        let weather = self.changed.wait_while(self.weather(), stalled).unwrap_or_else(PoisonError::into_inner);
        !weather.over
    }
}
