-- Tell which priorities of which servers have waiting sends: one jump through idx_messages_waiting for each.
WITH RECURSIVE line AS (
    (SELECT m.vps_id, m.priority
     FROM messages m
     WHERE m.state = 'accepted'
     ORDER BY m.vps_id, m.priority
     LIMIT 1)
    UNION ALL
    SELECT following.vps_id, following.priority
    FROM line
    CROSS JOIN LATERAL (
        SELECT m.vps_id, m.priority
        FROM messages m
        WHERE m.state = 'accepted' AND (m.vps_id, m.priority) > (line.vps_id, line.priority)
        ORDER BY m.vps_id, m.priority
        LIMIT 1
    ) AS following
)
SELECT line.vps_id, line.priority
FROM line
JOIN vps_servers v ON v.id = line.vps_id AND v.status = 'ready' AND v.banned_at IS NULL
 AND coalesce(abs(v.clock_offset_ms) <= 1000 * %(clock_tolerance_seconds)s::bigint, true)
JOIN tenants t ON t.id = v.tenant_id AND t.state = 'active'
WHERE NOT EXISTS (SELECT FROM pauses p
                  WHERE p.resumed_at IS NULL AND p.inbox_id IS NULL AND coalesce(p.tenant_id = v.tenant_id, true)
                    AND coalesce(p.vps_id = line.vps_id, p.priority = line.priority, true))
