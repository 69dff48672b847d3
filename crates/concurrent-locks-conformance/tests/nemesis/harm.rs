//! Harm to connections, servers and processes that nobody is stopped by: locks outlast it, or are reported as lost.

use concurrent_locks_conformance::history::Rules;
use concurrent_locks_servers::Proxy;

use crate::{crew::Crew, journal::Belief, server::Server};

const ROUNDS: usize = 4;

/// Places in a queue may be lost with a connection, so order is not judged.
const UNFAIR: Rules = Rules { exclusive: true, fair: false };

fn cuts(case: &str, server: &Server) {
    let proxy = Proxy::to(server.address());
    let url = server.url_by(&proxy, 10);
    let crew = Crew::start(case, &url, 3);
    for _ in 0..ROUNDS {
        proxy.cut();
        crew.all_go_on();
    }
    crew.end(server, &server.url(10), UNFAIR, Belief::Told);
}

fn kills(case: &str, server: &Server) {
    let url = server.url(2);
    let mut crew = Crew::start(case, &url, 4);
    for number in 0..2 {
        let held = crew.processes[number].clings();
        crew.processes[number].kill();
        crew.passes_to_another(number, &held);
    }
    crew.all_go_on();
    crew.end(server, &url, UNFAIR, Belief::Confirmed);
}

fn restarts(case: &str, mut server: Server) {
    let url = server.url(10);
    let crew = Crew::start(case, &url, 3);
    for _ in 0..2 {
        server.restart();
        crew.all_go_on();
    }
    crew.end(&server, &url, UNFAIR, Belief::Told);
}

/// Kills a server while its locks are in use; the other one takes its place.
fn fails_over(case: &str, mut primary: Server, rules: Rules) {
    let mut follower = primary.follower();
    let crew = Crew::start(case, &primary.url_or(&follower, 10), 3);
    primary.fails_over_to(&mut follower);
    crew.all_go_on();
    crew.end(&follower, &follower.url(10), rules, Belief::Told);
}

/// It may not know of the last grants, so two may hold at once; but tokens rise.
#[test]
fn a_failover_to_a_replica_on_redis() {
    fails_over("a_failover_to_a_replica_on_redis", Server::redis(), Rules { exclusive: false, fair: false });
}

/// It knows of all that was answered.
#[test]
fn a_failover_to_a_synchronous_standby_on_postgres() {
    fails_over("a_failover_to_a_synchronous_standby_on_postgres", Server::postgres(), UNFAIR);
}

#[test]
fn cut_connections_on_redis() {
    cuts("cut_connections_on_redis", &Server::redis());
}

#[test]
fn cut_connections_on_postgres() {
    cuts("cut_connections_on_postgres", &Server::postgres());
}

#[test]
fn killed_processes_on_redis() {
    kills("killed_processes_on_redis", &Server::redis());
}

#[test]
fn killed_processes_on_postgres() {
    kills("killed_processes_on_postgres", &Server::postgres());
}

#[test]
fn a_server_killed_and_restarted_with_its_data_redis() {
    restarts("a_server_killed_and_restarted_with_its_data_redis", Server::redis());
}

#[test]
fn a_server_killed_and_restarted_with_its_data_postgres() {
    restarts("a_server_killed_and_restarted_with_its_data_postgres", Server::postgres());
}

#[test]
fn flushed_scripts() {
    let server = Server::redis();
    let url = server.url(10);
    let crew = Crew::start("flushed_scripts", &url, 3);
    for _ in 0..ROUNDS {
        server.flush_scripts();
        crew.all_go_on();
    }
    crew.end(&server, &url, UNFAIR, Belief::Told);
}
