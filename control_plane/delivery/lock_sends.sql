-- Lock the sends that a server's events are about, in one order for all, and tell which events are known already.
-- A send of another server, or of another tenant, is not found.
SELECT m.tenant_id, m.id, m.isolated, m.state, m.lease_token, m.queue_id, m.relayed_at, m.recipient = %(erased)s AS erased,
       NOT EXISTS (SELECT FROM inboxes i
                   WHERE i.tenant_id = m.tenant_id AND i.id = m.inbox_id AND i.status <> 'deleting') AS inbox_gone,
       ARRAY(SELECT e.event_id
             FROM message_events e
             WHERE e.tenant_id = m.tenant_id AND e.message_id = m.id AND e.event_id = ANY (%(event_ids)s::uuid[])) AS known_events
FROM messages m
WHERE m.tenant_id = (SELECT v.tenant_id FROM vps_servers v WHERE v.id = %(vps_id)s)
  AND m.id = ANY (%(send_ids)s::uuid[])
  AND m.vps_id = %(vps_id)s
ORDER BY m.id
FOR NO KEY UPDATE OF m
