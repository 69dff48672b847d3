-- The verbs of one request. Each answers one text of JSON; `engine/cluster/protocol.rs` names the arguments.

-- Records the contact of the caller's session; false if it is not known. A session whose row was swept meanwhile is found
-- out here, before anything is written for it: sweeping takes only rows that nobody noted for long.
CREATE OR REPLACE FUNCTION concurrent_locks.record_contact(_space text, _session text, _now bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE concurrent_locks.session s SET seen = greatest(s.seen, _now) WHERE s.space = _space AND s.session = _session;
    RETURN FOUND;
END
$$;

-- A free lock: one look, one stamp, one row.
CREATE OR REPLACE FUNCTION concurrent_locks.acquire(
    _space text, _session text, _request text, _name text, _mode text, _owner text, _ancestors text,
    _label text, _note text, _priority integer, _wait boolean, _max_hold bigint
) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint := concurrent_locks.enter(_space, _name);
    _s concurrent_locks.session;
    _in_use boolean;
    _stamp bigint;
BEGIN
    SELECT s.seen, s.pid, EXISTS (SELECT FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name)
        INTO _s.seen, _s.pid, _in_use
        FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _session;
    IF NOT FOUND OR (_s.seen + concurrent_locks.grain() <= _now AND NOT concurrent_locks.record_contact(_space, _session, _now)) THEN
        RETURN '{"unknown":{}}';
    END IF;
    IF _in_use OR concurrent_locks.is_watched(_now) THEN
        RETURN concurrent_locks.meet(_space, _session, _request, _name, _mode, _owner, _ancestors, _label, _note, _priority,
            _wait, _max_hold, _now, _s.pid);
    END IF;
    UPDATE concurrent_locks.resource r SET stamp = greatest(_now, r.stamp + 1)
        WHERE r.space = _space AND r.name = _name RETURNING r.stamp INTO _stamp;
    IF NOT FOUND THEN
        _stamp := concurrent_locks.next_stamp(_space, _name, _now);
    END IF;
    INSERT INTO concurrent_locks.request (space, request, session, name, held, mode, owner, family, label, note, priority,
            max_hold, requested, rank, ticket, token, since, waited, until)
        VALUES (_space, _request, _session, _name, true, _mode, _owner, CASE _ancestors WHEN '' THEN _owner ELSE split_part(_ancestors, '.', 1) END,
            _label, _note, _priority, _max_hold, _now, _stamp - _priority::bigint * 1000000, _stamp, _stamp, _now, 0,
            CASE WHEN _max_hold > 0 THEN _now + _max_hold ELSE 0 END);
    RETURN '{"granted":{"token":' || _stamp || ',"since":' || _now || ',"waited":0,"owner":' || to_json(_owner) || '}}';
END
$$;

-- An arrival where others hold or wait, or where somebody watches.
CREATE OR REPLACE FUNCTION concurrent_locks.meet(
    _space text, _session text, _request text, _name text, _mode text, _owner text, _ancestors text,
    _label text, _note text, _priority integer, _wait boolean, _max_hold bigint, _now bigint, _pid bigint
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    _q concurrent_locks.request;
    _own_mode text;
    _own_token bigint;
    _scene record;
    _free boolean;
BEGIN
    SELECT * INTO _q FROM concurrent_locks.request q WHERE q.space = _space AND q.request = _request;
    IF FOUND THEN
        RETURN CASE WHEN _q.held THEN '{"granted":' || concurrent_locks.grant_json(_q, false) || '}' ELSE '{"queued":{}}' END;
    END IF;
    _q := (_space, _request, _session, _name, true, _mode, _owner,
        CASE WHEN _ancestors = '' THEN _owner ELSE split_part(_ancestors, '.', 1) END, _label, _note, _priority, _max_hold,
        _now, 0, concurrent_locks.next_stamp(_space, _name, _now), 0, _now, 0, CASE WHEN _max_hold > 0 THEN _now + _max_hold ELSE 0 END);
    -- It asks as the first ancestor that holds the resource.
    SELECT a.owner INTO _owner FROM unnest(string_to_array(_ancestors, '.')) WITH ORDINALITY a (owner, place)
        WHERE EXISTS (SELECT FROM concurrent_locks.own(_space, _name, a.owner) o WHERE o.mode IS NOT NULL)
        ORDER BY a.place LIMIT 1;
    IF FOUND THEN
        _q.owner := _owner;
    END IF;
    FOR _look IN 1..2 LOOP
        SELECT o.mode, o.token INTO _own_mode, _own_token FROM concurrent_locks.own(_space, _name, _q.owner) o;
        _q.rank := CASE WHEN _own_mode = 'read' AND _mode = 'write' THEN 0 ELSE _q.ticket - _priority::bigint * 1000000 END;
        IF _own_mode = 'write' OR _own_mode = _mode THEN
            _q.token := _own_token;
            _free := true;
        ELSE
            _q.token := _q.ticket;
            _free := NOT concurrent_locks.others_conflict(_space, _name, _mode, _q.owner) AND NOT EXISTS (
                SELECT FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name AND NOT q.held
                    AND (q.rank, q.ticket) < (_q.rank, _q.ticket) AND (_mode = 'write' OR q.mode = 'write'));
        END IF;
        EXIT WHEN _free OR _look = 2;
        -- What is in the way may be dead.
        PERFORM concurrent_locks.clear_holders(_space, _name, _now);
        PERFORM concurrent_locks.walk(_space, _name, _now);
    END LOOP;
    IF NOT _free THEN
        IF NOT _wait THEN
            SELECT * INTO _scene FROM concurrent_locks.scene(_space, _name);
            RETURN '{"busy":{"now":' || _now || ',"holders":' || _scene.holders || ',"waiters":' || _scene.waiters || '}}';
        END IF;
        _q.held := false;
        _q.token := 0;
        _q.since := 0;
        _q.until := 0;
    END IF;
    INSERT INTO concurrent_locks.request SELECT _q.*;
    IF NOT _q.held THEN
        PERFORM concurrent_locks.note_event(_space, 'wait', _now, _q, _pid, 0, 0);
        -- A place in the queue need not survive a crash of the server: a waiter requests again then.
        PERFORM set_config('synchronous_commit', 'off', true);
        RETURN '{"queued":{}}';
    END IF;
    IF concurrent_locks.is_watched(_now) THEN
        PERFORM concurrent_locks.note_event(_space, 'grant', _now, _q, _pid, _q.token, 0);
    END IF;
    RETURN '{"granted":' || concurrent_locks.grant_json(_q, false) || '}';
END
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.release(
    _space text, _session text, _request text, _name text, _ending text
) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint := concurrent_locks.enter(_space, _name);
    _s concurrent_locks.session;
    _waiting boolean;
    _q concurrent_locks.request;
BEGIN
    SELECT s.seen, s.pid, EXISTS (SELECT FROM concurrent_locks.request q WHERE q.space = _space AND q.name = _name AND NOT q.held)
        INTO _s.seen, _s.pid, _waiting
        FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _session;
    IF NOT FOUND OR (_s.seen + concurrent_locks.grain() <= _now AND NOT concurrent_locks.record_contact(_space, _session, _now)) THEN
        RETURN '{"unknown":{}}';
    END IF;
    -- A comparison that fits no index but leaves the primary key.
    DELETE FROM concurrent_locks.request q
        WHERE q.space = _space AND q.request = _request AND (q.name, q.held) IS NOT DISTINCT FROM (_name, true)
        RETURNING q.* INTO _q;
    IF NOT FOUND THEN
        RETURN '{"lost":{}}';
    END IF;
    _waiting := concurrent_locks.note_end(_q, _now, CASE WHEN _ending = 'panicked' THEN 'failed' ELSE 'released' END, _s.pid) AND _waiting;
    IF concurrent_locks.is_watched(_now) THEN
        PERFORM concurrent_locks.note_event(_space, 'release', _now, _q, _s.pid, _q.token, greatest(0, _now - _q.since));
    END IF;
    IF _waiting THEN
        PERFORM concurrent_locks.walk(_space, _name, _now);
    END IF;
    RETURN '{"released":{}}';
END
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.cancel(
    _space text, _session text, _request text, _name text, _why text, _keep boolean, _still text
) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint;
    _seen bigint;
    _pid bigint;
    _q concurrent_locks.request;
    _scene record;
    _position bigint;
    _of text;
BEGIN
    -- A cycle goes through several resources: none of them may move while it is looked at.
    IF _why = 'deadlock' AND _still <> '' THEN
        FOR _of IN SELECT n.name FROM (
                SELECT _name AS name UNION SELECT q.name FROM concurrent_locks.request q
                    WHERE q.space = _space AND q.request = ANY (string_to_array(_still, ','))) n
            ORDER BY concurrent_locks.resource_key(_space, n.name)
        LOOP
            _now := concurrent_locks.enter(_space, _of);
        END LOOP;
    ELSE
        _now := concurrent_locks.enter(_space, _name);
    END IF;
    SELECT s.seen, s.pid INTO _seen, _pid FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _session;
    IF NOT FOUND OR (_seen + concurrent_locks.grain() <= _now AND NOT concurrent_locks.record_contact(_space, _session, _now)) THEN
        RETURN '{"unknown":{}}';
    END IF;
    SELECT * INTO _q FROM concurrent_locks.request q WHERE q.space = _space AND q.request = _request AND q.name = _name;
    IF _why = 'deadlock' AND (coalesce(_q.held, true) OR (_still <> '' AND EXISTS (
        SELECT FROM unnest(string_to_array(_still, ',')) i (id) WHERE NOT EXISTS (
            SELECT FROM concurrent_locks.request q WHERE q.space = _space AND q.request = i.id AND NOT q.held))))
    THEN
        RETURN '{"stays":{}}';
    END IF;
    IF _q.request IS NULL THEN
        RETURN '{"gone":{}}';
    END IF;
    IF _q.held AND _keep THEN
        RETURN '{"granted":' || concurrent_locks.grant_json(_q, false) || '}';
    END IF;
    IF _q.held THEN
        RETURN concurrent_locks.release(_space, _session, _request, _name, 'normal');
    END IF;
    SELECT * INTO _scene FROM concurrent_locks.scene(_space, _name);
    SELECT count(*) INTO _position FROM concurrent_locks.request q
        WHERE q.space = _space AND q.name = _name AND NOT q.held AND (q.rank, q.ticket) <= (_q.rank, _q.ticket);
    DELETE FROM concurrent_locks.request q WHERE q.space = _space AND q.request = _request;
    PERFORM concurrent_locks.note_end(_q, _now, CASE _why WHEN 'cancel' THEN 'cancelled' ELSE _why END, _pid);
    PERFORM concurrent_locks.note_event(_space, _why, _now, _q, _pid, 0, greatest(0, _now - _q.requested));
    IF _why = 'deadlock' THEN
        UPDATE concurrent_locks.resource r SET deadlocks = r.deadlocks + 1 WHERE r.space = _space AND r.name = _name;
    END IF;
    PERFORM concurrent_locks.walk(_space, _name, _now);
    RETURN '{"left":{"now":' || _now || ',"holders":' || _scene.holders || ',"waiters":' || _scene.waiters
        || ',"position":' || _position || '}}';
END
$$;

CREATE OR REPLACE FUNCTION concurrent_locks.downgrade(
    _space text, _session text, _request text, _name text
) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    _now bigint := concurrent_locks.enter(_space, _name);
    _seen bigint;
    _pid bigint;
    _q concurrent_locks.request;
BEGIN
    SELECT s.seen, s.pid INTO _seen, _pid FROM concurrent_locks.session s WHERE s.space = _space AND s.session = _session;
    IF NOT FOUND OR (_seen + concurrent_locks.grain() <= _now AND NOT concurrent_locks.record_contact(_space, _session, _now)) THEN
        RETURN '{"unknown":{}}';
    END IF;
    SELECT * INTO _q FROM concurrent_locks.request q
        WHERE q.space = _space AND q.request = _request AND q.name = _name AND q.held;
    IF NOT FOUND THEN
        RETURN '{"lost":{}}';
    END IF;
    IF _q.mode = 'write' THEN
        PERFORM concurrent_locks.note_end(_q, _now, 'released', _pid);
        UPDATE concurrent_locks.request q SET mode = 'read', since = _now, waited = 0
            WHERE q.space = _space AND q.request = _request RETURNING q.* INTO _q;
        PERFORM concurrent_locks.walk(_space, _name, _now);
    END IF;
    RETURN '{"granted":' || concurrent_locks.grant_json(_q, false) || '}';
END
$$;
