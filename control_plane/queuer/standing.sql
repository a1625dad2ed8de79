-- What waits, by server, priority and inbox, with the age of its oldest and why nothing of it is leased; an empty reason
-- means that nothing stands in its way. One jump through idx_messages_waiting finds the oldest of each inbox.
WITH RECURSIVE head AS (
    (SELECT m.vps_id, m.priority, m.inbox_id, m.tenant_id, m.send_at
     FROM messages m
     WHERE m.state = 'accepted' AND m.inbox_id IS NOT NULL
     ORDER BY m.vps_id, m.priority, m.inbox_id, m.send_at
     LIMIT 1)
    UNION ALL
    SELECT following.*
    FROM head
    CROSS JOIN LATERAL (
        SELECT m.vps_id, m.priority, m.inbox_id, m.tenant_id, m.send_at
        FROM messages m
        WHERE m.state = 'accepted' AND m.inbox_id IS NOT NULL
          AND (m.vps_id, m.priority, m.inbox_id) > (head.vps_id, head.priority, head.inbox_id)
        ORDER BY m.vps_id, m.priority, m.inbox_id, m.send_at
        LIMIT 1
    ) AS following
),
paused AS MATERIALIZED (
    SELECT p.tenant_id, p.vps_id, p.inbox_id, p.priority,
           CASE WHEN p.vps_id IS NOT NULL THEN 'the server is paused'
                WHEN p.inbox_id IS NOT NULL THEN 'the inbox is paused'
                WHEN p.priority IS NOT NULL THEN 'the priority is paused'
                ELSE 'the tenant is paused' END AS why
    FROM pauses p
    WHERE p.resumed_at IS NULL
)
SELECT head.vps_id, head.priority, head.inbox_id, head.tenant_id, head.send_at AS oldest,
       concat_ws(', ',
           CASE WHEN t.state <> 'active' THEN 'the tenant is ' || t.state END,
           CASE WHEN plan_sends_spent(t.id) THEN 'the tenant has used its plan''s sends of the day' END,
           CASE WHEN v.status <> 'ready' THEN 'the server is ' || v.status END,
           CASE WHEN v.banned_at IS NOT NULL THEN 'the server is banned' END,
           CASE WHEN abs(v.clock_offset_ms) > 1000 * CAST(%(clock_tolerance_seconds)s AS bigint)
                THEN format('the server''s clock is off by %%s s', round(v.clock_offset_ms / 1000.0, 1)) END,
           (SELECT string_agg(DISTINCT p.why, ', ')
            FROM paused p
            WHERE coalesce(p.tenant_id = head.tenant_id, true)
              AND coalesce(p.vps_id = head.vps_id, p.inbox_id = head.inbox_id, p.priority = head.priority, true)),
           CASE WHEN i.status <> 'ready' THEN 'the inbox is ' || i.status END,
           CASE WHEN coalesce(d.claimed, 0) >= ceil(i.daily_send_limit::numeric / v.send_divisor)
                THEN format('the inbox has used its daily limit of %%s', ceil(i.daily_send_limit::numeric / v.send_divisor))
                     || CASE WHEN v.send_divisor > 1 THEN ', which is lowered while the server is slowed' ELSE '' END
                END,
           CASE WHEN v.last_seen_at IS NULL OR v.last_seen_at < now() - interval '45 s'
                THEN 'the server is not linked' END
       ) AS why
FROM head
JOIN vps_servers v ON v.id = head.vps_id
JOIN tenants t ON t.id = head.tenant_id
JOIN inboxes i ON i.tenant_id = head.tenant_id AND i.id = head.inbox_id
LEFT JOIN inbox_daily_sends d
       ON d.tenant_id = head.tenant_id AND d.inbox_id = head.inbox_id AND d.day = (now() AT TIME ZONE 'UTC')::date
WHERE head.send_at <= now() - make_interval(secs => %(seconds)s)
ORDER BY head.send_at
