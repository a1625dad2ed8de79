-- Many dead servers of one provider and region become one outage. Those that are silenced do not count.
INSERT INTO alert_groups (provider, region, opened_at)
SELECT v.provider, v.region, %(now)s
FROM alerts a JOIN vps_servers v ON v.id = a.vps_id
WHERE a.rule = ANY(%(outage_rules)s) AND a.state IN ('open', 'acknowledged') AND a.group_id IS NULL
    AND a.opened_at > %(now)s - %(together)s
    AND NOT EXISTS (SELECT FROM alert_silences s WHERE s.until > %(now)s AND coalesce(s.of_tenant_id = a.tenant_id, true)
                    AND coalesce(s.of_vps_id = a.vps_id, true) AND coalesce(s.rule = a.rule, true))
GROUP BY v.provider, v.region
HAVING count(*) >= %(enough)s
ON CONFLICT DO NOTHING;

-- Each joins the outage that it is a part of.
UPDATE alerts a SET group_id = g.id
FROM alert_groups g, vps_servers v
WHERE v.id = a.vps_id AND g.provider = v.provider AND g.region = v.region AND g.resolved_at IS NULL
    AND a.rule = ANY(%(outage_rules)s) AND a.state IN ('open', 'acknowledged') AND a.group_id IS NULL
    AND a.opened_at > g.opened_at - %(together)s;

-- An outage is over when nobody is left in it.
UPDATE alert_groups g SET resolved_at = %(now)s
WHERE g.resolved_at IS NULL AND NOT EXISTS (SELECT FROM alerts a WHERE a.group_id = g.id AND a.state <> 'resolved');

-- Of an alert that nobody looks at each channel is told, as soon as it wants to be. One about the installation itself
-- is of no server, and no silence of a server or a tenant is about it.
INSERT INTO alert_notices (channel_id, fingerprint, kind, alert_id, due_at, body)
SELECT c.id, 'opened:' || a.id, CASE WHEN c.after_minutes = 0 THEN 'opened' ELSE 'escalated' END, a.id, %(now)s,
    jsonb_strip_nulls(jsonb_build_object('rule', a.rule, 'severity', a.severity, 'sentence', a.sentence,
        'since', a.since, 'opened_at', a.opened_at, 'alert_id', a.id, 'vps_id', v.id, 'hostname', v.hostname,
        'tenant_id', v.tenant_id, 'provider', v.provider, 'region', v.region))
FROM alerts a LEFT JOIN vps_servers v ON v.id = a.vps_id CROSS JOIN alert_channels c
WHERE a.state = 'open' AND a.group_id IS NULL
    AND a.opened_at + c.after_minutes * interval '1 minute' <= %(now)s
    AND array_position(ARRAY['notice', 'warning', 'critical'], a.severity)
        >= array_position(ARRAY['notice', 'warning', 'critical'], c.least_severity)
    AND NOT EXISTS (SELECT FROM alert_silences s WHERE s.until > %(now)s
                    AND (s.of_tenant_id IS NULL OR s.of_tenant_id = a.tenant_id)
                    AND (s.of_vps_id IS NULL OR s.of_vps_id = a.vps_id) AND coalesce(s.rule = a.rule, true))
ON CONFLICT DO NOTHING;

-- An outage is told of once, with all that are in it; it is acknowledged when each of those is.
INSERT INTO alert_notices (channel_id, fingerprint, kind, group_id, due_at, body)
SELECT c.id, 'outage:' || g.id, 'outage', g.id, %(now)s,
    jsonb_build_object('severity', 'critical', 'provider', g.provider, 'region', g.region, 'group_id', g.id,
        'opened_at', g.opened_at, 'servers', m.servers, 'hostnames', m.hostnames)
FROM alert_groups g CROSS JOIN alert_channels c
CROSS JOIN LATERAL (SELECT count(*) AS servers, jsonb_agg(v.hostname ORDER BY v.hostname) AS hostnames,
                        bool_or(a.state = 'open') AS unseen
                    FROM alerts a JOIN vps_servers v ON v.id = a.vps_id
                    WHERE a.group_id = g.id AND a.state <> 'resolved') m
WHERE g.resolved_at IS NULL AND m.unseen AND g.opened_at + c.after_minutes * interval '1 minute' <= %(now)s
ON CONFLICT DO NOTHING;

-- Who was told of the beginning is told of the end.
INSERT INTO alert_notices (channel_id, fingerprint, kind, alert_id, due_at, body)
SELECT n.channel_id, 'resolved:' || a.id, 'resolved', a.id, %(now)s,
    n.body || jsonb_build_object('resolved_at', a.resolved_at)
FROM alerts a JOIN alert_notices n ON n.alert_id = a.id AND n.kind IN ('opened', 'escalated')
WHERE a.state = 'resolved' AND a.resolved_at > %(now)s - %(late)s
ON CONFLICT DO NOTHING;

INSERT INTO alert_notices (channel_id, fingerprint, kind, group_id, due_at, body)
SELECT n.channel_id, 'outage_over:' || g.id, 'outage_over', g.id, %(now)s,
    n.body || jsonb_build_object('resolved_at', g.resolved_at)
FROM alert_groups g JOIN alert_notices n ON n.group_id = g.id AND n.kind = 'outage'
WHERE g.resolved_at > %(now)s - %(late)s
ON CONFLICT DO NOTHING;

DELETE FROM alert_notices n WHERE n.finished_at < %(now)s - %(kept)s
    AND NOT EXISTS (SELECT FROM alerts a WHERE a.id = n.alert_id AND a.state <> 'resolved')
    AND NOT EXISTS (SELECT FROM alert_groups g WHERE g.id = n.group_id AND g.resolved_at IS NULL);
