-- What the rest of the tenants' contract needs: tenants and workspaces that are renamed, and workspaces that are deleted.

ALTER TABLE workspaces ADD COLUMN deleted_at TIMESTAMPTZ;
GRANT UPDATE (name) ON tenants TO penguin_api;
GRANT INSERT (tenant_id, name), UPDATE (name, deleted_at) ON workspaces TO penguin_api;
