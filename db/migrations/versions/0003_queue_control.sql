-- Queue control: what operators and tenants may hold back, what stands still, and servers whose clocks are wrong.

-- ---------------------------------------------------------------- clocks

-- The server's clock less the hub's, measured over the link; unset until it has been measured.
ALTER TABLE vps_servers
    ADD COLUMN clock_offset_ms BIGINT,
    ADD COLUMN clock_measured_at TIMESTAMPTZ;

GRANT SELECT (clock_offset_ms, clock_measured_at) ON vps_servers TO penguin_api;

-- ---------------------------------------------------------------- dead letters

-- 'dead' waits for an operator: its server took it again and again, was linked all the while, and never told of it.
ALTER TABLE messages
    DROP CONSTRAINT messages_state_check,
    ADD CONSTRAINT messages_state_check
        CHECK (state IN ('accepted', 'queued', 'relayed', 'delivered', 'bounced', 'expired', 'failed', 'cancelled',
                         'suppressed', 'uncertain', 'dead')),
    -- Leases that ran out without word although the server had taken them and was linked; its next word clears it.
    ADD COLUMN silent_leases INTEGER NOT NULL DEFAULT 0;

ALTER TABLE message_events
    DROP CONSTRAINT message_events_kind_check,
    ADD CONSTRAINT message_events_kind_check
        CHECK (kind IN ('requeued', 'relayed', 'delivered', 'deferred', 'bounced', 'expired', 'lease_expired',
                        'failed', 'uncertain', 'suppressed', 'cancelled', 'dead', 'retried', 'dropped'));

CREATE INDEX idx_messages_dead ON messages (vps_id, id) WHERE state = 'dead';
-- What Postfix has, for finding what it should have told of long ago.
CREATE INDEX idx_messages_relayed ON messages (vps_id, relayed_at) WHERE state = 'relayed';

-- ---------------------------------------------------------------- pauses

-- What is not leased until it is resumed: a server's, an inbox's or a priority's sends, or, with none of the three,
-- all of a tenant's. Without a tenant, a priority is paused for all.
CREATE TABLE pauses (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID REFERENCES tenants (id),
    vps_id UUID,
    inbox_id UUID,
    priority SMALLINT CHECK (priority BETWEEN 0 AND 2),
    reason TEXT,
    -- An operator's is not for the tenant to resume.
    by_operator BOOLEAN NOT NULL DEFAULT false,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    resumed_at TIMESTAMPTZ,
    CHECK (num_nonnulls(vps_id, inbox_id, priority) <= 1),
    CHECK (tenant_id IS NOT NULL OR (priority IS NOT NULL AND by_operator)),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES inboxes (tenant_id, id) ON DELETE CASCADE
);
-- One of each at a time; the queuer reads the few that this holds with every claim.
CREATE UNIQUE INDEX idx_pauses_in_force ON pauses (tenant_id, vps_id, inbox_id, priority, by_operator)
    NULLS NOT DISTINCT WHERE resumed_at IS NULL;

ALTER TABLE pauses ENABLE ROW LEVEL SECURITY;
ALTER TABLE pauses FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON pauses TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON pauses TO penguin_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON pauses TO penguin_system;
-- A tenant never makes an operator's pause, and resumes only its own.
GRANT SELECT, INSERT (tenant_id, vps_id, inbox_id, priority, reason), UPDATE (resumed_at) ON pauses TO penguin_api;
-- Why something waits is shown to its tenant, and the daily limit is one reason.
GRANT SELECT ON inbox_daily_sends TO penguin_api;
