-- Answers to requests that came with an Idempotency-Key, kept for a day: the same request under it gets the same again.
-- Messages have theirs in idempotency_keys, which point at the send instead of keeping an answer.

CREATE TABLE kept_answers (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    key VARCHAR(255) NOT NULL,
    -- SHA-256 of the method, target and body that first used the key.
    request_sha256 BYTEA NOT NULL CHECK (octet_length(request_sha256) = 32),
    -- NULL while the request is being worked on outside of a transaction.
    status SMALLINT CHECK (status BETWEEN 200 AND 299),
    headers JSONB NOT NULL DEFAULT '{}',
    -- NULL for an answer that shows a secret, which is not kept.
    body BYTEA,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idx_kept_answers_age ON kept_answers (created_at);

ALTER TABLE kept_answers ENABLE ROW LEVEL SECURITY;
ALTER TABLE kept_answers FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON kept_answers TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON kept_answers TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON kept_answers TO penguin_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON kept_answers TO penguin_system;
