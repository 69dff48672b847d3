//! Processes are stopped (SIGSTOP) while they hold locks, until the lock is somebody else's, and go on.

use concurrent_locks_conformance::history::Rules;
use concurrent_locks_servers::Proxy;

use crate::{crew::Crew, journal::Belief, server::Server};

const PAUSES: usize = 4;

fn pauses(case: &str, server: &Server) {
    let mut crew = Crew::start(case, &server.url(1), 3);
    in_turn(&mut crew, || {});
    crew.end(server, &server.url(1), Rules { exclusive: true, fair: false }, Belief::Confirmed);
}

/// While a process is stopped, its connection is cut: when it goes on, it does not know for how long it had none.
fn pauses_with_cuts(case: &str, server: &Server, lease: u64) {
    let proxy = Proxy::to(server.address());
    let mut crew = Crew::start(case, &server.url_by(&proxy, lease), 3);
    in_turn(&mut crew, || proxy.cut());
    crew.end(server, &server.url(lease), Rules { exclusive: true, fair: false }, Belief::Asked);
}

fn in_turn(crew: &mut Crew, while_stopped: impl Fn()) {
    for round in 0..PAUSES {
        let number = round % crew.processes.len();
        let process = &mut crew.processes[number];
        let held = process.clings();
        let losses = process.losses();
        process.stop();
        while_stopped();
        crew.passes_to_another(number, &held);
        let process = &mut crew.processes[number];
        process.go_on();
        concurrent_locks_conformance::until("it learns of the loss", || process.losses() > losses);
        process.let_go();
    }
}

#[test]
fn pauses_beyond_the_lease_on_redis() {
    pauses("pauses_beyond_the_lease_on_redis", &Server::redis());
}

#[test]
fn pauses_beyond_the_lease_on_postgres() {
    pauses("pauses_beyond_the_lease_on_postgres", &Server::postgres());
}

#[test]
fn pauses_with_cut_connections_on_redis() {
    pauses_with_cuts("pauses_with_cut_connections_on_redis", &Server::redis(), 2);
}

/// Long before the end of the lease.
#[test]
fn pauses_with_cut_connections_on_postgres() {
    pauses_with_cuts("pauses_with_cut_connections_on_postgres", &Server::postgres(), 60);
}
