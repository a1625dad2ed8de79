-- Reports and their roll-ups come in the order of time, so a few pages tell where a time lies in them.
CREATE INDEX idx_health_reports_at ON health_reports USING brin (at, received_at) WITH (autosummarize = on);
CREATE INDEX idx_health_samples_at ON health_samples USING brin (at) WITH (autosummarize = on);

-- Their server is of their tenant, and has this key itself: each report was looked up twice.
ALTER TABLE health_reports DROP CONSTRAINT health_reports_tenant_id_fkey;
ALTER TABLE health_samples DROP CONSTRAINT health_samples_tenant_id_fkey;
ALTER TABLE health_hours DROP CONSTRAINT health_hours_tenant_id_fkey;
