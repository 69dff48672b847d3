-- The verbs of a process's presence: hello, renew, verify, bye. And what is done besides a renewal: sweeping.

CREATE OR REPLACE FUNCTION concurrent_locks.hello(
    _space text, _session text, _lease bigint, _pid bigint, _host text, _program text, _guarded boolean
) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint := concurrent_locks.micros();
BEGIN
    IF _session !~ '^[0-9a-f]{16}$' OR _space !~ '^[A-Za-z0-9._-]{1,100}$' OR _lease <= 0 THEN
        RAISE EXCEPTION 'not a session of a space: % of % with a lease of %', _session, _space, _lease;
    END IF;
    INSERT INTO concurrent_locks.space (space) VALUES (_space) ON CONFLICT DO NOTHING;
    INSERT INTO concurrent_locks.session AS s (space, session, lease, seen, pid, host, program, guarded, instance)
        VALUES (_space, _session, _lease, _now, _pid, _host, _program, _guarded, concurrent_locks.instance())
        ON CONFLICT (space, session) DO UPDATE SET lease = excluded.lease, seen = greatest(s.seen, excluded.seen), pid = excluded.pid,
            host = excluded.host, program = excluded.program, guarded = excluded.guarded, instance = excluded.instance, doubted = 0;
    RETURN '{"now":' || _now || ',"layout":' || (SELECT max(l.version) FROM concurrent_locks.layout l) || '}';
END
$$;

