//! PostgreSQL.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use rustix::process::Signal;

use crate::{
    error::{Error, Trying},
    folder::Folder,
    port,
    process::{Failed, Launch, Process, run_as},
    program::{self, User},
};

/// A PostgreSQL server on loopback, with the superuser `postgres`. Ended when dropped.
///
/// What is committed survives a kill of the server; not a crash of the machine, unless it was asked
/// to ([`PostgresOptions::durable`]). Commands of [`Postgres::sql`] go through a socket of its own.
#[derive(Debug)]
pub struct Postgres {
    folder: Folder,
    port: u16,
    options: PostgresOptions,
    user: Option<User>,
    /// `None` after a kill.
    process: Option<Process>,
}

/// How a PostgreSQL server is to be.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    settings: Vec<(String, String)>,
    durable: bool,
    password: Option<String>,
    /// The socket folder and the port of the one to follow.
    primary: Option<(PathBuf, u16)>,
    #[cfg(feature = "tls")]
    tls: Option<crate::Certificates>,
}

impl PostgresOptions {
    /// A standby of `primary`, a copy that follows when it has started.
    #[must_use]
    pub fn standby_of(mut self, primary: &Postgres) -> PostgresOptions {
        self.primary = Some((primary.folder.path().to_owned(), primary.port));
        self
    }

    /// Waits for the disk at every commit.
    #[must_use]
    pub fn durable(mut self) -> PostgresOptions {
        self.durable = true;
        self
    }

    /// Clients need this password (of the user `postgres`, with SCRAM). Not one with quotes.
    #[must_use]
    pub fn password(mut self, password: &str) -> PostgresOptions {
        self.password = Some(password.to_owned());
        self
    }

    /// Speaks TLS only.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, certificates: &crate::Certificates) -> PostgresOptions {
        self.tls = Some(certificates.clone());
        self
    }

    /// Any other setting, as in `postgresql.conf`: `setting("max_connections", "20")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> PostgresOptions {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub fn start(self) -> Result<Postgres, Error> {
        let user = User::instead_of_root();
        let folder = Folder::fresh("postgres", user)?;
        let data = folder.path().join("data");
        match &self.primary {
            Some((socket, port)) => follow(socket, *port, &data, user)?,
            None => copy(&template(user)?, &data, user)?,
        }
        folder.write("access", &self.access(), user)?;
        #[cfg(feature = "tls")]
        if let Some(certificates) = &self.tls {
            certificates.write_to(&folder, user)?;
        }
        let mut postgres = Postgres { folder, port: port::free(), options: self, user, process: None };
        loop {
            match postgres.launch() {
                Ok(()) => break,
                Err(Failed::PortTaken(_)) => postgres.port = port::free(),
                Err(Failed::Otherwise(error)) => return Err(error),
            }
        }
        if let Some(password) = &postgres.options.password {
            postgres.sql("postgres", &format!("alter user postgres password '{password}'"))?;
        }
        Ok(postgres)
    }

    /// Who may come in, and how (`pg_hba.conf`): through the socket in our folder anybody.
    fn access(&self) -> String {
        #[cfg(feature = "tls")]
        let kind = if self.tls.is_some() { "hostssl" } else { "host" };
        #[cfg(not(feature = "tls"))]
        let kind = "host";
        let method = if self.password.is_some() { "scram-sha-256" } else { "trust" };
        format!("local all,replication all trust\n{kind} all all 127.0.0.1/32 {method}\n")
    }

    fn arguments(&self, folder: &Path, port: u16) -> Vec<String> {
        let inside = |name: &str| folder.join(name).display().to_string();
        let durable = if self.durable { "on" } else { "off" };
        let settings = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("unix_socket_directories", inside("")),
            ("hba_file", inside("access")),
            ("max_connections", "500".to_owned()),
            ("fsync", durable.to_owned()),
            ("full_page_writes", durable.to_owned()),
            // Files in our folder, not in /dev/shm, where a kill would leave them.
            ("dynamic_shared_memory_type", "mmap".to_owned()),
        ];
        #[cfg(feature = "tls")]
        let settings = match self.tls {
            Some(_) => {
                let files = [("ssl_cert_file", inside("server.pem")), ("ssl_key_file", inside("server.key"))];
                [settings, vec![("ssl", "on".to_owned())], files.into()].concat()
            }
            None => settings,
        };
        let more = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let settings =
            settings.into_iter().chain(more).flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
        ["-D".to_owned(), inside("data")].into_iter().chain(settings).collect()
    }
}

