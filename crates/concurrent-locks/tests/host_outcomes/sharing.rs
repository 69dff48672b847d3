//! A table for a group of users, as an explicit choice; and folders in which others could delete one.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

use concurrent_locks::{ErrorKind, LockManager};

use crate::{child::Child, sandbox::skip, space::assert_refused};

const GROUP: u32 = 54_321;

/// A folder of the group, as the documents advise it, and the table in it.
fn folder_of_group(mode: u32) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    chown(folder.path(), None, Some(GROUP)).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
    let url = format!("host:{}/t.table?resources=64&requests=64&processes=8", folder.path().display());
    (folder, url)
}

fn user(url: &str, user: u32, group: u32) -> Child {
    let mut child = Child::start("taker", url);
    assert_eq!(child.ask(&format!("member {user} {group}")), "is");
    child
}

#[test]
fn the_members_of_a_group_share_a_table() {
    if !nix::unistd::geteuid().is_root() {
        return skip("acting as several users takes root");
    }
    let (folder, private) = folder_of_group(0o2770);
    let shared = format!("{private}&share=group");
    let (mut one, mut other) = (user(&shared, 54_001, GROUP), user(&shared, 54_002, GROUP));
    one.take("a");
    let table = fs::metadata(folder.path().join("t.table")).unwrap();
    assert_eq!((table.mode() & 0o7777, table.gid(), table.uid()), (0o660, GROUP, 54_001));
    other.send("write a 200");
    assert!(other.error(ErrorKind::TimedOut).contains(&format!("pid {}", one.pid())));
    other.send("write a 90000");
    one.kill();
    other.token();
    // Who is not of the group has no access, and nobody takes part by accident.
    let mut outsider = user(&shared, 54_003, 54_003);
    outsider.send("connect");
    let answer = outsider.answer();
    assert!(answer.starts_with("error ") && answer.contains("Permission denied"), "{answer}");
    let mut careless = user(&private, 54_002, GROUP);
    careless.send("connect");
    careless.error(ErrorKind::Permission);
    let mut maker = user(&private, 54_001, GROUP);
    maker.send("connect");
    assert!(maker.error(ErrorKind::Permission).contains("?share=group"));
    assert_eq!(other.ask("release a"), "released");
}

#[test]
fn a_group_table_needs_a_folder_of_the_group() {
    if !nix::unistd::geteuid().is_root() {
        return skip("making a group's folder takes root");
    }
    for mode in [0o1777, 0o2777] {
        let (_folder, private) = folder_of_group(mode);
        let mut member = user(&format!("{private}&share=group"), 54_001, GROUP);
        member.send("connect");
        assert!(member.error(ErrorKind::Permission).contains("chmod 2770"));
    }
    let (folder, private) = folder_of_group(0o2770);
    let mut maker = user(&private, 54_001, GROUP);
    maker.take("a");
    maker.kill();
    // A private table is not taken for a group's.
    let mut member = user(&format!("{private}&share=group"), 54_001, GROUP);
    member.send("connect");
    assert!(member.error(ErrorKind::Permission).contains("not a group's table"));
    drop(folder);
}

/// Whoever may write the folder may delete the table, and a second one would be made beside the first.
#[test]
fn a_table_where_everybody_could_delete_it_is_refused() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("t.table");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    assert_refused(&path, ErrorKind::Permission, "anybody could delete it");
    assert!(!path.exists());
    // As in /tmp: there nobody deletes what belongs to another.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
    let url = format!("host:{}?resources=64", path.display());
    let _guard = LockManager::connect(&url).blocking().unwrap().write("a").try_now().unwrap();
}
