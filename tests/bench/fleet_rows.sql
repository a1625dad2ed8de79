-- Ten thousand servers of a hundred tenants with what is known of them: the newest of each, its checks, two days of
-- five minutes, and the reports of the last quarter of an hour. What is the same for all is given.

-- name: servers
INSERT INTO tenants (id, name) SELECT md5('tenant' || t)::uuid, 'Tenant ' || t FROM generate_series(0, 99) t;
INSERT INTO workspaces (id, tenant_id, name) SELECT id, id, 'Sales' FROM tenants;
INSERT INTO vps_servers (id, tenant_id, workspace_id, provider, ip_address, hostname, size, region, status,
                         probe_password_sealed, agent_version, link_session, last_seen_at)
SELECT md5('server' || n)::uuid, md5('tenant' || n %% 100)::uuid, md5('tenant' || n %% 100)::uuid,
       (ARRAY['local', 'hetzner', 'hostwinds', 'byo'])[1 + n %% 4], '192.0.2.1', 'mx-' || n || '.penguin.example',
       'starter', 'here-' || n %% 7, 'ready', 'none', '0.1.' || n %% 3, %(link)s, now()
FROM generate_series(0, %(servers)s - 1) n;
INSERT INTO agent_certificates (serial, tenant_id, vps_id, not_after)
SELECT replace(id::text, '-', ''), tenant_id, id, now() + interval '1 day' FROM vps_servers;
INSERT INTO server_health (vps_id, tenant_id, checked_at, state, metrics, agent_version, agent_version_since)
SELECT id, tenant_id, now(), CASE WHEN n %% 50 = 0 THEN 'fail' WHEN n %% 20 = 0 THEN 'warn' ELSE 'ok' END,
       %(metrics)s::jsonb || jsonb_build_object('deferred_ratio', (n %% 100) / 200.0, 'load_1m', n %% 13),
       agent_version, now()
FROM (SELECT *, row_number() OVER () AS n FROM vps_servers) v;
INSERT INTO health_checks (vps_id, kind, tenant_id, state, value, sentence, at, changed_at)
SELECT h.vps_id, kind, h.tenant_id, CASE kind WHEN 'disk' THEN h.state ELSE 'ok' END, 0.5, 'It is as it is.', now(), now()
FROM server_health h CROSS JOIN unnest(%(checks)s::text[]) kind;

-- name: samples
INSERT INTO health_samples (tenant_id, vps_id, at, slot, measured)
SELECT v.tenant_id, v.id, at, floor(extract(epoch FROM at) / 86400)::bigint %% 32, %(measured)s::double precision[]
FROM generate_series(date_bin('5 minutes', now(), 'epoch') - interval '48 hours', now(), interval '5 minutes') at
CROSS JOIN (SELECT * FROM vps_servers WHERE hashtext(id::text) & 1 = %(part)s) v;

-- name: reports
INSERT INTO health_reports (tenant_id, vps_id, reported_at, at, slot, measured)
SELECT v.tenant_id, v.id, at, at, floor(extract(epoch FROM at) / 3600)::bigint %% 3, %(measured)s::double precision[]
FROM generate_series(now() - interval '16 minutes', now(), interval '15 seconds') at CROSS JOIN vps_servers v;
