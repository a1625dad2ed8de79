-- Put the recipients of sends that bounced for good on their tenant's list; what is on it stays as it is. In the order
-- of addresses, so that batches of events of several servers do not wait for each other in a circle.
INSERT INTO suppressions AS s (tenant_id, address, reason, source)
SELECT DISTINCT m.tenant_id, lower(m.recipient), 'hard-bounce', 'delivery'
FROM messages m
WHERE m.tenant_id = %(tenant_id)s AND m.id = ANY (%(ids)s::uuid[]) AND m.recipient <> %(erased)s
ORDER BY 2
ON CONFLICT (tenant_id, address) DO UPDATE
SET reason = excluded.reason, source = excluded.source, created_at = now(), removed_at = NULL
WHERE s.removed_at IS NOT NULL
