-- Inboxes that move from one server to another: all those of a domain at once. One move of an inbox is open at a time.

CREATE TABLE inbox_moves (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- Shared by those that move together.
    request_id UUID NOT NULL,
    inbox_id UUID NOT NULL,
    source_id UUID NOT NULL,
    target_id UUID NOT NULL,
    state VARCHAR(20) NOT NULL DEFAULT 'copying'
        CHECK (state IN ('copying', 'holding', 'arriving', 'forwarding', 'closing', 'done', 'undone')),
    -- By which the target reads the mailbox at the source, until the switch.
    password_sealed BYTEA,
    password_hash TEXT,
    -- Until when mail may still come to the source. NULL before the records of the target are in DNS.
    forward_until TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at TIMESTAMPTZ,
    UNIQUE (tenant_id, id),
    CHECK (source_id <> target_id),
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES inboxes (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, source_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, target_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_inbox_moves_request ON inbox_moves (request_id);
CREATE UNIQUE INDEX idx_inbox_moves_open ON inbox_moves (inbox_id) WHERE finished_at IS NULL;

ALTER TABLE inbox_moves ENABLE ROW LEVEL SECURITY;
ALTER TABLE inbox_moves FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON inbox_moves TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON inbox_moves TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON inbox_moves TO penguin_system;
GRANT SELECT (id, tenant_id, request_id, inbox_id, source_id, target_id, state, forward_until, created_at, finished_at), INSERT
    ON inbox_moves TO penguin_api;
