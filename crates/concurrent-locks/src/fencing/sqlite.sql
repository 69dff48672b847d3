-- The greatest token that has written, by resource.
CREATE TABLE IF NOT EXISTS fence (
    resource TEXT NOT NULL PRIMARY KEY,
    token INTEGER NOT NULL CHECK (typeof(token) = 'integer')
) WITHOUT ROWID;

-- Whatever changes a token, it only rises. The statement that tries otherwise fails.
CREATE TRIGGER IF NOT EXISTS fence_only_rises BEFORE UPDATE ON fence WHEN NEW.token < OLD.token
BEGIN
    SELECT RAISE(ABORT, 'fenced: a holder with a greater token has written; the lock was taken over, roll back');
END;
