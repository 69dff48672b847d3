-- The grant rule (src/rule/grant.rs defines it), liveness, and the history. Times are microseconds since 1970.
--
-- LANGUAGE sql only where the planner inlines it (one expression, as volatile as what it calls): otherwise such a function
-- is parsed and planned again in each transaction, where PL/pgSQL keeps its plans.

CREATE OR REPLACE FUNCTION concurrent_locks.micros() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- `seen` is written once in so long; so a session's last contact counts as up to that much later than it says.
CREATE OR REPLACE FUNCTION concurrent_locks.grain() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 50000::bigint';

-- How long a process may be without its advisory lock before what it holds is taken: time to connect again.
CREATE OR REPLACE FUNCTION concurrent_locks.grace() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 500000::bigint';

-- How long a waiter may be silent, and how long a grant by hand-off counts before its session's next contact.
CREATE OR REPLACE FUNCTION concurrent_locks.patience() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 3000000::bigint';

CREATE OR REPLACE FUNCTION concurrent_locks.resource_key(_space text, _name text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended(_space || chr(1) || _name, 0)
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.session_key(_session text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || _session)::bit(64)::bigint
$$;

-- When this server was started: advisory locks do not outlive it.
CREATE OR REPLACE FUNCTION concurrent_locks.instance() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint
$$;

-- Locks the resource for this transaction, and returns the time.
CREATE OR REPLACE FUNCTION concurrent_locks.enter(_space text, _name text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'concurrent_locks needs transactions of isolation level read committed, not %',
            current_setting('transaction_isolation')
            USING HINT = 'ALTER ROLE .. SET default_transaction_isolation = ''read committed''';
    END IF;
    IF NOT pg_try_advisory_xact_lock(concurrent_locks.resource_key(_space, _name)) THEN
        PERFORM pg_advisory_xact_lock(concurrent_locks.resource_key(_space, _name));
    END IF;
    RETURN concurrent_locks.micros();
END
$$;

-- Whether grants and releases are events now. (The name is resolved once, when a plan is made.)
CREATE OR REPLACE FUNCTION concurrent_locks.is_watched(_now bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(pg_sequence_last_value('concurrent_locks.watched'::regclass), 0) > _now
$$;

-- The next stamp of a resource.
CREATE OR REPLACE FUNCTION concurrent_locks.next_stamp(_space text, _name text, _now bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    _stamp bigint;
BEGIN
    UPDATE concurrent_locks.resource r SET stamp = greatest(_now, r.stamp + 1)
        WHERE r.space = _space AND r.name = _name RETURNING r.stamp INTO _stamp;
    IF NOT FOUND THEN
        INSERT INTO concurrent_locks.resource (space, name, stamp) VALUES (_space, _name, _now);
        RETURN _now;
    END IF;
    RETURN _stamp;
END
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.note_event(
    _space text, _kind text, _at bigint, _q concurrent_locks.request, _pid bigint, _token bigint, _elapsed bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO concurrent_locks.event (space, kind, at, name, mode, owner, label, pid, token, elapsed)
        VALUES (_space, _kind, _at, _q.name, _q.mode, _q.owner, _q.label, coalesce(_pid, 0), _token, _elapsed);
END
$$;

-- The fields of a grant, in answers and pushes (there with the request's id).
CREATE OR REPLACE FUNCTION concurrent_locks.grant_json(_q concurrent_locks.request, _named boolean) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT '{' || CASE WHEN _named THEN '"request":' || to_json(_q.request) || ',' ELSE '' END
        || '"token":' || _q.token || ',"since":' || _q.since || ',"waited":' || _q.waited || ',"owner":' || to_json(_q.owner) || '}'
$$;

-- A request as it is shown.
CREATE OR REPLACE FUNCTION concurrent_locks.row_json(_q concurrent_locks.request) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    _s record;
BEGIN
    SELECT s.pid, s.host, s.seen, s.lease INTO _s FROM concurrent_locks.session s WHERE s.space = _q.space AND s.session = _q.session;
    RETURN json_build_object(
        'request', _q.request, 'name', _q.name, 'state', CASE WHEN _q.held THEN 'held' ELSE 'waiting' END, 'mode', _q.mode,
        'owner', _q.owner, 'family', _q.family, 'label', _q.label, 'note', _q.note, 'priority', _q.priority,
        'session', _q.session, 'pid', coalesce(_s.pid, 0), 'host', coalesce(_s.host, ''), 'requested', _q.requested,
        'since', _q.since, 'token', _q.token, 'rank', _q.rank, 'ticket', _q.ticket,
        -- At the latest: it is true to a grain.
        'seen', coalesce(_s.seen + concurrent_locks.grain(), 0), 'lease', coalesce(_s.lease, 0));
END
$$;

-- The holders as an array of rows, by token, and the number of waiters.
CREATE OR REPLACE FUNCTION concurrent_locks.scene(_space text, _name text, OUT holders text, OUT waiters bigint) LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT '[' || coalesce(string_agg(concurrent_locks.row_json(q), ',' ORDER BY q.token, q.ticket), '') || ']' INTO holders
        FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name AND q.held;
    SELECT count(*) INTO waiters FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name AND NOT q.held;
END
$$;

-- Whether a guarded session lives no more, by its advisory lock. Shared, so that two that check at the same moment do not
-- take each other for it. A process may only have lost its connection, and still believe in its lock or its place: it is
-- doubted first, for as long as it takes to connect again (`_at_once` is for who only looks). A lock that went with a restart of the server proves nothing.
CREATE OR REPLACE FUNCTION concurrent_locks.has_died(_s concurrent_locks.session, _now bigint, _at_once boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT _s.guarded OR _s.instance <> concurrent_locks.instance()
        -- The lock of one's own session is free for oneself.
        OR _s.session = coalesce(current_setting('concurrent_locks.session', true), '')
        OR NOT pg_try_advisory_xact_lock_shared(concurrent_locks.session_key(_s.session))
    THEN
        RETURN false;
    END IF;
    IF _at_once THEN
        RETURN true;
    END IF;
    IF _s.doubted > _s.seen THEN
        RETURN _now - _s.doubted >= concurrent_locks.grace();
    END IF;
    -- The holder of the row lock is the process itself, alive, or one that doubts it already.
    UPDATE concurrent_locks.session s SET doubted = _now WHERE s.ctid = ANY (ARRAY(
        SELECT own.ctid FROM concurrent_locks.session own
            WHERE own.space = _s.space AND own.session = _s.session FOR UPDATE SKIP LOCKED));
    RETURN false;
END
$$;

-- When a held request expires if its session makes no contact any more. A grant by hand-off may have gone to a process that
-- was dying: it counts for a short time only, until the session makes contact.
CREATE OR REPLACE FUNCTION concurrent_locks.expiry(_q concurrent_locks.request, _s concurrent_locks.session) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT least(
        CASE
            WHEN _s.session IS NULL THEN 0
            WHEN _s.seen + concurrent_locks.grain() >= _q.since THEN _s.seen + concurrent_locks.grain() + _s.lease
            ELSE _q.since + concurrent_locks.patience()
        END,
        CASE WHEN _q.until > 0 THEN _q.until END)
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.is_expired(
    _q concurrent_locks.request, _s concurrent_locks.session, _now bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF _s.session IS NULL THEN
        RETURN true;
    ELSIF _q.held THEN
        RETURN concurrent_locks.expiry(_q, _s) < _now OR concurrent_locks.has_died(_s, _now, false);
    END IF;
    RETURN _s.seen + concurrent_locks.grain() + least(_s.lease, concurrent_locks.patience()) < _now
        OR concurrent_locks.has_died(_s, _now, false);
END
$$;

-- Adds up what is older than the last 100 operations. Shared lock: who resets or sweeps statistics takes it exclusively.
CREATE OR REPLACE FUNCTION concurrent_locks.fold(_space text, _name text, _mode text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock_shared(concurrent_locks.resource_key(_space, '')) THEN
        RETURN;
    END IF;
    WITH old AS (
        DELETE FROM concurrent_locks.operation o WHERE o.space = _space AND o.name = _name AND o.mode = _mode AND o.ended < (
            SELECT p.ended FROM concurrent_locks.operation p WHERE p.space = _space AND p.name = _name AND p.mode = _mode
                ORDER BY p.ended DESC OFFSET 99 LIMIT 1)
        RETURNING o.*
    ), counted AS (
        INSERT INTO concurrent_locks.histogram AS h (space, name, mode, kind, bucket, times)
            SELECT _space, _name, _mode, t.kind, concurrent_locks.bucket_of(t.time), count(*)
                FROM old o, LATERAL (VALUES ('wait', o.wait), ('hold', o.hold)) t (kind, time)
                WHERE o.hold IS NOT NULL GROUP BY 4, 5
            ON CONFLICT (space, name, mode, kind, bucket) DO UPDATE SET times = h.times + excluded.times
    )
    INSERT INTO concurrent_locks.tally AS t (space, name, mode, acquisitions, releases, timeouts, errors, deadlocks,
            wait_sum, wait_min, wait_max, hold_sum, hold_min, hold_max)
        SELECT _space, _name, _mode, count(o.hold), count(o.hold), count(*) FILTER (WHERE o.outcome = 'timeout'),
                count(*) FILTER (WHERE o.outcome IN ('failed', 'cancelled', 'deadlock')), count(*) FILTER (WHERE o.outcome = 'deadlock'),
                coalesce(sum(o.wait) FILTER (WHERE o.hold IS NOT NULL), 0), min(o.wait) FILTER (WHERE o.hold IS NOT NULL),
                max(o.wait) FILTER (WHERE o.hold IS NOT NULL), coalesce(sum(o.hold), 0), min(o.hold), max(o.hold)
            FROM old o HAVING count(*) > 0
        ON CONFLICT (space, name, mode) DO UPDATE SET
            acquisitions = t.acquisitions + excluded.acquisitions, releases = t.releases + excluded.releases,
            timeouts = t.timeouts + excluded.timeouts, errors = t.errors + excluded.errors, deadlocks = t.deadlocks + excluded.deadlocks,
            wait_sum = t.wait_sum + excluded.wait_sum, hold_sum = t.hold_sum + excluded.hold_sum,
            wait_min = least(t.wait_min, excluded.wait_min), wait_max = greatest(t.wait_max, excluded.wait_max),
            hold_min = least(t.hold_min, excluded.hold_min), hold_max = greatest(t.hold_max, excluded.hold_max);
END
$$;

-- The bucket of a time, as src/words/histogram.rs has it for nanoseconds.
CREATE OR REPLACE FUNCTION concurrent_locks.bucket_of(_micros bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN nanos < 64 THEN 0
        WHEN power >= 42 THEN 145
        ELSE ((power - 6) << 2) + ((nanos >> (power - 2)) & 3)::integer + 1
    END
    FROM (SELECT n.nanos, length(ltrim(n.nanos::bit(64)::text, '0')) - 1 AS power
        FROM (SELECT greatest(0, least(_micros, 9000000000000000)) * 1000 AS nanos) n) p
$$;

-- What is kept of a request that ends: an operation. (It returns something so that it can be called in an expression,
-- which costs less than a statement.)
CREATE OR REPLACE FUNCTION concurrent_locks.note_end(
    _q concurrent_locks.request, _now bigint, _outcome text, _pid bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO concurrent_locks.operation (space, name, mode, ended, outcome, wait, hold, token, label, pid) VALUES (
        _q.space, _q.name, _q.mode, _now, _outcome,
        CASE WHEN _q.held THEN _q.waited ELSE greatest(0, _now - _q.requested) END,
        CASE WHEN _q.held THEN greatest(0, _now - _q.since) END, _q.token, _q.label, coalesce(_pid, 0));
    -- Once in a while: about 64 more than the last 100 are kept so.
    IF random() < 0.015625 THEN
        PERFORM concurrent_locks.fold(_q.space, _q.name, _q.mode);
    END IF;
    RETURN true;
END
$$;

-- Takes an expired request out.
CREATE OR REPLACE FUNCTION concurrent_locks.reap(
    _q concurrent_locks.request, _pid bigint, _now bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM concurrent_locks.request q WHERE q.space = _q.space AND q.request = _q.request;
    PERFORM concurrent_locks.note_end(_q, _now, CASE WHEN _q.held THEN 'failed' ELSE 'cancelled' END, _pid);
    PERFORM concurrent_locks.note_event(_q.space, 'recovered', _now, _q, coalesce(_pid, 0), _q.token,
        greatest(0, _now - CASE WHEN _q.held THEN _q.since ELSE _q.requested END));
    UPDATE concurrent_locks.resource r SET reaped = r.reaped + 1 WHERE r.space = _q.space AND r.name = _q.name;
END
$$;

-- Takes the expired holders out. Whether there were any.
CREATE OR REPLACE FUNCTION concurrent_locks.clear_holders(_space text, _name text, _now bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    _q concurrent_locks.request;
    _s concurrent_locks.session;
    _found boolean := false;
BEGIN
    FOR _q IN SELECT q.* FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name AND q.held LOOP
        SELECT * INTO _s FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _q.session;
        IF concurrent_locks.is_expired(_q, _s, _now) THEN
            PERFORM concurrent_locks.reap(_q, _s.pid, _now);
            _found := true;
        END IF;
    END LOOP;
    RETURN _found;
END
$$;

-- What an owner holds of a resource itself: the mode that covers most, and the token that a re-entry gets.
CREATE OR REPLACE FUNCTION concurrent_locks.own(_space text, _name text, _owner text, OUT mode text, OUT token bigint) LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT q.mode, q.token INTO mode, token FROM concurrent_locks.request q
        WHERE q.space = _space AND q.name = _name AND q.held AND q.mode IN ('read', 'write') AND q.owner = _owner
        ORDER BY q.mode DESC, q.token DESC LIMIT 1;
END
$$;

-- Whether others than the owner hold a resource in a mode that conflicts.
CREATE OR REPLACE FUNCTION concurrent_locks.others_conflict(_space text, _name text, _mode text, _owner text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF _mode = 'write' THEN
        RETURN EXISTS (SELECT FROM concurrent_locks.request q
            WHERE q.space = _space AND q.name = _name AND q.held AND q.owner <> _owner);
    END IF;
    RETURN EXISTS (SELECT FROM concurrent_locks.request q
        WHERE q.space = _space AND q.name = _name AND q.held AND q.mode = 'write' AND q.owner <> _owner);
END
$$;

-- Rule 3: along the queue, makes every waiter a holder that may be granted, and takes dead ones out on the way. Reads as far
-- as it grants, and one batch.
CREATE OR REPLACE FUNCTION concurrent_locks.walk(_space text, _name text, _now bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _q concurrent_locks.request;
    _s concurrent_locks.session;
    _own_mode text;
    _own_token bigint;
    _reader_stayed boolean := false;
    _rank bigint := -9223372036854775808;
    _ticket bigint := 0;
    _taken integer;
BEGIN
    -- While there is a writer that waits for nothing more here, nobody can be granted.
    PERFORM FROM concurrent_locks.request h WHERE h.space = _space AND h.name = _name AND h.held AND h.mode = 'write'
        AND NOT EXISTS (SELECT FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name AND NOT q.held
            AND q.mode IN ('read', 'write') AND q.owner = h.owner);
    IF FOUND THEN
        RETURN;
    END IF;
    LOOP
        _taken := 0;
        FOR _q IN SELECT q.* FROM concurrent_locks.request q
            WHERE q.space = _space AND q.name = _name AND NOT q.held AND (q.rank, q.ticket) > (_rank, _ticket)
            ORDER BY q.rank, q.ticket LIMIT 16
        LOOP
            _taken := _taken + 1;
            _rank := _q.rank;
            _ticket := _q.ticket;
            SELECT * INTO _s FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _q.session;
            IF concurrent_locks.is_expired(_q, _s, _now) THEN
                PERFORM concurrent_locks.reap(_q, _s.pid, _now);
            ELSIF NOT (_reader_stayed AND _q.mode = 'write')
                AND NOT concurrent_locks.others_conflict(_space, _name, _q.mode, _q.owner)
            THEN
                SELECT o.mode, o.token INTO _own_mode, _own_token FROM concurrent_locks.own(_space, _name, _q.owner) o;
                _q.held := true;
                _q.since := _now;
                _q.waited := greatest(0, _now - _q.requested);
                _q.until := CASE WHEN _q.max_hold > 0 THEN _now + _q.max_hold ELSE 0 END;
                IF _own_mode = 'write' OR _own_mode = _q.mode THEN
                    _q.token := _own_token;
                ELSE
                    _q.token := concurrent_locks.next_stamp(_space, _name, _now);
                END IF;
                UPDATE concurrent_locks.request q SET held = true, since = _q.since, waited = _q.waited, until = _q.until, token = _q.token
                    WHERE q.space = _space AND q.request = _q.request;
                PERFORM pg_notify('concurrent_locks_' || _q.session,
                    '{"granted":' || concurrent_locks.grant_json(_q, true) || '}');
                IF concurrent_locks.is_watched(_now) THEN
                    PERFORM concurrent_locks.note_event(_space, 'grant', _now, _q, _s.pid, _q.token, _q.waited);
                END IF;
            ELSIF _q.mode = 'write' THEN
                RETURN;
            ELSE
                _reader_stayed := true;
            END IF;
        END LOOP;
        EXIT WHEN _taken < 16;
    END LOOP;
END
$$;
