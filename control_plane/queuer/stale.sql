-- Servers that have had a leased send for so long that its envelope should have been taken.
SELECT v.id
FROM vps_servers v
WHERE v.status = 'ready' AND v.banned_at IS NULL
  AND EXISTS (SELECT FROM messages m
              WHERE m.state = 'queued' AND m.vps_id = v.id AND m.lease_deadline > now()
                AND m.queued_at < now() - make_interval(secs => %(seconds)s))
