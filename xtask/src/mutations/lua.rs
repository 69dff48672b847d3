//! Faults of the rule in the scripts of Redis. That a priority ages is not here, since their clock is the server's:
//! `a_second_of_waiting_is_worth_a_step` of the conformance suite notices.

use super::Mutation;

const RULE: &str = "engine/cluster/redis/scripts/rule.lua";
const ACQUIRE: &str = "engine/cluster/redis/scripts/acquire.lua";

pub(super) const MUTATIONS: &[Mutation] = &[
    Mutation {
        what: "a writer passes a reader that stays",
        file: RULE,
        old: " and not (row.mode == 'write' and reader_stayed) then",
        new: " then",
    },
    Mutation {
        what: "the walk stops behind a reader that stays",
        file: RULE,
        old: "return not (held.writer and waits(name, held.writer))",
        new: "return true",
    },
    Mutation {
        what: "the walk goes on behind a writer that stays",
        file: RULE,
        old: "      elseif row.mode == 'write' then\n        return true",
        new: "      elseif row.mode == 'write' then\n        return false",
    },
    Mutation {
        what: "an arrival looks at no waiter before it",
        file: RULE,
        old: "free = waiter.mode == 'read' and row.mode == 'read'",
        new: "free = true",
    },
    Mutation {
        what: "a reader passes a writer that waits",
        file: RULE,
        old: "free = waiter.mode == 'read' and row.mode == 'read'",
        new: "free = row.mode == 'read'",
    },
    Mutation {
        what: "an arrival looks at waiters behind it, too",
        file: RULE,
        old: "each_waiter(row.name, waiter_member(row),",
        new: "each_waiter(row.name, row.name .. '\\1',",
    },
    Mutation {
        what: "what an owner writes is in its own way",
        file: RULE,
        old: "return held.writer == owner",
        new: "return false",
    },
    Mutation {
        what: "what an owner reads is in its own way",
        file: RULE,
        old: "not held.several and (not held.reader or held.reader == owner)",
        new: "not held.reader",
    },
    Mutation {
        what: "a writer enters beside several readers, if it is the first of them",
        file: RULE,
        old: "not held.several and (not held.reader",
        new: "(not held.reader",
    },
    Mutation {
        what: "an owner that reads among others is not found",
        file: RULE,
        old: " or held.several and members_of(name, 'r', owner, 1)[1] then",
        new: " then",
    },
    Mutation {
        what: "of several tokens, the one that is met last is re-entered",
        file: RULE,
        old: "token = math.max(token, row.token)",
        new: "token = row.token",
    },
    Mutation {
        what: "a re-entry gets the token of the weakest grant",
        file: RULE,
        old: "members_of(name, own == 'write' and 'W' or 'r', owner, -1)",
        new: "members_of(name, 'r', owner, -1)",
    },
    Mutation {
        what: "a write does not cover a read",
        file: RULE,
        old: "return own == 'write' or own == mode",
        new: "return own == mode",
    },
    Mutation {
        what: "a re-entry that waited gets a token of its own",
        file: RULE,
        old: "rule.covers(own, row.mode) and rule.own_token(row.name, row.owner, own) or stamp()",
        new: "stamp()",
    },
    Mutation {
        what: "the walk forgets that it let a writer in",
        file: RULE,
        old: "      held.writer = row.owner\n",
        new: "      held.writer = held.writer\n",
    },
    Mutation {
        what: "the walk forgets that it let a second reader in",
        file: RULE,
        old: "held.several = held.several or held.reader and held.reader ~= row.owner",
        new: "held.several = held.several",
    },
    Mutation {
        what: "a re-entry at once gets a token of its own",
        file: ACQUIRE,
        old: "enters_again and rule.own_token(name, row.owner, own) or row.ticket",
        new: "row.ticket",
    },
    Mutation {
        what: "an upgrade stands where it came",
        file: ACQUIRE,
        old: "own and not enters_again and 0 or row.ticket",
        new: "row.ticket",
    },
    Mutation {
        what: "a priority counts the wrong way",
        file: ACQUIRE,
        old: "row.ticket - row.priority * HEAD_START",
        new: "row.ticket + row.priority * HEAD_START",
    },
    Mutation {
        what: "a re-entry waits behind who waits",
        file: ACQUIRE,
        old: "if not enters_again and not (",
        new: "if not (",
    },
    Mutation {
        what: "what is inherited is held as one's own",
        file: ACQUIRE,
        old: "row.owner = ancestor\n",
        new: "row.owner = owner\n",
    },
    Mutation {
        what: "the innermost ancestor acts",
        file: ACQUIRE,
        old: "row.owner = ancestor\n      break\n",
        new: "row.owner = ancestor\n",
    },
    Mutation {
        what: "a name is free while somebody holds it",
        file: "engine/cluster/redis/scripts/quick/acquire.lua",
        old: "HOLDERS, '[' .. name .. '\\0', '(' .. name .. '\\1', 'LIMIT', 0, 1)[1] then",
        new: "HOLDERS, '[' .. name .. '\\0', '[' .. name .. '\\0', 'LIMIT', 0, 1)[1] then",
    },
    Mutation {
        what: "two stamps of one moment are the same",
        file: "engine/cluster/redis/scripts/rows.lua",
        old: "tonumber(call('HGET', SESSIONS, 'stamp') or 0)) + 1)",
        new: "tonumber(call('HGET', SESSIONS, 'stamp') or 0)))",
    },
    Mutation {
        what: "a waiter that leaves admits nobody",
        file: "engine/cluster/redis/scripts/cancel.lua",
        old: "rule.give_up(row, why)\nrule.walk(row.name)\n",
        new: "rule.give_up(row, why)\n",
    },
    Mutation {
        what: "a release admits nobody",
        file: "engine/cluster/redis/scripts/release.lua",
        old: "load_rule().walk(row.name)\n",
        new: "",
    },
    Mutation {
        what: "a downgrade admits nobody",
        file: "engine/cluster/redis/scripts/downgrade.lua",
        old: "  load_rule().walk(row.name)\n",
        new: "",
    },
    Mutation {
        what: "a lock that is broken admits nobody",
        file: "engine/cluster/redis/scripts/revoke.lua",
        old: "rule.walk(name)\nreturn '{\"revoked\":'",
        new: "return '{\"revoked\":'",
    },
];
