-- What was found about a server before it counts as good (control_plane/preflight): the newest of each check.

CREATE TABLE preflight_results (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('port_25', 'reverse_dns', 'reverse_dns_v6', 'blocklist', 'clock')),
    -- The address, list or host that was looked at or asked.
    about TEXT NOT NULL,
    -- The server's address at the time.
    address INET NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('passed', 'warned', 'unknown', 'pending', 'failed')),
    detail TEXT NOT NULL,
    -- Since when the verdict has been this one for this address.
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    checked_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (vps_id, kind, about),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);

ALTER TABLE preflight_results ENABLE ROW LEVEL SECURITY;
ALTER TABLE preflight_results FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON preflight_results TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON preflight_results TO penguin_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON preflight_results TO penguin_system;
GRANT SELECT ON preflight_results TO penguin_api;

-- Addresses that a provider gave and that were not to be used; kept when the server is gone, whoever's it was.
CREATE TABLE refused_addresses (
    provider TEXT NOT NULL,
    address INET NOT NULL,
    vps_id UUID NOT NULL,
    reason TEXT NOT NULL,
    refused_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, address, vps_id)
);
CREATE INDEX idx_refused_addresses_vps ON refused_addresses (vps_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON refused_addresses TO penguin_system;
