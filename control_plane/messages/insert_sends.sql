-- Move sends on from the connection's own table, with their idempotency keys, and hint the queuer once; tell whose
-- inboxes are ready and which keys were free: only theirs have gone in.
-- Two requests with one key wait for each other at the key: the second finds it taken once the first has committed.
-- The lock on the inbox, which the foreign key would take anyway, makes whoever removes the inbox wait for these sends
-- and cancel them, or makes these sends wait and find the inbox removed. Locks are taken in one order, so that two
-- transactions with the same inboxes and keys cannot each wait for the other.
WITH sender AS MATERIALIZED (
    SELECT tenant_id, id, workspace_id, vps_id, email_address FROM inboxes
    WHERE tenant_id = %(tenant_id)s AND id = ANY(%(inbox_ids)s) AND status = 'ready' AND vps_id IS NOT NULL
    ORDER BY id
    FOR KEY SHARE
), claimed AS (
    INSERT INTO idempotency_keys (tenant_id, within, key, request_sha256, message_id, message_ids, problems)
    SELECT sender.tenant_id, %(within)s, c.key, c.request_sha256, c.message_id, c.message_ids, c.problems
    FROM jsonb_to_recordset(%(claims)s) AS c (
        inbox_id UUID, key TEXT, request_sha256 BYTEA, message_id UUID, message_ids UUID[], problems JSONB
    ) JOIN sender ON sender.id = c.inbox_id
    ORDER BY c.key
    ON CONFLICT DO NOTHING
    RETURNING key
), accepted AS (
    INSERT INTO messages (
        tenant_id, id, workspace_id, inbox_id, vps_id, priority, envelope_sender, recipient, signing_domain, subject,
        payload, send_at, resend_of, isolated
    )
    SELECT sender.tenant_id, i.id, sender.workspace_id, sender.id, sender.vps_id, i.priority, sender.email_address,
        i.recipient, split_part(sender.email_address, '@', 2), i.subject, i.payload, i.send_at, i.resend_of,
        -- Where the tenant's lie; what sends another again, where that lies.
        CASE WHEN i.resend_of IS NULL THEN t.isolated
             ELSE (SELECT m.isolated FROM messages m WHERE m.tenant_id = sender.tenant_id AND m.id = i.resend_of) END
    FROM sender JOIN pg_temp.incoming_sends i ON i.inbox_id = sender.id
    JOIN tenants t ON t.id = sender.tenant_id
    WHERE i.key IS NULL OR i.key IN (SELECT key FROM claimed)
    RETURNING id
)
SELECT ARRAY(SELECT id FROM sender) AS ready, ARRAY(SELECT key FROM claimed) AS claimed,
    CASE WHEN EXISTS (SELECT FROM accepted) THEN pg_notify('sends_ready', '') END
