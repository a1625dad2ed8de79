-- Commands: what was asked of a server's agent, and what came of it. At most once each: 'sent' is committed before the
-- hub that holds the server's link sends it, and nothing is sent twice.

CREATE TABLE server_commands (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    kind TEXT NOT NULL,
    -- penguinmails.agent.v1.Command, serialized, without id and time left.
    command BYTEA NOT NULL,
    -- Who asked, such as "api-key <id>" or "operator <name>".
    requested_by TEXT NOT NULL,
    -- 'expired': it did not reach the server in time. 'unknown': it was sent, and no answer came in time.
    state TEXT NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'sent', 'done', 'failed', 'refused', 'expired', 'unknown')),
    detail TEXT,
    output TEXT,
    truncated BOOLEAN NOT NULL DEFAULT false,
    -- Where a log goes on after what was read.
    next TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- It is not begun after this.
    deadline TIMESTAMPTZ NOT NULL,
    sent_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_server_commands_open ON server_commands (vps_id, created_at) WHERE state IN ('waiting', 'sent');
CREATE INDEX idx_server_commands_vps ON server_commands (tenant_id, vps_id, created_at);

ALTER TABLE server_commands ENABLE ROW LEVEL SECURITY;
ALTER TABLE server_commands FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON server_commands TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON server_commands TO penguin_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON server_commands TO penguin_system;
GRANT SELECT, INSERT (id, tenant_id, vps_id, kind, command, requested_by, deadline) ON server_commands TO penguin_api;
