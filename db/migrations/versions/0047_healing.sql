-- What the fleet does about itself (control_plane/healing): why, what came of it, and what it may not do.

-- Conditions of rules that hold, or held and have not been well for long enough.
CREATE TABLE healing_conditions (
    vps_id UUID NOT NULL,
    rule TEXT NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    began_at TIMESTAMPTZ NOT NULL,
    -- When it holds now.
    bad_since TIMESTAMPTZ,
    well_since TIMESTAMPTZ,
    reason TEXT NOT NULL,
    PRIMARY KEY (vps_id, rule),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE healing_acts (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    rule TEXT NOT NULL,
    act TEXT NOT NULL,
    reason TEXT NOT NULL,
    -- asked: of the server, by the command; standing: until it is ended.
    state TEXT NOT NULL CHECK (state IN ('asked', 'standing', 'done', 'failed', 'ended')),
    -- What came of it, or why it was ended.
    detail TEXT,
    command_id UUID,
    -- Who took back what stood.
    ended_by TEXT,
    began_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ,
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_healing_acts_vps ON healing_acts (vps_id, began_at);
CREATE INDEX idx_healing_acts_open ON healing_acts (vps_id) WHERE ended_at IS NULL;

-- What no rule, or one, may do, on one server or on all.
CREATE TABLE healing_forbidden (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    rule TEXT,
    of_vps_id UUID REFERENCES vps_servers (id) ON DELETE CASCADE,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (rule, of_vps_id)
);

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['healing_conditions', 'healing_acts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY one_tenant ON %I TO penguin_api'
            ' USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)'
            ' WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', name);
        EXECUTE format('CREATE POLICY all_tenants ON %I TO penguin_system USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON healing_conditions, healing_acts, healing_forbidden TO penguin_system;
-- What was done about its servers is no secret from a tenant.
GRANT SELECT ON healing_acts TO penguin_api;

-- A pause that an act made stands beside an operator's own.
ALTER TABLE pauses ADD COLUMN healing_act_id UUID REFERENCES healing_acts (id) ON DELETE CASCADE;
ALTER TABLE pauses ADD CHECK (healing_act_id IS NULL OR (by_operator AND vps_id IS NOT NULL));
DROP INDEX idx_pauses_in_force;
CREATE UNIQUE INDEX idx_pauses_in_force ON pauses (tenant_id, vps_id, inbox_id, priority, by_operator, healing_act_id)
    NULLS NOT DISTINCT WHERE resumed_at IS NULL;

-- A server that is slowed: its inboxes send so much less than their daily limits.
ALTER TABLE vps_servers ADD COLUMN send_divisor SMALLINT NOT NULL DEFAULT 1 CHECK (send_divisor BETWEEN 1 AND 16);
GRANT SELECT (send_divisor) ON vps_servers TO penguin_api;
