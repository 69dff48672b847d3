//! Connecting, with retries, and handling the connection's unsolicited messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{client::Client, clock, hosts, reply::Push, state::BROKEN, wire::Listener};
use crate::words::error::{Error, ErrorKind};

/// Between two attempts to connect, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);

impl Client {
    /// Connects on a thread of its own (K1), again and again until it succeeds. `ended`: the connection
    /// that is of no more use, and why.
    pub(super) fn connect_soon(&'static self, ended: Option<(u64, String)>) {
        let connect = move || {
            if let Some((ended, why)) = ended
                && !self.disconnected(ended, why)
            {
                return;
            }
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.connect() {
                self.state().trouble = Some(error);
                thread::sleep(pause);
                pause = (pause * 2).min(LAST_PAUSE);
            }
        };
        if let Err(error) = thread::Builder::new().name("locks-connect".to_owned()).spawn(connect) {
            self.state().trouble = Some(Error::io("start the thread that connects", error));
        }
    }

    /// Whether it was the present connection.
    fn disconnected(&'static self, ended: u64, why: String) -> bool {
        let lived = self.with(|state, _| {
            if state.link.is_none() || state.connection != ended {
                return None;
            }
            state.link = None;
            state.lease.looked(clock::now(), false);
            state.renewal.watch = None;
            // If we ended it, there is a better reason than that.
            state.trouble.get_or_insert(Error::new(ErrorKind::Unreachable, why));
            self.keep(state, 0);
            Some(clock::now().saturating_sub(state.renewal.disconnected()))
        });
        // One that lived for a moment only will hardly do better at once.
        if lived.is_some_and(|lived| lived < LAST_PAUSE.as_nanos() as u64) {
            thread::sleep(FIRST_PAUSE);
        }
        lived.is_some()
    }

    /// Makes a connection to the host that serves us best, and says everything on it.
    pub(super) fn connect(&'static self) -> Result<(), Error> {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let ear: Arc<dyn Listener> = Arc::new(Ear { client: self, connection });
        let link = hosts::connect(&self.address, &self.multiplexed, &self.session, &ear)?;
        self.connected(&link, connection);
        // It may have ended before it was known here; then nobody listened to that.
        if !link.is_open() {
            self.connect_soon(Some((connection, "it ended as soon as it was made".to_owned())));
        }
        Ok(())
    }
}

/// Hears what a connection says on its own.
struct Ear {
    client: &'static Client,
    connection: u64,
}

impl Listener for Ear {
    fn pushed(&self, text: &str) {
        let client = self.client;
        let learned = clock::now();
        let Ok(push) = client.read::<Push>(text) else { return };
        client.with(|state, after| {
            if let Some(granted) = push.granted
                && let Some(number) = client.number(&granted.request)
            {
                Client::granted(state, after, number, &granted.grant, learned, learned);
                client.keep(state, state.lease.deadline(learned).min(learned.saturating_add(state.beat())));
            }
            if let Some(number) = push.lost.and_then(|id| client.number(&id)) {
                state.lose(after, number, BROKEN);
            }
            if let Some(number) = push.look.and_then(|id| client.number(&id)) {
                after.looks.push(number);
            }
        });
    }

    /// On another thread: this one may hold the state's lock (C2).
    fn ended(&self, why: &str) {
        self.client.connect_soon(Some((self.connection, why.to_owned())));
    }
}
