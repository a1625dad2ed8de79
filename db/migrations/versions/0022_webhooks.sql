-- What tenants are told of by HTTP (control_plane/webhooks). Events are written by the transactions that they tell of,
-- by triggers, so no writer of a send's history can forget it; a tenant without an endpoint gets no row.

CREATE TABLE webhook_endpoints (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- Told of this workspace's events alone; NULL for all of the tenant's.
    workspace_id UUID,
    url TEXT NOT NULL,
    -- Told of these types alone; of all when there is none.
    event_types TEXT[] NOT NULL DEFAULT '{}',
    -- Sealed for webhook_endpoints.secret_sealed:<id>; the one before signs too until it is over.
    secret_sealed BYTEA NOT NULL,
    previous_secret_sealed BYTEA,
    previous_secret_until TIMESTAMPTZ,
    enabled BOOLEAN NOT NULL DEFAULT true,
    -- Why it is not enabled, for a person to read.
    disabled_reason TEXT,
    -- The first failure since the last success.
    failing_since TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- The API's role deletes nothing: the worker takes away what has this (webhooks/forget.py).
    deleted_at TIMESTAMPTZ,
    CHECK (NOT (enabled AND deleted_at IS NOT NULL)),
    CHECK ((previous_secret_sealed IS NULL) = (previous_secret_until IS NULL)),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_webhook_endpoints_told ON webhook_endpoints (tenant_id) WHERE deleted_at IS NULL;

CREATE TABLE tenant_events (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- In the order of what happened to one subject: its row is locked by whoever writes of it.
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    type TEXT NOT NULL,
    -- The send, inbox, domain, server or endpoint it is about.
    subject_id UUID NOT NULL,
    workspace_id UUID,
    at TIMESTAMPTZ NOT NULL,
    data JSONB NOT NULL DEFAULT '{}',
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id)
);
CREATE INDEX idx_tenant_events_newest ON tenant_events (tenant_id, position);
CREATE INDEX idx_tenant_events_oldest ON tenant_events (recorded_at);

CREATE TABLE webhook_deliveries (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    endpoint_id UUID NOT NULL,
    event_id UUID NOT NULL,
    -- Those of the event, by which deliveries to one endpoint are put in order.
    position BIGINT NOT NULL,
    subject_id UUID NOT NULL,
    state VARCHAR(20) NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    -- Since when it has been tried, by which it is given up; again from a replay.
    waiting_since TIMESTAMPTZ NOT NULL DEFAULT now(),
    attempts INTEGER NOT NULL DEFAULT 0,
    -- When it is tried next; while it is being tried, when that counts as lost.
    due_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- Set while it is being tried: whoever records the outcome must still hold it.
    claim_token UUID,
    last_status INTEGER,
    last_error TEXT,
    last_attempt_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (endpoint_id, event_id),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, event_id) REFERENCES tenant_events (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at) WHERE state = 'waiting';
CREATE INDEX idx_webhook_deliveries_waiting ON webhook_deliveries (endpoint_id, subject_id, position)
    WHERE state = 'waiting';
CREATE INDEX idx_webhook_deliveries_tried ON webhook_deliveries (endpoint_id) WHERE claim_token IS NOT NULL;
CREATE INDEX idx_webhook_deliveries_newest ON webhook_deliveries (tenant_id, endpoint_id, position);
CREATE INDEX idx_webhook_deliveries_event ON webhook_deliveries (tenant_id, event_id);

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['webhook_endpoints', 'tenant_events', 'webhook_deliveries'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY one_tenant ON %I TO penguin_api'
            ' USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)'
            ' WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)',
            name
        );
        EXECUTE format('CREATE POLICY all_tenants ON %I TO penguin_system USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO penguin_system', name);
    END LOOP;
END
$$;
-- The API writes secrets; to rotate one, the row moves it aside by itself (webhook_secret_moves_aside).
GRANT SELECT (id, tenant_id, workspace_id, url, event_types, previous_secret_until, enabled, disabled_reason,
        failing_since, created_at, deleted_at),
    INSERT (id, tenant_id, workspace_id, url, event_types, secret_sealed),
    UPDATE (url, event_types, secret_sealed, previous_secret_until, enabled, disabled_reason, failing_since,
        deleted_at)
    ON webhook_endpoints TO penguin_api;
GRANT SELECT, INSERT ON tenant_events TO penguin_api;
GRANT SELECT, INSERT, UPDATE (state, waiting_since, attempts, due_at, claim_token, last_error, finished_at)
    ON webhook_deliveries TO penguin_api;

CREATE FUNCTION webhook_secret_moves_aside() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.previous_secret_sealed := OLD.secret_sealed;
    RETURN NEW;
END
$$;
CREATE TRIGGER secret_moves_aside BEFORE UPDATE OF secret_sealed ON webhook_endpoints FOR EACH ROW
    WHEN (OLD.secret_sealed IS DISTINCT FROM NEW.secret_sealed) EXECUTE FUNCTION webhook_secret_moves_aside();

-- ---------------------------------------------------------------- who is told

