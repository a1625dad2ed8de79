-- Move a batch's sends on from the connection's own table, with the idempotency key and the whole answer, and hint the
-- queuer once; no row comes back when the key is taken or the inbox is not ready any more.
-- The locks are those of insert_send.sql.
WITH sender AS MATERIALIZED (
    SELECT tenant_id, id FROM inboxes
    WHERE tenant_id = %(tenant_id)s AND id = %(inbox_id)s AND status = 'ready'
    FOR KEY SHARE
), claimed AS (
    INSERT INTO idempotency_keys (tenant_id, key, request_sha256, message_ids, problems)
    SELECT tenant_id, %(key)s::text, %(request_sha256)s, %(message_ids)s::uuid[], %(problems)s
    FROM sender
    WHERE %(key)s::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING key
), accepted AS (
    INSERT INTO messages (
        tenant_id, id, workspace_id, inbox_id, vps_id, priority, envelope_sender, recipient, signing_domain, subject,
        payload, send_at
    )
    SELECT sender.tenant_id, i.id, %(workspace_id)s, sender.id, %(vps_id)s, i.priority, %(envelope_sender)s,
        i.recipient, %(signing_domain)s, i.subject, i.payload, i.send_at
    FROM sender CROSS JOIN pg_temp.incoming_sends i
    WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM claimed)
    RETURNING id
), counted AS (
    SELECT count(*) AS sends FROM accepted
)
SELECT sends, pg_notify('sends_ready', '') FROM counted WHERE sends > 0
