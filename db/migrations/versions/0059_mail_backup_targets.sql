-- Where tenants' mailboxes are backed up to (control_plane/fleet/mail_backups.py); a tenant without has no backups of them.

CREATE TABLE mail_backup_targets (
    tenant_id UUID PRIMARY KEY REFERENCES tenants (id),
    -- Place, password and credentials, sealed for mail_backup_targets.target_sealed:<tenant_id>.
    target_sealed BYTEA NOT NULL,
    -- A server that has no backup is late from here on.
    set_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

ALTER TABLE mail_backup_targets ENABLE ROW LEVEL SECURITY;
ALTER TABLE mail_backup_targets FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON mail_backup_targets TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON mail_backup_targets TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON mail_backup_targets TO penguin_system;
