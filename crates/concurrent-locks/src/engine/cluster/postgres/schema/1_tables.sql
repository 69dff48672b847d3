-- Concurrent Locks on PostgreSQL 13 and later: tables.
--
-- A database administrator may apply the files of this folder in the order of their names, in one transaction
-- (`cat schema/*.sql | psql -1 DATABASE`); otherwise the first client does it, if its role may create a schema. All of it
-- can be applied again. A role that only uses the locks needs:
--
--     GRANT USAGE ON SCHEMA concurrent_locks TO role;
--     GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA concurrent_locks TO role;
--     GRANT SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA concurrent_locks TO role;
--
-- What serialises what. Every verb is one function, one transaction, one round trip.
--
--  1. What a resource's requests are is read and changed only under its transaction-level advisory lock (`enter`); each
--     statement after it sees all that earlier holders of that lock committed. So READ COMMITTED is needed, and checked.
--  2. Order of locks: advisory locks of resources (several: by ascending key), then rows of `resource`, then the row of
--     the caller's own session. Rows of other sessions, and everything that is swept, are taken with SKIP LOCKED. So no
--     two verbs wait for each other, and the server never has a deadlock to resolve.
--  3. There is no row that all resources' transactions write: stamps are kept per resource, `seen` per session and to
--     50 ms, statistics are appended and added up later, events get their numbers from their readers.
--
-- Durability. Grants and releases are as durable as the server's `synchronous_commit` says, because a token that was reported
-- must not be repeated after a crash, and a lock that was granted must still be held. One flush for each acquire and release
-- is the price. Only a place in the queue is not waited for: a waiter requests again on the next connection. A role that accepts that the last moments before a crash are forgotten (stamps still go
-- on above by the clock) can have it: ALTER ROLE .. SET synchronous_commit = off. What is only looked at (operations,
-- events, statistics) is unlogged: a crash of the server empties it.
--
-- All names are qualified and all functions are SECURITY INVOKER; so none sets a search_path, which each call would pay for.
-- The verbs do set enable_seqscan off (2 % of a call): PL/pgSQL keeps plans, and one that was made while a table was small
-- would read all of it when it has grown.

CREATE SCHEMA IF NOT EXISTS concurrent_locks;

-- The version of all this.
CREATE TABLE IF NOT EXISTS concurrent_locks.layout (version integer PRIMARY KEY);

-- Its last value: until when somebody watches, so that grants and releases are events too (of all spaces). A sequence,
-- because it is read by every verb, at the price of a function call.
CREATE SEQUENCE IF NOT EXISTS concurrent_locks.watched;

