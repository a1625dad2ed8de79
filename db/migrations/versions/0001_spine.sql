-- The spine: tenants, their servers, inboxes, DNS, sends and what became of them.
--
-- Rules for every table that holds tenant data: a tenant_id column, forced row-level security with the policies
-- made at the end of this file, and foreign keys that hold the tenant, so that no row can refer to another tenant's.
-- Row ids of sends and events are UUID version 7, made by the writer (db/ids.py).

-- ---------------------------------------------------------------- tenancy

CREATE TABLE tenants (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name VARCHAR(255) NOT NULL,
    state VARCHAR(50) NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE workspaces (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    name VARCHAR(255) NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id)
);

CREATE TABLE api_keys (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    name VARCHAR(255) NOT NULL,
    -- The part of the key that may be shown again, to tell keys apart.
    prefix VARCHAR(32) NOT NULL,
    secret_sha256 BYTEA NOT NULL CHECK (octet_length(secret_sha256) = 32),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_used_at TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    UNIQUE (tenant_id, prefix)
);

-- ---------------------------------------------------------------- servers

CREATE TABLE vps_servers (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    workspace_id UUID NOT NULL,
    provider VARCHAR(50) NOT NULL,
    provider_server_id VARCHAR(255),
    -- Unknown until the provider has made the server; from then on it is there.
    ip_address INET,
    hostname VARCHAR(255) NOT NULL UNIQUE,
    size VARCHAR(50) NOT NULL,
    region VARCHAR(100) NOT NULL,
    specs JSONB,
    status VARCHAR(50) NOT NULL DEFAULT 'provisioning'
        CHECK (status IN ('provisioning', 'ready', 'failed', 'deleting', 'deleted')),
    status_reason TEXT,
    mail_server_status VARCHAR(50) NOT NULL DEFAULT 'not_configured'
        CHECK (mail_server_status IN ('not_configured', 'configuring', 'running', 'refused', 'rolled_back')),
    ssl_certificate_expires TIMESTAMPTZ,
    monitoring_enabled BOOLEAN NOT NULL DEFAULT true,
    monthly_cost DECIMAL(10, 2),
    -- Desired state: raised with every change of what the server should be (fleet/desired.py).
    desired_version BIGINT NOT NULL DEFAULT 1,
    applied_version BIGINT NOT NULL DEFAULT 0,
    applied_at TIMESTAMPTZ,
    applied_detail TEXT,
    -- Password of the mailbox that verification uses, sealed (control_plane/sealing.py).
    probe_password_sealed BYTEA NOT NULL,
    agent_version VARCHAR(100),
    -- When the hub last heard of the agent; the link is up while link_session is set.
    last_seen_at TIMESTAMPTZ,
    link_session UUID,
    banned_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK (ip_address IS NOT NULL OR status <> 'ready'),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces (tenant_id, id)
);
CREATE INDEX idx_vps_servers_workspace ON vps_servers (tenant_id, workspace_id);

