-- How many sends wait, are due, are leased and are dead, by tenant, server and priority.
SELECT m.tenant_id, m.vps_id, m.priority,
       count(*) FILTER (WHERE m.state = 'accepted') AS waiting,
       count(*) FILTER (WHERE m.state = 'accepted' AND m.send_at <= now()) AS due,
       count(*) FILTER (WHERE m.state = 'queued') AS leased,
       count(*) FILTER (WHERE m.state = 'dead') AS dead,
       min(m.send_at) FILTER (WHERE m.state = 'accepted' AND m.send_at <= now()) AS oldest_due,
       min(m.queued_at) FILTER (WHERE m.state = 'queued') AS oldest_lease
FROM messages m
WHERE m.state IN ('accepted', 'queued', 'dead')
GROUP BY m.tenant_id, m.vps_id, m.priority
ORDER BY m.tenant_id, m.vps_id, m.priority
