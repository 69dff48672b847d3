//! Opening a table: what is not ours, or not one, is refused, with its path and what to do.

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink},
};

use concurrent_locks::{ErrorKind, LockManager};
use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::{
    child::Child,
    image::{self, Image},
    sandbox::{own_shared_memory, skip, words},
    space::{Space, assert_refused, inode, refused},
};

/// A space whose table is complete and unused.
fn made() -> Space {
    let space = Space::new();
    let mut maker = space.child();
    assert_eq!(maker.ask("connect"), "connected 1");
    assert!(maker.end().success());
    space
}

#[test]
fn a_table_that_others_can_open_is_refused() {
    let space = made();
    for mode in [0o644, 0o660, 0o601, 0o606] {
        let path = space.copy(&format!("mode-{mode:o}"));
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_refused(&path, ErrorKind::Permission, "chmod 600 it");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        LockManager::connect(&space.url_of(&path)).blocking().unwrap();
    }
}

#[test]
fn a_new_table_is_private() {
    let space = made();
    assert_eq!(fs::metadata(space.path()).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn what_is_not_a_plain_file_is_refused() {
    let space = made();
    let path = |name: &str| space.directory().join(name);

    symlink(space.path(), path("link")).unwrap();
    assert_refused(&path("link"), ErrorKind::Permission, "symbolic link");
    symlink(path("nothing"), path("dangling")).unwrap();
    assert_refused(&path("dangling"), ErrorKind::Permission, "symbolic link");
    assert!(!path("nothing").exists(), "nothing is made through a symbolic link");

    mkfifo(&path("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    assert_refused(&path("fifo"), ErrorKind::Permission, "not a plain file");

    fs::create_dir(path("directory")).unwrap();
    let error = refused(&path("directory"));
    assert!(matches!(error.kind(), ErrorKind::Permission | ErrorKind::Unreachable), "{error}");
}

#[test]
fn a_missing_directory_is_an_error_that_names_the_table() {
    let space = Space::new();
    let error = refused(&space.directory().join("missing/t.table"));
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

#[test]
fn a_table_of_another_user_is_refused() {
    let space = made();
    if fs::metadata(space.path()).unwrap().uid() != 0 {
        return skip("only root can make a file of another user");
    }
    let path = space.copy("planted");
    chown(&path, Some(65_534), None).unwrap();
    assert_refused(&path, ErrorKind::Permission, "belongs to user 65534");
}

#[test]
fn a_file_that_is_no_table_is_corrupt() {
    let space = made();
    let mut number = 0;
    let mut corrupt = |words: &str, damage: &dyn Fn(&Image)| {
        number += 1;
        let path = space.copy(&format!("damaged-{number}"));
        damage(&Image::open(&path));
        assert_refused(&path, ErrorKind::Corrupt, words);
        // The remedy it names works.
        fs::remove_file(&path).unwrap();
        LockManager::connect(&space.url_of(&path)).blocking().unwrap();
        fs::remove_file(&path).unwrap();
    };
    for len in [0, 1, 100, 4095] {
        corrupt("too short", &|image| image.set_len(len));
    }
    corrupt("does not start with a table's header", &|image| image.write_long(image::MAGIC, 0x1234));
    for len in [4096, space.image().len() - 4096, space.image().len() + 4096] {
        corrupt("its size", &|image| image.set_len(len));
    }
    for scale in [1, u64::MAX] {
        corrupt("its clock", &|image| image.write_long(image::CLOCK_SCALE, scale));
    }
    for state in [0, 3, u32::MAX] {
        corrupt("its state", &|image| image.write_word(image::STATE, state));
    }
    // Slots, buckets, resources, chunks, detail blocks, events.
    for (index, value) in [0, 1, 2, 3, 4, 5].into_iter().zip([0, 3, u32::MAX, 0, u32::MAX, 7]) {
        corrupt("its geometry", &|image| image.write_word(image::GEOMETRY + 4 * index, value));
    }
    for index in 0..6 {
        corrupt("its size", &|image| {
            let place = image::GEOMETRY + 4 * index;
            image.write_word(place, image.word(place) * 64);
        });
    }
}

#[test]
fn noise_is_no_table() {
    let space = Space::new();
    let path = space.directory().join("noise");
    let noise: Vec<u8> = (0..20_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    fs::write(&path, noise).unwrap();
    // It may be anything: the message does not advise to remove it, or to give it other permissions.
    assert_refused(
        &path,
        ErrorKind::Corrupt,
        "is not a lock table: it does not start with a table's header; name another file",
    );
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert_refused(
        &path,
        ErrorKind::Corrupt,
        "is not a lock table: it does not start with a table's header; name another file",
    );
}

/// 8 processes open 25 tables at the same time, of which none exists: 200 first opens.
#[test]
fn processes_that_open_first_at_once_make_one_table() {
    let space = Space::new();
    let mut openers: Vec<Vec<Child>> = (0..25)
        .map(|table| {
            let url = space.url_of(&space.directory().join(format!("{table}.table")));
            (0..8).map(|_| Child::start("taker", &url)).collect()
        })
        .collect();
    for (table, openers) in openers.iter_mut().enumerate() {
        openers.iter_mut().for_each(|opener| opener.send("read here 90000"));
        for opener in openers.iter_mut() {
            opener.token();
        }
        let path = space.directory().join(format!("{table}.table"));
        let found = inode(&path);
        let locks = LockManager::connect(&space.url_of(&path)).blocking().unwrap();
        assert_eq!(locks.status("here").blocking().unwrap().unwrap().readers, 8, "all of them are in one table");
        assert_eq!(inode(&path), found);
    }
    // Nothing half-made is left over.
    assert_eq!(fs::read_dir(space.directory()).unwrap().count(), 25);
}

/// The shared-memory directory is open to everybody: what others may have planted there is refused.
#[test]
fn a_planted_default_directory_is_refused() {
    // Whoever this user is, it is user 0 in there.
    let directory = "/dev/shm/concurrent-locks-0";
    let plants = [
        format!("mkdir -m 0777 {directory}"),
        format!("mkdir -m 0720 {directory}"),
        format!("mkdir -m 0700 /dev/shm/other && ln -s other {directory}"),
        format!("touch {directory}"),
    ];
    for plant in plants {
        let Some(wrapper) = own_shared_memory("64m", &plant) else { return };
        let mut child = Child::start_under(&words(&wrapper), "taker", "host:");
        child.send("connect");
        let error = child.error(ErrorKind::Permission);
        assert!(error.contains(&format!("{directory} is not a private directory")), "{plant}: {error}");
    }
}

#[test]
fn the_default_directory_is_made_private() {
    let Some(wrapper) = own_shared_memory("64m", "umask 0") else { return };
    // A space of its own: another table of `default` may be in use outside.
    let space = format!("private-{}", std::process::id());
    let mut child = Child::start_under(&words(&wrapper), "taker", &format!("host:{space}"));
    assert_eq!(child.ask("connect"), "connected 1");
    let shared_memory = format!("/proc/{}/root/dev/shm", child.pid());
    let directory = fs::read_dir(shared_memory).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o700);
    let table = fs::metadata(directory.join(format!("{space}.table"))).unwrap();
    assert_eq!(table.permissions().mode() & 0o7777, 0o600);
}
