-- Which DNS host each domain is at (control_plane/dns/publishers/chosen.py); without a row, the installation's own.

CREATE TABLE dns_publishers (
    domain_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    kind VARCHAR(20) NOT NULL
        CHECK (kind IN ('installation', 'manual', 'powerdns', 'rfc2136', 'hetzner', 'cloudflare', 'octodns')),
    options JSONB NOT NULL DEFAULT '{}',
    -- Sealed for dns_publishers.credentials_sealed:<domain id>.
    credentials_sealed BYTEA,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, domain_id) REFERENCES domains (tenant_id, id) ON DELETE CASCADE
);

ALTER TABLE dns_publishers ENABLE ROW LEVEL SECURITY;
ALTER TABLE dns_publishers FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON dns_publishers TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON dns_publishers TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON dns_publishers TO penguin_system;
GRANT SELECT (domain_id, tenant_id, kind, options, updated_at), INSERT,
    UPDATE (kind, options, credentials_sealed, updated_at) ON dns_publishers TO penguin_api;
