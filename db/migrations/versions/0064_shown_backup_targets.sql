-- What may be shown of a tenant's place of backups lies beside what is sealed, which the tenants' role cannot read. That
-- role deletes no row: a place that was taken back keeps its row without what opened it.

ALTER TABLE mail_backup_targets
    -- Without a user and password; unknown of what was set before it could be shown.
    ADD COLUMN place TEXT,
    -- Names of the variables that open it.
    ADD COLUMN credentials TEXT[] NOT NULL DEFAULT '{}',
    ADD COLUMN removed_at TIMESTAMPTZ,
    ALTER COLUMN target_sealed DROP NOT NULL,
    ADD CONSTRAINT mail_backup_targets_removed CHECK ((target_sealed IS NULL) = (removed_at IS NOT NULL));

-- Of the whole tenant, so of no caller who is there for single workspaces.
CREATE POLICY own_workspaces ON mail_backup_targets AS RESTRICTIVE TO penguin_api
    USING ((SELECT nullif(current_setting('app.workspaces', true), '')) IS NULL)
    WITH CHECK ((SELECT nullif(current_setting('app.workspaces', true), '')) IS NULL);
GRANT SELECT (tenant_id, place, credentials, set_at, removed_at),
    INSERT (tenant_id, target_sealed, place, credentials),
    UPDATE (target_sealed, place, credentials, set_at, removed_at) ON mail_backup_targets TO penguin_api;
