//! Redis.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use crate::{
    error::Error,
    folder::Folder,
    port,
    process::{Failed, Launch, Process},
    program,
    resp::{self, Reply},
};

/// A Redis server on loopback. Killed when dropped.
///
/// It keeps nothing over a restart unless it was asked to ([`RedisOptions::append_only`]). Commands of
/// [`Redis::command`] go through a socket of its own, so they work whatever the port is like.
#[derive(Debug)]
pub struct Redis {
    folder: Folder,
    port: u16,
    options: RedisOptions,
    /// `None` after a kill.
    process: Option<Process>,
}

/// How a Redis server is to be.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    settings: Vec<(String, String)>,
    password: Option<String>,
    access: Option<String>,
    cluster: bool,
    replica: bool,
    #[cfg(feature = "tls")]
    tls: Option<crate::Certificates>,
}

/// Who gives commands where only users of an access list may.
const CONTROL: &str = "test-servers";

impl RedisOptions {
    /// Clients need this password (of the user `default`).
    #[must_use]
    pub fn password(mut self, password: &str) -> RedisOptions {
        self.password = Some(password.to_owned());
        self.setting("requirepass", password)
    }

    /// An access list: lines of an ACL file (`user locks on >secret ~locks:* &locks:* +@all`).
    #[must_use]
    pub fn access(mut self, lines: &str) -> RedisOptions {
        self.access = Some(lines.to_owned());
        self
    }

    /// Keeps every write: it is on disk before it is answered.
    #[must_use]
    pub fn append_only(self) -> RedisOptions {
        // Rewriting the file in a child is no matter of tests.
        self.setting("appendonly", "yes").setting("appendfsync", "always").setting("auto-aof-rewrite-percentage", "0")
    }

    /// A replica of `primary`, complete when it has started.
    #[must_use]
    pub fn replica_of(mut self, primary: &Redis) -> RedisOptions {
        self.replica = true;
        let options = match &primary.options.password {
            Some(password) => self.setting("masterauth", password),
            None => self,
        };
        options.setting("replicaof", &format!("127.0.0.1 {}", primary.port))
    }

    /// A Redis Cluster of one node that has all slots.
    #[must_use]
    pub fn cluster(mut self) -> RedisOptions {
        self.cluster = true;
        self.setting("cluster-enabled", "yes")
    }

    /// Speaks TLS only.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, certificates: &crate::Certificates) -> RedisOptions {
        self.tls = Some(certificates.clone());
        self
    }

    /// Any other setting, as a line of `redis.conf`: `setting("maxmemory", "10mb")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> RedisOptions {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub fn start(self) -> Result<Redis, Error> {
        let folder = Folder::fresh("redis", None)?;
        if let Some(access) = &self.access {
            folder.write("users", &format!("{access}\nuser {CONTROL} on nopass ~* &* +@all\n"), None)?;
        }
        #[cfg(feature = "tls")]
        if let Some(certificates) = &self.tls {
            certificates.write_to(&folder, None)?;
        }
        let mut redis = Redis { folder, port: port::free(), options: self, process: None };
        loop {
            match redis.launch() {
                Ok(()) => break,
                Err(Failed::PortTaken(_)) => redis.port = port::free(),
                Err(Failed::Otherwise(error)) => return Err(error),
            }
        }
        Ok(redis)
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let mut lines = vec![
            ("bind", "127.0.0.1".to_owned()),
            ("unixsocket", "socket".to_owned()),
            ("save", String::new()),
            ("repl-diskless-sync-delay", "0".to_owned()),
        ];
        let port = port.to_string();
        #[cfg(feature = "tls")]
        let (plain, secure) = if self.tls.is_some() { ("0".to_owned(), Some(port)) } else { (port, None) };
        #[cfg(not(feature = "tls"))]
        let (plain, secure) = (port, None::<String>);
        lines.push(("port", plain));
        if let Some(port) = secure {
            lines.extend([
                ("tls-port", port),
                ("tls-cert-file", "server.pem".to_owned()),
                ("tls-key-file", "server.key".to_owned()),
                ("tls-ca-cert-file", "ca.pem".to_owned()),
                ("tls-auth-clients", "no".to_owned()),
            ]);
        }
        lines.extend(self.access.as_ref().map(|_| ("aclfile", "users".to_owned())));
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        lines.into_iter().chain(settings).flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }
}

