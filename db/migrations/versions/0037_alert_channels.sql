-- Who is told of alerts, when not, and what is on its way to them (control_plane/alerts).

-- Many dead servers of one provider in one region: one thing to tell.
CREATE TABLE alert_groups (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    provider TEXT NOT NULL,
    region TEXT NOT NULL,
    opened_at TIMESTAMPTZ NOT NULL,
    resolved_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX idx_alert_groups_one ON alert_groups (provider, region) WHERE resolved_at IS NULL;
ALTER TABLE alerts ADD group_id UUID REFERENCES alert_groups (id);
CREATE INDEX idx_alerts_group ON alerts (group_id) WHERE group_id IS NOT NULL;

-- Nobody is told of what matches all that is named here, until it is over.
CREATE TABLE alert_silences (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    of_tenant_id UUID REFERENCES tenants (id) ON DELETE CASCADE,
    of_vps_id UUID REFERENCES vps_servers (id) ON DELETE CASCADE,
    rule TEXT,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    until TIMESTAMPTZ NOT NULL,
    CHECK (of_tenant_id IS NOT NULL OR of_vps_id IS NOT NULL OR rule IS NOT NULL)
);

CREATE TABLE alert_channels (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('apprise', 'webhook')),
    -- The URL, which is a secret, and a webhook's signing secret, as JSON; sealed for alert_channels.target_sealed:<id>.
    target_sealed BYTEA NOT NULL,
    least_severity TEXT NOT NULL CHECK (least_severity IN ('notice', 'warning', 'critical')),
    -- Told of what nobody has acknowledged for so long; of everything at once when it is 0.
    after_minutes INTEGER NOT NULL CHECK (after_minutes >= 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- What is to be told, at least once: written with what it tells of, and known by its fingerprint.
CREATE TABLE alert_notices (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    channel_id UUID NOT NULL REFERENCES alert_channels (id) ON DELETE CASCADE,
    -- The kind and the alert or group: the same is told to one channel once.
    fingerprint TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('opened', 'escalated', 'resolved', 'outage', 'outage_over', 'test')),
    alert_id UUID REFERENCES alerts (id) ON DELETE CASCADE,
    group_id UUID REFERENCES alert_groups (id) ON DELETE CASCADE,
    body JSONB NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    -- When it is tried next; while it is being tried, when that counts as lost.
    due_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    claim_token UUID,
    last_error TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at TIMESTAMPTZ,
    UNIQUE (channel_id, fingerprint)
);
CREATE INDEX idx_alert_notices_due ON alert_notices (due_at) WHERE state = 'waiting';
CREATE INDEX idx_alert_notices_alert ON alert_notices (alert_id) WHERE alert_id IS NOT NULL;
CREATE INDEX idx_alert_notices_group ON alert_notices (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX idx_alerts_over ON alerts (resolved_at) WHERE resolved_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON alert_groups, alert_silences, alert_channels, alert_notices TO penguin_system;