CREATE FUNCTION tell_endpoints() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_deliveries (tenant_id, endpoint_id, event_id, position, subject_id)
    SELECT e.tenant_id, w.id, e.id, e.position, e.subject_id
    FROM told e
    JOIN webhook_endpoints w ON w.tenant_id = e.tenant_id AND w.enabled
        AND (w.workspace_id IS NULL OR w.workspace_id = e.workspace_id)
        AND (cardinality(w.event_types) = 0 OR e.type = ANY (w.event_types))
    -- A ping is its endpoint's own, and whoever asks for it writes the delivery.
    WHERE e.type <> 'webhook.ping';
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_endpoints AFTER INSERT ON tenant_events REFERENCING NEW TABLE AS told
    FOR EACH STATEMENT EXECUTE FUNCTION tell_endpoints();

-- ---------------------------------------------------------------- what is told

-- By the statement, for this is the hot path: without endpoints it is one look at them for a batch of events.
CREATE FUNCTION tell_of_sends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM webhook_endpoints w WHERE w.deleted_at IS NULL
                   AND w.tenant_id IN (SELECT s.tenant_id FROM seen s)) THEN
        RETURN NULL;
    END IF;
    INSERT INTO tenant_events (tenant_id, type, subject_id, workspace_id, at, data)
    SELECT s.tenant_id, 'message.' || s.kind, s.message_id, m.workspace_id, s.at,
        jsonb_build_object('message_id', s.message_id, 'inbox_id', m.inbox_id, 'workspace_id', m.workspace_id,
                           'recipient', m.recipient, 'detail', s.detail)
    FROM (SELECT row_number() OVER () AS place, n.* FROM seen n) s
    JOIN messages m ON m.tenant_id = s.tenant_id AND m.id = s.message_id
    WHERE s.applied AND s.kind NOT IN ('requeued', 'lease_expired')
        AND EXISTS (SELECT FROM webhook_endpoints w WHERE w.tenant_id = s.tenant_id AND w.deleted_at IS NULL)
    ORDER BY s.place;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_sends AFTER INSERT ON message_events REFERENCING NEW TABLE AS seen
    FOR EACH STATEMENT EXECUTE FUNCTION tell_of_sends();

CREATE FUNCTION tell_tenant(tenant UUID, kind TEXT, subject UUID, workspace UUID, told JSONB) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO tenant_events (tenant_id, type, subject_id, workspace_id, at, data)
    SELECT tenant, kind, subject, workspace, now(), told
    WHERE EXISTS (SELECT FROM webhook_endpoints w WHERE w.tenant_id = tenant AND w.deleted_at IS NULL)
$$;

CREATE FUNCTION tell_of_server() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_tenant(NEW.tenant_id, 'server.ready', NEW.id, NEW.workspace_id,
                        jsonb_build_object('vps_id', NEW.id, 'hostname', NEW.hostname));
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_server AFTER UPDATE OF status ON vps_servers FOR EACH ROW
    WHEN (NEW.status = 'ready' AND OLD.status <> 'ready') EXECUTE FUNCTION tell_of_server();

-- An inbox is ready once all its records are verified; the first one says so of its domain.
CREATE FUNCTION tell_of_inbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM inboxes i WHERE i.tenant_id = NEW.tenant_id AND i.domain_id = NEW.domain_id
                   AND i.id <> NEW.id AND i.status = 'ready') THEN
        PERFORM tell_tenant(NEW.tenant_id, 'domain.verified', NEW.domain_id, NEW.workspace_id,
            (SELECT jsonb_build_object('domain_id', d.id, 'name', d.name) FROM domains d WHERE d.id = NEW.domain_id));
    END IF;
    PERFORM tell_tenant(NEW.tenant_id, 'inbox.ready', NEW.id, NEW.workspace_id,
                        jsonb_build_object('inbox_id', NEW.id, 'email_address', NEW.email_address));
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_inbox AFTER UPDATE OF status ON inboxes FOR EACH ROW
    WHEN (NEW.status = 'ready' AND OLD.status = 'pending_dns') EXECUTE FUNCTION tell_of_inbox();

CREATE FUNCTION tell_of_certificate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_tenant(NEW.tenant_id, 'certificate.failing', NEW.vps_id, v.workspace_id,
        jsonb_build_object('vps_id', v.id, 'hostname', v.hostname, 'state', NEW.state, 'detail', NEW.sentence))
    FROM vps_servers v WHERE v.tenant_id = NEW.tenant_id AND v.id = NEW.vps_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_new_certificate AFTER INSERT ON health_checks FOR EACH ROW
    WHEN (NEW.kind = 'ssl' AND NEW.state IN ('warn', 'fail')) EXECUTE FUNCTION tell_of_certificate();
CREATE TRIGGER tell_of_certificate AFTER UPDATE OF state ON health_checks FOR EACH ROW
    WHEN (NEW.kind = 'ssl' AND NEW.state IN ('warn', 'fail') AND NEW.state <> OLD.state)
    EXECUTE FUNCTION tell_of_certificate();
