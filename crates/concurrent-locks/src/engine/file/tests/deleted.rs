//! Files deleted from the folder while it is in use (H1), and the protection against cleaners.

use std::{fs::FileTimes, os::unix::fs::MetadataExt, sync::mpsc, time::SystemTime};

use super::*;

#[test]
fn the_holder_of_a_lock_whose_file_was_deleted_is_notified() {
    for mode in Mode::ALL {
        let fixture = Fixture::new();
        let [one, two] = fixture.processes();
        let guard = one.request("a", mode).blocking().unwrap();
        assert_eq!(guard.verify().blocking(), Standing::Held);
        std::fs::remove_file(fixture.file("lock")).unwrap();
        assert_eq!(guard.verify().blocking(), Standing::Lost);
        let other = two.write("a").try_now().unwrap();
        assert_eq!(guard.verify().blocking(), Standing::Lost, "a lock file of another process is not ours");
        let error = guard.release().unwrap_err();
        assert_eq!((error.kind(), error.resource()), (ErrorKind::Lost, Some("a")), "{error}");
        assert!(error.to_string().contains("deleted"), "{error}");
        assert_eq!(one.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
        other.release().unwrap();
        take(&one, "a", Mode::Write).release().unwrap();
    }
}

#[test]
fn who_joins_a_lost_hold_takes_the_file_that_is_there() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let old = one.read("a").try_now().unwrap();
    std::fs::remove_file(fixture.file("lock")).unwrap();
    let writer = two.write("a").try_now().unwrap();
    assert_eq!(one.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    writer.release().unwrap();
    let new = take(&one, "a", Mode::Read);
    assert_eq!(new.verify().blocking(), Standing::Held);
    assert_eq!(old.verify().blocking(), Standing::Lost, "a loss is final");
    assert_eq!(old.release().unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(two.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);

    // Nor does who lost it keep the file for a process that does not use it any more.
    std::fs::remove_file(fixture.file("lock")).unwrap();
    let newest = take(&one, "a", Mode::Read);
    newest.release().unwrap();
    two.write("a").try_now().unwrap().release().unwrap();
    assert_eq!(new.release().unwrap_err().kind(), ErrorKind::Lost);
}

#[test]
fn an_owner_does_not_re_enter_what_is_lost() {
    let fixture = Fixture::new();
    let [one, two] = fixture.processes();
    let agent = one.owner("agent").unwrap();
    let outer = agent.write("a").try_now().unwrap();
    std::fs::remove_file(fixture.file("lock")).unwrap();
    let other = two.write("a").try_now().unwrap();
    assert_eq!(agent.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    let token = other.token();
    other.release().unwrap();
    let inner = agent.write("a").blocking().unwrap();
    assert!(inner.token() > token && token > outer.token());
    assert_eq!(inner.verify().blocking(), Standing::Held);
    assert_eq!(outer.release().unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(two.read("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    inner.release().unwrap();
}

#[test]
fn a_loss_is_reported_to_each_callback() {
    let fixture = Fixture::new();
    let [one, _] = fixture.processes();
    let (sender, losses) = mpsc::channel();
    let tell = || {
        let sender = sender.clone();
        move |loss: Error| sender.send(loss).unwrap()
    };
    let released = one.write("b").blocking().unwrap();
    released.on_lost(tell());
    released.release().unwrap();
    let guard = one.write("a").blocking().unwrap();
    guard.on_lost(tell());
    for path in std::fs::read_dir(fixture.directory()).unwrap() {
        std::fs::remove_file(path.unwrap().path()).unwrap();
    }
    let loss = losses.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!((loss.kind(), loss.resource()), (ErrorKind::Lost, Some("a")), "{loss}");
    // A later callback is called at once, by this thread.
    let late = one.write("c").blocking().unwrap();
    std::fs::remove_file(fixture.file("lock")).unwrap();
    late.on_lost(tell());
    assert_eq!(losses.try_recv().unwrap().resource(), Some("c"));
}

#[test]
fn use_keeps_the_files_from_cleaners() {
    let fixture = Fixture::new();
    let [one, _] = fixture.processes();
    take(&one, "a", Mode::Write).release().unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(20 * 24 * 60 * 60);
    let paths: Vec<PathBuf> =
        std::fs::read_dir(fixture.directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 4, "{paths:?}");
    for path in &paths {
        let times = FileTimes::new().set_accessed(long_ago).set_modified(long_ago);
        std::fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }
    // As a process does that begins.
    let again = FileEngine::new(&fixture.directory()).unwrap();
    let engine: &'static FileEngine = Box::leak(Box::new(again));
    let Progress::Granted(grant) = engine.begin(&ask("a")).unwrap() else { panic!("it is free") };
    for path in &paths {
        let modified = path.metadata().unwrap().modified().unwrap();
        assert!(modified > long_ago + Duration::from_secs(24 * 60 * 60), "{path:?} is old");
        let outlives = SystemTime::now() + Duration::from_secs(100 * 24 * 60 * 60);
        assert!(path.extension().unwrap() != "lock" || modified > outlives, "a lock may be held for long");
    }
    engine.release(&grant, Ending::Normal, Fairness::Strict).unwrap();
}

#[test]
fn a_deleted_folder_is_made_again_and_tokens_go_on() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("locks");
    let locks = LockManager::connect(&format!("file:{}", folder.display())).blocking().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let held = take(&locks, "a", Mode::Write);
        assert!(held.token() > last);
        last = held.token();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(held.verify().blocking(), Standing::Lost);
        take(&locks, "b", Mode::Write).release().unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(held.release().unwrap_err().kind(), ErrorKind::Lost);
    }
}

/// Root would lock the user out by files of its own.
#[test]
fn what_root_makes_in_a_users_folder_is_the_users() {
    let fixture = Fixture::new();
    if fixture.directory().metadata().unwrap().uid() != 0 {
        eprintln!("SKIPPED: only root can give files away");
        return;
    }
    std::os::unix::fs::chown(fixture.directory(), Some(12345), Some(54321)).unwrap();
    let [one, _] = fixture.processes();
    let guard = take(&one, "a", Mode::Write);
    for entry in std::fs::read_dir(fixture.directory()).unwrap() {
        let found = entry.unwrap().metadata().unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (12345, 54321, 0o600));
    }
    guard.release().unwrap();
}
