-- The inboxes that sends would leave from, and what their idempotency keys already stand for: one send, or a batch.
-- A row for each pair of an inbox and a key (or NULL) that was asked for, but none for an inbox that is not there.
SELECT i.id AS inbox_id, a.key, i.workspace_id, i.vps_id, i.email_address, i.display_name, i.status, now() AS now,
    k.request_sha256, k.message_id, k.message_ids, k.problems, m.accepted_at, m.send_at
FROM unnest(%(inbox_ids)s::uuid[], %(keys)s::text[]) AS a (inbox_id, key)
JOIN inboxes i ON i.tenant_id = %(tenant_id)s AND i.id = a.inbox_id
LEFT JOIN idempotency_keys k ON k.tenant_id = i.tenant_id AND k.within = %(within)s AND k.key = a.key
LEFT JOIN messages m ON m.tenant_id = k.tenant_id AND m.id = k.message_id
