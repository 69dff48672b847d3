//! A forked child is another session: the conformance suite has the rest.

use std::collections::BTreeSet;

use concurrent_locks::{ErrorKind, Mode};

use crate::{
    on_both_servers,
    stage::{Server, Stage},
};

on_both_servers! {
    a_forked_child_makes_a_session_of_its_own,
}

fn a_forked_child_makes_a_session_of_its_own<S: Server>() {
    let stage = Stage::<S>::new();
    let bench = stage.near("10m");
    let mut taker = bench.taker();
    let token = taker.take("write a");
    let child: u32 = taker.ask("fork").after("child").parse().unwrap();
    taker.ask("release a").error(ErrorKind::Lost);
    taker.take("write b");
    let health = bench.locks().health().blocking().unwrap();
    let sessions: BTreeSet<u32> = health.attached.iter().map(|process| process.pid).collect();
    assert!(sessions.contains(&taker.pid()) && sessions.contains(&child), "{sessions:?}");
    assert_eq!(bench.status("a").holders[0].token, token);
    assert_eq!(bench.status("a").holders[0].pid, taker.pid());
    assert_eq!(bench.status("b").holders[0].pid, child);
    // The child ends, its parent goes on.
    taker.ask("release b").after("released");
    assert_eq!(taker.ask("exit").text(), "forked");
    bench.assert_busy("a", Mode::Read);
    taker.ask("release a").after("released");
    bench.assert_free("a");
    stage.until_nothing_is_left();
}
