//! A table of another layout version or of another boot: refused while somebody lives in it,
//! replaced when nobody does.

use concurrent_locks::ErrorKind;

use crate::{
    image::{BOOT, Image, LAYOUT},
    space::{Space, inode},
};

fn of_another_version(image: &Image) {
    image.write_word(LAYOUT, image.word(LAYOUT) + 98);
}

fn of_another_boot(image: &Image) {
    image.write_long(BOOT, !image.long(BOOT));
}

#[test]
fn a_stale_table_in_which_somebody_lives_is_refused() {
    for make_stale in [of_another_version, of_another_boot] {
        let space = Space::new();
        let mut resident = space.child();
        resident.take("a");
        make_stale(&space.image());
        let before = inode(&space.path());
        let mut newcomer = space.child();
        newcomer.send("connect");
        let error = newcomer.error(ErrorKind::Closed);
        let path = space.path();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("end them, or name another space"), "{error}");
        assert_eq!(inode(&path), before, "it is still there");
        // Its own people are not disturbed.
        assert_eq!(resident.ask("release a"), "released");
        resident.take("a");
        // Once they are gone, the same newcomer is let in.
        resident.kill();
        assert_eq!(newcomer.ask("connect"), "connected 1");
        newcomer.take("a");
        assert_ne!(inode(&path), before);
    }
}

#[test]
fn a_stale_table_in_which_nobody_lives_is_replaced() {
    for make_stale in [of_another_version, of_another_boot] {
        let space = Space::new();
        let mut resident = space.child();
        let mut last = 0;
        for _ in 0..20 {
            last = resident.take("a");
            assert_eq!(resident.ask("release a"), "released");
        }
        resident.take("never-released");
        resident.kill();
        let (before, layout) = (inode(&space.path()), space.image().word(LAYOUT));
        make_stale(&space.image());
        let mut newcomer = space.child();
        let token = newcomer.take("a");
        newcomer.take("never-released");
        assert_ne!(inode(&space.path()), before);
        assert_eq!(space.image().word(LAYOUT), layout);
        assert!(token > last, "tokens go on rising in the new table: {last}, then {token}");
    }
}

/// Many at once replace it by one table.
#[test]
fn a_stale_table_is_replaced_once() {
    let space = Space::new();
    let mut resident = space.child();
    resident.take("a");
    resident.kill();
    of_another_version(&space.image());
    let mut newcomers: Vec<_> = (0..8).map(|_| space.child()).collect();
    newcomers.iter_mut().for_each(|newcomer| newcomer.send("read here 90000"));
    for newcomer in &mut newcomers {
        newcomer.token();
    }
    assert_eq!(space.connect().status("here").blocking().unwrap().unwrap().readers, 8);
}
