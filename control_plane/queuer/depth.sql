-- How many sends wait, are due, are leased and are dead, by tenant, server and priority: each from its partial index.
SELECT v.tenant_id, v.id AS vps_id, part.priority,
       coalesce(sum(part.sends) FILTER (WHERE part.state = 'accepted'), 0)::bigint AS waiting,
       coalesce(sum(part.due) FILTER (WHERE part.state = 'accepted'), 0)::bigint AS due,
       coalesce(sum(part.sends) FILTER (WHERE part.state = 'queued'), 0)::bigint AS leased,
       coalesce(sum(part.sends) FILTER (WHERE part.state = 'dead'), 0)::bigint AS dead,
       min(part.oldest) FILTER (WHERE part.state = 'accepted') AS oldest_due,
       min(part.oldest) FILTER (WHERE part.state = 'queued') AS oldest_lease
FROM vps_servers v
CROSS JOIN LATERAL (
    SELECT 'accepted' AS state, m.priority, count(*) AS sends, count(*) FILTER (WHERE m.send_at <= now()) AS due,
           min(m.send_at) FILTER (WHERE m.send_at <= now()) AS oldest
    FROM messages m WHERE m.state = 'accepted' AND m.vps_id = v.id GROUP BY m.priority
    UNION ALL
    SELECT 'queued', m.priority, count(*), 0, min(m.queued_at)
    FROM messages m WHERE m.state = 'queued' AND m.vps_id = v.id GROUP BY m.priority
    UNION ALL
    SELECT 'dead', m.priority, count(*), 0, NULL
    FROM messages m WHERE m.state = 'dead' AND m.vps_id = v.id GROUP BY m.priority
) AS part
GROUP BY v.tenant_id, v.id, part.priority
ORDER BY v.tenant_id, v.id, part.priority
