//! Other processes: this test program again, in a role, talked to line by line.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write, stdin, stdout},
    process::{ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use concurrent_locks::{Error, ErrorKind, Guard, LockManager, Mode, OWNER_VARIABLE, SPACE_VARIABLE, URL_VARIABLE};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    clock_step, ended, forked, full, hostile, killed,
    patience::{DEADLINE, until},
    surroundings,
};

const ROLE_VARIABLE: &str = "HOST_OUTCOMES_ROLE";
const URL_OF_ROLE_VARIABLE: &str = "HOST_OUTCOMES_URL";
/// What a child says begins so; the test harness around it writes to the same pipe.
const SAYS: &str = "child: ";

/// What a child process does.
type Role = fn(&mut Talk);

/// What a child process can do, by name.
const ROLES: [(&str, Role); 15] = [
    ("taker", take_on_command),
    ("forker", forked::fork_with_a_lock_held),
    ("local-forker", forked::fork_with_a_private_table),
    ("becomes-another-program", forked::become_another_program),
    ("ended-attacher", killed::attach_in_a_thread_that_ends),
    ("many-threads", killed::hold_and_wait_in_many_threads),
    ("future-waiter", killed::wait_in_a_future),
    ("hammer", hostile::hammer),
    ("forgetful", ended::forget_a_lock),
    ("parent-of-ended", ended::have_a_child_that_ends),
    ("leaver", ended::go_on_after_leaving),
    ("many-starters", full::start_many_at_once),
    ("closes-all", surroundings::close_all_descriptors),
    ("robbed", surroundings::be_robbed),
    ("without-stderr", surroundings::lock_without_stderr),
];

/// A child process. Killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    pid: u32,
}

impl Child {
    #[track_caller]
    pub(crate) fn start(role: &str, url: &str) -> Child {
        Self::start_under(&[], role, url)
    }

    /// Starts a child through another program (`unshare`, `faketime`).
    #[track_caller]
    pub(crate) fn start_under(wrapper: &[&str], role: &str, url: &str) -> Child {
        Self::spawn(Self::command(wrapper, role, url))
    }

