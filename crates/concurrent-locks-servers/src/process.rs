//! Processes that end with us.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    error::{Error, Trying},
    program::User,
};

/// How long a server may take to become ready or to end. Generous: it only matters to failures.
const DEADLINE: Duration = Duration::from_secs(60);

/// What to start.
pub(crate) struct Launch<'a> {
    /// For messages.
    pub(crate) name: &'static str,
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<String>,
    pub(crate) user: Option<User>,
    /// Where it runs, and writes its `log`.
    pub(crate) folder: &'a Path,
    /// What the kernel sends it when we die.
    pub(crate) death: &'static str,
}

/// A server's process, and its children. Killed with the value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stopped: bool,
}

/// How a start failed.
pub(crate) enum Failed {
    /// Somebody else has the port.
    PortTaken(Error),
    Otherwise(Error),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Error {
        match failed {
            Failed::PortTaken(error) | Failed::Otherwise(error) => error,
        }
    }
}

impl Launch<'_> {
    /// Starts it, and waits until `ready` does not fail.
    pub(crate) fn start(&self, ready: impl Fn() -> Result<(), Error>) -> Result<Process, Failed> {
        let log = self.folder.join("log");
        let mut process = self.spawn(&log).map_err(Failed::Otherwise)?;
        let start = Instant::now();
        loop {
            let not_yet = match ready() {
                Ok(()) => return Ok(process),
                Err(missing @ Error::Missing(_)) => return Err(Failed::Otherwise(missing)),
                Err(not_yet) => not_yet,
            };
            let ended = process.child.try_wait().ok().flatten();
            if ended.is_none() && start.elapsed() < DEADLINE {
                thread::sleep((start.elapsed() / 10).clamp(Duration::from_millis(2), Duration::from_millis(100)));
                continue;
            }
            let log = end_of(&log).unwrap_or_else(|error| format!("(no log: {error})"));
            let why = ended.map_or(format!("not ready after {DEADLINE:?}: {not_yet}"), |status| status.to_string());
            let taken = ended.is_some() && log.contains("Address already in use");
            let error = Error::Start { program: self.name, why, log };
            return Err(if taken { Failed::PortTaken(error) } else { Failed::Otherwise(error) });
        }
    }

    fn spawn(&self, log: &Path) -> Result<Process, Error> {
        let log = File::create(log).trying(|| format!("make {}", log.display()))?;
        let errors = log.try_clone().trying(|| "a log".to_owned())?;
        let mut command = ending_with_us(self.program, self.death, self.user)?;
        command
            .args(&self.arguments)
            .current_dir(self.folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // Its own group: a terminal's Ctrl-C is for the tests, and they end it.
            .process_group(0);
        let child = spawn(command).trying(|| format!("start {}", self.program.display()))?;
        Ok(Process { child, stopped: false })
    }
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it and its children where they are, and waits until they have stopped.
    pub(crate) fn stop(&mut self) {
        self.stop_alone();
        let children = children(self.pid());
        signal_all(&children, Signal::STOP);
        until_none(&children, |state| !is_still(state));
        self.stopped = true;
    }

    /// Stops it, so that no more children come.
    fn stop_alone(&self) {
        self.signal(Signal::STOP);
        until_none(&[self.pid()], |state| !is_still(state));
    }

    pub(crate) fn go_on(&mut self) {
        signal_all(&children(self.pid()), Signal::CONT);
        self.signal(Signal::CONT);
        self.stopped = false;
    }

    /// Kills it and its children, and waits for the end of all of them.
    pub(crate) fn kill(mut self) {
        self.kill_now();
    }

    /// Asks it to end in order, and waits for that.
    pub(crate) fn end(mut self, signal: Signal) {
        if self.stopped {
            self.go_on();
        }
        self.signal(signal);
        let start = Instant::now();
        while start.elapsed() < DEADLINE && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn kill_now(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.stop_alone();
        let children = children(self.pid());
        signal_all(&children, Signal::KILL);
        self.signal(Signal::KILL);
        let _ = self.child.wait();
        // Zombies are buried by whoever has adopted them; nothing of theirs is in use but the number.
        until_none(&children, |state| state != 'Z');
    }

    fn signal(&self, signal: Signal) {
        // It was not waited for, so the number is still its own; that it has ended is no fault.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_now();
    }
}

/// The last lines of a log.
fn end_of(log: &Path) -> io::Result<String> {
    let bytes = fs::read(log)?;
    Ok(String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned())
}

/// A command for `program` that gets the signal `death` when this process dies, run as `user`.
fn ending_with_us(program: &Path, death: &str, user: Option<User>) -> Result<Command, Error> {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let setpriv = *SETPRIV.get_or_init(|| {
        let probe = Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).output();
        probe.is_ok_and(|output| output.status.success())
    });
    if !setpriv {
        return match user {
            None => Ok(Command::new(program)),
            Some(user) => {
                let what =
                    format!("run {} as {}: it refuses root, and that takes setpriv", program.display(), user.name);
                Err(Error::Io { what, source: io::ErrorKind::NotFound.into() })
            }
        };
    }
    let mut command = Command::new("setpriv");
    if let Some(User { uid, gid, .. }) = user {
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--init-groups");
    }
    command.args(["--pdeathsig", death]).arg(program);
    Ok(command)
}

/// A command that is run to its end as `user`.
pub(crate) fn run_as(program: &Path, user: Option<User>) -> Result<Command, Error> {
    ending_with_us(program, "KILL", user)
}

/// Starts a process from a thread that lives as long as this process. The signal of the parent's
/// death comes when the *thread* that started the child ends, and a test's thread ends before the
/// shared server may.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static PARENT: OnceLock<Sender<Order>> = OnceLock::new();
    let parent = PARENT.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                // Who has ordered waits for the answer.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, answered) = channel();
    parent.send((command, answer)).expect("the thread that starts processes");
    answered.recv().expect("the thread that starts processes")
}

/// Runs `program` to its end and says how it ended. If this process dies first, it is sent SIGTERM.
///
/// # Errors
/// If it cannot be started.
pub fn run_until_we_end(
    program: &str,
    arguments: &[String],
    environment: &[(&str, String)],
) -> Result<ExitStatus, Error> {
    let mut command = ending_with_us(Path::new(program), "TERM", None)?;
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let mut child = spawn(command).trying(|| format!("start {program}"))?;
    child.wait().trying(|| format!("wait for {program}"))
}

/// The processes that have this one as their parent.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, found)| found == parent)).collect()
}

/// Whether a process in this state does nothing: stopped, dead, or a zombie.
fn is_still(state: char) -> bool {
    matches!(state, 'T' | 't' | 'X' | 'Z')
}

/// Waits until none of the processes is in such a state. Signals take effect when the process is next
/// scheduled.
fn until_none(pids: &[u32], such: impl Fn(char) -> bool) {
    let start = Instant::now();
    while start.elapsed() < DEADLINE && pids.iter().any(|pid| stat(*pid).is_some_and(|(state, _)| such(state))) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// State and parent of a process. Its name, in parentheses, may contain anything.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
    let mut words = text.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

fn signal_all(pids: &[u32], signal: Signal) {
    for pid in pids {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }
}
