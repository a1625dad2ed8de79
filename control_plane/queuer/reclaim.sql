-- Take back the leases that ran out more than the clock tolerance ago; the token stays, to judge what is told late.
-- A send whose inbox was removed meanwhile ends here: nobody leases it again, and its server did not say what it did.
WITH late AS (
    SELECT m.tenant_id, m.id, NOT EXISTS (SELECT FROM inboxes i WHERE i.tenant_id = m.tenant_id AND i.id = m.inbox_id
                                          AND i.status <> 'deleting') AS homeless
    FROM vps_servers v
    CROSS JOIN LATERAL (
        SELECT q.tenant_id, q.id, q.inbox_id
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
    SET state = CASE WHEN late.homeless THEN 'uncertain' ELSE 'accepted' END,
        state_reason = CASE WHEN late.homeless THEN 'its inbox was removed while its server was silent' END,
        final_at = CASE WHEN late.homeless THEN now() END
    FROM late
    WHERE m.tenant_id = late.tenant_id AND m.id = late.id
    RETURNING m.tenant_id, m.id, m.lease_token, late.homeless
)
INSERT INTO message_events (tenant_id, message_id, event_id, kind, at, lease_token, applied, detail)
SELECT tenant_id, id, gen_random_uuid(), CASE WHEN homeless THEN 'uncertain' ELSE 'requeued' END, now(), lease_token, true,
       CASE WHEN homeless THEN '{"detail": "the inbox was removed while the server was silent"}'
            ELSE '{"detail": "the lease ran out without word from the server"}' END::jsonb
FROM freed
RETURNING message_id
