-- End what Postfix has had for longer than its server waits for its end, and what a removed server had: nobody tells of it.
WITH silent AS (
    SELECT m.tenant_id, m.id,
           CASE WHEN v.status = 'deleted' THEN 'its server was removed while Postfix had it'
                ELSE 'Postfix had it for longer than its queue life and its end was never told' END AS why
    FROM vps_servers v
    CROSS JOIN LATERAL (
        SELECT r.tenant_id, r.id
        FROM messages r
        WHERE r.state = 'relayed' AND r.vps_id = v.id
          AND r.relayed_at < now() - CASE WHEN v.status = 'deleted' THEN interval '0'
                                          ELSE make_interval(secs => %(seconds)s) END
        ORDER BY r.relayed_at
        LIMIT %(page)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS m
),
ended AS (
    UPDATE messages m
    SET state = 'uncertain', state_reason = silent.why, final_at = now()
    FROM silent
    WHERE m.tenant_id = silent.tenant_id AND m.id = silent.id
    RETURNING m.tenant_id, m.id, m.isolated, m.state_reason
)
INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
SELECT tenant_id, id, isolated, gen_random_uuid(), 'uncertain', now(), true, jsonb_build_object('detail', state_reason)
FROM ended
RETURNING message_id
