//! The parent's end of a lock-taker: a process that takes locks on command.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use concurrent_locks::{OWNER_ID_VARIABLE, OWNER_VARIABLE, URL_VARIABLE};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::wait::DEADLINE;

/// Another process. It gets a line, does what it says, and answers with a line; one at a time.
/// Killed when dropped.
///
/// The commands are listed in the program, `src/bin/lock-taker/main.rs`.
#[derive(Debug)]
pub struct LockTaker {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

/// What a lock-taker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakerAnswer(String);

impl LockTaker {
    pub(crate) fn start(program: &Path, url: Option<&str>, environment: &[(&str, String)]) -> LockTaker {
        let mut child = Command::new(program)
            .args(url)
            .env_remove(URL_VARIABLE)
            .env_remove(OWNER_VARIABLE)
            .env_remove(OWNER_ID_VARIABLE)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a lock-taker");
        let commands = child.stdin.take().expect("a piped stdin");
        let output = BufReader::new(child.stdout.take().expect("a piped stdout"));
        let (sender, answers) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut taker = LockTaker { child, commands, answers };
        let started = taker.answer();
        assert_eq!(started.0, format!("started {}", taker.pid()));
        taker
    }

    /// Gives a command and does not wait for the answer.
    ///
    /// # Panics
    /// If the process is gone.
    #[track_caller]
    pub fn send(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("a living lock-taker");
    }

    /// Waits for the next answer.
    ///
    /// # Panics
    /// If none comes in time.
    #[track_caller]
    pub fn answer(&mut self) -> TakerAnswer {
        TakerAnswer(self.answers.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("no answer: {error}")))
    }

    /// The next answer, if it has come.
    pub fn answered(&mut self) -> Option<TakerAnswer> {
        self.answers.try_recv().ok().map(TakerAnswer)
    }

    /// Gives a command and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> TakerAnswer {
        self.send(command);
        self.answer()
    }

    /// Gives a command that takes a lock, waits for the grant, and returns its token.
    #[track_caller]
    pub fn take(&mut self, command: &str) -> u64 {
        self.ask(command).token()
    }

    /// Fails unless no answer has come: the process still waits.
    ///
    /// # Panics
    /// If it has answered.
    #[track_caller]
    pub fn assert_silent(&mut self) {
        if let Some(answer) = self.answered() {
            panic!("answered {answer:?}, it should wait");
        }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once, as the kernel's out-of-memory killer does, and waits for its end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("the end of a killed child");
    }

    /// Kills it without waiting for its end: it stays a zombie, as with a parent that does not care.
    pub fn kill_and_leave(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Stops it where it is (SIGSTOP), and waits until it has stopped.
    ///
    /// # Panics
    /// If it ends instead.
    pub fn stop(&mut self) {
        self.signal(Signal::STOP);
        let (_, status) = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED)
            .expect("wait for a child")
            .expect("a waitpid without NOHANG has a status");
        assert!(status.stopped(), "not stopped but {status:?}");
    }

    /// Lets it go on after [`LockTaker::stop`].
    pub fn go_on(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Waits for its end and says whether it ended well.
    #[must_use]
    pub fn ended_well(&mut self) -> bool {
        self.child.wait().expect("the end of a child").success()
    }

    /// Kills a child that a taker forked, of which it told the pid.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn kill_child(pid: u32) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::KILL).expect("a living child of a taker");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("signal a child that was not waited for");
    }
}

impl Drop for LockTaker {
    fn drop(&mut self) {
        // Gone already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl TakerAnswer {
    /// The whole line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The token of a `granted TOKEN`.
    ///
    /// # Panics
    /// If the answer is another.
    #[track_caller]
    pub fn token(&self) -> u64 {
        let token = self.0.strip_prefix("granted ").and_then(|token| token.parse().ok());
        token.unwrap_or_else(|| panic!("not granted but {:?}", self.0))
    }

    /// The message of an `error KIND message`.
    ///
    /// # Panics
    /// If the answer is another, or the error of another kind.
    #[track_caller]
    pub fn error(&self, kind: concurrent_locks::ErrorKind) -> &str {
        let message = self.0.strip_prefix(&format!("error {kind:?} "));
        message.unwrap_or_else(|| panic!("not the error {kind:?} but {:?}", self.0))
    }

    /// The rest of the line after `word`.
    ///
    /// # Panics
    /// If the answer begins with another word.
    #[track_caller]
    pub fn after(&self, word: &str) -> &str {
        let rest = self.0.strip_prefix(word);
        rest.unwrap_or_else(|| panic!("not {word:?} but {:?}", self.0)).trim_start()
    }
}
