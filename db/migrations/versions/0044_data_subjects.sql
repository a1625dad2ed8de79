-- Erasures of data subjects (control_plane/privacy): asked for by tenants, done by the worker.

CREATE TABLE data_subject_erasures (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- Lower case; gone when it is finished.
    address VARCHAR(320),
    requested_by TEXT NOT NULL,
    requested_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at TIMESTAMPTZ,
    messages INTEGER NOT NULL DEFAULT 0,
    events INTEGER NOT NULL DEFAULT 0,
    CHECK ((address IS NULL) = (finished_at IS NOT NULL)),
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX idx_data_subject_erasures_open ON data_subject_erasures (tenant_id, address)
    WHERE finished_at IS NULL;

ALTER TABLE data_subject_erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE data_subject_erasures FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON data_subject_erasures TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON data_subject_erasures TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON data_subject_erasures TO penguin_system;
GRANT SELECT, INSERT (id, tenant_id, address, requested_by) ON data_subject_erasures TO penguin_api;
