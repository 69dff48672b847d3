-- Fences of concurrent-locks: a transaction refuses to write with a token older than one that has written.
-- One statement, so that it is all or nothing whatever client runs it.
DO $setup$
BEGIN
    -- Several processes that start at once make it one after the other.
    PERFORM pg_advisory_xact_lock(hashtextextended('concurrent_locks.fence', 0));

    CREATE SCHEMA IF NOT EXISTS concurrent_locks;

    -- The greatest token that has written, by resource.
    CREATE TABLE IF NOT EXISTS concurrent_locks.fence (
        resource text CONSTRAINT fence_resource PRIMARY KEY,
        token bigint NOT NULL
    );

    CREATE OR REPLACE FUNCTION concurrent_locks.fence(resource text, token bigint) RETURNS void
    LANGUAGE plpgsql AS $fence$
    DECLARE
        greatest_token bigint;
    BEGIN
        -- Locks the row whether it changes it or not: the next transaction waits here for the end of this one.
        INSERT INTO concurrent_locks.fence AS known VALUES ($1, $2)
            ON CONFLICT ON CONSTRAINT fence_resource DO UPDATE SET token = $2 WHERE known.token < $2;
        IF FOUND THEN
            RETURN;
        END IF;
        SELECT known.token INTO STRICT greatest_token FROM concurrent_locks.fence AS known WHERE known.resource = $1;
        IF greatest_token > $2 THEN
            RAISE EXCEPTION 'fenced: token % is older than %, which has written to %', $2, greatest_token, quote_literal($1)
                USING ERRCODE = 'CL001',
                    HINT = 'The lock was taken over meanwhile: take it again and begin from what is there now.';
        END IF;
    END
    $fence$;
END
$setup$;
