//! Harm to connections, servers and processes that nobody is stopped by: locks outlast it, or are told as lost.

use concurrent_locks_conformance::history::Rules;
use concurrent_locks_servers::Proxy;

use crate::{crew::Crew, server::Server};

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
    crew.end(server, &server.url(10), UNFAIR, false);
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
    crew.end(server, &url, UNFAIR, true);
}

fn restarts(case: &str, mut server: Server) {
    let url = server.url(10);
    let crew = Crew::start(case, &url, 3);
    for _ in 0..2 {
        server.restart();
        crew.all_go_on();
    }
    crew.end(&server, &url, UNFAIR, false);
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
    crew.end(&server, &url, UNFAIR, false);
}
