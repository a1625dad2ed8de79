-- Rebuilds of servers, and their mail meanwhile (control_plane/provisioning/rebuilding.py).

CREATE TABLE server_rebuilds (
    -- The run's.
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    -- Counts the rebuilds of a server from 1; a provider does each once.
    generation INTEGER NOT NULL,
    drained_before BOOLEAN NOT NULL,
    -- Of the archive, sealed for server_rebuilds.key_sealed:<id>; gone with the archive.
    key_sealed BYTEA,
    -- What the server said that it packed.
    packed JSONB,
    packed_at TIMESTAMPTZ,
    -- The server is told no configuration: its mail is not back yet.
    holds_configuration BOOLEAN NOT NULL DEFAULT false,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at TIMESTAMPTZ,
    UNIQUE (tenant_id, id),
    UNIQUE (vps_id, generation),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);

-- Blocks of an archive, sealed by the server with the rebuild's key.
CREATE TABLE mail_blocks (
    rebuild_id UUID NOT NULL,
    number INTEGER NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    sealed BYTEA NOT NULL,
    PRIMARY KEY (rebuild_id, number),
    FOREIGN KEY (tenant_id, rebuild_id) REFERENCES server_rebuilds (tenant_id, id) ON DELETE CASCADE
);
-- What is sealed does not get shorter.
ALTER TABLE mail_blocks ALTER COLUMN sealed SET STORAGE EXTERNAL;

ALTER TABLE server_rebuilds ENABLE ROW LEVEL SECURITY;
ALTER TABLE server_rebuilds FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON server_rebuilds TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON server_rebuilds TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON server_rebuilds TO penguin_system;

ALTER TABLE mail_blocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE mail_blocks FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON mail_blocks TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON mail_blocks TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON mail_blocks TO penguin_system;
