-- How servers are, over time: values of reports, their roll-ups, what was checked, and alerts.
--
-- What has a time lies in rings of partitions: `slot` is the hour, day or month counted from 1970, modulo the ring's
-- length. Time is dropped by emptying the slot that comes next, at once and whole; so the system role, which owns no
-- table, needs no right to make or drop one. A reader names moments and never finds what an emptying has missed.

-- Values of each report, by position (control_plane/monitoring/metrics.py); one to two hours of them.
CREATE TABLE health_reports (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    -- By the server's clock: a report that comes twice is known by it.
    reported_at TIMESTAMPTZ NOT NULL,
    -- By ours.
    at TIMESTAMPTZ NOT NULL,
    received_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    slot SMALLINT NOT NULL,
    measured DOUBLE PRECISION[] NOT NULL,
    PRIMARY KEY (vps_id, reported_at, slot),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
) PARTITION BY LIST (slot);

-- Five minutes: the mean of what goes up and down, the growth of what is counted. A month of them.
CREATE TABLE health_samples (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    slot SMALLINT NOT NULL,
    measured DOUBLE PRECISION[] NOT NULL,
    PRIMARY KEY (vps_id, at, slot),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
) PARTITION BY LIST (slot);

-- The same of an hour, for two years.
CREATE TABLE health_hours (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    slot SMALLINT NOT NULL,
    measured DOUBLE PRECISION[] NOT NULL,
    PRIMARY KEY (vps_id, at, slot),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
) PARTITION BY LIST (slot);

-- The newest of each server, for questions about the fleet.
CREATE TABLE server_health (
    vps_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    checked_at TIMESTAMPTZ NOT NULL,
    -- The worst of its checks: ok, unknown, warn, fail.
    state TEXT NOT NULL CHECK (state IN ('ok', 'unknown', 'warn', 'fail')),
    -- Metrics by name; under "destinations" those of each destination provider.
    metrics JSONB NOT NULL,
    agent_version TEXT,
    agent_version_since TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_server_health_tenant ON server_health (tenant_id, state);

CREATE TABLE health_checks (
    vps_id UUID NOT NULL,
    kind TEXT NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    state TEXT NOT NULL CHECK (state IN ('ok', 'unknown', 'warn', 'fail')),
    value DOUBLE PRECISION,
    sentence TEXT NOT NULL,
    -- When the state, the value or the sentence was last another, and when the state was.
    at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (vps_id, kind),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_health_checks_bad ON health_checks (kind, state) WHERE state <> 'ok';

-- What is wrong for long enough to tell somebody (control_plane/monitoring/alerts.py).
CREATE TABLE alerts (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('notice', 'warning', 'critical')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'open', 'acknowledged', 'resolved')),
    sentence TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL,
    opened_at TIMESTAMPTZ,
    -- Since when it has looked well again, without having been so for long enough.
    well_since TIMESTAMPTZ,
    acknowledged_by TEXT,
    acknowledged_at TIMESTAMPTZ,
    resolved_at TIMESTAMPTZ,
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX idx_alerts_one ON alerts (vps_id, rule) WHERE state <> 'resolved';
CREATE INDEX idx_alerts_newest ON alerts (since);

DO $$
DECLARE
    name TEXT;
    ring RECORD;
    slot INTEGER;
    names TEXT[] := ARRAY['health_reports', 'health_samples', 'health_hours', 'server_health', 'health_checks',
                          'alerts'];
BEGIN
    FOR ring IN SELECT * FROM (VALUES ('health_reports', 3), ('health_samples', 32), ('health_hours', 26))
            AS rings (parent, length) LOOP
        FOR slot IN 0 .. ring.length - 1 LOOP
            name := format('%s_slot_%s', ring.parent, lpad(slot::text, 2, '0'));
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%s)', name, ring.parent, slot);
            names := names || name;
        END LOOP;
    END LOOP;
    FOREACH name IN ARRAY names LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY one_tenant ON %I TO penguin_api'
            ' USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)'
            ' WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)',
            name
        );
        EXECUTE format('CREATE POLICY all_tenants ON %I TO penguin_system USING (true) WITH CHECK (true)', name);
        IF name LIKE '%\_slot\_%' THEN
            -- Reached by their parent alone, but for being emptied.
            EXECUTE format('GRANT SELECT, TRUNCATE ON %I TO penguin_system', name);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO penguin_system', name);
            EXECUTE format('GRANT SELECT ON %I TO penguin_api', name);
        END IF;
    END LOOP;
END
$$;
