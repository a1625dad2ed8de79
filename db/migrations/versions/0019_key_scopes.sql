-- What a tenant's key opens and from where, and who made it; tenants make and revoke keys themselves.

ALTER TABLE api_keys
    -- What the key opens, as control_plane/tenancy/permissions.py names it; NULL for all that the tenant may.
    ADD COLUMN scopes TEXT[] CHECK (cardinality(scopes) > 0),
    -- Where it may be used from; everywhere when there is none.
    ADD COLUMN networks CIDR[] NOT NULL DEFAULT '{}',
    -- "operator", or who asked for it at the REST door.
    ADD COLUMN created_by TEXT NOT NULL DEFAULT 'operator';

GRANT INSERT (id, tenant_id, name, prefix, secret_sha256, scopes, expires_at, networks, created_by),
    UPDATE (revoked_at) ON api_keys TO penguin_api;
