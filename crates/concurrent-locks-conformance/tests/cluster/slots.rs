//! Redis Cluster: all keys of a space are in one slot, and the node that has it is found.

use concurrent_locks::ErrorKind;
use concurrent_locks_conformance::until;
use concurrent_locks_servers::Redis;

use crate::{
    access::use_all,
    stage::{bench, refusal},
};

#[test]
fn a_space_is_one_slot_of_a_cluster() {
    let node = Redis::options().cluster().start().unwrap();
    use_all(&bench(&node.url(), "10s"));
}

#[test]
fn the_node_that_has_the_slot_is_found_among_those_of_the_url() {
    let owner = Redis::options().cluster().start().unwrap();
    let other = Redis::options().setting("cluster-enabled", "yes").start().unwrap();
    let port = owner.address().port().to_string();
    other.command(&["CLUSTER", "MEET", "127.0.0.1", &port]).unwrap();
    until("the other node knows who has the slots", || {
        other.command(&["CLUSTER", "INFO"]).unwrap().text().contains("cluster_state:ok")
    });
    let error = refusal(&other.url());
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("another server of the cluster"), "{error}");
    use_all(&bench(&format!("redis://{},{}", other.address(), owner.address()), "10s"));
}
