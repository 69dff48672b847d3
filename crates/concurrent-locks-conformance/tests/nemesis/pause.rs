//! Processes are stopped (SIGSTOP) while they hold locks, until the lock is somebody else's, and go on.

use concurrent_locks_conformance::history::Rules;

use crate::{crew::Crew, server::Server};

const PAUSES: usize = 4;

fn pauses(case: &str, server: &Server) {
    let url = server.url(1);
    let mut crew = Crew::start(case, &url, 3);
    for round in 0..PAUSES {
        let number = round % crew.processes.len();
        let process = &mut crew.processes[number];
        let held = process.clings();
        let losses = process.losses();
        process.stop();
        crew.passes_to_another(number, &held);
        let process = &mut crew.processes[number];
        process.go_on();
        concurrent_locks_conformance::until("it is told of the loss", || process.losses() > losses);
        process.let_go();
    }
    crew.end(server, &url, Rules { exclusive: true, fair: false }, true);
}

#[test]
fn pauses_beyond_the_lease_on_redis() {
    pauses("pauses_beyond_the_lease_on_redis", &Server::redis());
}

#[test]
fn pauses_beyond_the_lease_on_postgres() {
    pauses("pauses_beyond_the_lease_on_postgres", &Server::postgres());
}
