-- Aliases of inboxes (control_plane/provisioning/aliases.py).

CREATE TABLE inbox_aliases (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    inbox_id UUID NOT NULL,
    email_address VARCHAR(255) NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- The API's role deletes nothing: what has this leads nowhere, and goes with its inbox unless it is added again.
    removed_at TIMESTAMPTZ,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES inboxes (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_inbox_aliases_inbox ON inbox_aliases (tenant_id, inbox_id);

ALTER TABLE inbox_aliases ENABLE ROW LEVEL SECURITY;
ALTER TABLE inbox_aliases FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON inbox_aliases TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON inbox_aliases TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON inbox_aliases TO penguin_system;
GRANT SELECT, INSERT (tenant_id, inbox_id, email_address), UPDATE (inbox_id, created_at, removed_at)
    ON inbox_aliases TO penguin_api;
