-- A server's sends under a lease that still runs, one page by deadline: what Redis must hold until the agent has them.
-- Only those leased so many seconds ago, whose deadline is before that of what stands first in their stream: `gone_before`
-- by priority, 'infinity' for all.
SELECT m.id, m.vps_id, m.priority, m.lease_token, m.lease_deadline, m.envelope_sender, m.recipient, m.signing_domain,
       m.payload, m.leases AS lease_number
FROM messages m
JOIN vps_servers v ON v.id = m.vps_id AND v.status = 'ready' AND v.banned_at IS NULL
WHERE m.state = 'queued' AND m.vps_id = %(vps_id)s AND m.lease_deadline > now()
  AND (m.lease_deadline, m.id) > (%(after_deadline)s::timestamptz, %(after)s::uuid)
  AND m.queued_at <= now() - make_interval(secs => %(seconds)s)
  AND m.lease_deadline < (%(gone_before)s::timestamptz[])[m.priority + 1]
ORDER BY m.lease_deadline, m.id
LIMIT %(page)s
