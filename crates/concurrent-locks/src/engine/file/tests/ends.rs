//! The end of a process, and forked children.

use super::*;

#[test]
#[ignore = "run by a_killed_process_frees_its_locks"]
#[expect(clippy::print_stdout, reason = "the parent waits for it")]
fn child_holds_until_it_is_killed() {
    let directory = std::env::var(DIRECTORY_VARIABLE).unwrap();
    let locks = LockManager::connect(&format!("file:{directory}")).blocking().unwrap();
    let agent = locks.owner("doomed").unwrap();
    let _write = agent.write("a").blocking().unwrap();
    let _read = agent.read("b").blocking().unwrap();
    println!("\nholds");
    thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_killed_process_frees_its_locks() {
    let fixture = Fixture::new();
    let [one, _] = fixture.processes();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engine::file::tests::ends::child_holds_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DIRECTORY_VARIABLE, fixture.directory())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "holds"));
    let error = one.write("a").try_now().unwrap_err();
    let holder = &error.busy().unwrap().holders[0];
    assert_eq!((holder.label.as_str(), holder.pid), ("doomed", child.id()));
    let before = holder.token;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(take(&one, "a", Mode::Write).token() > before);
    take(&one, "b", Mode::Write).release().unwrap();
}

#[test]
#[expect(unsafe_code, reason = "there is no other way to fork")]
fn a_forked_child_holds_nothing_and_gives_nothing_back() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let guard = take(&one, "a", Mode::Write);
    let inherited = guard.token();
    // SAFETY: the child only uses the engine, whose locks are its own, and memory, which the C
    // library makes usable after a fork; it ends without running anything of the test harness.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
            assert_eq!(one.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
            assert!(one.write("b").try_now().unwrap().token() > 0);
            // Only once the parent releases it.
            assert!(take(&one, "a", Mode::Write).token() > inherited);
        }));
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    until("the child has used another lock", || two.status("b").blocking().is_ok() && fixture_has_two_tokens(&fixture));
    assert_eq!(two.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    guard.release().unwrap();
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    take(&two, "a", Mode::Write).release().unwrap();
}

fn fixture_has_two_tokens(fixture: &Fixture) -> bool {
    let entries = std::fs::read_dir(fixture.directory()).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|own| own == "token")).count() == 2
}

/// As a daemon does: the numbers of its parent's lock files are its own files' then.
#[test]
#[expect(unsafe_code, reason = "there is no other way to fork")]
fn a_forked_child_that_closes_all_descriptors_keeps_its_own_files() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let held: Vec<Guard> = ["a", "b", "c"].map(|name| take(&one, name, Mode::Write)).into();
    let path = |number: usize| fixture.root.path().join(format!("log {number}"));
    // SAFETY: the child only uses its memory, which the C library makes usable after a fork, and files;
    // it ends without running anything of the test harness.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // SAFETY: whoever has them open in this child must cope with it: that is what is tested.
            (3..256).for_each(|number| _ = unsafe { libc::close(number) });
            let mut logs: Vec<_> = (0..64).map(|number| std::fs::File::create_new(path(number)).unwrap()).collect();
            let own = one.write("job").try_now().unwrap();
            assert_eq!(one.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
            held.into_iter().for_each(|guard| assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost));
            own.release().unwrap();
            for log in &mut logs {
                log.write_all(b"working\n").unwrap();
            }
        }));
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child says why, with --nocapture");
    assert!((0..64).all(|number| std::fs::read(path(number)).unwrap() == b"working\n"));
    for guard in held {
        assert_eq!(two.read(&guard.name().unwrap()).try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
        guard.release().unwrap();
    }
}

/// Of its own lock files, too: what was closed is lost, and not taken for held.
#[test]
#[expect(unsafe_code, reason = "closing what others own is what the test is about")]
fn a_process_that_closes_its_lock_file_is_notified() {
    use std::os::fd::AsRawFd;
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let guard = take(&one, "a", Mode::Write);
    let path = fixture.file("lock").canonicalize().unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
    let number = open.into_iter().find(|entry| std::fs::read_link(entry.path()).is_ok_and(|open| open == path));
    let number: i32 = number.unwrap().file_name().to_str().unwrap().parse().unwrap();
    let log = tempfile::tempfile().unwrap();
    // SAFETY: that the owner of the number copes with it is what is tested.
    assert_eq!(unsafe { libc::dup2(log.as_raw_fd(), number) }, number);
    assert_eq!(guard.verify().blocking(), Standing::Lost);
    // A child that another test has just forked may have the file still.
    let other = take(&two, "a", Mode::Write);
    let error = guard.release().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    other.release().unwrap();
    // SAFETY: the number is the log's, which nobody has closed: now it is.
    assert_eq!(unsafe { libc::close(number) }, 0);
    take(&one, "a", Mode::Write).release().unwrap();
}
