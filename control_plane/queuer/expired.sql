-- Servers with leases that ran out longer ago than the tolerance.
SELECT v.id
FROM vps_servers v
WHERE EXISTS (SELECT FROM messages m
              WHERE m.state = 'queued' AND m.vps_id = v.id
                AND m.lease_deadline < now() - make_interval(secs => %(tolerance_seconds)s))