impl Postgres {
    /// Starts a server.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub fn start() -> Result<Postgres, Error> {
        Postgres::options().start()
    }

    /// Options of a server to start.
    #[must_use]
    pub fn options() -> PostgresOptions {
        PostgresOptions::default()
    }

    /// Where it listens, also while it is down.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `postgres://postgres@127.0.0.1:PORT/database`, with the password if there is one.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let password = self.options.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://postgres{password}@{}/{database}", self.address())
    }

    /// Makes a database that nobody else uses, and says its name.
    ///
    /// # Errors
    /// If the server is down, or refuses.
    pub fn create_database(&self) -> Result<String, Error> {
        let name = format!("test_{:016x}", fastrand::u64(..));
        self.sql("postgres", &format!("create database {name}"))?;
        Ok(name)
    }

    /// Runs SQL as the superuser; answers the rows, a line each, columns separated by `|`.
    ///
    /// # Errors
    /// If the server is down, or refuses.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, Error> {
        let port = self.port.to_string();
        psql(
            &["--host", &self.folder.path().to_string_lossy(), "--port", &port, "--username", "postgres"],
            "",
            database,
            sql,
        )
    }

    /// Makes a standby a primary.
    ///
    /// # Errors
    /// If it is none, or does not become one.
    pub fn promote(&mut self) -> Result<(), Error> {
        self.sql("postgres", "select pg_promote()").map(drop)
    }

    /// From here on each commit waits until a standby has it, and shows it.
    ///
    /// # Errors
    /// If the server is down, or refuses.
    pub fn wait_for_standbys(&self) -> Result<(), Error> {
        self.sql("postgres", "alter system set synchronous_commit = 'remote_apply'")?;
        self.sql("postgres", "alter system set synchronous_standby_names = '*'")?;
        self.sql("postgres", "select pg_reload_conf()").map(drop)
    }

    /// Stops all its processes where they are (SIGSTOP): the kernel accepts connections, nothing answers.
    pub fn stop_process(&mut self) {
        self.running().stop();
    }

    /// Lets it go on after [`Postgres::stop_process`].
    pub fn resume_process(&mut self) {
        self.running().go_on();
    }

    /// Kills all its processes (SIGKILL).
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

    /// Whether it runs (a stopped server does).
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The number of its first process.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a server that runs").pid()
    }

    pub(crate) fn options_password(&self) -> Option<&str> {
        self.options.password.as_deref()
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("a server that runs")
    }

    fn launch(&mut self) -> Result<(), Failed> {
        let program = program::postgres("postgres").map_err(Failed::Otherwise)?;
        let launch = Launch {
            name: "postgres",
            program: &program,
            arguments: self.options.arguments(self.folder.path(), self.port),
            user: self.user,
            folder: self.folder.path(),
            // At once, but so that its shared memory is freed.
            death: "QUIT",
        };
        // Its log is of this start, so an answer through its socket is one from this server.
        self.process = Some(launch.start(|| self.sql("postgres", "select 1").map(drop))?);
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        match self.process.take() {
            // An immediate shutdown: nothing is written, but shared memory is freed.
            Some(process) => process.end(Signal::QUIT),
            None => remove_shared_memory(self.folder.path()),
        }
    }
}

/// A killed server has left a segment of System V's shared memory. The next start would find and
/// remove it; there will be none.
fn remove_shared_memory(folder: &Path) {
    let told = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    // Its seventh line: key and id.
    if let Some(id) = told.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
        // Too little to fail a test for: 56 bytes.
        let _ = Command::new("ipcrm").args(["--shmem-id", id]).output();
    }
}

/// Runs SQL on the server that `target` names. The password, if one is needed, may be in the URL instead.
pub(crate) fn psql(target: &[&str], password: &str, database: &str, sql: &str) -> Result<String, Error> {
    let program = program::postgres("psql")?;
    let output = Command::new(&program)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PGCONNECT_TIMEOUT", "30")
        .envs((!password.is_empty()).then_some(("PGPASSWORD", password)))
        .args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"])
        .args(target)
        .args(["--dbname", database, "--command", sql])
        .output()
        .trying(|| format!("start {}", program.display()))?;
    if !output.status.success() {
        return Err(Error::Refused(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// An empty cluster of databases, made once per process: making one takes half a second, a copy little.
fn template(user: Option<User>) -> Result<PathBuf, Error> {
    static TEMPLATE: Mutex<Option<Folder>> = Mutex::new(None);
    let mut template = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = &*template {
        return Ok(folder.path().join("data"));
    }
    let initdb = program::postgres("initdb")?;
    let folder = Folder::fresh("template", user)?;
    let data = folder.path().join("data");
    let settings =
        ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"];
    let mut making = run_as(&initdb, user)?;
    making.env("LC_ALL", "C").current_dir(folder.path()).args(settings).arg("--pgdata").arg(&data);
    run("initdb", &mut making)?;
    *template = Some(folder);
    Ok(data)
}

/// Copies a server that runs, and has the copy follow it.
fn follow(socket: &Path, port: u16, data: &Path, user: Option<User>) -> Result<(), Error> {
    let mut copying = run_as(&program::postgres("pg_basebackup")?, user)?;
    copying.env("LC_ALL", "C").current_dir("/").arg("--host").arg(socket).args(["--port", &port.to_string()]);
    copying.args(["--username=postgres", "--no-password", "--checkpoint=fast", "--no-sync", "--write-recovery-conf"]);
    run("pg_basebackup", copying.arg("--pgdata").arg(data))
}

fn run(program: &'static str, command: &mut Command) -> Result<(), Error> {
    let output = command.output().trying(|| format!("start {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Err(Error::Start { program, why: output.status.to_string(), log })
}

fn copy(from: &Path, to: &Path, user: Option<User>) -> Result<(), Error> {
    let output = run_as(Path::new("cp"), user)?.current_dir("/").arg("-R").args([from, to]).output();
    let output = output.trying(|| "start cp".to_owned())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::Refused(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}
