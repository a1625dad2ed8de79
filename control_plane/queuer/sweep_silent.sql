-- End what waits, or is dead, and what its server has been silent about for longer than it surely remembers: to lease it
-- again could send it twice.
WITH silent AS (
    SELECT m.tenant_id, m.id
    FROM messages m
    WHERE m.silent_since < now() - make_interval(secs => %(seconds)s) AND m.state IN ('accepted', 'dead')
    ORDER BY m.silent_since
    LIMIT %(page)s
    FOR NO KEY UPDATE SKIP LOCKED
),
ended AS (
    UPDATE messages m
    SET state = 'uncertain', final_at = now(),
        state_reason = concat_ws('; ', m.state_reason, 'its server has been silent about it for days')
    FROM silent
    WHERE m.tenant_id = silent.tenant_id AND m.id = silent.id
    RETURNING m.tenant_id, m.id, m.isolated, m.state_reason
)
INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
SELECT tenant_id, id, isolated, gen_random_uuid(), 'uncertain', now(), true, jsonb_build_object('detail', state_reason)
FROM ended
RETURNING message_id