CREATE TABLE vps_reports (
    vps_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    reported_at TIMESTAMPTZ NOT NULL,
    received_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- HealthReport of protos/agent/v1/telemetry.proto, as protobuf's JSON with its field names.
    report JSONB NOT NULL,
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE join_tokens (
    token_sha256 BYTEA PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE agent_certificates (
    -- Serial number, lower-case hex.
    serial VARCHAR(64) PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    vps_id UUID NOT NULL,
    not_after TIMESTAMPTZ NOT NULL,
    issued_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    revoked_at TIMESTAMPTZ,
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);

-- The platform's own certificate authority; no tenant's data, readable by the system role alone.
CREATE TABLE certificate_authorities (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    certificate_pem TEXT NOT NULL,
    private_key_sealed BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------- pipelines

CREATE TABLE pipeline_runs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- 'vps.provision', 'vps.decommission', 'inbox.setup', 'inbox.remove'
    kind VARCHAR(50) NOT NULL,
    -- The server or inbox it is about.
    subject_id UUID NOT NULL,
    state VARCHAR(20) NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    error TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at TIMESTAMPTZ,
    UNIQUE (tenant_id, id)
);
CREATE INDEX idx_pipeline_runs_open ON pipeline_runs (created_at) WHERE state IN ('waiting', 'running');
CREATE INDEX idx_pipeline_runs_subject ON pipeline_runs (tenant_id, subject_id);

CREATE TABLE pipeline_steps (
    run_id UUID NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    position SMALLINT NOT NULL,
    name VARCHAR(50) NOT NULL,
    state VARCHAR(20) NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    -- The claim: whoever records a step must still hold its token.
    fencing_token UUID,
    claimed_until TIMESTAMPTZ,
    result JSONB,
    error TEXT,
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    PRIMARY KEY (run_id, position),
    FOREIGN KEY (tenant_id, run_id) REFERENCES pipeline_runs (tenant_id, id) ON DELETE CASCADE
);

-- ---------------------------------------------------------------- domains, inboxes, DNS

CREATE TABLE domains (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- Lower case, A-labels, no trailing dot.
    name VARCHAR(255) NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id)
);

CREATE TABLE dkim_keys (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    domain_id UUID NOT NULL,
    selector VARCHAR(63) NOT NULL,
    -- PKCS#8 DER, sealed.
    private_key_sealed BYTEA NOT NULL,
    -- SubjectPublicKeyInfo, base64: the p= of the record.
    public_key TEXT NOT NULL,
    active BOOLEAN NOT NULL DEFAULT true,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (domain_id, selector),
    FOREIGN KEY (tenant_id, domain_id) REFERENCES domains (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX idx_dkim_keys_one_active ON dkim_keys (domain_id) WHERE active;

CREATE TABLE inboxes (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    workspace_id UUID NOT NULL,
    domain_id UUID NOT NULL,
    email_address VARCHAR(255) NOT NULL UNIQUE,
    display_name VARCHAR(255),
    vps_id UUID,
    smtp_config JSONB,
    imap_config JSONB,
    -- Dovecot scheme and hash; the password itself is shown once and not kept.
    password_hash TEXT NOT NULL,
    warmup_enabled BOOLEAN NOT NULL DEFAULT false,
    warmup_status VARCHAR(50) NOT NULL DEFAULT 'not_started',
    daily_send_limit INTEGER NOT NULL DEFAULT 50 CHECK (daily_send_limit >= 0),
    reputation_score DECIMAL(3, 2) NOT NULL DEFAULT 0.00,
    status VARCHAR(50) NOT NULL DEFAULT 'pending_setup'
        CHECK (status IN ('pending_setup', 'pending_dns', 'ready', 'failed', 'deleting')),
    status_reason TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces (tenant_id, id),
    FOREIGN KEY (tenant_id, domain_id) REFERENCES domains (tenant_id, id),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id)
);
CREATE INDEX idx_inboxes_tenant ON inboxes (tenant_id);
CREATE INDEX idx_inboxes_workspace ON inboxes (workspace_id);
CREATE INDEX idx_inboxes_status ON inboxes (status);
CREATE INDEX idx_inboxes_vps ON inboxes (vps_id);

CREATE TABLE dns_records (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    inbox_id UUID NOT NULL,
    -- The zone the record is published in; record_name is relative to it, '@' for the apex.
    domain VARCHAR(255) NOT NULL,
    record_type VARCHAR(10) NOT NULL CHECK (record_type IN ('A', 'MX', 'TXT', 'CNAME', 'PTR')),
    record_name VARCHAR(255) NOT NULL,
    -- Presentation without quotes or escapes; a TXT value whole, however it is split on the wire.
    record_value TEXT NOT NULL,
    ttl INTEGER NOT NULL DEFAULT 3600,
    verification_status VARCHAR(50) NOT NULL DEFAULT 'pending'
        CHECK (verification_status IN ('pending', 'verified', 'mismatch')),
    -- What the zone's server answered instead, for a person to read.
    verification_detail TEXT,
    last_verified_at TIMESTAMPTZ,
    -- When we wrote it into its zone; unset for what was there before us, which we never take away.
    published_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (inbox_id, domain, record_type, record_name, record_value),
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES inboxes (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_dns_inbox ON dns_records (inbox_id);
CREATE INDEX idx_dns_domain ON dns_records (domain);
CREATE INDEX idx_dns_pending ON dns_records (inbox_id) WHERE verification_status <> 'verified';

-- ---------------------------------------------------------------- sends

CREATE TABLE messages (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    id UUID NOT NULL,
    workspace_id UUID NOT NULL,
    inbox_id UUID,
    -- Where it is relayed: the inbox's server when the send was accepted.
    vps_id UUID NOT NULL,
    -- 0 high, 1 normal, 2 low: the order in which they are taken.
    priority SMALLINT NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2),
    state VARCHAR(20) NOT NULL DEFAULT 'accepted'
        CHECK (state IN ('accepted', 'queued', 'relayed', 'delivered', 'bounced', 'expired', 'failed', 'cancelled',
                         'suppressed', 'uncertain')),
    state_reason TEXT,
    envelope_sender VARCHAR(320) NOT NULL,
    recipient VARCHAR(320) NOT NULL,
    signing_domain VARCHAR(255) NOT NULL,
    subject TEXT NOT NULL,
    -- The RFC 5322 message as it will be handed over, but for its DKIM signature.
    payload BYTEA NOT NULL,
    -- Not relayed before this moment.
    send_at TIMESTAMPTZ NOT NULL,
    -- The lease (ARCHITECTURE.md, invariant 2): set while state is 'queued', kept afterwards to judge events.
    lease_token UUID,
    lease_deadline TIMESTAMPTZ,
    leases INTEGER NOT NULL DEFAULT 0,
    queue_id VARCHAR(64),
    accepted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    queued_at TIMESTAMPTZ,
    relayed_at TIMESTAMPTZ,
    final_at TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, id),
    CHECK ((state = 'queued') <= (lease_token IS NOT NULL AND lease_deadline IS NOT NULL)),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces (tenant_id, id),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id),
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES inboxes (tenant_id, id) ON DELETE SET NULL (inbox_id)
);
-- The message is text that compresses well; pglz would be the bottleneck of bulk inserts.
ALTER TABLE messages ALTER COLUMN payload SET COMPRESSION lz4;
-- What the queuer claims. By inbox, so that what waits for tomorrow's limit of one is never read for another.
CREATE INDEX idx_messages_waiting ON messages (vps_id, priority, inbox_id, send_at, id) WHERE state = 'accepted';
-- What is leased, for finding leases that have run out and for writing lost envelopes again.
CREATE INDEX idx_messages_leased ON messages (vps_id, lease_deadline) WHERE state = 'queued';
CREATE INDEX idx_messages_inbox ON messages (tenant_id, inbox_id, id);

CREATE TABLE message_events (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    message_id UUID NOT NULL,
    -- Made where the event was first seen; the same event comes twice with the same id.
    event_id UUID NOT NULL,
    kind VARCHAR(20) NOT NULL
        CHECK (kind IN ('requeued', 'relayed', 'delivered', 'deferred', 'bounced', 'expired', 'lease_expired',
                        'failed', 'uncertain', 'suppressed', 'cancelled')),
    -- By the clock of whoever saw it.
    at TIMESTAMPTZ NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    lease_token UUID,
    -- False for an event that came under an old lease or after the final state: kept, and without effect.
    applied BOOLEAN NOT NULL,
    -- queue_id, relay, enhanced_status, text, delay_seconds, detail: those that the event has.
    detail JSONB NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, message_id, event_id),
    FOREIGN KEY (tenant_id, message_id) REFERENCES messages (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE idempotency_keys (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    key VARCHAR(255) NOT NULL,
    -- SHA-256 of the method, path and body that first used the key.
    request_sha256 BYTEA NOT NULL CHECK (octet_length(request_sha256) = 32),
    message_id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key),
    FOREIGN KEY (tenant_id, message_id) REFERENCES messages (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE suppressions (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- Lower case.
    address VARCHAR(320) NOT NULL,
    reason VARCHAR(50) NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, address)
);

CREATE TABLE inbox_daily_sends (
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    inbox_id UUID NOT NULL,
    -- UTC.
    day DATE NOT NULL,
    claimed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, inbox_id, day),
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES inboxes (tenant_id, id) ON DELETE CASCADE
);

-- ---------------------------------------------------------------- roles

-- Roles belong to the cluster: another database of it, or whoever runs it, may have made them.
DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['penguin_api', 'penguin_system'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

-- ---------------------------------------------------------------- row-level security

-- The API role sees the tenant that the transaction names (db/session.py). The setting is '' and not NULL on a
-- connection that carried a tenant before, hence nullif. The system role works across tenants and sees all.
DO $$
DECLARE
    name TEXT;
    tenant_column TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenants', 'workspaces', 'api_keys', 'vps_servers', 'vps_reports', 'join_tokens', 'agent_certificates',
        'pipeline_runs', 'pipeline_steps', 'domains', 'dkim_keys', 'inboxes', 'dns_records', 'messages',
        'message_events', 'idempotency_keys', 'suppressions', 'inbox_daily_sends'
    ] LOOP
        tenant_column := CASE name WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END;
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY one_tenant ON %1$I TO penguin_api'
            ' USING (%2$I = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)'
            ' WITH CHECK (%2$I = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)',
            name, tenant_column
        );
        EXECUTE format('CREATE POLICY all_tenants ON %I TO penguin_system USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$$;

-- ---------------------------------------------------------------- grants

GRANT SELECT, INSERT, UPDATE, DELETE ON
    tenants, workspaces, api_keys, vps_servers, vps_reports, join_tokens, agent_certificates, certificate_authorities,
    pipeline_runs, pipeline_steps, domains, dkim_keys, inboxes, dns_records, messages, message_events,
    idempotency_keys, suppressions, inbox_daily_sends
TO penguin_system;

-- The API role: what the REST routes need and no more. It writes secrets and never reads them back: sealed columns
-- and password hashes are left out of what it may select. Message bodies come later, for sending one again (0004).
GRANT SELECT ON tenants, workspaces, vps_reports, pipeline_runs, pipeline_steps, domains, dns_records, message_events,
    idempotency_keys TO penguin_api;

GRANT SELECT, UPDATE (last_used_at) ON api_keys TO penguin_api;

GRANT SELECT (id, tenant_id, workspace_id, provider, provider_server_id, ip_address, hostname, size, region, specs,
        status, status_reason, mail_server_status, ssl_certificate_expires, monitoring_enabled, monthly_cost,
        desired_version, applied_version, applied_at, applied_detail, agent_version, last_seen_at, link_session,
        banned_at, created_at),
    INSERT, UPDATE (status, status_reason) ON vps_servers TO penguin_api;

GRANT INSERT ON pipeline_runs, domains, message_events, idempotency_keys TO penguin_api;

GRANT SELECT (id, tenant_id, domain_id, selector, public_key, active, created_at), INSERT ON dkim_keys TO penguin_api;

GRANT SELECT (id, tenant_id, workspace_id, domain_id, email_address, display_name, vps_id, smtp_config, imap_config,
        warmup_enabled, warmup_status, daily_send_limit, reputation_score, status, status_reason, created_at,
        updated_at),
    INSERT, UPDATE (display_name, daily_send_limit, warmup_enabled, status, status_reason, updated_at)
    ON inboxes TO penguin_api;

GRANT UPDATE (verification_status, verification_detail, last_verified_at) ON dns_records TO penguin_api;

GRANT SELECT (tenant_id, id, workspace_id, inbox_id, vps_id, priority, state, state_reason, envelope_sender, recipient,
        signing_domain, subject, send_at, leases, queue_id, accepted_at, queued_at, relayed_at, final_at),
    INSERT, UPDATE (state, state_reason, final_at) ON messages TO penguin_api;
