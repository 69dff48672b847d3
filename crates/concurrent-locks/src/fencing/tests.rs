//! What a fence beside a file passes and refuses, within one process.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use tempfile::TempDir;

use super::{pass, write_file};
use crate::{
    os::kernel_lock::KernelLock,
    words::{error::ErrorKind, mode::Mode},
};

fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    (folder, path)
}

fn fence(path: &Path) -> PathBuf {
    path.with_file_name("a.json.fence")
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_smaller_token_is_refused_and_names_both() {
    let (_folder, path) = file();
    write_file(&path, 7, "seven").unwrap();
    let error = write_file(&path, 5, "five").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(error.to_string().contains("token 5 is older than 7"), "{error}");
    assert_eq!(content(&path), "seven");
    assert!(!error.is_retryable());
}

#[test]
fn an_equal_token_and_a_greater_one_pass() {
    let (_folder, path) = file();
    for (token, text) in [(7, "a"), (7, "b"), (8, "c"), (u64::MAX, "d"), (u64::MAX, "e")] {
        write_file(&path, token, text).unwrap();
        assert_eq!(content(&path), text);
    }
    assert_eq!(content(&fence(&path)), format!("{}\n", u64::MAX));
    assert!(!path.with_file_name("a.json.fence.new").exists());
}

#[test]
fn what_has_only_passed_counts() {
    let (_folder, path) = file();
    drop(pass(&path, 9).unwrap());
    assert!(!path.exists());
    assert_eq!(write_file(&path, 8, "").unwrap_err().kind(), ErrorKind::Lost);
}

#[test]
fn who_passes_is_alone_until_the_passage_ends() {
    let (_folder, path) = file();
    let passage = pass(&path, 1).unwrap();
    let others_may_pass = || KernelLock::try_take(&fence(&path), Mode::Write).unwrap().is_some();
    assert!(!others_may_pass());
    let writer = thread::spawn({
        let path = path.clone();
        move || write_file(path, 2, "two")
    });
    for round in 0..100 {
        fs::write(passage.path(), round.to_string()).unwrap();
        thread::yield_now();
        assert_eq!(content(&path), round.to_string());
    }
    drop(passage);
    writer.join().unwrap().unwrap();
    assert_eq!(content(&path), "two");
    assert!(others_may_pass());
}

#[test]
fn a_fence_that_holds_no_number_is_an_error_until_it_is_repaired() {
    let (_folder, path) = file();
    write_file(&path, 7, "seven").unwrap();
    for damage in ["0000", "\n", "\0\0\0\0", "twelve", "-7\n"] {
        fs::write(fence(&path), damage).unwrap();
        let error = write_file(&path, 9, "nine").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage:?}");
        assert!(error.to_string().contains("a.json.fence"), "{error}");
        assert_eq!(content(&path), "seven");
    }
    fs::write(fence(&path), "8\n").unwrap();
    assert_eq!(write_file(&path, 7, "").unwrap_err().kind(), ErrorKind::Lost);
    write_file(&path, 8, "eight").unwrap();
    assert_eq!(content(&path), "eight");
}

/// As a writer leaves it that dies between making the fence and writing its token into it.
#[test]
fn an_empty_fence_has_let_nobody_pass_yet() {
    let (_folder, path) = file();
    fs::write(fence(&path), "").unwrap();
    write_file(&path, 1, "one").unwrap();
    assert_eq!(content(&path), "one");
}

#[test]
fn what_a_dead_writer_left_is_overwritten() {
    let (_folder, path) = file();
    fs::write(path.with_file_name("a.json.fence.new"), "a long piece of something else").unwrap();
    write_file(&path, 1, "one").unwrap();
    assert_eq!(content(&path), "one");
}

#[test]
fn a_path_without_a_name_or_a_folder_is_refused() {
    let (folder, _) = file();
    assert_eq!(pass("/", 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    let error = write_file(folder.path().join("none/a.json"), 1, "").unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
}

#[test]
fn a_folder_has_its_fence_beside_it() {
    let (folder, _) = file();
    let repository = folder.path().join("repository");
    fs::create_dir(&repository).unwrap();
    drop(pass(repository.join("."), 3).unwrap());
    assert!(folder.path().join("repository.fence").exists());
    assert_eq!(pass(&repository, 2).unwrap_err().kind(), ErrorKind::Lost);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn every_path_to_a_file_leads_to_one_fence() {
        let (folder, path) = file();
        write_file(&path, 7, "seven").unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(write_file(&link, 6, "six").unwrap_err().kind(), ErrorKind::Lost);
        write_file(&link, 8, "eight").unwrap();
        assert_eq!(content(&path), "eight");
        assert!(link.is_symlink(), "the link is still one");
        let dangling = folder.path().join("dangling");
        symlink(folder.path().join("nothing"), &dangling).unwrap();
        write_file(&dangling, 1, "").unwrap_err();
        assert!(dangling.is_symlink());
    }

    #[test]
    fn permissions_are_kept_and_links_in_the_way_not_followed() {
        let (folder, path) = file();
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, path.with_file_name("a.json.fence.new")).unwrap();
        write_file(&path, 1, "new").unwrap();
        assert_eq!((content(&path), content(&victim)), ("new".to_owned(), "mine".to_owned()));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        symlink(&victim, folder.path().join("b.fence")).unwrap();
        write_file(folder.path().join("b"), 1, "").unwrap_err();
        assert_eq!(content(&victim), "mine");
    }
}
