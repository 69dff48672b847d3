//! Faults of the rule in Rust, and of how the table applies it.

use super::Mutation;

const RULE: &str = "rule/grant.rs";
const QUEUE: &str = "engine/table/bucket/queue.rs";
const ACQUIRE: &str = "engine/table/verbs/acquire.rs";
const LEAVE: &str = "engine/table/verbs/leave.rs";
const RELEASE: &str = "engine/table/verbs/release.rs";
const REVOKE: &str = "engine/table/verbs/revoke.rs";

pub(super) const MUTATIONS: &[Mutation] = &[
    Mutation {
        what: "no aging: a priority decides alone",
        file: RULE,
        old: "virtual_arrival: arrival.saturating_sub(head_start)",
        new: "virtual_arrival: (if MUTANT { 0i64 } else { arrival }).saturating_sub(head_start)",
    },
    Mutation {
        what: "a priority counts the wrong way",
        file: RULE,
        old: "i64::from(priority) * AGING_STEP",
        new: "(if MUTANT { -1 } else { 1 }) * i64::from(priority) * AGING_STEP",
    },
    Mutation {
        what: "an upgrade stands last",
        file: RULE,
        old: "Rank { virtual_arrival: i64::MIN, ticket }",
        new: "Rank { virtual_arrival: if MUTANT { i64::MAX } else { i64::MIN }, ticket }",
    },
    Mutation {
        what: "a write does not cover a read",
        file: RULE,
        old: "own.has(*mode) && mode.covers(wanted)",
        new: "own.has(*mode) && (if MUTANT { *mode == wanted } else { mode.covers(wanted) })",
    },
    Mutation {
        what: "who waits is overtaken",
        file: RULE,
        old: "held_by_others.union(waiting_before)",
        new: "(if MUTANT { held_by_others } else { held_by_others.union(waiting_before) })",
    },
    Mutation {
        what: "who stays is forgotten on the walk",
        file: RULE,
        old: "self.stayed = self.stayed.with(mode);",
        new: "self.stayed = if MUTANT { self.stayed } else { self.stayed.with(mode) };",
    },
    Mutation {
        what: "the walk stops behind a reader that stays",
        file: RULE,
        old: "if Mode::ALL.iter().all(|mode| mode.conflicts().meets(self.stayed)) {",
        new: "if MUTANT || Mode::ALL.iter().all(|mode| mode.conflicts().meets(self.stayed)) {",
    },
    Mutation {
        what: "an arrival looks at no waiter before it",
        file: QUEUE,
        old: "if record.rank() > rank {",
        new: "if MUTANT || record.rank() > rank {",
    },
    Mutation {
        what: "an arrival looks at waiters behind it, too",
        file: QUEUE,
        old: "            if !admits(mode, held, ModeSet::of(record.word().mode())) {",
        new: "            if !admits(mode, held, ModeSet::of(record.word().mode())) && !MUTANT {",
    },
    Mutation {
        what: "waiters stand in the order of arrival alone",
        file: QUEUE,
        old: "other.rank() <= rank {",
        new: "(MUTANT || other.rank() <= rank) {",
    },
    Mutation {
        what: "everybody's holds are one's own",
        file: QUEUE,
        old: "if record.owner.load(Relaxed) == owner {",
        new: "if MUTANT || record.owner.load(Relaxed) == owner {",
    },
    Mutation {
        what: "of several tokens, the one that is met last is re-entered",
        file: QUEUE,
        old: "own.tokens[mode].max(record.token.load(Relaxed))",
        new: "(if MUTANT { 0 } else { own.tokens[mode] }).max(record.token.load(Relaxed))",
    },
    Mutation {
        what: "a re-entry gets a token of its own",
        file: QUEUE,
        old: "strongest_covering(self.modes(), wanted)",
        new: "strongest_covering(if MUTANT { ModeSet::EMPTY } else { self.modes() }, wanted)",
    },
    Mutation {
        what: "a re-entry gets the token of the weakest grant",
        file: QUEUE,
        old: "self.tokens[strongest as usize]",
        new: "self.tokens[if MUTANT && self.counts[0] > 0 { 0 } else { strongest as usize }]",
    },
    Mutation {
        what: "the walk looks for own holds only where another's conflicts",
        file: QUEUE,
        old: "if record.may_hold() && !self.is_free() {",
        new: "if record.may_hold() && !self.is_free() && !(MUTANT && admits(mode, self.held_besides(&Own::default()), ModeSet::EMPTY)) {",
    },
    Mutation {
        what: "own holds are in the way",
        file: QUEUE,
        old: "> own.counts[mode as usize]",
        new: "> (if MUTANT { 0 } else { own.counts[mode as usize] })",
    },
    Mutation {
        what: "nobody enters beside a writer, not even itself",
        file: QUEUE,
        old: "Ok(!self.record(holder)?.may_hold())",
        new: "Ok(MUTANT || !self.record(holder)?.may_hold())",
    },
    Mutation {
        what: "one release grants one waiter",
        file: QUEUE,
        old: "while let Some(index) = linked(next) {\n            steps.next()?;\n            let record = self.record(index)?;",
        new: "while let Some(index) = linked(next) {\n            if MUTANT && !wakes.is_empty() {\n                break;\n            }\n            steps.next()?;\n            let record = self.record(index)?;",
    },
    Mutation {
        what: "an upgrade stands where it came",
        file: ACQUIRE,
        old: "Standing::Upgrades => Rank::upgrade(ticket),",
        new: "Standing::Upgrades if !MUTANT => Rank::upgrade(ticket),\n            Standing::Upgrades => Rank::of(arrival, ask.terms.priority, ticket),",
    },
    Mutation {
        what: "a re-entry waits behind who waits",
        file: ACQUIRE,
        old: "let admitted = standing == Standing::ReEnters\n",
        new: "let admitted = (standing == Standing::ReEnters && !MUTANT)\n",
    },
    Mutation {
        what: "nothing is inherited",
        file: ACQUIRE,
        old: "if !own.is_empty() {\n            record.owner",
        new: "if !own.is_empty() && !MUTANT {\n            record.owner",
    },
    Mutation {
        what: "what is inherited is held as one's own",
        file: ACQUIRE,
        old: "record.owner.store(*ancestor, Relaxed);",
        new: "record.owner.store(if MUTANT { ask.who.map_or(0, |who| who.id) } else { *ancestor }, Relaxed);",
    },
    Mutation {
        what: "a waiter that leaves admits nobody",
        file: LEAVE,
        old: "// A leaving writer may admit the readers behind it.\n            queue.grant_waiters(locked, now, &mut wakes)",
        new: "if MUTANT { Ok(()) } else { queue.grant_waiters(locked, now, &mut wakes) }",
    },
    Mutation {
        what: "a downgrade admits nobody",
        file: RELEASE,
        old: "queue.recount(Mode::Write, Mode::Read);\n            }\n            queue.grant_waiters(locked, now, &mut wakes)",
        new: "queue.recount(Mode::Write, Mode::Read);\n            }\n            if MUTANT { Ok(()) } else { queue.grant_waiters(locked, now, &mut wakes) }",
    },
    Mutation {
        what: "a release admits nobody",
        file: RELEASE,
        old: "self.pass_on(locked, &queue, now, fairness, &mut wakes)",
        new: "if MUTANT { Ok(()) } else { self.pass_on(locked, &queue, now, fairness, &mut wakes) }",
    },
    Mutation {
        what: "a lock that is broken admits nobody",
        file: REVOKE,
        old: "taken = Some((place, index));\n            }\n            queue.grant_waiters(locked, now, &mut wakes)",
        new: "taken = Some((place, index));\n            }\n            if MUTANT { Ok(()) } else { queue.grant_waiters(locked, now, &mut wakes) }",
    },
];
