-- Suppressions as a tenant works with them, and how an erased address stays on the list (control_plane/privacy).

ALTER TABLE suppressions
    ADD COLUMN id UUID NOT NULL DEFAULT gen_random_uuid(),
    -- How it came there: 'api', 'operator', 'import', 'delivery' or 'erasure'.
    ADD COLUMN source VARCHAR(20) NOT NULL DEFAULT 'api',
    -- The API's role deletes nothing: what has this is out of force, and the worker takes it away.
    ADD COLUMN removed_at TIMESTAMPTZ,
    ADD UNIQUE (tenant_id, id);
CREATE INDEX idx_suppressions_removed ON suppressions (removed_at) WHERE removed_at IS NOT NULL;

-- The key of a tenant's hashes of erased addresses, as the two blocks that HMAC-SHA256 hashes with it (RFC 2104). It
-- lies beside them, for the claim must compare each recipient with them and holds no other key.
CREATE TABLE suppression_keys (
    tenant_id UUID PRIMARY KEY REFERENCES tenants (id),
    inner_block BYTEA NOT NULL CHECK (octet_length(inner_block) = 64),
    outer_block BYTEA NOT NULL CHECK (octet_length(outer_block) = 64),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

ALTER TABLE suppression_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE suppression_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON suppression_keys TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON suppression_keys TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON suppression_keys TO penguin_system;

GRANT SELECT, INSERT (tenant_id, id, address, reason, source), UPDATE (reason, source, created_at, removed_at)
    ON suppressions TO penguin_api;

-- What an address is on the list once it was erased; NULL where nothing was erased, and so there is no key.
CREATE FUNCTION erased_address(inner_block BYTEA, outer_block BYTEA, address TEXT) RETURNS TEXT
LANGUAGE sql STABLE AS $$
    SELECT 'hmac-sha256:' || encode(sha256(outer_block || sha256(inner_block || convert_to(lower(address), 'UTF8'))), 'hex')
$$;
