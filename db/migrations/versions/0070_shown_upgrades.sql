-- Tenants are shown when a plan gave a server of theirs other settings of the fleet, and took them back
-- (control_plane/monitoring/changes.py); plans themselves are the operators'.
CREATE POLICY own_workspaces ON upgrade_servers AS RESTRICTIVE TO penguin_api
    USING (CASE WHEN (SELECT nullif(current_setting('app.workspaces', true), '')) IS NULL THEN true
        WHEN EXISTS (SELECT FROM vps_servers other WHERE other.tenant_id = upgrade_servers.tenant_id
            AND other.id = upgrade_servers.vps_id) THEN true END IS NOT NULL)
    WITH CHECK ((SELECT nullif(current_setting('app.workspaces', true), '')) IS NULL);
GRANT SELECT (tenant_id, vps_id, state, since, asked_at, asked_version) ON upgrade_servers TO penguin_api;
CREATE INDEX idx_upgrade_servers_vps ON upgrade_servers (vps_id);
