-- The verbs for inspection, and for operators.

CREATE OR REPLACE FUNCTION concurrent_locks.status(_space text, _name text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _of text;
BEGIN
    FOR _of IN SELECT DISTINCT q.name FROM concurrent_locks.request q WHERE q.space = _space AND (_name = '' OR q.name = _name) LOOP
        PERFORM concurrent_locks.tick(_space, _of);
    END LOOP;
    -- One statement: all resources at one moment.
    RETURN '{"now":' || concurrent_locks.micros() || ',"resources":[' || coalesce((
        SELECT string_agg('{"name":' || to_json(n.name) || ',"rows":[' || n.rows || ']}', ',' ORDER BY n.name) FROM (
            SELECT q.name, string_agg(concurrent_locks.row_json(q), ',' ORDER BY NOT q.held,
                    CASE WHEN q.held THEN q.token ELSE q.rank END, q.ticket) AS rows
                FROM concurrent_locks.request q WHERE q.space = _space AND (_name = '' OR q.name = _name) GROUP BY q.name) n), '') || ']}';
END
$$;

-- The moved request takes the place before the other one.
CREATE OR REPLACE FUNCTION concurrent_locks.reorder(_space text, _moved text, _before text, _name text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint := concurrent_locks.enter(_space, _name);
BEGIN
    UPDATE concurrent_locks.request m SET rank = b.rank - 1 FROM concurrent_locks.request b
        WHERE m.space = _space AND m.request = _moved AND m.name = _name AND NOT m.held
            AND b.space = _space AND b.request = _before AND b.name = _name AND NOT b.held
            AND (m.rank, m.ticket) > (b.rank, b.ticket);
    IF NOT FOUND THEN
        RETURN '{"moved":false}';
    END IF;
    PERFORM concurrent_locks.walk(_space, _name, _now);
    RETURN '{"moved":true}';
END
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.nudge(_space text, _request text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    PERFORM pg_notify('concurrent_locks_' || q.session, '{"look":' || to_json(q.request) || '}')
        FROM concurrent_locks.request q WHERE q.space = _space AND q.request = _request AND NOT q.held;
    RETURN '{}';
END
$$;

-- Tokens come from people: any decimal is understood, and none but a grant's is found.
CREATE OR REPLACE FUNCTION concurrent_locks.revoke(_space text, _name text, _token numeric) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint := concurrent_locks.enter(_space, _name);
    _q concurrent_locks.request;
    _pid bigint;
    _row text;
BEGIN
    FOR _q IN SELECT q.* FROM concurrent_locks.request q
        WHERE q.space = _space AND q.name = _name AND q.held AND q.token = _token ORDER BY q.ticket
    LOOP
        SELECT s.pid INTO _pid FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _q.session;
        IF _row IS NULL THEN
            _row := concurrent_locks.row_json(_q);
            PERFORM concurrent_locks.note_event(_space, 'broken', _now, _q, coalesce(_pid, 0), _q.token, greatest(0, _now - _q.since));
        END IF;
        DELETE FROM concurrent_locks.request q WHERE q.space = _space AND q.request = _q.request;
        PERFORM concurrent_locks.note_end(_q, _now, 'failed', _pid);
        PERFORM pg_notify('concurrent_locks_' || _q.session, '{"lost":' || to_json(_q.request) || '}');
    END LOOP;
    IF _row IS NULL THEN
        RETURN '{"none":{}}';
    END IF;
    PERFORM concurrent_locks.walk(_space, _name, _now);
    RETURN '{"revoked":' || _row || '}';
END
$$;

-- Sums of what was added up, of the last operations, and of what is held now. Of all names 200 at a time, in their order:
-- what takes long keeps the caller's connection from its renewals.
CREATE OR REPLACE FUNCTION concurrent_locks.statistics(_space text, _name text, _cursor text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _page constant integer := 200;
    _names text[] := ARRAY[_name];
    _next text;
    _told text;
BEGIN
    IF _name = '' THEN
        _names := ARRAY(SELECT r.name FROM concurrent_locks.resource r
            WHERE r.space = _space AND r.name > _cursor ORDER BY r.name LIMIT _page);
        IF cardinality(_names) = _page THEN
            _next := _names[_page];
        END IF;
    END IF;
    WITH operation AS MATERIALIZED (
        SELECT * FROM concurrent_locks.operation o WHERE o.space = _space AND o.name = ANY (_names)
    ), request AS MATERIALIZED (
        SELECT q.*, coalesce(s.pid, 0) AS pid FROM concurrent_locks.request q
            LEFT JOIN concurrent_locks.session s ON s.space = q.space AND s.session = q.session
            WHERE q.space = _space AND q.name = ANY (_names)
    ), part AS (
        SELECT t.name, t.mode, t.acquisitions, t.releases, t.timeouts, t.errors, t.deadlocks,
                t.wait_sum, t.wait_min, t.wait_max, t.hold_sum, t.hold_min, t.hold_max, 0 AS holders, 0 AS waiters
            FROM concurrent_locks.tally t WHERE t.space = _space AND t.name = ANY (_names)
        UNION ALL
        SELECT o.name, o.mode, (o.hold IS NOT NULL)::integer, (o.hold IS NOT NULL)::integer, (o.outcome = 'timeout')::integer,
                (o.outcome IN ('failed', 'cancelled', 'deadlock'))::integer, (o.outcome = 'deadlock')::integer,
                CASE WHEN o.hold IS NULL THEN 0 ELSE o.wait END, CASE WHEN o.hold IS NOT NULL THEN o.wait END,
                CASE WHEN o.hold IS NOT NULL THEN o.wait END, coalesce(o.hold, 0), o.hold, o.hold, 0, 0
            FROM operation o
        UNION ALL
        SELECT q.name, q.mode, q.held::integer, 0, 0, 0, 0, q.waited, CASE WHEN q.held THEN q.waited END,
                CASE WHEN q.held THEN q.waited END, 0, NULL, NULL, q.held::integer, (NOT q.held)::integer
            FROM request q
    ), total AS (
        SELECT p.name, p.mode, sum(p.acquisitions) AS acquisitions, sum(p.releases) AS releases, sum(p.timeouts) AS timeouts,
                sum(p.errors) AS errors, sum(p.deadlocks) AS deadlocks, sum(p.wait_sum) AS wait_sum, coalesce(min(p.wait_min), 0) AS wait_min,
                coalesce(max(p.wait_max), 0) AS wait_max, sum(p.hold_sum) AS hold_sum, coalesce(min(p.hold_min), 0) AS hold_min,
                coalesce(max(p.hold_max), 0) AS hold_max, sum(p.holders) AS holders, sum(p.waiters) AS waiters
            FROM part p GROUP BY p.name, p.mode
    ), counted AS (
        SELECT c.name, c.mode, c.kind, c.bucket, sum(c.times) AS times FROM (
            SELECT h.name, h.mode, h.kind, h.bucket, h.times
                FROM concurrent_locks.histogram h WHERE h.space = _space AND h.name = ANY (_names)
            UNION ALL
            SELECT o.name, o.mode, t.kind, concurrent_locks.bucket_of(t.time), 1
                FROM operation o, LATERAL (VALUES ('wait', o.wait), ('hold', o.hold)) t (kind, time) WHERE o.hold IS NOT NULL
            UNION ALL
            SELECT q.name, q.mode, 'wait', concurrent_locks.bucket_of(q.waited), 1 FROM request q WHERE q.held) c
            GROUP BY c.name, c.mode, c.kind, c.bucket HAVING sum(c.times) > 0
    ), buckets AS (
        SELECT c.name, c.mode, c.kind, json_object_agg(c.bucket, c.times ORDER BY c.bucket)::text AS times
            FROM counted c GROUP BY c.name, c.mode, c.kind
    ), entry AS (
        SELECT o.name, o.mode, 'acquire' AS type, o.ended - o.hold AS at, o.wait AS time, o.label, o.pid, o.token
            FROM operation o WHERE o.hold IS NOT NULL
        UNION ALL
        SELECT o.name, o.mode, CASE o.outcome WHEN 'released' THEN 'release' WHEN 'timeout' THEN 'timeout' ELSE 'error' END,
                o.ended, coalesce(o.hold, o.wait), o.label, o.pid, o.token
            FROM operation o
        UNION ALL
        SELECT q.name, q.mode, 'acquire', q.since, q.waited, q.label, q.pid, q.token FROM request q WHERE q.held
    ), latest AS (
        SELECT e.*, row_number() OVER (PARTITION BY e.name, e.mode ORDER BY e.at DESC, e.type <> 'acquire' DESC) AS age FROM entry e
    ), operations AS (
        SELECT l.name, l.mode, string_agg(json_build_object('type', l.type, 'timestamp', l.at, 'time', l.time,
                'requester', l.label, 'pid', l.pid, 'token', l.token)::text, ',' ORDER BY l.age DESC) AS list
            FROM latest l WHERE l.age <= 100 GROUP BY l.name, l.mode
    )
    SELECT coalesce(string_agg(
        '{"name":' || to_json(t.name) || ',"mode":"' || t.mode || '","acquisitions":' || t.acquisitions || ',"releases":' || t.releases
        || ',"timeouts":' || t.timeouts || ',"errors":' || t.errors || ',"deadlocks":' || t.deadlocks
        || ',"wait_sum":' || t.wait_sum || ',"wait_min":' || t.wait_min || ',"wait_max":' || t.wait_max
        || ',"hold_sum":' || t.hold_sum || ',"hold_min":' || t.hold_min || ',"hold_max":' || t.hold_max
        || ',"waits":' || coalesce(w.times, '{}') || ',"holds":' || coalesce(h.times, '{}')
        || ',"holders":' || t.holders || ',"waiters":' || t.waiters || ',"operations":[' || coalesce(o.list, '') || ']}',
        ',' ORDER BY t.name, t.mode), '') INTO _told
    FROM total t
        LEFT JOIN buckets w ON w.name = t.name AND w.mode = t.mode AND w.kind = 'wait'
        LEFT JOIN buckets h ON h.name = t.name AND h.mode = t.mode AND h.kind = 'hold'
        LEFT JOIN operations o ON o.name = t.name AND o.mode = t.mode
    WHERE t.acquisitions > 0 OR t.releases > 0 OR t.timeouts > 0 OR t.errors > 0 OR t.holders > 0 OR t.waiters > 0;
    RETURN '{"now":' || concurrent_locks.micros() || ',"resources":[' || _told || ']'
        || CASE WHEN _next IS NULL THEN '' ELSE ',"next":' || to_json(_next) END || '}';
END
$$;

-- What is held now counts as an acquisition for as long as it is held, so it is taken off beforehand.
CREATE OR REPLACE FUNCTION concurrent_locks.reset_statistics(_space text, _name text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(concurrent_locks.resource_key(_space, ''));
    DELETE FROM concurrent_locks.operation o WHERE o.space = _space AND (_name = '' OR o.name = _name);
    DELETE FROM concurrent_locks.tally t WHERE t.space = _space AND (_name = '' OR t.name = _name);
    DELETE FROM concurrent_locks.histogram h WHERE h.space = _space AND (_name = '' OR h.name = _name);
    WITH held AS MATERIALIZED (
        SELECT q.name, q.mode, q.waited FROM concurrent_locks.request q WHERE q.space = _space AND (_name = '' OR q.name = _name) AND q.held
    ), less AS (
        INSERT INTO concurrent_locks.histogram (space, name, mode, kind, bucket, times)
            SELECT _space, h.name, h.mode, 'wait', concurrent_locks.bucket_of(h.waited), -count(*) FROM held h GROUP BY 2, 3, 5
    )
    INSERT INTO concurrent_locks.tally (space, name, mode, acquisitions, wait_sum)
        SELECT _space, h.name, h.mode, -count(*), -sum(h.waited) FROM held h GROUP BY 2, 3;
    RETURN '{}';
END
$$;

-- Orders as JSON, [[earlier, later, label]..]: an owner took `later` while it held `earlier`.
CREATE OR REPLACE FUNCTION concurrent_locks.record_orders(_space text, _orders text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO concurrent_locks.lock_order (space, first, second, label)
        SELECT _space, o.value->>0, o.value->>1, o.value->>2 FROM json_array_elements(_orders::json) o
            ORDER BY o.value->>0, o.value->>1
            LIMIT 4096 - least(4096, (SELECT count(*) FROM concurrent_locks.lock_order o WHERE o.space = _space))
        ON CONFLICT DO NOTHING;
    RETURN '{}';
END
$$;
DROP FUNCTION IF EXISTS concurrent_locks.record_order(text, text, text, text);

-- A counter of a space: of the names that are kept and of those that were swept.
CREATE OR REPLACE FUNCTION concurrent_locks.counted(_space text, _what text) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(CASE _what WHEN 'reaped' THEN c.reaped ELSE c.deadlocks END), 0) FROM (
        SELECT sp.reaped, sp.deadlocks FROM concurrent_locks.space sp WHERE sp.space = _space
        UNION ALL SELECT r.reaped, r.deadlocks FROM concurrent_locks.resource r WHERE r.space = _space) c
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.orders(_space text) RETURNS text LANGUAGE sql AS $$
    SELECT '{"orders":[' || coalesce((SELECT string_agg(json_build_object('first', o.first, 'second', o.second, 'label', o.label)::text, ','
                ORDER BY o.first, o.second) FROM concurrent_locks.lock_order o WHERE o.space = _space), '')
        || '],"deadlocks":' || concurrent_locks.counted(_space, 'deadlocks') || '}'
$$;

-- Readers assign the numbers; and while somebody reads, grants and releases are events too.
CREATE OR REPLACE FUNCTION concurrent_locks.events(_space text, _cursor text, _limit integer) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _last bigint;
    _events text;
    _next bigint;
BEGIN
    INSERT INTO concurrent_locks.space (space) VALUES (_space) ON CONFLICT DO NOTHING;
    PERFORM setval('concurrent_locks.watched', concurrent_locks.micros() + 10000000);
    PERFORM set_config('synchronous_commit', 'off', true);
    _last := concurrent_locks.number_events(_space);
    IF _cursor = '' THEN
        RETURN '{"events":[],"next":' || _last + 1 || '}';
    END IF;
    SELECT string_agg(json_build_object('sequence', e.sequence, 'kind', e.kind, 'at', e.at, 'resource', e.name, 'mode', e.mode,
            'owner', e.owner, 'label', e.label, 'pid', e.pid, 'token', e.token, 'elapsed', e.elapsed)::text, ',' ORDER BY e.sequence),
            max(e.sequence) + 1
        INTO _events, _next FROM (
            SELECT * FROM concurrent_locks.event f WHERE f.space = _space AND f.sequence >= _cursor::numeric
                ORDER BY f.sequence LIMIT _limit) e;
    RETURN '{"events":[' || coalesce(_events, '') || '],"next":' || coalesce(_next, _last + 1) || '}';
END
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.health(_space text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint := concurrent_locks.micros();
BEGIN
    RETURN (SELECT '{"now":' || _now || ',"layout":' || (SELECT max(l.version) FROM concurrent_locks.layout l)
        || ',"resources":' || (SELECT count(DISTINCT q.name) FROM concurrent_locks.request q WHERE q.space = _space)
        || ',"requests":' || (SELECT count(*) FROM concurrent_locks.request q WHERE q.space = _space)
        || ',"sessions":[' || coalesce((SELECT string_agg(json_build_object(
                'session', s.session, 'pid', s.pid, 'host', s.host, 'program', s.program, 'seen', s.seen, 'lease', s.lease,
                'requests', (SELECT count(*) FROM concurrent_locks.request q
                    WHERE q.space = _space AND q.request > s.session || '.' AND q.request < s.session || '/'),
                'alive', s.seen + concurrent_locks.grain() + s.lease >= _now AND NOT concurrent_locks.has_died(s, _now, true))::text,
                ',' ORDER BY s.session)
            FROM concurrent_locks.session s WHERE s.space = _space), '')
        || '],"reaped":' || concurrent_locks.counted(_space, 'reaped') || ',"deadlocks":' || concurrent_locks.counted(_space, 'deadlocks')
        || ',"server":' || to_json('postgresql ' || current_setting('server_version'))
        || ',"problems":' || (SELECT coalesce(json_agg(p.text ORDER BY p.text), '[]')::text FROM (
            SELECT 'fsync is off: after a crash of the server, tokens and locks may be forgotten' AS text
                WHERE current_setting('fsync') = 'off'
            UNION ALL SELECT 'synchronous_commit is off: after a crash of the server, the last grants may be forgotten'
                WHERE current_setting('synchronous_commit') = 'off'
            UNION ALL SELECT 'autovacuum is off: the tables of concurrent_locks will grow' WHERE current_setting('autovacuum') = 'off'
            ) p (text)) || '}');
END
$$;

INSERT INTO concurrent_locks.layout (version) VALUES (2) ON CONFLICT DO NOTHING;
