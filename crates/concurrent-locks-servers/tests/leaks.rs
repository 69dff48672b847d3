//! Nothing is left of a server: not when its value is dropped, not when its process is killed.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use concurrent_locks_servers::{PgBouncer, Postgres, Redis};

fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Processes, zombies apart, whose command line or working directory is in a folder.
fn working_in(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let here = |process: &PathBuf| fs::read_link(process.join("cwd")).is_ok_and(|at| at.starts_with(folder));
    processes.filter(here).map(|process| process.display().to_string()).collect()
}

/// The folder of a server.
fn folder_of(pid: u32) -> PathBuf {
    let at = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    // PostgreSQL works in the folder of its data.
    if at.ends_with("data") { at.parent().unwrap().to_owned() } else { at }
}

/// The number of the System V shared memory that a PostgreSQL server uses.
fn segment(folder: &Path) -> String {
    let told = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    told.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

fn is_used(segment: &str) -> bool {
    let all = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    all.lines().any(|line| line.split_whitespace().nth(1) == Some(segment))
}

#[test]
fn a_dropped_server_is_gone_and_its_folder_too() {
    let redis = Redis::start().unwrap();
    let postgres = Postgres::start().unwrap();
    let bouncer = PgBouncer::start(&postgres).unwrap();
    let folders = [redis.pid(), postgres.pid(), bouncer.pid()].map(folder_of);
    assert!(folders.iter().all(|folder| !working_in(folder).is_empty()));
    drop((redis, postgres, bouncer));
    for folder in folders {
        assert_eq!(working_in(&folder), Vec::<String>::new());
        assert!(!folder.exists(), "{}", folder.display());
    }
}

#[test]
fn a_stopped_server_and_a_killed_one_can_be_dropped() {
    let (mut redis, mut postgres) = (Redis::start().unwrap(), Postgres::start().unwrap());
    let folders = [redis.pid(), postgres.pid()].map(folder_of);
    redis.stop_process();
    postgres.stop_process();
    drop((redis, postgres));
    let (mut redis, mut postgres) = (Redis::start().unwrap(), Postgres::start().unwrap());
    let more = [redis.pid(), postgres.pid()].map(folder_of);
    let segment = segment(&more[1]);
    assert!(is_used(&segment));
    redis.kill();
    postgres.kill();
    drop((redis, postgres));
    assert!(!is_used(&segment), "shared memory is left");
    for folder in folders.into_iter().chain(more) {
        assert_eq!(working_in(&folder), Vec::<String>::new());
        assert!(!folder.exists(), "{}", folder.display());
    }
}

#[test]
fn a_server_outlives_the_thread_that_has_started_it() {
    let redis = thread::spawn(|| Redis::start().unwrap()).join().unwrap();
    // The kernel sends the signal while it ends the thread, and so it would have come by now or soon.
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(5));
        redis.command(&["PING"]).unwrap();
    }
}

/// `test-servers` around a shell that says where the servers are and then waits.
struct Run {
    child: Child,
    /// That of all its servers.
    folder: PathBuf,
    /// That of the PostgreSQL server.
    postgres: PathBuf,
}

fn start() -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_test-servers"))
        .args(["run", "--", "sh", "-c", "echo $LOCKS_TEST_REDIS; echo $LOCKS_TEST_POSTGRES; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let [redis, postgres] = [(); 2].map(|()| lines.next().unwrap().unwrap());
    assert!(redis.starts_with("redis://127.0.0.1:") && postgres.starts_with("postgres://postgres@127.0.0.1:"));
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let mut folders = pids.filter(|pid| parent(*pid) == Some(child.id())).map(folder_of);
    let postgres = folders.find(|folder| folder.file_name().unwrap().to_string_lossy().starts_with("postgres-"));
    let postgres = postgres.expect("a PostgreSQL server");
    Run { child, folder: postgres.parent().unwrap().to_owned(), postgres }
}

#[test]
fn when_their_process_is_killed_the_servers_end() {
    let mut run = start();
    let segment = segment(&run.postgres);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    until("the servers have ended", || working_in(&run.folder).is_empty());
    until("their folder is removed", || !run.folder.exists());
    assert!(!is_used(&segment), "shared memory is left");
}

#[test]
fn the_command_ends_and_the_servers_with_it() {
    let mut run = start();
    drop(run.child.stdin.take());
    assert!(run.child.wait().unwrap().success());
    assert_eq!(working_in(&run.folder), Vec::<String>::new());
    until("their folder is removed", || !run.folder.exists());
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    let code = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_test-servers"));
        // The run of all tests has set them.
        command.env_remove("LOCKS_TEST_REDIS").env_remove("LOCKS_TEST_POSTGRES");
        command.args(arguments).output().unwrap().status.code()
    };
    assert_eq!(code(&["run", "--redis", "--", "sh", "-c", "test -z \"$LOCKS_TEST_POSTGRES\" && exit 7"]), Some(7));
    assert_eq!(code(&["run", "--redis", "--", "sh", "-c", "kill -9 $$"]), Some(128 + 9));
    assert_eq!(code(&["run", "--redis", "--", "/no/such/program"]), Some(127));
    assert_eq!(code(&["run", "--mysql", "--", "true"]), Some(64));
    assert_eq!(code(&["run"]), Some(64));
}

#[test]
fn the_variables_name_the_shared_server() {
    let own = Redis::start().unwrap();
    let test = "a_shared_server_is_that_of_the_variable";
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored"])
        .env("LOCKS_TEST_REDIS", own.url())
        .env("EXPECTED", own.url())
        .output()
        .unwrap();
    assert!(status.status.success() && String::from_utf8_lossy(&status.stdout).contains("1 passed"), "{status:?}");
    let one = Redis::shared().unwrap();
    if std::env::var_os("LOCKS_TEST_REDIS").is_none() {
        assert_ne!(one.url(), own.url());
    }
    assert_eq!(one.url(), Redis::shared().unwrap().url());
}

#[test]
#[ignore = "run by the_variables_name_the_shared_server, with the variable set"]
fn a_shared_server_is_that_of_the_variable() {
    assert_eq!(Redis::shared().unwrap().url(), std::env::var("EXPECTED").unwrap());
}

#[test]
fn a_missing_program_is_named_with_the_remedy() {
    let output = Command::new(env!("CARGO_BIN_EXE_test-servers"))
        .args(["run", "--redis", "--", "true"])
        .env("LOCKS_REDIS_SERVER", "/no/such/redis")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125));
    assert!(said.contains("apt-get install redis-server") && said.contains("LOCKS_REDIS_SERVER"), "{said}");
}
