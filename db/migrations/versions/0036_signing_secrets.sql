-- API keys that sign requests as AWS clients do (control_plane/ses). A signature is an HMAC with the key's secret, which
-- no hash can check; so of these keys, and of no others, the secret itself is kept, sealed.

CREATE TABLE signing_secrets (
    api_key_id UUID PRIMARY KEY REFERENCES api_keys (id) ON DELETE CASCADE,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- Sealed for signing_secrets.secret_sealed:<api_key_id>.
    secret_sealed BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_signing_secrets_tenant ON signing_secrets (tenant_id);

ALTER TABLE signing_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE signing_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON signing_secrets TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON signing_secrets TO penguin_system USING (true) WITH CHECK (true);

-- The one sealed value that the API opens: it checks the signatures.
GRANT SELECT, INSERT (api_key_id, tenant_id, secret_sealed) ON signing_secrets TO penguin_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON signing_secrets TO penguin_system;
