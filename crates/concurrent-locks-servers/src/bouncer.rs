//! PgBouncer.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    error::Error,
    folder::Folder,
    port,
    postgres::{Postgres, psql},
    process::{Failed, Launch, Process},
    program::{self, User},
};

/// A PgBouncer before a PostgreSQL server, in transaction mode: every transaction may get another
/// connection of the server. Killed when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    password: String,
    process: Process,
    _folder: Folder,
}

impl PgBouncer {
    /// Starts one before `server`, for all its databases.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub fn start(server: &Postgres) -> Result<PgBouncer, Error> {
        PgBouncer::before(server.address(), server.options_password())
    }

    /// The same before a server that is known by its address and the password of `postgres`.
    pub(crate) fn before(server: SocketAddr, password: Option<&str>) -> Result<PgBouncer, Error> {
        let program = program::find(program::PGBOUNCER)?;
        let user = User::instead_of_root();
        let folder = Folder::fresh("pgbouncer", user)?;
        let password = password.unwrap_or_default().to_owned();
        folder.write("users", &format!("\"postgres\" \"{password}\"\n"), user)?;
        loop {
            let port = port::free();
            let configuration = folder.write("ini", &ini(server, !password.is_empty(), port), user)?;
            let launch = Launch {
                name: "pgbouncer",
                program: &program,
                arguments: vec![configuration.display().to_string()],
                user,
                folder: folder.path(),
                death: "KILL",
            };
            let socket = folder.path().to_string_lossy();
            let target = ["--host", &socket, "--port", &port.to_string(), "--username", "postgres"];
            match launch.start(|| psql(&target, &password, "pgbouncer", "show version").map(drop)) {
                Ok(process) => return Ok(PgBouncer { port, password, process, _folder: folder }),
                Err(Failed::PortTaken(_)) => {}
                Err(Failed::Otherwise(error)) => return Err(error),
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The URL of a database of the server, through PgBouncer.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let password = if self.password.is_empty() { String::new() } else { format!(":{}", self.password) };
        format!("postgres://postgres{password}@{}/{database}", self.address())
    }

    /// Stops the process where it is (SIGSTOP).
    pub fn stop_process(&mut self) {
        self.process.stop();
    }

    /// Lets it go on after [`PgBouncer::stop_process`].
    pub fn resume_process(&mut self) {
        self.process.go_on();
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn ini(server: SocketAddr, password: bool, port: u16) -> String {
    let (host, server_port) = (server.ip(), server.port());
    let auth = if password { "scram-sha-256" } else { "trust" };
    format!(
        "[databases]\n\
         * = host={host} port={server_port}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir = .\n\
         auth_type = {auth}\n\
         auth_file = users\n\
         admin_users = postgres\n\
         pool_mode = transaction\n\
         max_client_conn = 1000\n\
         default_pool_size = 20\n"
    )
}
