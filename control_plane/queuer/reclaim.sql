-- Take back the leases that ran out more than the clock tolerance ago; the token stays, to judge what is told late.
WITH late AS (
    SELECT m.tenant_id, m.id
    FROM vps_servers v
    CROSS JOIN LATERAL (
        SELECT q.tenant_id, q.id
        FROM messages q
        WHERE q.state = 'queued' AND q.vps_id = v.id
          AND q.lease_deadline < now() - make_interval(secs => %(tolerance_seconds)s)
        ORDER BY q.lease_deadline
        LIMIT %(page)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS m
),
freed AS (
    UPDATE messages m
    SET state = 'accepted'
    FROM late
    WHERE m.tenant_id = late.tenant_id AND m.id = late.id
    RETURNING m.tenant_id, m.id, m.lease_token
)
INSERT INTO message_events (tenant_id, message_id, event_id, kind, at, lease_token, applied, detail)
SELECT tenant_id, id, gen_random_uuid(), 'requeued', now(), lease_token, true,
       '{"detail": "the lease ran out without word from the server"}'
FROM freed
RETURNING message_id
