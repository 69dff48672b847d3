//! Thousands of waiters of two processes: each is served, in the order in which they came.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use concurrent_locks::LockManager;
use concurrent_locks_conformance::until;

use crate::{
    on_both_servers,
    stage::{Server, Stage},
};

on_both_servers! {
    thousands_of_waiters_are_served_in_order,
}

const WAITERS_EACH: usize = 1500;
/// A grant for each of them in turn takes its time on a machine that has others to serve.
const PATIENCE: Duration = Duration::from_secs(200);
const URL_VARIABLE: &str = "CLUSTER_CROWD_URL";
const SAYS: &str = "served ";

fn thousands_of_waiters_are_served_in_order<S: Server>() {
    let stage = Stage::<S>::new();
    let bench = stage.near("10m");
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut crowds = [Crowd::start(bench.url()), Crowd::start(bench.url())];
    let mut came = Vec::new();
    until("all wait", || {
        std::thread::sleep(Duration::from_millis(200));
        let waiters = bench.status("a").waiters;
        came = waiters.into_iter().map(|waiter| format!("{} {}", waiter.pid, waiter.note)).collect::<Vec<_>>();
        came.len() == 2 * WAITERS_EACH
    });
    guard.release().unwrap();
    let mut served: Vec<(u64, String)> = crowds.iter_mut().flat_map(Crowd::served).collect();
    served.sort_unstable();
    let served: Vec<String> = served.into_iter().map(|(_, who)| who).collect();
    assert_eq!(served, came);
    stage.until_nothing_is_left();
}

/// A process with many waiting futures. Killed when dropped.
struct Crowd(Child);

impl Crowd {
    fn start(url: &str) -> Crowd {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "crowd::waits_in_a_process_of_its_own", "--nocapture", "--test-threads=1"]);
        Crowd(command.env(URL_VARIABLE, url).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Token, process and note of each grant, when there are no more.
    fn served(&mut self) -> Vec<(u64, String)> {
        let pid = self.0.id();
        let output = BufReader::new(self.0.stdout.take().unwrap());
        let lines = output.lines().map_while(Result::ok);
        let served = lines.filter_map(|line| {
            let (token, note) = line.strip_prefix(SAYS)?.split_once(' ')?;
            Some((token.parse().unwrap(), format!("{pid} {note}")))
        });
        let served = served.collect();
        assert!(self.0.wait().unwrap().success());
        served
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Gone already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test: what a child process runs. In the test run itself there is no URL, and it does nothing.
#[test]
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn waits_in_a_process_of_its_own() {
    let Ok(url) = env::var(URL_VARIABLE) else { return };
    let locks = LockManager::connect(&url).blocking().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let waits: Vec<_> = (0..WAITERS_EACH)
            .map(|number| {
                let locks = locks.clone();
                tokio::spawn(async move {
                    let guard = locks.write("a").note(&number.to_string()).timeout(PATIENCE).await.unwrap();
                    (guard.token(), number)
                })
            })
            .collect();
        println!();
        for wait in waits {
            let (token, number) = wait.await.unwrap();
            println!("{SAYS}{token} {number}");
        }
    });
}
