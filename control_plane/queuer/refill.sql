-- A server's sends under a lease that still runs, one page by id: what Redis must hold until the agent has them.
SELECT m.id, m.vps_id, m.priority, m.lease_token, m.lease_deadline, m.envelope_sender, m.recipient, m.signing_domain,
       m.payload
FROM messages m
JOIN vps_servers v ON v.id = m.vps_id AND v.status = 'ready' AND v.banned_at IS NULL
WHERE m.state = 'queued' AND m.vps_id = %(vps_id)s AND m.lease_deadline > now() AND m.id > %(after)s
ORDER BY m.id
LIMIT %(page)s
