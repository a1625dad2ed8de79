-- The inbox that a send would leave from, and what an idempotency key already stands for: one send, or a batch.
SELECT i.id AS inbox_id, i.workspace_id, i.vps_id, i.email_address, i.display_name, i.status, now() AS now,
    k.request_sha256, k.message_id, k.message_ids, k.problems, m.accepted_at, m.send_at
FROM inboxes i
LEFT JOIN idempotency_keys k ON k.tenant_id = i.tenant_id AND k.key = %(key)s
LEFT JOIN messages m ON m.tenant_id = k.tenant_id AND m.id = k.message_id
WHERE i.tenant_id = %(tenant_id)s AND i.id = %(inbox_id)s
