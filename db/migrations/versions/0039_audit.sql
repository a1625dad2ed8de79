-- Who did what in a tenant (control_plane/audit): a chain of hashes for each tenant, which nobody may alter.

CREATE TABLE audit_events (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- From 1, without a gap.
    position BIGINT NOT NULL CHECK (position > 0),
    at TIMESTAMPTZ NOT NULL,
    -- "api-key <id>" or "person <id>".
    actor TEXT NOT NULL,
    -- The method and path of the operation.
    act TEXT NOT NULL,
    subject JSONB NOT NULL,
    -- Names of what was given; never values.
    fields TEXT[] NOT NULL,
    address TEXT,
    request_id TEXT,
    previous_hash BYTEA NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash BYTEA NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (tenant_id, position)
);

ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_events FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON audit_events TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON audit_events TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON audit_events TO penguin_api;
GRANT SELECT ON audit_events TO penguin_system;
