//! Other processes: this test program again, as a [`writer`](crate::writer), talked to line by line.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use concurrent_locks_conformance::DEADLINE;
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::writer::{self, SAYS};

const PLACE_VARIABLE: &str = "FENCING_PLACE";
const LOCKS_VARIABLE: &str = "FENCING_LOCKS";

/// A process that writes to a store. Killed when dropped.
pub(crate) struct Writer {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl Writer {
    /// For the store at `place`, whose lock is in the space `locks`.
    #[track_caller]
    pub(crate) fn start(place: &str, locks: &str) -> Writer {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child::plays_its_role", "--nocapture", "--test-threads=1"])
            .env(PLACE_VARIABLE, place)
            .env(LOCKS_VARIABLE, locks)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, answers) = channel();
        thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            // The test harness of the child writes to the same pipe.
            let answers = lines.filter_map(|line| line.strip_prefix(SAYS).map(str::to_owned));
            answers.into_iter().try_for_each(|answer| sender.send(answer))
        });
        Writer { process, commands, answers }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("a living writer");
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> String {
        self.answers.recv_timeout(DEADLINE).expect("an answer of a writer")
    }

    /// Whatever it has said and nobody has heard, also if it is dead.
    pub(crate) fn heard(&mut self) -> Vec<String> {
        self.answers.iter().collect()
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.send(command);
        self.answer()
    }

    /// Asks for something whose answer is `WORD NUMBER`.
    #[track_caller]
    pub(crate) fn number(&mut self, command: &str) -> u64 {
        let answer = self.ask(command);
        answer.rsplit(' ').next().and_then(|number| number.parse().ok()).expect(&answer)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// Waits until it has stopped itself.
    #[track_caller]
    pub(crate) fn until_it_stops(&self) {
        let status = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(status, WaitStatus::Stopped(self.pid(), Signal::SIGSTOP));
    }

    pub(crate) fn go_on(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// Kills it and waits for its end.
    pub(crate) fn kill(&mut self) {
        // Fails only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Not a test: what a child process runs. In the test run itself there is no place, and it does nothing.
#[test]
fn plays_its_role() {
    if let (Ok(place), Ok(locks)) = (env::var(PLACE_VARIABLE), env::var(LOCKS_VARIABLE)) {
        writer::obey(&place, &locks);
    }
}
