-- IP pools: further addresses of servers, named sets of them, who sends by which, and what became of what was sent.

CREATE TABLE server_addresses (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    -- What the provider keeps it under, together with the server's name.
    label VARCHAR(20) NOT NULL,
    -- NULL until the provider has given it.
    address INET,
    -- Equal to its PTR, and what it says in HELO.
    hostname VARCHAR(255) NOT NULL UNIQUE,
    state VARCHAR(20) NOT NULL DEFAULT 'requested'
        CHECK (state IN ('requested', 'ready', 'draining', 'releasing', 'released', 'failed')),
    state_reason TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    UNIQUE (vps_id, label),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE ip_pools (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    workspace_id UUID NOT NULL,
    name VARCHAR(100) NOT NULL,
    -- The pool of the workspace's inboxes that name none.
    is_default BOOLEAN NOT NULL DEFAULT false,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    deleted_at TIMESTAMPTZ,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces (tenant_id, id)
);
CREATE UNIQUE INDEX idx_ip_pools_name ON ip_pools (workspace_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX idx_ip_pools_one_default ON ip_pools (workspace_id) WHERE is_default;

CREATE TABLE ip_pool_addresses (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    pool_id UUID NOT NULL,
    address_id UUID NOT NULL,
    -- The API role deletes nothing: an address that was taken out of its pool is marked so.
    left_at TIMESTAMPTZ,
    PRIMARY KEY (pool_id, address_id),
    FOREIGN KEY (tenant_id, pool_id) REFERENCES ip_pools (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, address_id) REFERENCES server_addresses (tenant_id, id) ON DELETE CASCADE
);

-- How an inbox is to send; the subject of runs that see to it. Made when that is first asked.
CREATE TABLE inbox_senders (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    inbox_id UUID NOT NULL UNIQUE,
    -- NULL: the workspace's default pool, if there is one.
    pool_id UUID,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES inboxes (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, pool_id) REFERENCES ip_pools (tenant_id, id)
);
CREATE INDEX idx_inbox_senders_pool ON inbox_senders (pool_id);

-- By which address an inbox sends, and sent. One at a time; none means the server's own.
CREATE TABLE sender_bindings (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    inbox_id UUID NOT NULL,
    address_id UUID NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    until TIMESTAMPTZ,
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES inboxes (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, address_id) REFERENCES server_addresses (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX idx_sender_bindings_one ON sender_bindings (inbox_id) WHERE until IS NULL;
CREATE INDEX idx_sender_bindings_address ON sender_bindings (address_id);

-- What became of what an address sent, by day (UTC) of the event.
CREATE TABLE address_reputation (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    address_id UUID NOT NULL,
    day DATE NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    deferred INTEGER NOT NULL DEFAULT 0,
    bounced INTEGER NOT NULL DEFAULT 0,
    complained INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (address_id, day),
    FOREIGN KEY (tenant_id, address_id) REFERENCES server_addresses (tenant_id, id) ON DELETE CASCADE
);

-- Each inbox that has a pool, with the pool's addresses on its server; one row without an address when there is none.
CREATE VIEW inbox_pool_addresses WITH (security_invoker = true) AS
    SELECT i.tenant_id, i.id AS inbox_id, i.workspace_id, i.domain_id, i.vps_id, p.id AS pool_id, p.name AS pool_name,
           a.id AS address_id, a.address, a.state
    FROM inboxes i
    LEFT JOIN inbox_senders s ON s.tenant_id = i.tenant_id AND s.inbox_id = i.id
    JOIN ip_pools p ON p.tenant_id = i.tenant_id AND p.workspace_id = i.workspace_id
        AND (p.id = s.pool_id OR (s.pool_id IS NULL AND p.is_default)) AND p.deleted_at IS NULL
    LEFT JOIN (ip_pool_addresses m JOIN server_addresses a ON a.tenant_id = m.tenant_id AND a.id = m.address_id)
        ON m.tenant_id = p.tenant_id AND m.pool_id = p.id AND m.left_at IS NULL AND a.vps_id = i.vps_id
    WHERE i.status <> 'deleting';

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'server_addresses', 'ip_pools', 'ip_pool_addresses', 'inbox_senders', 'sender_bindings', 'address_reputation'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY one_tenant ON %I TO penguin_api'
            ' USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)'
            ' WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)',
            name
        );
        EXECUTE format('CREATE POLICY all_tenants ON %I TO penguin_system USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO penguin_system', name);
        EXECUTE format('GRANT SELECT ON %I TO penguin_api', name);
    END LOOP;
END
$$;
GRANT SELECT ON inbox_pool_addresses TO penguin_system, penguin_api;
GRANT INSERT, UPDATE (state, state_reason) ON server_addresses TO penguin_api;
GRANT INSERT, UPDATE (name, is_default, deleted_at) ON ip_pools TO penguin_api;
GRANT INSERT, UPDATE (left_at) ON ip_pool_addresses TO penguin_api;
GRANT INSERT, UPDATE (pool_id) ON inbox_senders TO penguin_api;
