-- Insert a send with its idempotency key, and hint the queuer; no row comes back when the key is taken or the inbox is
-- not ready any more.
-- Two requests with one key wait for each other at the key: the second finds it taken once the first has committed.
-- The lock on the inbox, which the foreign key would take anyway, makes whoever removes the inbox wait for this send
-- and cancel it, or makes this send wait and find the inbox removed.
WITH sender AS MATERIALIZED (
    SELECT tenant_id, id FROM inboxes
    WHERE tenant_id = %(tenant_id)s AND id = %(inbox_id)s AND status = 'ready'
    FOR KEY SHARE
), claimed AS (
    INSERT INTO idempotency_keys (tenant_id, key, request_sha256, message_id)
    SELECT tenant_id, %(key)s::text, %(request_sha256)s, %(id)s
    FROM sender
    WHERE %(key)s::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING message_id
), accepted AS (
    INSERT INTO messages (
        tenant_id, id, workspace_id, inbox_id, vps_id, priority, envelope_sender, recipient, signing_domain, subject,
        payload, send_at, resend_of
    )
    SELECT tenant_id, %(id)s, %(workspace_id)s, id, %(vps_id)s, %(priority)s, %(envelope_sender)s, %(recipient)s,
        %(signing_domain)s, %(subject)s, %(payload)s, %(send_at)s, %(resend_of)s::uuid
    FROM sender
    WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM claimed)
    RETURNING accepted_at, send_at
)
SELECT accepted_at, send_at, pg_notify('sends_ready', '') FROM accepted
