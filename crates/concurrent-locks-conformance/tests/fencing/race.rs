//! Writers that race past the end of their grants: whatever the order in which they arrive, no token
//! lands on a greater one.

use crate::late::Place;

const WRITERS: usize = 4;
const ROUNDS: usize = 40;

fn the_greatest_token_stays(kind: &str) {
    let place = Place::new(kind);
    let store = place.open();
    let mut writers: Vec<_> = (0..WRITERS).map(|_| place.writer()).collect();
    for writer in &mut writers {
        writer.send(&format!("race {ROUNDS}"));
    }
    let (mut written, mut seen) = (Vec::new(), 0);
    for writer in &mut writers {
        loop {
            // What can be read only grows, at any time.
            let now = store.read().parse().unwrap_or(0);
            assert!(now >= seen, "{now} lies over {seen}");
            seen = now;
            match writer.answer().split_once(' ') {
                Some(("written", token)) => written.push(token.parse::<u64>().unwrap()),
                Some(("refused", _)) => {}
                _ => break,
            }
        }
    }
    assert_eq!(store.read(), written.iter().max().unwrap().to_string(), "the greatest that was reported as written");
}

#[test]
fn racing_writers_of_a_file_never_go_back() {
    the_greatest_token_stays("file");
}

#[test]
fn racing_writers_of_sqlite_never_go_back() {
    the_greatest_token_stays("sqlite");
}

#[test]
fn racing_writers_of_postgres_never_go_back() {
    the_greatest_token_stays("postgres");
}

#[test]
fn racing_writers_of_redis_never_go_back() {
    the_greatest_token_stays("redis");
}