    pub(crate) fn command(wrapper: &[&str], role: &str, url: &str) -> Command {
        let this = env::current_exe().unwrap();
        let mut command = match wrapper {
            [] => Command::new(this),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(this);
                command
            }
        };
        // One test thread: there is none besides the role's and the one that waits for it.
        command.args(["--exact", "child::plays_its_role", "--nocapture", "--test-threads=1"]);
        for variable in [URL_VARIABLE, SPACE_VARIABLE, OWNER_VARIABLE] {
            command.env_remove(variable);
        }
        command.env(ROLE_VARIABLE, role).env(URL_OF_ROLE_VARIABLE, url);
        command
    }

    #[track_caller]
    pub(crate) fn spawn(mut command: Command) -> Child {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start a child");
        let commands = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(answer) = line.strip_prefix(SAYS)
                    && sender.send(answer.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let mut child = Child { process, commands, answers, pid: 0 };
        let started = child.answer();
        child.pid = started.strip_prefix("started ").and_then(|pid| pid.parse().ok()).expect(&started);
        child
    }

    /// Its pid, as it calls itself.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    #[track_caller]
    pub(crate) fn send(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("a child that listens");
    }

    /// The next thing it says.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> String {
        match self.answers.recv_timeout(DEADLINE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => panic!("child {} said nothing for {DEADLINE:?}", self.pid),
            Err(RecvTimeoutError::Disconnected) => panic!("child {} ended: {:?}", self.pid, self.process.try_wait()),
        }
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.send(command);
        self.answer()
    }

    /// Makes it take a lock at once; the fencing token.
    #[track_caller]
    pub(crate) fn take(&mut self, name: &str) -> u64 {
        self.send(&format!("write {name} 0"));
        self.token()
    }

    /// The token of the grant that it tells next.
    #[track_caller]
    pub(crate) fn token(&mut self) -> u64 {
        let answer = self.answer();
        answer.strip_prefix("granted ").and_then(|token| token.parse().ok()).expect(&answer)
    }

    /// It must say that it failed, in this way; the error's text.
    #[track_caller]
    pub(crate) fn error(&mut self, kind: ErrorKind) -> String {
        let answer = self.answer();
        let text = answer.strip_prefix(&format!("error {kind:?}: "));
        text.unwrap_or_else(|| panic!("{kind:?} expected, not: {answer}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid as i32), signal).unwrap();
    }

    /// Stops it (SIGSTOP) and waits until all of it stands.
    #[track_caller]
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        until("a stopped child", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
            stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T')
        });
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // Fails only if it is gone already.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Lets it end by itself.
    #[track_caller]
    pub(crate) fn end(mut self) -> ExitStatus {
        self.send("exit");
        until("the end of a child", || self.process.try_wait().unwrap().is_some());
        self.process.wait().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The child's end of the conversation.
pub(crate) struct Talk {
    /// Which table it is about.
    pub(crate) url: String,
}

impl Talk {
    pub(crate) fn say(&self, text: &str) {
        // On a line of its own, whatever the harness wrote before.
        write!(stdout().lock(), "\n{SAYS}{}\n", text.replace('\n', " ")).unwrap();
        stdout().flush().unwrap();
    }

    /// The next command; `None` when there will be no more.
    pub(crate) fn hear(&self) -> Option<String> {
        let mut line = String::new();
        stdin().lock().read_line(&mut line).unwrap();
        let line = line.trim_end();
        (!line.is_empty() && line != "exit").then(|| line.to_owned())
    }

    pub(crate) fn connect(&self) -> LockManager {
        LockManager::connect(&self.url).blocking().unwrap()
    }

    pub(crate) fn say_error(&self, error: &Error) {
        self.say(&format!("error {:?}: {error}", error.kind()));
    }

    pub(crate) fn say_result(&self, result: &Result<Guard, Error>) {
        match result {
            Ok(guard) => self.say(&format!("granted {}", guard.token())),
            Err(error) => self.say_error(error),
        }
    }
}

/// Not a test: what a child process runs. In the test run itself there is no role, and it does nothing.
#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE_VARIABLE) else { return };
    let play = ROLES.iter().find(|(name, _)| *name == role).expect("a role").1;
    let mut talk = Talk { url: env::var(URL_OF_ROLE_VARIABLE).unwrap() };
    talk.say(&format!("started {}", std::process::id()));
    play(&mut talk);
}

/// Takes locks on command: `connect`, `write NAME MS`, `read NAME MS` (0: does not wait),
/// `release NAME`, `wall` (the wall clock), `chroot DIR`, `become UID`, `member UID GID`, `verify NAME`, `run PROGRAM ARGUMENTS`, `exit`.
fn take_on_command(talk: &mut Talk) {
    let mut held: HashMap<String, Guard> = HashMap::new();
    while let Some(command) = talk.hear() {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["connect"] => match LockManager::connect(&talk.url).blocking() {
                Ok(locks) => talk.say(&format!("connected {}", locks.health().blocking().unwrap().processes.used)),
                Err(error) => talk.say_error(&error),
            },
            ["wall"] => clock_step::say_wall_clock(talk),
            ["chroot", directory] => {
                nix::unistd::chroot(directory).unwrap();
                talk.say("gone");
            }
            ["become", user] => {
                nix::unistd::setuid(user.parse::<u32>().unwrap().into()).unwrap();
                talk.say("gone");
            }
            ["member", user, group] => {
                let group = group.parse::<u32>().unwrap().into();
                nix::unistd::setgroups(&[group]).unwrap();
                nix::unistd::setgid(group).unwrap();
                nix::unistd::setuid(user.parse::<u32>().unwrap().into()).unwrap();
                talk.say("is");
            }
            ["run", program, ref arguments @ ..] => {
                let status = Command::new(program).args(arguments).status().unwrap();
                talk.say(if status.success() { "ran" } else { "failed" });
            }
            ["verify", name] => {
                talk.say(&format!("{:?}", held[name].verify().blocking()));
            }
            ["release", name] => match held.remove(name).expect("a held lock").release() {
                Ok(()) => talk.say("released"),
                Err(error) => talk.say_error(&error),
            },
            [mode, name, time] => {
                let mode = if mode == "write" { Mode::Write } else { Mode::Read };
                let time = Duration::from_millis(time.parse().unwrap());
                let result = LockManager::connect(&talk.url)
                    .blocking()
                    .and_then(|locks| locks.request(name, mode).note("by a child").timeout(time).blocking());
                talk.say_result(&result);
                if let Ok(guard) = result {
                    held.insert(name.to_owned(), guard);
                }
            }
            _ => panic!("unknown command {command:?}"),
        }
    }
}
