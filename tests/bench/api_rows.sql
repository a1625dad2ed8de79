-- A platform's rows: tenants with a workspace, a server and a domain each, ten inboxes on it, and what has become of
-- their sends in ninety days. Every second send is of one of the first fifty tenants, who ask; the rest is spread over
-- all. The heap is in the order of time, as it would be.

-- name: tenants
INSERT INTO tenants (id, name) SELECT md5('tenant' || t)::uuid, 'Tenant ' || t FROM generate_series(0, %(tenants)s - 1) t;
INSERT INTO workspaces (id, tenant_id, name) SELECT id, id, 'Sales' FROM tenants;
INSERT INTO vps_servers (id, tenant_id, workspace_id, provider, ip_address, hostname, size, region, status,
                         probe_password_sealed)
SELECT id, id, id, 'local', '192.0.2.1', id::text || '.penguin.example', 'starter', 'here', 'ready', 'none' FROM tenants;
INSERT INTO domains (id, tenant_id, name) SELECT id, id, id::text || '.example' FROM tenants;
INSERT INTO inboxes (id, tenant_id, workspace_id, domain_id, email_address, vps_id, password_hash, status,
                     smtp_config, imap_config, daily_send_limit)
SELECT md5('inbox' || 10 * t + i)::uuid, md5('tenant' || t)::uuid, md5('tenant' || t)::uuid, md5('tenant' || t)::uuid,
       'i' || i || '@' || md5('tenant' || t)::uuid || '.example', md5('tenant' || t)::uuid, 'none', 'ready',
       '{"host": "mx.penguin.example", "port": 587, "security": "starttls", "tls_port": 465}',
       '{"host": "mx.penguin.example", "port": 993, "security": "tls"}', 1000000000
FROM generate_series(0, %(tenants)s - 1) t CROSS JOIN generate_series(0, 9) i;
INSERT INTO suppressions (tenant_id, address, reason)
SELECT id, 'gone' || n || '@walrus.example', 'hard_bounce' FROM tenants CROSS JOIN generate_series(1, 200) n;
INSERT INTO audit_events (tenant_id, position, at, actor, act, subject, fields, previous_hash, hash)
SELECT id, n, now(), 'key/bench', 'PATCH /inboxes/{inbox_id}', '{}', '{}', sha256('bench'), sha256('bench')
FROM tenants CROSS JOIN generate_series(1, 200) n;
INSERT INTO tenant_events (tenant_id, type, subject_id, workspace_id, at)
SELECT id, CASE n %% 200 WHEN 0 THEN 'server.ready' ELSE 'message.delivered' END, id, id, now()
FROM generate_series(1, 400) n CROSS JOIN tenants;

-- name: messages
WITH drawn AS MATERIALIZED (
    SELECT n, CASE n %% 2 WHEN 0 THEN (n / 2) %% 500 ELSE (n / 2) %% (10 * %(tenants)s) END AS place, md5(n::text) AS hash,
           timestamptz '2026-01-01' + n * (interval '90 days' / %(count)s) AS at
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
)
INSERT INTO messages (tenant_id, id, workspace_id, inbox_id, vps_id, state, envelope_sender, recipient, signing_domain,
                      subject, payload, send_at, leases, queue_id, accepted_at, queued_at, relayed_at, final_at)
SELECT i.tenant_id,
       (lpad(to_hex((extract(epoch FROM d.at) * 1000)::bigint), 12, '0') || '7' || substr(d.hash, 1, 3)
        || '8' || substr(d.hash, 4, 15))::uuid,
       i.workspace_id, i.id, i.vps_id,
       CASE d.n %% 199 WHEN 0 THEN 'bounced' WHEN 1 THEN 'expired' ELSE 'delivered' END,
       i.email_address, 'r' || d.n * 7919 %% 1000000 || '@walrus.example', 'penguin.example', 'Fish ' || d.n,
       CASE WHEN d.n * 20 > %(count)s * 19 THEN %(payload)s ELSE '' END,
       d.at, 1, '4c' || substr(d.hash, 1, 10), d.at, d.at, d.at, d.at
FROM drawn d JOIN inboxes i ON i.id = md5('inbox' || d.place)::uuid;

-- name: events
INSERT INTO message_events (tenant_id, message_id, event_id, kind, at, applied, detail)
SELECT m.tenant_id, m.id, gen_random_uuid(), kind, m.accepted_at, true, '{"relay": "mx.walrus.example"}'
FROM messages m CROSS JOIN unnest(ARRAY['relayed', 'delivered']) kind WHERE m.payload <> '';
