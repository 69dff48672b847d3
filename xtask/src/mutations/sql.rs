//! Faults of the rule in the functions of PostgreSQL. That a priority ages is not here, since their clock is the
//! server's: `a_second_of_waiting_is_worth_a_step` of the conformance suite notices.

use super::Mutation;

const RULE: &str = "engine/cluster/postgres/schema/2_rule.sql";
const REQUESTS: &str = "engine/cluster/postgres/schema/3_requests.sql";

pub(super) const MUTATIONS: &[Mutation] = &[
    Mutation {
        what: "a writer passes a reader that stays",
        file: RULE,
        old: "ELSIF NOT (_reader_stayed AND _q.mode = 'write')\n                AND NOT",
        new: "ELSIF NOT",
    },
    Mutation {
        what: "the walk goes on behind a writer that stays",
        file: RULE,
        old: "ELSIF _q.mode = 'write' THEN\n                RETURN;",
        new: "ELSIF _q.mode = 'write' THEN\n                NULL;",
    },
    Mutation {
        what: "nobody enters beside a writer, not even itself",
        file: RULE,
        old: "AND q.mode IN ('read', 'write') AND q.owner = h.owner);",
        new: "AND false);",
    },
    Mutation {
        what: "the walk goes by arrival",
        file: RULE,
        old: "AND (q.rank, q.ticket) > (_rank, _ticket)\n            ORDER BY q.rank, q.ticket LIMIT 16",
        new: "AND q.ticket > _ticket\n            ORDER BY q.ticket LIMIT 16",
    },
    Mutation {
        what: "a re-entry that waited gets a token of its own",
        file: RULE,
        old: "IF _own_mode = 'write' OR _own_mode = _q.mode THEN",
        new: "IF false THEN",
    },
    Mutation {
        what: "a write does not cover a read that waited",
        file: RULE,
        old: "IF _own_mode = 'write' OR _own_mode = _q.mode THEN",
        new: "IF _own_mode = _q.mode THEN",
    },
    Mutation {
        what: "an owner's weakest mode counts",
        file: RULE,
        old: "ORDER BY q.mode DESC, q.token DESC LIMIT 1",
        new: "ORDER BY q.mode, q.token DESC LIMIT 1",
    },
    Mutation {
        what: "of several tokens, the smallest is re-entered",
        file: RULE,
        old: "ORDER BY q.mode DESC, q.token DESC LIMIT 1",
        new: "ORDER BY q.mode DESC, q.token LIMIT 1",
    },
    Mutation {
        what: "everybody's holds are one's own",
        file: RULE,
        old: "AND q.mode IN ('read', 'write') AND q.owner = _owner\n",
        new: "AND q.mode IN ('read', 'write')\n",
    },
    Mutation {
        what: "what an owner reads is in its own way",
        file: RULE,
        old: "AND q.held AND q.owner <> _owner);",
        new: "AND q.held);",
    },
    Mutation {
        what: "what an owner writes is in its own way",
        file: RULE,
        old: "AND q.held AND q.mode = 'write' AND q.owner <> _owner);",
        new: "AND q.held AND q.mode = 'write');",
    },
    Mutation {
        what: "readers exclude each other",
        file: RULE,
        old: "AND q.held AND q.mode = 'write' AND q.owner <> _owner);",
        new: "AND q.held AND q.mode <> '' AND q.owner <> _owner);",
    },
    Mutation {
        what: "two stamps of one moment are the same",
        file: RULE,
        old: "UPDATE concurrent_locks.resource r SET stamp = greatest(_now, r.stamp + 1)",
        new: "UPDATE concurrent_locks.resource r SET stamp = greatest(_now, r.stamp)",
    },
    Mutation {
        what: "an arrival looks at waiters behind it",
        file: REQUESTS,
        old: "AND (q.rank, q.ticket) < (_q.rank, _q.ticket) AND",
        new: "AND (q.rank, q.ticket) > (_q.rank, _q.ticket) AND",
    },
    Mutation {
        what: "an arrival looks at all waiters",
        file: REQUESTS,
        old: "AND (q.rank, q.ticket) < (_q.rank, _q.ticket) AND",
        new: "AND",
    },
    Mutation {
        what: "a reader passes a writer that waits",
        file: REQUESTS,
        old: "AND (_mode = 'write' OR q.mode = 'write'));",
        new: "AND _mode = 'write');",
    },
    Mutation {
        what: "an upgrade stands where it came",
        file: REQUESTS,
        old: "CASE WHEN _own_mode = 'read' AND _mode = 'write' THEN 0 ELSE",
        new: "CASE WHEN false THEN 0 ELSE",
    },
    Mutation {
        what: "a priority counts the wrong way",
        file: REQUESTS,
        old: "_q.ticket - _priority::bigint * 1000000 END",
        new: "_q.ticket + _priority::bigint * 1000000 END",
    },
    Mutation {
        what: "a write does not cover a read",
        file: REQUESTS,
        old: "IF _own_mode = 'write' OR _own_mode = _mode THEN",
        new: "IF _own_mode = _mode THEN",
    },
    Mutation {
        what: "a re-entry at once gets a token of its own",
        file: REQUESTS,
        old: "_q.token := _own_token;\n            _free := true;",
        new: "_q.token := _q.ticket;\n            _free := true;",
    },
    Mutation {
        what: "the innermost ancestor acts",
        file: REQUESTS,
        old: "ORDER BY a.place LIMIT 1;",
        new: "ORDER BY a.place DESC LIMIT 1;",
    },
    Mutation {
        what: "what is inherited is held as one's own",
        file: REQUESTS,
        old: "_q.owner := _owner;",
        new: "NULL;",
    },
    Mutation {
        what: "a name is free while somebody holds it",
        file: REQUESTS,
        old: "IF _in_use OR concurrent_locks.is_watched(_now) THEN",
        new: "IF concurrent_locks.is_watched(_now) THEN",
    },
    Mutation { what: "a release admits nobody", file: REQUESTS, old: "IF _waiting THEN", new: "IF false THEN" },
    Mutation {
        what: "a waiter that leaves admits nobody",
        file: REQUESTS,
        old: "    PERFORM concurrent_locks.walk(_space, _name, _now);\n    RETURN '{\"left\"",
        new: "    RETURN '{\"left\"",
    },
    Mutation {
        what: "a downgrade admits nobody",
        file: REQUESTS,
        old: "RETURNING q.* INTO _q;\n        PERFORM concurrent_locks.walk(_space, _name, _now);",
        new: "RETURNING q.* INTO _q;",
    },
    Mutation {
        what: "a lock that is broken admits nobody",
        file: "engine/cluster/postgres/schema/5_inspection.sql",
        old: "    PERFORM concurrent_locks.walk(_space, _name, _now);\n    RETURN '{\"revoked\"",
        new: "    RETURN '{\"revoked\"",
    },
];