impl Redis {
    /// Starts a server that keeps nothing.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub fn start() -> Result<Redis, Error> {
        Redis::options().start()
    }

    /// Options of a server to start.
    #[must_use]
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    /// Where it listens, also while it is down.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `redis://127.0.0.1:PORT`, with the password if there is one; `rediss://` if it speaks TLS.
    #[must_use]
    pub fn url(&self) -> String {
        #[cfg(feature = "tls")]
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        #[cfg(not(feature = "tls"))]
        let scheme = "redis";
        let login = self.options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("{scheme}://{login}{}", self.address())
    }

    /// The URL for a user of the access list.
    #[must_use]
    pub fn url_of(&self, user: &str, password: &str) -> String {
        self.url().replacen("://", &format!("://{user}:{password}@"), 1)
    }

    /// Gives a command to the server itself: `["SCRIPT", "FLUSH"]`.
    ///
    /// # Errors
    /// If it is down, or refuses.
    pub fn command(&self, words: &[&str]) -> Result<Reply, Error> {
        let login = match (&self.options.access, &self.options.password) {
            (Some(_), _) => vec!["AUTH".to_owned(), CONTROL.to_owned(), "-".to_owned()],
            (None, Some(password)) => vec!["AUTH".to_owned(), password.clone()],
            (None, None) => Vec::new(),
        };
        resp::command(&self.socket(), &login, words)
    }

    /// Makes a replica a primary.
    pub fn promote(&mut self) {
        self.command(&["REPLICAOF", "NO", "ONE"]).expect("a replica that runs");
        // And so it comes back after a restart.
        self.options.replica = false;
        self.options.settings.retain(|(name, _)| name != "replicaof");
    }

    /// Stops the process where it is (SIGSTOP): it accepts connections and answers nothing.
    pub fn stop_process(&mut self) {
        self.running().stop();
    }

    /// Lets it go on after [`Redis::stop_process`].
    pub fn resume_process(&mut self) {
        self.running().go_on();
    }

    /// Kills it (SIGKILL).
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("a server that runs").kill();
    }

    /// Kills it if it runs, and starts it again on the same port.
    ///
    /// # Errors
    /// If it does not start.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process = None;
        Ok(self.launch()?)
    }

    /// Whether it runs (a stopped process does).
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The number of its process.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a server that runs").pid()
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("a server that runs")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn launch(&mut self) -> Result<(), Failed> {
        let program = program::find(program::REDIS).map_err(Failed::Otherwise)?;
        // A socket that a killed server has left is not that of the new one.
        let _ = std::fs::remove_file(self.socket());
        let launch = Launch {
            name: "redis-server",
            program: &program,
            arguments: self.options.arguments(self.port),
            user: None,
            folder: self.folder.path(),
            death: "KILL",
        };
        self.process = Some(launch.start(|| self.ready())?);
        Ok(())
    }

    /// The socket is made after the port was bound, so an answer through it is one from this server.
    fn ready(&self) -> Result<(), Error> {
        self.command(&["PING"])?;
        if self.options.cluster {
            self.take_all_slots()?;
        }
        if self.options.replica && !self.command(&["INFO", "replication"])?.text().contains("master_link_status:up") {
            return Err(Error::Refused("not in step with its primary".to_owned()));
        }
        Ok(())
    }

    fn take_all_slots(&self) -> Result<(), Error> {
        let told = self.command(&["CLUSTER", "INFO"])?;
        if told.text().contains("cluster_slots_assigned:0\r") {
            let slots: Vec<String> = (0..16384).map(|slot| slot.to_string()).collect();
            let words: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            self.command(&words)?;
        }
        if told.text().contains("cluster_state:ok") {
            Ok(())
        } else {
            Err(Error::Refused("cluster not ready".to_owned()))
        }
    }
}
