//! A command and the processes it started, as far as they can be found.
//!
//! They share our process group, because the terminal's keys are for all of us; so it is not the group
//! that is signalled, but everybody who descends from the command. A process that left it (a daemon, whose
//! parent is no more) is not the command's any more.

use std::{collections::HashMap, fs, process::Child};

use rustix::process::{Pid, Signal, kill_process};

/// The command and its descendants.
pub(crate) struct Family {
    command: Pid,
    /// Everybody ever found and not known to have ended, with the instant it was started: number and
    /// start together name a process for ever. A process that was found stays when its parent ends.
    members: HashMap<i32, u64>,
    /// Whether the command itself was looked for.
    sought: bool,
}

impl Family {
    /// Of a command that is not waited for before somebody is first sought.
    pub(crate) fn of(command: &Child) -> Family {
        Family { command: Pid::from_child(command), members: HashMap::new(), sought: false }
    }

    /// Sends everybody a signal.
    pub(crate) fn send(&mut self, signal: Signal) {
        self.find();
        self.send_to_found(signal);
    }

    /// Stops all of them. A stopped process starts no others: when no more are found, all are stopped.
    pub(crate) fn kill(&mut self) {
        self.send(Signal::STOP);
        while self.find() {
            self.send_to_found(Signal::STOP);
        }
        self.send_to_found(Signal::KILL);
    }

    /// Whether none of those found is left.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.find();
        self.members.is_empty()
    }

    /// Finds the current processes; returns whether there are new ones.
    fn find(&mut self) -> bool {
        if !std::mem::replace(&mut self.sought, true) {
            let number = self.command.as_raw_nonzero().get();
            self.members.extend(Process::look(number).map(|process| (number, process.started)));
        }
        let seen = processes();
        self.members.retain(|pid, started| seen.get(pid).is_some_and(|process| process.lives_since(*started)));
        let known = self.members.len();
        loop {
            let is_new = |pid: &i32, parent: &i32| !self.members.contains_key(pid) && self.members.contains_key(parent);
            let found: Vec<_> = seen
                .iter()
                // Who has ended and is not waited for, because its parent stands still, would be new at every look.
                .filter(|(pid, process)| !process.is_dead && is_new(pid, &process.parent))
                .map(|(pid, process)| (*pid, process.started))
                .collect();
            if found.is_empty() {
                return self.members.len() > known;
            }
            self.members.extend(found);
        }
    }

    fn send_to_found(&self, signal: Signal) {
        // It fails only for a process that has ended, or that became another user's (sudo).
        if !cfg!(target_os = "linux") {
            let _ = kill_process(self.command, signal);
        }
        for (pid, started) in &self.members {
            let lives = Process::look(*pid).is_some_and(|process| process.lives_since(*started));
            if let Some(pid) = Pid::from_raw(*pid).filter(|_| lives) {
                let _ = kill_process(pid, signal);
            }
        }
    }
}

/// What `/proc` says of a process.
struct Process {
    parent: i32,
    /// When it was started, in ticks since the machine was.
    started: u64,
    is_dead: bool,
}

impl Process {
    fn look(pid: i32) -> Option<Process> {
        Process::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `PID (NAME) STATE PARENT ...`, where the name may contain anything; the start is field 22.
    fn parse(stat: &str) -> Option<Process> {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        Some(Process { parent, started: fields.nth(17)?.parse().ok()?, is_dead })
    }

    fn lives_since(&self, started: u64) -> bool {
        self.started == started && !self.is_dead
    }
}

/// Every process that can be seen.
fn processes() -> HashMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Process::look(pid)?)))
        .collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    /// Starts a shell that says the numbers of the processes it started, and waits for them.
    fn start(script: &str, says: usize) -> (Child, Vec<i32>) {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pids = lines.take(says).map(|line| line.unwrap().trim().parse().unwrap()).collect();
        (child, pids)
    }

    fn until(what: &str, mut fact: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !fact() {
            assert!(Instant::now() < deadline, "in vain waited for: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn lives(pid: i32) -> bool {
        Process::look(pid).is_some_and(|process| !process.is_dead)
    }

    #[test]
    fn a_name_may_look_like_anything() {
        let process =
            Process::parse("17 (a) R 1 (b) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 999 23").unwrap();
        assert_eq!((process.parent, process.started, process.is_dead), (4, 999, false));
        assert!(Process::parse("17 (x) Z 4 5").is_none());
    }

    #[test]
    fn a_signal_reaches_what_the_command_started() {
        // `exec` keeps the number that was printed.
        let (mut command, pids) =
            start("sh -c 'echo $$; exec sleep 1000' & sh -c 'echo $$; exec sleep 1000' & wait", 2);
        let mut family = Family::of(&command);
        assert!(!family.has_ended());
        family.send(Signal::TERM);
        command.wait().unwrap();
        until("the end of all", || !pids.iter().any(|pid| lives(*pid)));
        assert!(family.has_ended());
    }

    #[test]
    fn whoever_outlives_its_parent_is_stopped_all_the_same() {
        let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.01; done' & wait";
        let (mut command, pids) = start(script, 1);
        let mut family = Family::of(&command);
        family.send(Signal::TERM);
        command.wait().unwrap();
        assert!(!family.has_ended());
        family.kill();
        until("the end of all", || !lives(pids[0]) && family.has_ended());
    }

    #[test]
    fn a_family_that_grows_all_the_time_is_stopped() {
        let (mut command, _) = start("echo 1; while :; do sleep 5 & done", 1);
        let mut family = Family::of(&command);
        family.kill();
        command.wait().unwrap();
        until("the end of all", || family.has_ended());
    }
}
