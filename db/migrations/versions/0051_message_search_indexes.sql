-- An index of the API's role serves only what leaks nothing (pg_proc.proleakproof): the policy must hold before anything
-- else is asked of a row. Equality of text is such, lower() is not, so what recipients are searched by is a column.
-- An insert writes as many indexes as before; the second has only sends that came to no good end.

DROP INDEX idx_messages_recipient;
ALTER TABLE messages ADD COLUMN recipient_folded TEXT NOT NULL GENERATED ALWAYS AS (lower(recipient)) STORED;
GRANT SELECT (recipient_folded) ON messages TO penguin_api;
CREATE INDEX idx_messages_recipient ON messages (tenant_id, recipient_folded, id);
CREATE INDEX idx_messages_not_delivered ON messages (tenant_id, state, id)
    WHERE state IN ('bounced', 'expired', 'failed', 'cancelled', 'suppressed', 'uncertain', 'dead');
