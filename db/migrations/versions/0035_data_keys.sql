-- Keys that secrets are sealed with (control_plane/data_keys): each tenant's, which are destroyed with the tenant, and
-- the platform's. They are wrapped by a master key, which the database never sees.

CREATE TABLE tenant_data_keys (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- Sealed for tenant_data_keys.wrapped_key:<id>.
    wrapped_key BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- Seals nothing more, and opens still; it goes when nothing names it.
    retired_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX idx_tenant_data_keys_current ON tenant_data_keys (tenant_id) WHERE retired_at IS NULL;

CREATE TABLE platform_data_keys (
    id UUID PRIMARY KEY,
    wrapped_key BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    retired_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX idx_platform_data_keys_current ON platform_data_keys ((retired_at IS NULL))
    WHERE retired_at IS NULL;

-- What the worker does about each change of keys, and how far it has come.
CREATE TABLE key_rotations (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    -- What sealed values begin with that the new master key wraps.
    master_header BYTEA NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    rewrapped INTEGER NOT NULL DEFAULT 0,
    resealed INTEGER NOT NULL DEFAULT 0,
    -- Values that did not open; they are left as they are.
    broken INTEGER NOT NULL DEFAULT 0,
    finished_at TIMESTAMPTZ
);

ALTER TABLE tenant_data_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_data_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON tenant_data_keys TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON tenant_data_keys TO penguin_system USING (true) WITH CHECK (true);

-- The API seals and never opens: a wrapped key is of no use without the values, which it may not read.
GRANT SELECT, INSERT (id, tenant_id, wrapped_key) ON tenant_data_keys TO penguin_api;
GRANT SELECT, INSERT (id, wrapped_key) ON platform_data_keys TO penguin_identity;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_data_keys, platform_data_keys, key_rotations TO penguin_system;
-- To seal anew.
GRANT SELECT (person_id, secret_sealed), UPDATE (secret_sealed) ON totp_secrets TO penguin_system;
GRANT UPDATE (private_key_sealed) ON signing_keys TO penguin_system;

-- The same secret under another key is no new secret: it moves nothing aside.
DROP TRIGGER secret_moves_aside ON webhook_endpoints;
CREATE TRIGGER secret_moves_aside BEFORE UPDATE OF secret_sealed ON webhook_endpoints FOR EACH ROW
    WHEN (OLD.secret_sealed IS DISTINCT FROM NEW.secret_sealed
          AND coalesce(current_setting('app.resealing', true), '') <> 'on')
    EXECUTE FUNCTION webhook_secret_moves_aside();
