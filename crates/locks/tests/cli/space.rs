//! A lock space of its own for each test, and commands that run in it.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use concurrent_locks::LockManager;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long something that must happen may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something; the test fails if it never does.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain waited for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A lock table in a temporary folder.
pub(crate) struct Space {
    folder: tempfile::TempDir,
}

impl Space {
    pub(crate) fn new() -> Space {
        Space { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("host:{}", self.path("t.table").display())
    }

    /// The same locks through the library, for what the command cannot bring about.
    pub(crate) fn library(&self) -> LockManager {
        LockManager::connect(&self.url()).blocking().unwrap()
    }

    /// Any program, in the folder, with this space as its environment's.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder());
        for variable in
            ["LOCKS_OWNER", "LOCKS_OWNER_ID", "LOCKS_SPACE", "LOCKS_TOKEN", "LOCKS_NAME", "NO_COLOR", "COLUMNS"]
        {
            command.env_remove(variable);
        }
        command.env("CONCURRENT_LOCKS_URL", self.url());
        // So that scripts find the command by its name.
        let binary = Path::new(BINARY).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(binary.to_path_buf()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(path).unwrap());
        command
    }

    /// `locks ARGUMENTS`.
    pub(crate) fn locks<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = self.program(BINARY);
        command.args(arguments);
        command
    }

    /// `locks ARGUMENTS`, to its end.
    pub(crate) fn finish<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Output {
        self.locks(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// The exit code of `locks ARGUMENTS`.
    pub(crate) fn code<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Option<i32> {
        self.finish(arguments).status.code()
    }

    /// What `locks ARGUMENTS --json` prints.
    pub(crate) fn json<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Value {
        let output = self.locks(arguments).arg("--json").output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// The status of one lock, `null` if it is unknown.
    pub(crate) fn status(&self, name: &str) -> Value {
        self.json(["status", name])[name].take()
    }

    pub(crate) fn until_waiters(&self, name: &str, count: usize) {
        until(&format!("{count} waiters for {name}"), || {
            (self.status(name)["waiters"].as_array().map_or(0, Vec::len) == count).then_some(())
        });
    }

    /// Starts `locks ARGUMENTS` with its stdin and stdout in our hands.
    pub(crate) fn start<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Running {
        Running::start(&mut self.locks(arguments))
    }

    /// A process that holds `name` until it is asked to end.
    pub(crate) fn hold(&self, name: &str, arguments: &[&str]) -> Running {
        let mut all = vec!["run"];
        all.extend(arguments);
        all.extend([name, "--", "sh", "-c", "echo ready; read line"]);
        let mut running = self.start(all);
        running.expect("ready");
        running
    }
}

/// The command under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_locks");

/// A started process, ended with the test at the latest.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdout }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// The rest of its stdout, up to its end.
    pub(crate) fn rest(&mut self) -> String {
        std::io::read_to_string(&mut self.stdout).unwrap()
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        // Not `wait`: it would close stdin, which the command may still read.
        self.ended();
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// How it ended, which it must do by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        until("the end of a process", || self.has_ended())
    }

    pub(crate) fn code(&mut self) -> Option<i32> {
        self.ended().code()
    }

    /// Ends a process that waits for a line.
    pub(crate) fn let_go(mut self) {
        self.tell("");
        assert_eq!(self.code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this process runs (a zombie does not).
pub(crate) fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The kernel's letter for what a process does: `T` is stopped.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The end of a command as text for snapshots.
pub(crate) fn shown(output: &Output) -> String {
    let code = output.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
    let stream = |name: &str, bytes: &[u8]| match String::from_utf8_lossy(bytes).trim_end() {
        "" => String::new(),
        text => format!("\n--- {name}\n{text}"),
    };
    format!("exit code {code}{}{}", stream("stdout", &output.stdout), stream("stderr", &output.stderr))
}

/// Compares what a command said with a snapshot, less what differs from run to run.
#[macro_export]
macro_rules! snapshot {
    ($output:expr, @$expected:literal) => {
        insta::with_settings!({ filters => $crate::space::FILTERS.to_vec() }, {
            insta::assert_snapshot!($crate::space::shown(&$output), @$expected);
        });
    };
}

/// What differs from run to run, and what to show in its place.
pub(crate) const FILTERS: &[(&str, &str)] = &[
    (r"\x1b\[[0-9;]*m", ""),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
    (r"\[\d+\]", "[PID]"),
    (r"\b\d{10,}\b", "[TOKEN]"),
    (r"pid \d+ on [^\s,)]+", "pid [PID] on [HOST]"),
    (r"pid \d+", "pid [PID]"),
    (r"\d+@\S+", "[PID]@[HOST]"),
    (r"\d+(\.\d+)? (ms|s)\b", "[DURATION]"),
    (r"/\S*/\.tmp\w+", "[FOLDER]"),
    (r" +(\[DURATION\])", " $1"),
    (r"([A-Z]+) +([A-Z]+)", "$1 $2"),
    (r" {2,}", "  "),
];
