//! The graph against a simulation of the locks themselves.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn hold(owner: u64, resource: u64, mode: Mode) -> Hold {
    Hold { owner, resource, mode }
}

/// Waits in the order given: ids, ranks and arrivals count up.
fn waits(waits: &[(u64, u64, Mode)]) -> Vec<Wait> {
    let wait = |(number, &(owner, resource, mode)): (u64, &(u64, u64, Mode))| Wait {
        id: number,
        owner,
        resource,
        mode,
        rank: Rank::of(number, 0, number),
        priority: 0,
        arrival: number,
    };
    (0..).zip(waits).map(wait).collect()
}

/// What the locks would do if every owner whose task can run released all it holds: the ids of the
/// waits that are left in the end.
fn left_in_simulation(holds: &[Hold], waits: &[Wait]) -> BTreeSet<u64> {
    let mut holds = holds.to_vec();
    let mut waits = waits.to_vec();
    waits.sort_by_key(|wait| (wait.rank, wait.id));
    holds.retain(|hold| waits.iter().any(|wait| wait.owner == hold.owner));
    let free = |holds: &[Hold], waits: &[Wait], at: usize| {
        let wait = waits[at];
        let meets = |resource, mode: Mode| resource == wait.resource && mode.conflicts_with(wait.mode);
        !holds.iter().any(|hold| hold.owner != wait.owner && meets(hold.resource, hold.mode))
            && !waits[..at].iter().any(|earlier| meets(earlier.resource, earlier.mode))
    };
    while let Some(at) = (0..waits.len()).find(|at| free(&holds, &waits, *at)) {
        let granted = waits.remove(at);
        holds.retain(|hold| hold.owner != granted.owner);
    }
    waits.iter().map(|wait| wait.id).collect()
}

/// Every edge among the given waits, by the definition.
fn edges(holds: &[Hold], waits: &[Wait], stuck: &BTreeSet<u64>) -> Vec<(u64, u64, bool)> {
    let stuck_owner = |owner| waits.iter().filter(|wait| wait.owner == owner).all(|wait| stuck.contains(&wait.id));
    let mut edges = Vec::new();
    for from in waits.iter().filter(|wait| stuck.contains(&wait.id)) {
        for to in waits.iter().filter(|to| stuck.contains(&to.id)) {
            let held = |hold: &Hold| {
                hold.owner == to.owner
                    && hold.owner != from.owner
                    && hold.resource == from.resource
                    && hold.mode.conflicts_with(from.mode)
            };
            if stuck_owner(to.owner) && holds.iter().any(held) {
                edges.push((from.id, to.id, true));
            }
            let earlier = to.resource == from.resource && (to.rank, to.id) < (from.rank, from.id);
            if earlier && to.mode.conflicts_with(from.mode) {
                edges.push((from.id, to.id, false));
            }
        }
    }
    edges
}

/// Whether `id` can be reached from itself.
fn on_a_cycle(edges: &[(u64, u64, bool)], id: u64, hard_only: bool) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![id];
    while let Some(at) = open.pop() {
        for (_, to, _) in edges.iter().filter(|(from, _, hard)| *from == at && (*hard || !hard_only)) {
            if seen.insert(*to) {
                open.push(*to);
            }
        }
    }
    seen.contains(&id)
}

fn assert_is_cycle(cycle: &[Link], edges: &[(u64, u64, bool)]) {
    assert!(!cycle.is_empty());
    for (index, link) in cycle.iter().enumerate() {
        let next = &cycle[(index + 1) % cycle.len()];
        assert_eq!(link.next_owner, next.wait.owner);
        assert!(edges.contains(&(link.wait.id, next.wait.id, link.hard)), "{link:?} is no edge to {next:?}");
    }
    let distinct: BTreeSet<u64> = cycle.iter().map(|link| link.wait.id).collect();
    assert_eq!(distinct.len(), cycle.len(), "a wait comes twice in {cycle:?}");
}

#[test]
fn two_that_took_two_locks_in_both_orders() {
    let holds = vec![hold(1, 10, Mode::Write), hold(2, 20, Mode::Write)];
    let graph = Graph::new(holds, waits(&[(1, 20, Mode::Write), (2, 10, Mode::Read)]));
    let cycle = graph.cycle_through(2).expect("a deadlock");
    assert_eq!(cycle.iter().map(|link| (link.wait.owner, link.next_owner)).collect::<Vec<_>>(), [(2, 1), (1, 2)]);
    assert!(cycle.iter().all(|link| link.hard));
    assert_eq!(graph.dissolve(&cycle), None);
    assert_eq!(victim(&cycle).wait.owner, 2, "the youngest request gives up");
}