-- Whether something expired may be in the way of a resource's waiters. Looks without taking the resource.
CREATE OR REPLACE FUNCTION concurrent_locks.needs_tick(_space text, _name text, _now bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    _q concurrent_locks.request;
    _s concurrent_locks.session;
BEGIN
    FOR _q IN (SELECT q.* FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name AND q.held)
        UNION ALL (SELECT q.* FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name AND NOT q.held
            ORDER BY q.rank, q.ticket LIMIT 16)
    LOOP
        SELECT * INTO _s FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _q.session;
        IF concurrent_locks.is_expired(_q, _s, _now) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;

-- Takes the expired out at the head of the queue, which a walk reads only if somebody there may be granted.
CREATE OR REPLACE FUNCTION concurrent_locks.clear_head(_space text, _name text, _now bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _q concurrent_locks.request;
    _s concurrent_locks.session;
BEGIN
    FOR _q IN SELECT q.* FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name AND NOT q.held
        ORDER BY q.rank, q.ticket LIMIT 16
    LOOP
        SELECT * INTO _s FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _q.session;
        IF concurrent_locks.is_expired(_q, _s, _now) THEN
            PERFORM concurrent_locks.reap(_q, _s.pid, _now);
        END IF;
    END LOOP;
END
$$;

-- Takes out what is expired of a resource and hands it on. False if another transaction has the resource: it is not
-- waited for, so the names of several resources need no order.
CREATE OR REPLACE FUNCTION concurrent_locks.tick(_space text, _name text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    _now bigint;
BEGIN
    IF concurrent_locks.needs_tick(_space, _name, concurrent_locks.micros()) THEN
        IF NOT pg_try_advisory_xact_lock(concurrent_locks.resource_key(_space, _name)) THEN
            RETURN false;
        END IF;
        _now := concurrent_locks.enter(_space, _name);
        PERFORM concurrent_locks.clear_holders(_space, _name, _now);
        PERFORM concurrent_locks.clear_head(_space, _name, _now);
        PERFORM concurrent_locks.walk(_space, _name, _now);
    END IF;
    RETURN true;
END
$$;

-- The names of what waits come from the requests' own rows; at most 64 of them, drawn by lot, are looked after each time.
CREATE OR REPLACE FUNCTION concurrent_locks.renew(
    _space text, _session text, _lease bigint, _held text, _waiting text, _names text
) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint := concurrent_locks.micros();
    _ids_held text[] := string_to_array(_held, ',');
    _ids_waiting text[] := string_to_array(_waiting, ',');
    _ticked text[];
    _name text;
    _next bigint;
    _lost text;
    _granted text;
BEGIN
    UPDATE concurrent_locks.session s SET seen = greatest(s.seen, _now), lease = _lease WHERE s.space = _space AND s.session = _session;
    IF NOT FOUND THEN
        RETURN '{"unknown":{}}';
    END IF;
    IF _waiting <> '' THEN
        _ticked := ARRAY(SELECT w.name FROM (
                SELECT DISTINCT q.name FROM concurrent_locks.request q
                    WHERE q.space = _space AND q.request = ANY (_ids_waiting) AND NOT q.held) w
            ORDER BY random() LIMIT 64);
        FOREACH _name IN ARRAY _ticked LOOP
            IF NOT concurrent_locks.tick(_space, _name) THEN
                _next := _now + 100000;
            END IF;
        END LOOP;
        SELECT least(_next, min(e.at)) INTO _next FROM concurrent_locks.request q
            JOIN concurrent_locks.session s ON s.space = q.space AND s.session = q.session,
            LATERAL (VALUES (concurrent_locks.expiry(q, s)),
                (CASE WHEN s.guarded AND s.doubted > s.seen THEN s.doubted + concurrent_locks.grace() END)) e (at)
            WHERE q.space = _space AND q.name = ANY (_ticked) AND q.held;
    END IF;
    SELECT string_agg(to_json(i.id)::text, ',') INTO _lost FROM unnest(_ids_held || _ids_waiting) i (id)
        WHERE NOT EXISTS (SELECT FROM concurrent_locks.request q WHERE q.space = _space AND q.request = i.id);
    SELECT string_agg(concurrent_locks.grant_json(q, true), ',' ORDER BY q.ticket) INTO _granted FROM concurrent_locks.request q
        WHERE q.space = _space AND q.request = ANY (_ids_waiting) AND q.held;
    PERFORM concurrent_locks.sweep(_space, _now);
    RETURN '{"now":' || _now || ',"lost":[' || coalesce(_lost, '') || '],"granted":[' || coalesce(_granted, '')
        || '],"next":' || coalesce(_next::text, 'null') || '}';
END
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.verify(_space text, _session text, _request text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _token bigint;
    _since bigint;
BEGIN
    UPDATE concurrent_locks.session s SET seen = greatest(s.seen, concurrent_locks.micros()) WHERE s.space = _space AND s.session = _session;
    IF NOT FOUND THEN
        RETURN '{"unknown":{}}';
    END IF;
    SELECT q.token, q.since INTO _token, _since FROM concurrent_locks.request q
        WHERE q.space = _space AND q.request = _request AND q.held;
    IF NOT FOUND THEN
        RETURN '{"lost":{}}';
    END IF;
    RETURN '{"held":{"token":' || _token || ',"since":' || _since || '}}';
END
$$;

-- What a session has left ends as if by release and cancel. Requests of a session begin with its id and a dot; '/' comes
-- after the dot. More than 1000 names would take too many of the server's locks: the rest is left to those it is in the way of.
CREATE OR REPLACE FUNCTION concurrent_locks.bye(_space text, _session text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint := concurrent_locks.micros();
    _names text[];
    _name text;
    _pid bigint;
    _q concurrent_locks.request;
BEGIN
    _names := ARRAY(SELECT n.name FROM (SELECT DISTINCT q.name FROM concurrent_locks.request q
            WHERE q.space = _space AND q.request > _session || '.' AND q.request < _session || '/') n
        ORDER BY concurrent_locks.resource_key(_space, n.name) LIMIT 1000);
    FOREACH _name IN ARRAY _names LOOP
        _now := concurrent_locks.enter(_space, _name);
    END LOOP;
    SELECT s.pid INTO _pid FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _session;
    FOR _q IN DELETE FROM concurrent_locks.request q
        WHERE q.space = _space AND q.request > _session || '.' AND q.request < _session || '/' AND q.name = ANY (_names) RETURNING q.*
    LOOP
        IF _q.held THEN
            PERFORM concurrent_locks.note_end(_q, _now, 'released', _pid);
            IF concurrent_locks.is_watched(_now) THEN
                PERFORM concurrent_locks.note_event(_space, 'release', _now, _q, _pid, _q.token, greatest(0, _now - _q.since));
            END IF;
        ELSE
            PERFORM concurrent_locks.note_end(_q, _now, 'cancelled', _pid);
            PERFORM concurrent_locks.note_event(_space, 'cancel', _now, _q, coalesce(_pid, 0), 0, greatest(0, _now - _q.requested));
        END IF;
    END LOOP;
    FOREACH _name IN ARRAY _names LOOP
        PERFORM concurrent_locks.walk(_space, _name, _now);
    END LOOP;
    DELETE FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _session AND NOT EXISTS (
        SELECT FROM concurrent_locks.request q WHERE q.space = _space AND q.request > _session || '.' AND q.request < _session || '/');
    RETURN '{}';
END
$$;

-- Gives the new events their numbers. Under the lock of the space's row.
CREATE OR REPLACE FUNCTION concurrent_locks.number_events(_space text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    _sequence bigint;
    _new bigint;
BEGIN
    SELECT sp.sequence INTO _sequence FROM concurrent_locks.space sp WHERE sp.space = _space FOR UPDATE;
    UPDATE concurrent_locks.event e SET sequence = _sequence + n.number
        FROM (SELECT f.id, row_number() OVER (ORDER BY f.id) AS number FROM concurrent_locks.event f
            WHERE f.space = _space AND f.sequence IS NULL) n
        WHERE e.id = n.id;
    GET DIAGNOSTICS _new = ROW_COUNT;
    IF _new > 0 THEN
        UPDATE concurrent_locks.space sp SET sequence = _sequence + _new WHERE sp.space = _space;
    END IF;
    RETURN coalesce(_sequence, 0) + _new;
END
$$;

-- At most once a second and space, and a bounded part at a time: forgets names that nobody used for a day, sessions that
-- are gone, requests of sessions that were silent for a day, and all but the last 10,000 events. Waits for nobody.
CREATE OR REPLACE FUNCTION concurrent_locks.sweep(_space text, _now bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _day constant bigint := 86400000000;
    _from text;
    _names text[];
    _idle text[];
    _name text;
    _reaped bigint;
    _deadlocks bigint;
    _last bigint;
BEGIN
    SELECT sp.swept_to INTO _from FROM concurrent_locks.space sp
        WHERE sp.space = _space AND sp.swept_at < _now - 1000000 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR NOT pg_try_advisory_xact_lock(concurrent_locks.resource_key(_space, '')) THEN
        RETURN;
    END IF;
    _names := ARRAY(SELECT r.name FROM concurrent_locks.resource r WHERE r.space = _space AND r.name > _from ORDER BY r.name LIMIT 64);
    WITH idle AS (
        DELETE FROM concurrent_locks.resource d WHERE d.ctid = ANY (ARRAY(
            SELECT r.ctid FROM concurrent_locks.resource r
                WHERE r.space = _space AND r.name = ANY (_names) AND r.stamp < _now - _day
                    AND NOT EXISTS (SELECT FROM concurrent_locks.request q WHERE q.space = _space AND q.name = r.name AND q.held)
                    AND NOT EXISTS (SELECT FROM concurrent_locks.request q WHERE q.space = _space AND q.name = r.name AND NOT q.held)
                    AND NOT EXISTS (SELECT FROM concurrent_locks.operation o
                        WHERE o.space = _space AND o.name = r.name AND o.mode IN ('read', 'write') AND o.ended > _now - _day)
                FOR UPDATE SKIP LOCKED))
            RETURNING d.name, d.reaped, d.deadlocks)
    SELECT array_agg(i.name), coalesce(sum(i.reaped), 0), coalesce(sum(i.deadlocks), 0) INTO _idle, _reaped, _deadlocks FROM idle i;
    DELETE FROM concurrent_locks.operation o WHERE o.space = _space AND o.name = ANY (_idle);
    DELETE FROM concurrent_locks.tally t WHERE t.space = _space AND t.name = ANY (_idle);
    DELETE FROM concurrent_locks.histogram h WHERE h.space = _space AND h.name = ANY (_idle);
    FOR _name IN SELECT q.name FROM concurrent_locks.session s JOIN concurrent_locks.request q
        ON q.space = s.space AND q.request > s.session || '.' AND q.request < s.session || '/'
        WHERE s.space = _space AND s.seen < _now - _day LIMIT 16
    LOOP
        PERFORM concurrent_locks.tick(_space, _name);
    END LOOP;
    DELETE FROM concurrent_locks.session d WHERE d.ctid = ANY (ARRAY(
        SELECT s.ctid FROM concurrent_locks.session s WHERE s.space = _space AND s.seen < _now - s.lease - 60000000
            AND NOT EXISTS (SELECT FROM concurrent_locks.request q
                WHERE q.space = _space AND q.request > s.session || '.' AND q.request < s.session || '/')
            LIMIT 64 FOR UPDATE SKIP LOCKED));
    _last := concurrent_locks.number_events(_space);
    DELETE FROM concurrent_locks.event e WHERE e.space = _space AND e.sequence <= _last - 10000;
    UPDATE concurrent_locks.space sp SET swept_at = _now, reaped = sp.reaped + _reaped, deadlocks = sp.deadlocks + _deadlocks,
            swept_to = CASE WHEN cardinality(_names) < 64 THEN '' ELSE _names[64] END
        WHERE sp.space = _space;
END
$$;
