//! The episodes that ship, and what is said of bad ones.

use std::collections::BTreeSet;

use agent_memories::{EPISODES, Episode, Error};

#[test]
fn the_episodes_that_ship_are_many_and_varied() {
    let episodes = Episode::parse_all(EPISODES).unwrap();
    let distinct = |field: fn(&Episode) -> &str| episodes.iter().map(field).collect::<BTreeSet<_>>().len();
    assert!(episodes.len() >= 300);
    assert!(distinct(|episode| &episode.agent) >= 8);
    assert!(distinct(|episode| &episode.kind) >= 8);
    assert!(distinct(|episode| &episode.site) >= 15);
    assert!(distinct(|episode| &episode.skill) >= 15);
    assert!(distinct(|episode| &episode.task) >= 100);
    assert!(episodes.iter().all(|episode| (1..=10).contains(&episode.importance)));
}

fn mistake(text: &str) -> (usize, usize, String) {
    match Episode::parse_all(text) {
        Err(Error::Episode { line, column, reason }) => (line, column, reason),
        other => panic!("must be refused: {other:?}"),
    }
}

#[test]
fn a_mistake_is_named_with_line_and_column() {
    let good = EPISODES.lines().next().unwrap();
    let (line, column, reason) = mistake(&format!("{good}\n\n{{\"agent\": 7}}\n"));
    assert_eq!((line, column), (3, 11));
    assert!(reason.contains("expected a string"), "{reason}");

    let (line, _, reason) = mistake(&good.replace("\"kind\"", "\"sort\""));
    assert_eq!(line, 1);
    assert!(reason.contains("unknown field `sort`"), "{reason}");

    let (line, column, reason) = mistake("not json");
    assert_eq!((line, column), (1, 2));
    assert!(reason.contains("expected"), "{reason}");
}

#[test]
fn no_episode_at_all_is_a_mistake() {
    assert_eq!(mistake("\n \n").2, "there is no episode");
}