#[test]
fn two_upgrades_of_one_resource_are_a_hard_cycle() {
    let holds = vec![hold(1, 10, Mode::Read), hold(2, 10, Mode::Read)];
    let graph = Graph::new(holds, waits(&[(1, 10, Mode::Write), (2, 10, Mode::Write)]));
    let cycle = graph.cycle_through(2).expect("a deadlock");
    assert!(cycle.len() == 2 && cycle.iter().all(|link| link.hard));
}

#[test]
fn a_reader_behind_a_writer_that_waits_for_the_reader_s_friend_goes_first() {
    // 1 reads 10 and waits for 20, which 3 holds; 3 wants to read 10, and only stands behind the writer 2.
    let holds = vec![hold(1, 10, Mode::Read), hold(3, 20, Mode::Write)];
    let graph = Graph::new(holds, waits(&[(2, 10, Mode::Write), (1, 20, Mode::Write), (3, 10, Mode::Read)]));
    let cycle = graph.cycle_through(3).expect("a deadlock");
    assert_eq!(cycle.iter().map(|link| link.hard).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(graph.dissolve(&cycle), Some(Reorder { move_wait: 2, before: 0 }));
}

#[test]
fn an_owner_with_a_task_that_can_run_is_not_in_a_deadlock() {
    let holds = vec![hold(1, 10, Mode::Write), hold(2, 20, Mode::Write), hold(3, 30, Mode::Write)];
    let alive = waits(&[(1, 20, Mode::Write), (1, 30, Mode::Write), (2, 10, Mode::Write)]);
    assert_eq!(Graph::new(holds.clone(), alive.clone()).cycle_through(2), None);
    // 3 joins the cycle: now no task of 1 can run.
    let mut stuck = alive;
    stuck.push(Wait { id: 3, owner: 3, rank: Rank::of(3, 0, 3), arrival: 3, ..stuck[2] });
    let cycle = Graph::new(holds, stuck).cycle_through(2).expect("a deadlock");
    assert_eq!(cycle.len(), 2);
}

#[test]
fn an_owner_s_second_wait_stands_behind_its_first() {
    // Task two of 1 only wants to read beside 2, but stands behind task one, which waits for 2, which waits for 1.
    let holds = vec![hold(1, 20, Mode::Write), hold(2, 10, Mode::Read)];
    let graph = Graph::new(holds, waits(&[(1, 10, Mode::Write), (1, 10, Mode::Read), (2, 20, Mode::Write)]));
    let cycle = graph.cycle_through(1).expect("a deadlock");
    assert_eq!(cycle.iter().map(|link| link.wait.id).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn an_owner_never_waits_for_what_it_holds() {
    let graph = Graph::new(vec![hold(1, 10, Mode::Read)], waits(&[(1, 10, Mode::Write), (1, 10, Mode::Write)]));
    assert_eq!(graph.cycle_through(1), None);
    assert!(graph.cycles().is_empty());
}

#[test]
fn a_long_queue_behind_a_deadlock_is_searched_in_one_pass() {
    let owners = 20_000;
    let mut all = vec![(1, 20, Mode::Write), (2, 10, Mode::Write)];
    all.extend((3..owners).map(|owner| (owner, 10, Mode::Write)));
    let graph = Graph::new(vec![hold(1, 10, Mode::Write), hold(2, 20, Mode::Write)], waits(&all));
    assert_eq!(graph.cycle_through(2).map(|cycle| cycle.len()), Some(2));
    assert_eq!(graph.cycle_through(owners - 1), None);
    assert_eq!(graph.cycles().len(), 1);
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Read), Just(Mode::Write)]
}

/// A small snapshot, so that cycles are frequent.
fn snapshot() -> impl Strategy<Value = (Vec<Hold>, Vec<Wait>)> {
    let holds = proptest::collection::vec((0..5u64, 0..4u64, mode()), 0..9);
    let waits = proptest::collection::vec((0..5u64, 0..4u64, mode(), -1..2i8, 0..3u64), 0..10);
    (holds, waits).prop_map(|(wanted, waits)| {
        let mut holds = Vec::<Hold>::new();
        for (owner, resource, mode) in wanted {
            let admitted =
                |held: &Hold| held.resource != resource || held.owner == owner || !held.mode.conflicts_with(mode);
            if holds.iter().all(admitted) {
                holds.push(hold(owner, resource, mode));
            }
        }
        let ask = |(id, (owner, resource, mode, priority, seconds)): (u64, (u64, u64, Mode, i8, u64))| {
            let arrival = seconds * 1_000_000_000;
            Wait { id, owner, resource, mode, rank: Rank::of(arrival, priority, id), priority, arrival }
        };
        (holds, (0..).zip(waits).map(ask).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_stuck_waits_are_those_that_the_simulation_leaves((holds, waits) in snapshot()) {
        let graph = Graph::new(holds.clone(), waits.clone());
        let stuck: BTreeSet<u64> = graph.stuck_ids().into_iter().collect();
        prop_assert_eq!(stuck, left_in_simulation(&holds, &waits));
    }

    #[test]
    fn cycles_through_an_owner_are_found_iff_they_exist_and_hard_ones_first((holds, waits) in snapshot()) {
        let graph = Graph::new(holds.clone(), waits.clone());
        let stuck = left_in_simulation(&holds, &waits);
        let edges = edges(&holds, &waits, &stuck);
        for owner in 0..5 {
            let own = || waits.iter().filter(|wait| wait.owner == owner);
            match graph.cycle_through(owner) {
                None => prop_assert!(!own().any(|wait| on_a_cycle(&edges, wait.id, false))),
                Some(cycle) => {
                    assert_is_cycle(&cycle, &edges);
                    prop_assert_eq!(cycle[0].wait.owner, owner);
                    let hard = own().any(|wait| on_a_cycle(&edges, wait.id, true));
                    prop_assert_eq!(cycle.iter().all(|link| link.hard), hard);
                }
            }
        }
    }

    #[test]
    fn cycles_are_disjoint_and_to_cancel_their_victims_frees_everybody((holds, waits) in snapshot()) {
        let mut waits = waits;
        loop {
            let stuck = left_in_simulation(&holds, &waits);
            let edges = edges(&holds, &waits, &stuck);
            let cycles = Graph::new(holds.clone(), waits.clone()).cycles();
            prop_assert_eq!(cycles.is_empty(), stuck.is_empty());
            let Some(first) = cycles.first() else { break };
            let mut owners = BTreeSet::new();
            for cycle in &cycles {
                assert_is_cycle(cycle, &edges);
                let own: BTreeSet<u64> = cycle.iter().map(|link| link.wait.owner).collect();
                prop_assert!(owners.is_disjoint(&own));
                owners.extend(own);
            }
            let victim = victim(first).wait.id;
            waits.retain(|wait| wait.id != victim);
            prop_assert!(left_in_simulation(&holds, &waits).len() < stuck.len());
        }
    }

    #[test]
    fn a_dissolved_cycle_frees_somebody_and_hurts_nobody((holds, waits) in snapshot()) {
        let graph = Graph::new(holds.clone(), waits.clone());
        let before = left_in_simulation(&holds, &waits);
        for cycle in graph.cycles() {
            let Some(reorder) = graph.dissolve(&cycle) else { continue };
            let place = |id| waits.iter().position(|wait| wait.id == id).expect("of this snapshot");
            let (moved, other) = (waits[place(reorder.move_wait)], waits[place(reorder.before)]);
            prop_assert!(cycle.iter().any(|link| link.wait == moved && !link.hard));
            prop_assert!(moved.resource == other.resource && other.rank < moved.rank);
            // Ranks again, in the queue order with the move.
            let mut ordered = waits.clone();
            ordered.sort_by_key(|wait| (wait.rank, wait.id));
            ordered.retain(|wait| wait.id != moved.id);
            let at = ordered.iter().position(|wait| wait.id == other.id).expect("it stays");
            ordered.insert(at, moved);
            for (rank, wait) in (0..).zip(&mut ordered) {
                wait.rank = Rank::of(rank, 0, rank);
            }
            let after = left_in_simulation(&holds, &ordered);
            prop_assert!(after.is_subset(&before) && after.len() < before.len());
        }
    }

    #[test]
    fn the_victim_is_the_same_wherever_the_cycle_is_read_from((holds, waits) in snapshot()) {
        for cycle in Graph::new(holds, waits).cycles() {
            let chosen = *victim(&cycle);
            for turn in 0..cycle.len() {
                let mut turned = cycle.clone();
                turned.rotate_left(turn);
                prop_assert_eq!(*victim(&turned), chosen);
            }
            let lowest = cycle.iter().map(|link| link.wait.priority).min();
            prop_assert_eq!(Some(chosen.wait.priority), lowest);
        }
    }
}