-- A set of names that can meet. `sequence`: the last event's number.
CREATE TABLE IF NOT EXISTS concurrent_locks.space (
    space text COLLATE "C" PRIMARY KEY,
    sequence bigint NOT NULL DEFAULT 0,
    swept_at bigint NOT NULL DEFAULT 0,
    swept_to text COLLATE "C" NOT NULL DEFAULT '',
    reaped bigint NOT NULL DEFAULT 0,
    deadlocks bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- One process's presence. `seen` is true to 50 ms (`grain`). `guarded`: while it lives it holds the advisory lock of its
-- id, on the server that was started at `instance`. `doubted`: when that lock was first found free.
CREATE TABLE IF NOT EXISTS concurrent_locks.session (
    space text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    lease bigint NOT NULL,
    seen bigint NOT NULL,
    pid bigint NOT NULL,
    host text NOT NULL,
    program text NOT NULL,
    guarded boolean NOT NULL,
    instance bigint NOT NULL,
    doubted bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (space, session)
) WITH (fillfactor = 50);

-- The last stamp of a resource: max(now, last + 1) is the next. Arrivals, tie-breaks and tokens need order only within a
-- resource, whose verbs are serialised anyway. The row goes after a day without use; the clock keeps later stamps above it.
CREATE TABLE IF NOT EXISTS concurrent_locks.resource (
    space text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    stamp bigint NOT NULL,
    reaped bigint NOT NULL DEFAULT 0,
    deadlocks bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (space, name)
) WITH (fillfactor = 50);

-- Requests that hold or wait: the authoritative state. `until`: when the hold ends at the latest (0: no limit).
CREATE TABLE IF NOT EXISTS concurrent_locks.request (
    space text COLLATE "C" NOT NULL,
    request text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    held boolean NOT NULL,
    mode text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    family text COLLATE "C" NOT NULL,
    label text NOT NULL,
    note text NOT NULL,
    priority integer NOT NULL,
    max_hold bigint NOT NULL,
    requested bigint NOT NULL,
    rank bigint NOT NULL,
    ticket bigint NOT NULL,
    token bigint NOT NULL DEFAULT 0,
    since bigint NOT NULL DEFAULT 0,
    waited bigint NOT NULL DEFAULT 0,
    until bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (space, request)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX IF NOT EXISTS request_of ON concurrent_locks.request (space, name, held, mode, owner);
CREATE INDEX IF NOT EXISTS request_queue ON concurrent_locks.request (space, name, rank, ticket) WHERE NOT held;

-- What ended, and how: a grant with its wait and hold, or (hold is null) a refusal with its wait. The last 100 of a
-- resource and mode are kept; `fold` adds older ones up into `tally` and `histogram`. Statistics are the sum of all three
-- and of what is held now, so a grant writes nothing here.
CREATE UNLOGGED TABLE IF NOT EXISTS concurrent_locks.operation (
    space text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    ended bigint NOT NULL,
    outcome text NOT NULL,
    wait bigint NOT NULL,
    hold bigint,
    token bigint NOT NULL,
    label text NOT NULL,
    pid bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS operation_last ON concurrent_locks.operation (space, name, mode, ended);

CREATE UNLOGGED TABLE IF NOT EXISTS concurrent_locks.tally (
    space text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    acquisitions bigint NOT NULL DEFAULT 0,
    releases bigint NOT NULL DEFAULT 0,
    timeouts bigint NOT NULL DEFAULT 0,
    errors bigint NOT NULL DEFAULT 0,
    deadlocks bigint NOT NULL DEFAULT 0,
    wait_sum bigint NOT NULL DEFAULT 0,
    wait_min bigint,
    wait_max bigint,
    hold_sum bigint NOT NULL DEFAULT 0,
    hold_min bigint,
    hold_max bigint,
    PRIMARY KEY (space, name, mode)
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE IF NOT EXISTS concurrent_locks.histogram (
    space text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    bucket integer NOT NULL,
    times bigint NOT NULL,
    PRIMARY KEY (space, name, mode, kind, bucket)
) WITH (fillfactor = 50);

-- Not the table's own identity: that would be as unlogged as the table, and PostgreSQL 15 has a standby that was promoted
-- fail with such a sequence (XX000, bad magic number).
CREATE SEQUENCE IF NOT EXISTS concurrent_locks.event_id;

-- What happened last. `sequence` is null until somebody reads: so numbers have no gaps, and writers do not meet.
CREATE UNLOGGED TABLE IF NOT EXISTS concurrent_locks.event (
    id bigint PRIMARY KEY DEFAULT nextval('concurrent_locks.event_id'),
    space text COLLATE "C" NOT NULL,
    sequence bigint,
    kind text NOT NULL,
    at bigint NOT NULL,
    name text NOT NULL,
    mode text NOT NULL,
    owner text NOT NULL,
    label text NOT NULL,
    pid bigint NOT NULL,
    token bigint NOT NULL,
    elapsed bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS event_numbered ON concurrent_locks.event (space, sequence) WHERE sequence IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_new ON concurrent_locks.event (space, id) WHERE sequence IS NULL;

-- In which order names were taken while others were held, once for each pair.
CREATE TABLE IF NOT EXISTS concurrent_locks.lock_order (
    space text COLLATE "C" NOT NULL,
    first text COLLATE "C" NOT NULL,
    second text COLLATE "C" NOT NULL,
    label text NOT NULL,
    PRIMARY KEY (space, first, second)
);
