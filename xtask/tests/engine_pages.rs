//! What `docs/engines/` states of table files and no other test shows.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use concurrent_locks::{Error, ErrorKind, LockManager};

/// Where `layout.rs` has the layout number: after the magic.
const LAYOUT_AT: u64 = 8;

fn connect(path: &Path) -> Result<LockManager, Error> {
    LockManager::connect(&format!("host:{}", path.display()))
}

/// The error of opening `path`, which must name it.
fn refusal(path: &Path) -> ErrorKind {
    let error = connect(path).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    error.kind()
}

/// A second name of a table: opened by it, the same process attaches once more, as another would.
fn second_name(path: &Path) -> PathBuf {
    let second = path.with_extension("second");
    fs::hard_link(path, &second).unwrap();
    second
}

/// A file with these bytes and the permissions of a table.
fn private_file(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_table_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.table");
    drop(connect(&path).unwrap().write("a").try_now().unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_table_that_others_could_have_planted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.table");
    connect(&path).unwrap();
    let link = folder.path().join("link.table");
    symlink(&path, &link).unwrap();
    assert_eq!(refusal(&link), ErrorKind::Permission);
    let open = second_name(&path);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(refusal(&open), ErrorKind::Permission);
}

#[test]
fn a_file_that_is_no_table_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short");
    private_file(&path, b"not a table");
    assert_eq!(refusal(&path), ErrorKind::Corrupt);
    let path = folder.path().join("text");
    private_file(&path, &b"not a table either\n".repeat(1000));
    assert_eq!(refusal(&path), ErrorKind::Corrupt);
    assert!(fs::read_to_string(&path).unwrap().starts_with("not a table either"));
    let path = folder.path().join("cut");
    connect(&folder.path().join("whole")).unwrap();
    fs::copy(folder.path().join("whole"), &path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(8192).unwrap();
    assert_eq!(refusal(&path), ErrorKind::Corrupt);
}

#[test]
fn a_missing_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(refusal(&folder.path().join("missing/a.table")), ErrorKind::Unreachable);
}

#[test]
fn a_table_of_another_version_is_replaced_once_nobody_lives_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.table");
    let locks = connect(&path).unwrap();
    let other_version = |path: &Path| {
        OpenOptions::new().write(true).open(path).unwrap().write_all_at(&99_u32.to_le_bytes(), LAYOUT_AT).unwrap();
    };
    let copy = folder.path().join("abandoned");
    fs::copy(&path, &copy).unwrap(); // nobody holds a byte of this file
    other_version(&copy);
    drop(connect(&copy).unwrap().write("a").try_now().unwrap());

    let second = second_name(&path);
    other_version(&second);
    assert_eq!(refusal(&second), ErrorKind::Closed);
    drop(locks.write("a").try_now().unwrap()); // those inside go on
}

#[test]
fn a_full_house_of_processes_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.table");
    let url = format!("host:{}?processes=1", path.display());
    let _only = LockManager::connect(&url).unwrap();
    assert_eq!(refusal(&second_name(&path)), ErrorKind::Full);
}

#[test]
fn a_deleted_table_is_told_to_those_who_wait_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.table");
    let locks = connect(&path).unwrap();
    let held = locks.write("a").try_now().unwrap();
    let waiting = thread::spawn({
        let locks = locks.clone();
        move || locks.write("a").timeout(Duration::from_secs(60)).blocking().map(drop)
    });
    while locks.status("a").unwrap().is_none_or(|status| status.pending_writes == 0) {
        thread::yield_now();
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    let problems = locks.health().unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains("deleted or replaced")), "{problems:?}");
    assert_eq!(locks.write("b").try_now().unwrap_err().kind(), ErrorKind::Closed);
    held.release().unwrap();
}

#[test]
fn a_leaked_guard_stays_held_and_is_seen() {
    let locks = LockManager::connect("local:leaked").unwrap();
    std::mem::forget(locks.owner("leaker").unwrap().write("a").try_now().unwrap());
    let status = locks.status("a").unwrap().unwrap();
    assert_eq!(status.current_writer.as_deref(), Some("leaker"));
    assert_eq!(locks.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
}
