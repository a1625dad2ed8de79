-- Since when a server has been silent about a send, large leased sends, and old idempotency keys.

-- ---------------------------------------------------------------- silence

-- When the first of those leases began of which the server never told what it did; its word under the last lease clears
-- it. While it is unset, a send that waits is surely unsent. A server's journal does not remember for ever, so a send of
-- which it has been silent for days is not leased again (control_plane/delivery/states.py).
ALTER TABLE messages ADD COLUMN silent_since TIMESTAMPTZ;
UPDATE messages
SET silent_since = accepted_at
WHERE (state IN ('accepted', 'dead') AND leases > 0) OR (state = 'queued' AND leases > 1);

-- Whether a send may be cancelled depends on it.
GRANT SELECT (silent_since) ON messages TO penguin_api;

-- For finding those that wait and are not leased again.
CREATE INDEX idx_messages_silent ON messages (silent_since)
    WHERE silent_since IS NOT NULL AND state IN ('accepted', 'dead');

-- ---------------------------------------------------------------- bytes in the streams

-- Envelopes are bounded by number for small ones and by bytes for these (control_plane/queuer/heavy.sql).
CREATE INDEX idx_messages_leased_large ON messages (vps_id, priority)
    WHERE state = 'queued' AND octet_length(payload) > 65536;

-- ---------------------------------------------------------------- idempotency keys

-- A key is kept for a day; then it is forgotten, the oldest first (control_plane/messages/forget_keys.py).
CREATE INDEX idx_idempotency_keys_age ON idempotency_keys (created_at);
