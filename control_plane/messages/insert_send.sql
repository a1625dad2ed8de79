-- Insert a send with its idempotency key, and hint the queuer; no row comes back when the key is taken.
-- Two requests with one key wait for each other at the key: the second finds it taken once the first has committed.
WITH claimed AS (
    INSERT INTO idempotency_keys (tenant_id, key, request_sha256, message_id)
    SELECT %(tenant_id)s, %(key)s::text, %(request_sha256)s, %(id)s
    WHERE %(key)s::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING message_id
), accepted AS (
    INSERT INTO messages (
        tenant_id, id, workspace_id, inbox_id, vps_id, priority, envelope_sender, recipient, signing_domain, subject,
        payload, send_at
    )
    SELECT %(tenant_id)s, %(id)s, %(workspace_id)s, %(inbox_id)s, %(vps_id)s, %(priority)s, %(envelope_sender)s,
        %(recipient)s, %(signing_domain)s, %(subject)s, %(payload)s, %(send_at)s
    WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM claimed)
    RETURNING accepted_at, send_at
)
SELECT accepted_at, send_at, pg_notify('sends_ready', '') FROM accepted
